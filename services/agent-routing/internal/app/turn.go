package app

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// turn is one transaction about one fan, who is locked. Whatever it changes is stored by finish.
type turn struct {
	d     *Desk
	q     store.Q
	now   time.Time
	actor string
	trace string

	fan domain.Fan
	// conv is the conversation of the turn; its zero value when the fan has none.
	conv  domain.Conversation
	group domain.Group
	dirty bool
	// sends is how many messages to the fan the turn has put into the outbox.
	sends int
	// after is what the caller does when the transaction is committed.
	after after
}

// after is what follows a committed turn.
type after struct {
	account, openID string
	// groups whose queue may have somebody for a free place.
	groups map[string]bool
	// agent whose place became free.
	agents map[string]bool
	owner  []domain.Kind
	files  bool
	// met is set when WeChat is to be asked about the fan.
	met bool
	// promises that were kept or broken.
	promises []Outcome
}

// in names the fan of a turn, and the conversation; empty for the open one.
type in struct {
	account, openID, conversation string
	actor                         string
	// create adds a fan who is not known.
	create bool
	// skip gives up when another transaction holds the fan.
	skip bool
}

// turn runs fn with the fan locked and does afterwards what follows from it. Nothing happens, and nothing is returned, for an unknown
// fan unless in.create is set.
func (d *Desk) turn(ctx context.Context, in in, fn func(ctx context.Context, t *turn) error) error {
	var seed domain.Owner
	if in.create {
		var err error
		if seed, err = d.seed(ctx, in.account, in.openID); err != nil {
			return err
		}
	}
	var done after
	err := d.o.Store.InTx(ctx, func(ctx context.Context, q store.Q) error {
		t := &turn{d: d, q: q, now: d.now(), actor: in.actor, trace: traceOf(ctx), after: newAfter(in)}
		known, err := t.lock(ctx, in, seed)
		if err != nil || !known {
			return err
		}
		if err := fn(ctx, t); err != nil {
			return err
		}
		done = t.after
		return t.finish(ctx)
	})
	if err != nil {
		return err
	}
	return d.follow(ctx, done)
}

func newAfter(in in) after {
	return after{account: in.account, openID: in.openID, groups: map[string]bool{}, agents: map[string]bool{}}
}

// seed is the owner of a fan whom the database does not know: epochs never go back, also when the database is new.
func (d *Desk) seed(ctx context.Context, account, openID string) (domain.Owner, error) {
	owner, known, err := d.o.Owners.Owner(ctx, account, openID)
	if err != nil {
		return domain.Owner{}, err
	}
	if !known {
		return domain.Owner{Kind: domain.Bot}, nil
	}
	return owner, nil
}

func (t *turn) lock(ctx context.Context, in in, seed domain.Owner) (known bool, err error) {
	if in.create {
		f := domain.Fan{Account: in.account, OpenID: in.openID, Owner: seed, FirstSeen: t.now}
		if err := t.q.AddFan(ctx, f); err != nil {
			return false, err
		}
	}
	get := t.q.LockFan
	if in.skip {
		get = t.q.TryLockFan
	}
	if t.fan, known, err = get(ctx, in.account, in.openID); err != nil || !known {
		return false, err
	}
	id := in.conversation
	if id == "" {
		id = t.fan.Conversation
	}
	if id == "" {
		return true, nil
	}
	return true, t.load(ctx, id)
}

func (t *turn) load(ctx context.Context, id string) error {
	c, ok, err := t.q.Conversation(ctx, t.fan.Account, id)
	if err != nil {
		return err
	}
	if !ok || c.OpenID != t.fan.OpenID {
		return fault.New(fault.NotFound, "conversation: no such conversation")
	}
	t.conv = c
	t.group, err = t.q.Group(ctx, c.Group)
	return err
}

// finish stores the fan and the conversation, with the time at which it changes by itself.
func (t *turn) finish(ctx context.Context) error {
	if t.dirty {
		if err := t.q.SaveConversation(ctx, t.conv, t.conv.Wake(t.group, t.d.o.Limits)); err != nil {
			return err
		}
	}
	return t.q.SaveFan(ctx, t.fan)
}

