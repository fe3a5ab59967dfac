// Package intake stores pushes: on the home stream or, while that does not acknowledge, on the
// spill stream, from which a mover brings them home. What cannot be stored as an event is parked.
package intake

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Bus stores one message and waits for the server's word; *bus.Conn and *bus.Batcher are one.
type Bus interface {
	Publish(ctx context.Context, m bus.Msg) (bus.Ack, error)
}

// Times bounds the tries of one push.
type Times struct {
	// Primary is how long the home stream has, counted from the start.
	Primary time.Duration
	// Total is how long both streams have together.
	Total time.Duration
}

// Stored tells where a push is.
type Stored struct {
	// Stream and Seq are the place of the stored copy: of the first one when Duplicate is set.
	Stream string
	Seq    uint64
	// Duplicate tells that an earlier attempt was stored in this stream before.
	Duplicate bool
	// Spilled tells that the home stream did not acknowledge in time.
	Spilled bool
}

// Ways are those of a Publisher.
type Ways struct {
	// Home takes the first try of every push, and may gather messages.
	Home Bus
	// Single takes every other try: those must not wait for others.
	Single Bus
	// Away knows whose pushes are on the spill stream.
	Away *Away
	// AtHome hears of each push that got to the home stream after it was sent to the spill stream; nil tells Away.
	AtHome func(id string)
	// Spills hears of each event that leaves for the spill stream, and why; may be nil.
	Spills func(ctx context.Context, cause error)
}

// Publisher stores events. It is safe for concurrent use.
type Publisher struct {
	Ways
	times Times
}

// NewPublisher returns a publisher.
func NewPublisher(w Ways, times Times) *Publisher {
	if w.Spills == nil {
		w.Spills = func(context.Context, error) {}
	}
	if w.AtHome == nil {
		w.AtHome = w.Away.Home
	}
	return &Publisher{Ways: w, times: times}
}

// Publish stores an event and returns when a stream has acknowledged it. Without an error, and only
// then, the event is stored. It does not end early with ctx: a client that is gone changes nothing about
// the push. Errors: bus.ErrTooLarge when no stream ever takes it, else what the last try said, within Times.
func (p *Publisher) Publish(ctx context.Context, e *eventv1.InboundEvent) (Stored, error) {
	data, err := proto.Marshal(e)
	if err != nil {
		return Stored{}, fault.Errorf(fault.Invalid, "encode event: %w", err)
	}
	home, err := topology.SubjectInbound(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid())
	if err != nil {
		return Stored{}, err
	}
	start := time.Now()
	ctx = context.WithoutCancel(ctx)
	msg := bus.Msg{Subject: home, ID: e.GetId(), Data: data}
	stored, err := p.tryHome(ctx, msg)
	if err == nil || moveFor(err) == give {
		return stored, err
	}
	ctx, cancel := context.WithDeadline(ctx, start.Add(p.times.Total))
	defer cancel()
	spill, serr := topology.SubjectSpill(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid())
	if serr != nil {
		return Stored{}, serr
	}
	p.Spills(ctx, err)
	return p.tryBoth(ctx, msg, way{spill: spill, last: isLast(e)}, err)
}

// way is that of a push which the home stream did not take.
type way struct {
	spill string // its subject on the spill stream
	last  bool   // WeChat does not send it again
}

// lastAttempt is how late WeChat's last attempt seems at least, and none before it: attempts begin five seconds apart,
// and the moment of the first one is told in whole seconds.
const lastAttempt = 7 * time.Second

// isLast tells whether WeChat will not send the push again if this attempt is refused.
func isLast(e *eventv1.InboundEvent) bool {
	return e.GetReceivedUnixMs()-1000*e.GetCreateTime() >= lastAttempt.Milliseconds()
}

// tryHome tries the home stream until it acknowledges, says that another stream is needed, or its time
// is over, and not before everything that the fan sent earlier is there.
func (p *Publisher) tryHome(ctx context.Context, msg bus.Msg) (Stored, error) {
	// Nearly every push needs one try, and no context for it.
	msg.Patience = p.times.Primary
	start := time.Now()
	stored, err := p.onceHome(ctx, msg)
	if err == nil || !repeats(err) {
		return stored, err
	}
	ctx, cancel := context.WithDeadline(ctx, start.Add(p.times.Primary))
	defer cancel()
	for repeats(err) && pause(ctx, moveFor(err)) {
		if stored, err = p.onceHome(ctx, msg); err == nil {
			return stored, nil
		}
	}
	return Stored{}, err
}

