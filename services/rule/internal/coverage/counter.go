// Package coverage counts what the rules decided, and collects the texts that no rule asked for.
//
// One process at a time reads the decisions. How far it has come is kept in the database and moves in the same
// transaction as the counts: a decision is counted once, whoever dies, and nothing is counted while the database is
// down, but later. Decisions are kept for three days, so it may be down that long.
//
// A decision is counted when its first reply has gone its way. One whose reply two gateways wrote, because WeChat
// asked again, may be counted twice when the counting moves to another process between the two.
package coverage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/recorded"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const (
	lease        = 15 * time.Second
	renewEvery   = lease / 3
	maxBatch     = 2_000                  // decisions in one write
	writeEvery   = time.Second            // the longest that a decision waits to be written
	pollEvery    = 100 * time.Millisecond // how long a read waits within that
	firstRetry   = 500 * time.Millisecond
	lastRetry    = lease
	lookups      = 16 // of pushes at once
	lookupTime   = 5 * time.Second
	releaseTime  = 2 * time.Second
	pruneEvery   = time.Hour
	maxRecentIDs = 50_000
)

// Options of a Counter.
type Options struct {
	JS jetstream.JetStream
	// DB returns the database, or Unavailable.
	DB func() (*sqldb.DB, error)
	// Rules returns the live rules, which tell what takes everything.
	Rules func() *ruleset.Set
	Log   *slog.Logger
	Now   func() time.Time
}

// Counter counts while it runs. Several may run; one of them counts.
type Counter struct {
	Options
	holder string
	cancel context.CancelFunc
	done   chan struct{}

	// Of the goroutine that counts:
	inbound  jetstream.Stream
	recent   recentIDs // that were counted
	written  time.Time // when the database was told last
	version  string    // that catchAll is of
	catchAll map[string]bool
	pruned   time.Time
}

// New returns a counter that Start starts.
func New(o Options) *Counter {
	return &Counter{Options: o, holder: rand.Text(), version: "none"}
}

// Start begins to count and returns at once.
func (c *Counter) Start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.done = make(chan struct{})
	go c.run(ctx)
}

// Stop ends the counting and lets another process go on at once. It may be called twice and without Start.
func (c *Counter) Stop() {
	if c.cancel == nil {
		return
	}
	c.cancel()
	<-c.done
	if db, err := c.DB(); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
		defer cancel()
		if err := release(ctx, db, c.holder); err != nil {
			c.Log.Info("another process counts decisions after a while only", logkey.Error, err)
		}
	}
	c.cancel = nil
}

