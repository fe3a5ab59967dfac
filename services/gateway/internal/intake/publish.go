// Package intake stores pushes: on the home stream or, while that does not acknowledge, on the
// spill stream, from which a mover brings them home. What cannot be stored as an event is parked.
package intake

import (
	"context"
	"errors"
	"math/rand/v2"
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

// Publisher stores events. It is safe for concurrent use.
type Publisher struct {
	// home takes the first try of every push, together with those of others; single takes what
	// must not wait for others.
	home, single Bus
	times        Times
	// spills hears of each event that leaves for the spill stream, and why.
	spills func(ctx context.Context, cause error)
}

// NewPublisher returns a publisher. The first try of a push goes to home, which may gather messages;
// further ones go to single. spills may be nil.
func NewPublisher(home, single Bus, times Times, spills func(ctx context.Context, cause error)) *Publisher {
	if spills == nil {
		spills = func(context.Context, error) {}
	}
	return &Publisher{home: home, single: single, times: times, spills: spills}
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
	p.spills(ctx, err)
	return p.tryBoth(ctx, msg, spill, err)
}

// tryHome tries the home stream until it acknowledges, says that another stream is needed, or its time
// is over.
func (p *Publisher) tryHome(ctx context.Context, msg bus.Msg) (Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, p.times.Primary)
	defer cancel()
	for {
		ack, err := p.home.Publish(ctx, msg)
		if err == nil {
			return Stored{Stream: ack.Stream, Seq: ack.Seq, Duplicate: ack.Duplicate}, nil
		}
		move := moveFor(err)
		if move == spill || move == give || !pause(ctx, move) {
			return Stored{}, err
		}
	}
}

// tryBoth tries the spill stream and, in between, the home stream again, until one acknowledges. The
// error is the last one that was not only the end of the time; cause is that of the home stream.
func (p *Publisher) tryBoth(ctx context.Context, msg bus.Msg, spillSubject string, cause error) (Stored, error) {
	home, toSpill := msg.Subject, true
	for {
		msg.Subject = home
		if toSpill {
			msg.Subject = spillSubject
		}
		ack, err := p.tryOnce(ctx, msg)
		if err == nil {
			return Stored{Stream: ack.Stream, Seq: ack.Seq, Duplicate: ack.Duplicate, Spilled: toSpill}, nil
		}
		if ctx.Err() == nil {
			cause = err
		}
		move := moveFor(err)
		if move == give || !pause(ctx, move) {
			return Stored{}, cause
		}
		// A stream that has the message in process acknowledges it next time.
		if move != again {
			toSpill = !toSpill
		}
	}
}

// tryOnce gives one try as long as the home stream has: a leader that died must not eat the rest.
func (p *Publisher) tryOnce(ctx context.Context, msg bus.Msg) (bus.Ack, error) {
	ctx, cancel := context.WithTimeout(ctx, p.times.Primary)
	defer cancel()
	return p.single.Publish(ctx, msg)
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
