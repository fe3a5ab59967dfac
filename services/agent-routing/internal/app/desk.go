// Package app holds what the desk does: it opens conversations, finds agents for them, keeps what is said, and tells the
// others. Every change of a conversation is one transaction that holds its fan; what follows from it outside the database
// is in an outbox of the same transaction, so it happens even when the process dies.
package app

import (
	"context"
	"log/slog"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// Owners is the bucket that rule and sender read. Project never goes back to an older epoch.
type Owners interface {
	Owner(ctx context.Context, account, openID string) (owner domain.Owner, known bool, err error)
	Project(ctx context.Context, record *agentroutingv1.OwnerRecord) error
	Forget(ctx context.Context, account, openID string) (bool, error)
}

// Facts is the stream of conversations. Publishing the same id again does nothing.
type Facts interface {
	Owner(ctx context.Context, fact *agentroutingv1.OwnerChanged) error
	Event(ctx context.Context, account, conversation, id string, event []byte) error
	Purge(ctx context.Context, account, conversation string) (int64, error)
}

// Transcript knows what a fan and the rules said around an event, oldest first.
type Transcript interface {
	Around(ctx context.Context, account, openID, event string, at time.Time) (before, since []Line, err error)
}

// Line is something that was said: by the fan, or by the rules. Exactly one is set.
type Line struct {
	Event  *eventv1.InboundEvent
	Answer *agentroutingv1.Message
}

// AtUnixMs is when it was said.
func (l Line) AtUnixMs() int64 {
	if l.Answer != nil {
		return l.Answer.GetAtUnixMs()
	}
	return l.Event.GetReceivedUnixMs()
}

// Sender sends to fans.
type Sender interface {
	Send(ctx context.Context, in *senderv1.SendRequest) (*senderv1.SendResponse, error)
	// Window returns what the fan's window still allows. It may be some milliseconds older than the fan's last message, unless it is to
	// catch up first, which costs more.
	Window(ctx context.Context, account, openID string, catchUp bool) (Window, error)
}

// Window is what may still be sent to a fan. Remaining counts only while it is open.
type Window struct {
	Open      bool
	Remaining int
}

// Platform is WeChat's API of an account.
type Platform interface {
	// Profile returns what WeChat tells of a fan.
	Profile(ctx context.Context, account, openID string) (Profile, error)
	// Typing shows the fan that somebody writes.
	Typing(ctx context.Context, account, openID string) error
}

// Profile is what WeChat tells of a fan.
type Profile struct{ UnionID, Language, Remark string }

// Files is the store of media.
type Files interface {
	Delete(ctx context.Context, id string) (bool, error)
}

// Rules keep what they know about fans.
type Rules interface {
	// Get returns everything that they know.
	Get(ctx context.Context, account, openID string) (*rulev1.GetFanMemoryResponse, error)
	// Erase erases it and counts again. It may be called twice.
	Erase(ctx context.Context, account, openID string) ([]*agentroutingv1.ErasedItem, error)
}

// Options of a Desk. Every field is required.
type Options struct {
	Store      *store.Store
	Owners     Owners
	Facts      Facts
	Transcript Transcript
	Sender     Sender
	Platform   Platform
	Files      Files
	Rules      Rules
	Limits     domain.Limits
	// NativeIdle is after how long a push proves that a session of the native desk is over.
	NativeIdle time.Duration
	// Lease is how long an agent counts as present after a heartbeat.
	Lease time.Duration
	// EraseOnLeave erases the data of a fan who unfollows.
	EraseOnLeave bool
	// Changed is called after every change of an owner.
	Changed func(ctx context.Context, to domain.Kind)
	// Promised is called when a promise to a fan was kept or broken; Promising when a group that promises is known.
	Promised  func(ctx context.Context, o Outcome)
	Promising func(ctx context.Context, g domain.Group)
	// Met is called when a conversation begins with a fan about whom WeChat is to be asked; see Profile. It must not wait.
	Met func(account, openID string)
	Log *slog.Logger
	Now func() time.Time
}

// Desk is safe for concurrent use, also by several replicas.
type Desk struct {
	o     Options
	relay *relay
}

// New returns a desk.
func New(o Options) *Desk {
	d := &Desk{o: o}
	d.relay = newRelay(d)
	return d
}

func (d *Desk) now() time.Time { return d.o.Now().UTC().Truncate(time.Millisecond) }

// HeartbeatEvery is how often an agent's console should call Heartbeat.
func (d *Desk) HeartbeatEvery() time.Duration { return d.o.Lease / 3 }

// The actors that are no users.
const (
	actorFan    = "fan"
	actorRouter = "router"
	actorTimer  = "timer"
	actorRule   = "rule"
	actorWeChat = "wechat"
	actorSender = "sender"
)