func (c *Counter) run(ctx context.Context) {
	defer close(c.done)
	wait := firstRetry
	for ctx.Err() == nil {
		start := time.Now()
		err := c.count(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > lease {
			wait = firstRetry
		}
		if !errors.Is(err, errLost) && fault.KindOf(err) != fault.Unavailable {
			c.Log.WarnContext(ctx, "decisions are not counted for a while", logkey.Error, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// count reads decisions until that fails, or another process counts.
func (c *Counter) count(ctx context.Context) error {
	db, err := c.DB()
	if err != nil {
		return err
	}
	at, err := take(ctx, db, c.holder, c.Now(), lease)
	if err != nil {
		return err
	}
	if c.inbound, err = c.JS.Stream(ctx, topology.StreamInbound); err != nil {
		return fault.Errorf(fault.Unavailable, "open stream %s: %w", topology.StreamInbound, err)
	}
	reader, err := recorded.Open(ctx, c.JS, topology.StreamDecisions, recorded.From{Seq: at.sequence + 1})
	if err != nil {
		return err
	}
	defer func() { reader.Close() }()
	if created := reader.Created.UnixMilli(); at.stream != created {
		next := cursor{stream: created}
		if at.sequence > 0 { // another stream than the one that was read: begin again
			reader.Close()
			if reader, err = recorded.Open(ctx, c.JS, topology.StreamDecisions, recorded.From{}); err != nil {
				return err
			}
		}
		if err := write(ctx, db, newTally(), c.advance(at, next, c.Now())); err != nil {
			return err
		}
		at = next
	}
	for {
		if at, err = c.batch(ctx, db, reader, at); err != nil {
			return err
		}
		if c.Now().Sub(c.pruned) > pruneEvery {
			if err := prune(ctx, db, c.Now()); err != nil {
				return err
			}
			c.pruned = c.Now()
		}
	}
}

func (c *Counter) advance(from, to cursor, counted time.Time) advance {
	return advance{holder: c.holder, from: from, to: to, countedMs: counted.UnixMilli(), until: c.Now().Add(lease)}
}

// batch reads decisions for a while and writes what they add up to.
func (c *Counter) batch(ctx context.Context, db *sqldb.DB, reader *recorded.Reader, at cursor) (cursor, error) {
	var records []*rulev1.DecisionMade
	ids := map[string]bool{}
	next, counted, began := at, time.Time{}, time.Now()
	for n := 0; n < maxBatch && time.Since(began) < writeEvery; n++ {
		msg, err := reader.Next(ctx, pollEvery)
		if errors.Is(err, recorded.ErrNothing) {
			if counted = c.Now(); len(records) > 0 {
				break
			}
			continue
		}
		if err != nil {
			return at, err
		}
		next.sequence, counted = msg.Seq, msg.Stored
		rec := &rulev1.DecisionMade{}
		if proto.Unmarshal(msg.Data, rec) == nil && settled(rec) && !ids[rec.GetId()] && !c.recent.has(rec.GetId()) {
			ids[rec.GetId()] = true
			records = append(records, rec)
		}
	}
	if next == at && time.Since(c.written) < renewEvery {
		return at, nil
	}
	t, err := c.tally(ctx, records)
	if err != nil {
		return at, err
	}
	if err := write(ctx, db, t, c.advance(at, next, counted)); err != nil {
		return at, err
	}
	c.written = time.Now()
	for id := range ids {
		c.recent.add(id)
	}
	return next, nil
}

// tally adds decisions up. It looks the pushes of those up that no rule asked for.
func (c *Counter) tally(ctx context.Context, records []*rulev1.DecisionMade) (*tally, error) {
	catchAll := c.takesAll()
	pushes := make([]*eventv1.InboundEvent, len(records))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for i, rec := range records {
		if silent(rec) || rec.GetMatched() != "" || rec.GetRule() != "" && !catchAll[rec.GetRule()] {
			continue
		}
		group.Go(func() (err error) {
			pushes[i], err = c.push(ctx, rec)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	t := newTally()
	for i, rec := range records {
		t.add(rec, pushes[i])
	}
	return t, nil
}

// takesAll returns the rules that take everything.
func (c *Counter) takesAll() map[string]bool {
	if set := c.Rules(); set.Version != c.version {
		c.version, c.catchAll = set.Version, set.CatchAll()
	}
	return c.catchAll
}

// push returns the push of a decision, or nil when it is not stored any more.
func (c *Counter) push(ctx context.Context, rec *rulev1.DecisionMade) (*eventv1.InboundEvent, error) {
	if rec.GetInboundSequence() == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	msg, err := c.inbound.GetMsg(ctx, rec.GetInboundSequence())
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fault.Errorf(fault.Unavailable, "read push %d: %w", rec.GetInboundSequence(), err)
	}
	ev := &eventv1.InboundEvent{}
	if err := proto.Unmarshal(msg.Data, ev); err != nil {
		return nil, fmt.Errorf("decode push: %w", err)
	}
	if ev.GetId() != rec.GetId() {
		return nil, nil // the stream was made anew
	}
	return ev, nil
}

// recentIDs knows the last ids that were added, at most twice maxRecentIDs of them.
type recentIDs struct{ now, before map[string]struct{} }

func (r *recentIDs) has(id string) bool {
	_, now := r.now[id]
	_, before := r.before[id]
	return now || before
}

func (r *recentIDs) add(id string) {
	if r.now == nil || len(r.now) >= maxRecentIDs {
		r.now, r.before = map[string]struct{}{}, r.now
	}
	r.now[id] = struct{}{}
}
