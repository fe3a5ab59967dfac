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
	"github.com/wxbus/wxbus/services/rule/internal/condition"
	"github.com/wxbus/wxbus/services/rule/internal/form"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/place"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
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
	MaxChatTime    = 60 * time.Second
	MaxDelay       = 30 * time.Second // of one reply
	MaxDelays      = 60 * time.Second // of all replies of a rule
	MaxTables      = 100              // places and calendars, each
)

// File is a rule file as read. Its fields are plain, so that a published set can be stored in a form
// that loads fast (Encode); a field that comes is written in write.go.
type File struct {
	Rules []Rule
	// Places are tables of places by name.
	Places map[string][]place.Place
	// Calendars are working times by name.
	Calendars map[string]worktime.Calendar
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
	When     *condition.When // nil for no conditions
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
	Scenes    []string // of QR codes
	// ScenePrefixes are how scenes of QR codes may begin.
	ScenePrefixes []string
	Media         []string // kinds of media, alone or with a format: file/pdf
	Near          *Near
	Fold          match.Fold
}

// Near wants a position near one of a table of places.
type Near struct {
	Places string
	// Within is the radius in metres; zero means everywhere.
	Within float64
}

// Action is one thing to do; beside After and Templated exactly one field is set.
type Action struct {
	Reply     []byte        // wxbus.event.v1.Content, a reply or the hand-over to WeChat's own agents
	After     time.Duration // how long Reply waits after the reply before it
	Templated bool          // whether Reply has variables
	Queue     string        // hand over to the waiting list of this name
	Webhook   *Webhook
	Chat      *Chat
	Form      *Form
	Tags      []string // to set
	Untag     []string // to clear
	None      bool     // say nothing
}

// Webhook asks a business system for the reply.
type Webhook struct {
	URL      string
	Timeout  time.Duration // zero means the configured default
	Retries  int           // after a failure that another try may mend
	Fallback string        // said when there is no answer; "" says nothing; a template
}

// Chat asks a chat model for the reply.
type Chat struct {
	Provider  string // of the configuration; "" means the only one
	Model     string // "" means that of the provider
	System    string // a template
	Turns     int    // questions and answers that are remembered
	Remember  time.Duration
	Timeout   time.Duration
	MaxTokens int
	Fallback  string // said when there is no answer; "" says nothing; a template
}

// Form asks the fan questions.
type Form struct {
	form.Spec
	// Done is what happens with the answers.
	Done []Action
}

// Form returns the form of a rule, or nil.
func (r *Rule) Form() *Form {
	for _, a := range r.Actions {
		if a.Form != nil {
			return a.Form
		}
	}
	return nil
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