func (p *Publisher) onceHome(ctx context.Context, msg bus.Msg) (Stored, error) {
	if _, err := p.Away.hold(msg.Subject, msg.ID); err != nil {
		return Stored{}, err
	}
	ack, err := p.Home.Publish(ctx, msg)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Stream: ack.Stream, Seq: ack.Seq, Duplicate: ack.Duplicate}, nil
}

// repeats tells whether the same stream shall be asked again.
func repeats(err error) bool {
	move := moveFor(err)
	return move == again || move == slow
}

// tryBoth tries the spill stream and, in between, the home stream again unless the push would overtake others of
// its fan there, until one acknowledges. A push that would be lost otherwise may overtake them with its last tries.
// The error is the last one that was not only the end of the time; cause is that of the home stream.
func (p *Publisher) tryBoth(ctx context.Context, msg bus.Msg, w way, cause error) (Stored, error) {
	home, toSpill := msg.Subject, true
	// The others hear it from the server; this gateway must know it before the fan's next push is here.
	nowhere := p.Away.Leave(home, msg.ID)
	for {
		msg.Subject = home
		if toSpill {
			msg.Subject = w.spill
		}
		ack, err := p.tryOnce(ctx, msg)
		if err == nil {
			p.arrived(msg.ID, ack, toSpill)
			return Stored{Stream: ack.Stream, Seq: ack.Seq, Duplicate: ack.Duplicate, Spilled: toSpill}, nil
		}
		if ctx.Err() == nil {
			cause = err
		}
		nowhere = nowhere && (!toSpill || refused(err))
		move := moveFor(err)
		if move == give || !pause(ctx, move) {
			if nowhere {
				p.Away.Forget(msg.ID)
			}
			return Stored{}, cause
		}
		// A stream that has the message in process acknowledges it next time.
		if move != again {
			held, _ := p.Away.hold(home, msg.ID)
			toSpill = !toSpill || held == spillOnly && (!w.last || !p.ending(ctx))
		}
	}
}

// ending tells whether there is time for a few more tries only.
func (p *Publisher) ending(ctx context.Context) bool {
	end, _ := ctx.Deadline()
	return time.Until(end) < 2*p.times.Primary
}

// arrived notes where a push is that was sent to the spill stream.
func (p *Publisher) arrived(id string, ack bus.Ack, spilled bool) {
	if spilled {
		p.Away.Stored(id, ack.Seq)
		return
	}
	p.AtHome(id)
}

// tryOnce gives one try as long as the home stream has: a leader that died must not eat the rest.
func (p *Publisher) tryOnce(ctx context.Context, msg bus.Msg) (bus.Ack, error) {
	msg.Patience = p.times.Primary
	return p.Single.Publish(ctx, msg)
}

// move is what to do about a failed publish.
type move uint8

const (
	// spill: this stream does not take it now; try the other one.
	spill move = iota
	// again: the same stream decides soon.
	again
	// slow: the server has too much to do; wait longer, then the same.
	slow
	// give: no stream will ever take it.
	give
)

// moves is the error table of the gateway (reliability.md 1.2). What is not in it spills: the second
// stream is the better guess whatever is wrong with the first.
var moves = []struct {
	err  error
	move move
}{
	{bus.ErrDuplicateInProcess, again}, // neither stored nor refused: asked again it is a duplicate
	{bus.ErrThrottled, slow},
	{bus.ErrTooLarge, give},
	{bus.ErrTimeout, spill}, // may be stored; the same id makes that harmless
	{bus.ErrNoStream, spill},
	{bus.ErrStreamFull, spill},
	{bus.ErrSubjectFull, spill},
	{bus.ErrUnavailable, spill},
	{bus.ErrDisconnected, spill},
}

// refusals are answers after which a message is certainly not stored.
var refusals = []error{bus.ErrStreamFull, bus.ErrSubjectFull, bus.ErrNoStream, bus.ErrDisconnected, bus.ErrTooLarge, bus.ErrThrottled}

func refused(err error) bool {
	return slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
}

func moveFor(err error) move {
	for _, m := range moves {
		if errors.Is(err, m.err) {
			return m.move
		}
	}
	return spill
}

// pause waits before the next try; it reports false when the time is over.
func pause(ctx context.Context, m move) bool {
	least, spread := 20*time.Millisecond, 80*time.Millisecond
	if m == slow {
		least, spread = 100*time.Millisecond, 50*time.Millisecond
	}
	t := time.NewTimer(least + rand.N(spread)) //nolint:gosec // spreads retries, no secret
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
