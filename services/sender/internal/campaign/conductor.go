package campaign

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/runner"
)

const (
	lookEvery  = 500 * time.Millisecond
	reopenMin  = 200 * time.Millisecond
	reopenMax  = 5 * time.Second
	drainTime  = 2 * time.Second
	restartMin = time.Second
	restartMax = 30 * time.Second
)

// conductor watches the bucket campaigns and runs the campaigns that nobody else runs. Its state belongs to the
// goroutine of run.
type conductor struct {
	*Campaigns
	p *parts

	cancel context.CancelFunc
	done   chan struct{}

	known  map[string]*campaign // by key of the record; only those that have not ended
	leases map[string]lease     // by key of the record; a few bytes for each campaign of the bucket
	runs   sync.WaitGroup
	ended  chan end
	busy   int // runs under way
}

// campaign is one that needs a runner, as it was seen last.
type campaign struct {
	rec     records.Record
	run     *run
	after   time.Time     // not before, after a run that failed
	restart time.Duration // pause after the next failure
}

// lease is a lease and when it was seen first as it is, by the monotonic clock.
type lease struct {
	records.Seen
	since time.Time
}

// end is told by a run that is over.
type end struct {
	key string
	err error
}

func newConductor(c *Campaigns, p *parts) *conductor {
	return &conductor{Campaigns: c, p: p, known: map[string]*campaign{}, leases: map[string]lease{}, ended: make(chan end)}
}

// start begins to watch and returns when every campaign is known.
func (c *conductor) start(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	updates, err := c.open(ctx, life)
	if err != nil {
		cancel()
		return fault.Wrap(fault.Unavailable, fmt.Errorf("follow campaigns: %w", err))
	}
	c.cancel, c.done = cancel, make(chan struct{})
	go c.loop(life, updates)
	return nil
}

// stop ends the runs, which write down what they know and give their leases back.
func (c *conductor) stop(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop campaigns: %w", context.Cause(ctx))
	}
}

// open opens a watch that ends with life, and takes in what the bucket holds now within ctx.
func (c *conductor) open(ctx, life context.Context) (<-chan jetstream.KeyValueEntry, error) {
	// NATS ends the watch together with the context it was opened with, so it gets one of its own.
	watch, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	w, err := c.p.kv.WatchAll(watch, jetstream.IgnoreDeletes())
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch bucket: %w", err)
	}
	updates := w.Updates()
	for entry := range updates {
		if entry == nil {
			if !stop() {
				break
			}
			context.AfterFunc(life, cancel)
			return updates, nil
		}
		c.seen(entry)
	}
	cancel()
	return nil, errors.Join(errors.New("watch ended"), context.Cause(ctx))
}

