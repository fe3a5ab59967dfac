// Package ruleset reads rule files and decides by them.
//
// Parse reads a file strictly and reports every mistake at once with its path and line. Compile turns
// rules into a Set, which answers for an event in microseconds whatever the number of rules.
package ruleset

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// Limits of a rule file.
const (
	MaxFileBytes   = 32 << 20
	MaxRules       = 200_000
	MaxActions     = 10
	MaxReplies     = 5    // WeChat allows five messages after a message of a fan
	MaxTextBytes   = 2047 // of a passive reply; a longer one shows the fan an error
	MaxNameRunes   = 100
	MaxWebhookTime = 12 * time.Second
)

// File is a rule file as read. Its fields are plain, so that a published set can be stored in a form
// that loads fast (Encode).
type File struct {
	Rules []Rule
}

// Len returns the number of rules.
func (f *File) Len() int { return len(f.Rules) }

// Rule is one rule as written.
type Rule struct {
	Name     string
	Accounts []string // empty means every account
	Priority int32
	On       []string // kinds, see Kinds
	Match    Match
	Actions  []Action
}

// Match says which messages and events a rule wants.
type Match struct {
	Any       bool
	Exact     []string
	Prefix    []string
	Contains  []string
	Regex     []string
	EventKeys []string
	Fold      match.Fold
}

// Action is one thing to do; exactly one field is set.
type Action struct {
	Reply   []byte // wxbus.event.v1.Content, a reply or the hand-over to WeChat's own agents
	Queue   string // hand over to the waiting list of this name
	Webhook *Webhook
	Tags    []string
	None    bool // say nothing
}

// Webhook asks a business system for the reply.
type Webhook struct {
	URL     string
	Timeout time.Duration // zero means the configured default
}

// reply returns an action that sends content.
func reply(content *eventv1.Content) (Action, error) {
	b, err := proto.Marshal(content)
	if err != nil {
		return Action{}, fault.Errorf(fault.Internal, "encode reply: %w", err)
	}
	return Action{Reply: b}, nil
}

// Content returns the reply of an action, or nil when it is none.
func (a Action) Content() (*eventv1.Content, error) {
	if a.Reply == nil {
		return nil, nil
	}
	content := &eventv1.Content{}
	if err := proto.Unmarshal(a.Reply, content); err != nil {
		return nil, fault.Errorf(fault.Internal, "decode reply: %w", err)
	}
	return content, nil
}