// step changes the conversation, its owner, and tells it.
func (t *turn) step(ctx context.Context, s domain.Step) error { return t.stepTo(ctx, s, 0, "") }

// stepTo is step with another owner than the state says; kind 0 for the state's own.
func (t *turn) stepTo(ctx context.Context, s domain.Step, kind domain.Kind, name string) error {
	if s.Change == domain.ClosedNow {
		if err := t.judge(ctx); err != nil {
			return err
		}
	}
	before := t.conv
	next, err := t.conv.Apply(s, t.now)
	if err != nil {
		return err
	}
	t.conv, t.dirty = next, true
	if s.Group != nil {
		t.group = *s.Group
	}
	t.freed(before)
	if t.conv.State == domain.Waiting {
		t.after.groups[t.conv.Group] = true
	}
	if t.current(before) {
		if kind == 0 {
			kind, name = t.conv.Owner()
		}
		if err := t.own(ctx, kind, name, s.Reason); err != nil {
			return err
		}
		t.remember()
	}
	return t.changed(ctx, s.Change, before, s.Assignment, "")
}

// freed notes an agent who has a free place now.
func (t *turn) freed(before domain.Conversation) {
	if before.Counts() && (!t.conv.Counts() || t.conv.Agent != before.Agent) {
		t.after.agents[before.Agent] = true
	}
}

// current tells whether the conversation decides who talks to the fan: not when it was over before, and not beside a newer one.
func (t *turn) current(before domain.Conversation) bool {
	if open := t.fan.Conversation; open != "" && open != t.conv.ID {
		return false
	}
	return before.State != domain.Closed || t.conv.State != domain.Closed
}

// remember keeps the fan's view of the conversation.
func (t *turn) remember() {
	t.fan.LastConversation = t.conv.ID
	t.fan.Conversation = ""
	if t.conv.State.Open() {
		t.fan.Conversation = t.conv.ID
	}
	if t.conv.State == domain.Active {
		t.fan.LastAgent = t.conv.Agent
	}
}

// own makes somebody the owner of the fan, under a new epoch, if they are not yet.
func (t *turn) own(ctx context.Context, kind domain.Kind, name, reason string) error {
	next := t.fan.Owner.Next(kind, name, t.now)
	if t.fan.Owner.Same(next) {
		return nil
	}
	t.fan.Owner = next
	t.after.owner = append(t.after.owner, kind)
	fact := &agentroutingv1.OwnerChanged{
		Account: t.fan.Account, Openid: t.fan.OpenID, Conversation: t.conv.ID, Owner: wire.Owner(next), Reason: reason, AtUnixMs: wire.Millis(t.now),
	}
	return t.q.AddItem(ctx, t.item(store.ItemOwner, strconv.FormatUint(next.Epoch, 10)), fact)
}

func (t *turn) item(kind store.ItemKind, key string) store.Item {
	return store.Item{Account: t.fan.Account, OpenID: t.fan.OpenID, Kind: kind, Key: key, Created: t.now}
}

func traceOf(ctx context.Context) string {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}

// follow does what a committed turn asked for. The database has it all, so what fails here is made good by the caretaker.
func (d *Desk) follow(ctx context.Context, a after) error {
	for _, kind := range a.owner {
		d.o.Changed(ctx, kind)
	}
	for _, o := range a.promises {
		d.o.Promised(ctx, o)
	}
	if a.met {
		d.o.Met(a.account, a.openID)
	}
	err := d.relay.flush(ctx, a.account, a.openID)
	for agent := range a.agents {
		groups, lookErr := d.groupsOf(ctx, agent)
		if lookErr != nil {
			return lookErr
		}
		for _, g := range groups {
			a.groups[g] = true
		}
	}
	for g := range a.groups {
		if dispatchErr := d.Dispatch(ctx, g); dispatchErr != nil && err == nil {
			err = dispatchErr
		}
	}
	return err
}