func (c *conductor) loop(life context.Context, updates <-chan jetstream.KeyValueEntry) {
	defer close(c.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var reopen <-chan time.Time
	wait := reopenMin
	for {
		select {
		case <-life.Done():
			c.finish(updates)
			return
		case entry, ok := <-updates:
			switch {
			case !ok:
				updates, reopen = nil, time.After(wait)
			case entry != nil:
				c.seen(entry)
				c.look(life)
			}
		case <-reopen:
			fresh, err := c.open(life, life)
			if err != nil {
				c.deps.Log.WarnContext(life, "watch of campaigns lost", logkey.Error, err)
				wait = min(2*wait, reopenMax)
				reopen = time.After(wait)
				continue
			}
			updates, reopen, wait = fresh, nil, reopenMin
		case e := <-c.ended:
			c.over(life, e)
		case <-tick.C:
			c.look(life)
		}
	}
}

// finish waits for the runs, and drains the watch, which would else block in the client library.
func (c *conductor) finish(updates <-chan jetstream.KeyValueEntry) {
	idle := make(chan struct{})
	go func() {
		c.runs.Wait()
		close(idle)
	}()
	for idle != nil {
		select {
		case <-c.ended:
		case _, ok := <-updates:
			if !ok {
				updates = nil
			}
		case <-idle:
			idle = nil
		}
	}
	limit := time.After(drainTime)
	for updates != nil {
		select {
		case _, ok := <-updates:
			if !ok {
				return
			}
		case <-limit:
			return
		}
	}
}

// seen takes an entry of the bucket in.
func (c *conductor) seen(entry jetstream.KeyValueEntry) {
	if key, ok := records.LeaseOf(entry.Key()); ok {
		seen, err := records.DecodeLease(entry)
		if err != nil {
			c.deps.Log.Error("lease is not readable", logkey.Error, err)
			return
		}
		c.leases[key] = lease{seen, time.Now()}
		return
	}
	rec, err := records.Decode(entry)
	if err != nil {
		c.deps.Log.Error("campaign is not readable", logkey.Error, err)
		return
	}
	c.record(entry.Key(), rec)
}

func (c *conductor) record(key string, rec records.Record) {
	known, ok := c.known[key]
	if !campaignstate.Active(rec.Rec.GetState()) && (!ok || known.run == nil) {
		delete(c.known, key)
		return
	}
	if !ok {
		known = &campaign{restart: restartMin}
		c.known[key] = known
	}
	known.rec = rec
	if known.run != nil {
		known.run.update(rec)
	}
}

// look starts runs of campaigns that nobody runs, as far as there is room.
func (c *conductor) look(life context.Context) {
	now := time.Now()
	for key, known := range c.known {
		if known.run != nil || c.busy >= c.cfg.Runners || now.Before(known.after) || !runner.Needed(known.rec.Rec, c.deps.Now()) {
			continue
		}
		lease := c.leases[key]
		own := lease.Lease.GetHolder() == c.deps.Instance
		if !lease.Free() && !own && now.Sub(lease.since) < c.cfg.Lease {
			continue
		}
		known.run = newRun(c.Campaigns, c.p, known.rec)
		c.busy++
		seen := lease.Seen
		c.runs.Go(func() {
			err := known.run.all(life, seen)
			c.ended <- end{key, err}
		})
	}
}

// over forgets a run. After a failure the campaign rests for a while, here; another replica may be luckier.
func (c *conductor) over(ctx context.Context, e end) {
	known := c.known[e.key]
	known.run = nil
	c.busy--
	if !campaignstate.Active(known.rec.Rec.GetState()) {
		delete(c.known, e.key)
		return
	}
	switch {
	case e.err == nil:
		known.restart = restartMin
	case errors.Is(e.err, records.ErrTaken):
		known.after = time.Now().Add(lookEvery)
	default:
		c.deps.Log.WarnContext(ctx, "campaign stopped running here", logkey.Account, known.rec.Rec.GetAccount(),
			logkey.Campaign, known.rec.Rec.GetId(), logkey.Error, e.err, "again_in", known.restart)
		known.after = time.Now().Add(known.restart)
		known.restart = min(2*known.restart, restartMax)
	}
}

// recordOf is what a campaign looks like to a runner: the newest of what the watch brought and what we wrote.
type recordOf struct {
	store       *records.Store
	account, id string
	wake        chan struct{}

	mu  sync.Mutex // guards rec
	rec records.Record
}

func (r *recordOf) update(rec records.Record) {
	r.mu.Lock()
	newer := rec.Revision > r.rec.Revision
	if newer {
		r.rec = rec
	}
	r.mu.Unlock()
	if newer {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Current implements runner.Records.
func (r *recordOf) Current() *senderv1.CampaignRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec.Rec
}

// Change implements runner.Records.
func (r *recordOf) Change(ctx context.Context, c campaignstate.Change) (*senderv1.CampaignRecord, error) {
	rec, err := r.store.Change(ctx, r.account, r.id, c)
	if errors.Is(err, campaignstate.ErrNotAllowed) || errors.Is(err, campaignstate.ErrUnchanged) {
		// The record is another one than we think.
		if fresh, getErr := r.store.Fresh(ctx, r.account, r.id); getErr == nil {
			r.update(fresh)
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	r.update(rec)
	return r.Current(), nil
}
