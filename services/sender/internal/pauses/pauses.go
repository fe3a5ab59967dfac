// Package pauses shares the pauses of gates between replicas and over restarts: when WeChat says to
// one replica that the quota of a day is used up, no other one asks again.
package pauses

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// prefix keeps pauses apart from sends: those have two tokens, pauses three.
const prefix = "pause."

const (
	reopenMin = 200 * time.Millisecond
	reopenMax = 5 * time.Second
	drainTime = 2 * time.Second
)

// Pauses follows the pauses in the bucket sends. It is a lifecycle.Component and safe for concurrent use.
type Pauses struct {
	kv    jetstream.KeyValue
	gates *pace.Gates
	log   *slog.Logger

	mu     sync.Mutex // guards cancel and done
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns pauses that are applied to gates.
func New(kv jetstream.KeyValue, gates *pace.Gates, log *slog.Logger) *Pauses {
	return &Pauses{kv: kv, gates: gates, log: log}
}

// Name implements lifecycle.Component.
func (p *Pauses) Name() string { return "sender pauses" }

// Set holds back calls here at once and, when the bus can be reached, everywhere.
func (p *Pauses) Set(ctx context.Context, key pace.Key, pause pace.Pause) {
	p.gates.Pause(key, pause)
	if err := p.store(ctx, key, pause); err != nil {
		p.log.WarnContext(ctx, "pause not shared with other replicas",
			logkey.Account, key.Account, logkey.Endpoint, key.Endpoint, logkey.Error, err)
	}
}

func (p *Pauses) store(ctx context.Context, key pace.Key, pause pace.Pause) error {
	name, err := topology.RecordKey(key.Account, key.Endpoint)
	if err != nil {
		return err
	}
	_, _, err = bus.UpdateKV(ctx, p.kv, prefix+name, func(cur *senderv1.PauseRecord, exists bool) (*senderv1.PauseRecord, error) {
		if exists && cur.GetUntilUnixMs() >= pause.Until.UnixMilli() {
			return nil, bus.ErrUnchanged
		}
		return &senderv1.PauseRecord{
			Account: key.Account, Endpoint: key.Endpoint, UntilUnixMs: pause.Until.UnixMilli(),
			Errcode: pause.Errcode, Reason: pause.Reason, Refuse: pause.Refuse,
		}, nil
	})
	return err
}

// Start applies the pauses that hold now and follows new ones until Stop.
func (p *Pauses) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		return errors.New("sender pauses: already started")
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	updates, err := p.open(ctx, life)
	if err != nil {
		cancel()
		return fault.Wrap(fault.Unavailable, fmt.Errorf("follow pauses: %w", err))
	}
	p.cancel, p.done = cancel, make(chan struct{})
	go p.run(life, updates, p.done)
	return nil
}

// Stop ends the watch and waits for its goroutine, until ctx ends.
func (p *Pauses) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return nil
	}
	p.cancel()
	select {
	case <-p.done:
		p.cancel = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop following pauses: %w", context.Cause(ctx))
	}
}

// open opens a watch that ends with life, and applies what the bucket holds now within ctx.
func (p *Pauses) open(ctx, life context.Context) (<-chan jetstream.KeyValueEntry, error) {
	// NATS ends the watch together with the context it was opened with, so it gets one of its own.
	watch, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	w, err := p.kv.Watch(watch, prefix+"*.*", jetstream.IgnoreDeletes())
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
		p.apply(entry)
	}
	cancel()
	return nil, errors.Join(errors.New("watch ended"), context.Cause(ctx))
}

func (p *Pauses) run(life context.Context, updates <-chan jetstream.KeyValueEntry, done chan struct{}) {
	defer close(done)
	for wait := reopenMin; ; {
		p.follow(life, updates)
		select {
		case <-life.Done():
			return
		case <-time.After(wait):
		}
		fresh, err := p.open(life, life)
		if err != nil {
			p.log.WarnContext(life, "watch of pauses lost", logkey.Error, err)
			wait = min(2*wait, reopenMax)
			updates = closed
			continue
		}
		updates, wait = fresh, reopenMin
	}
}

// closed stands for a watch that could not be opened.
var closed = func() chan jetstream.KeyValueEntry {
	c := make(chan jetstream.KeyValueEntry)
	close(c)
	return c
}()

// follow applies pauses until the watch ends. After life has ended it drains the watch, which would
// else block in the client library.
func (p *Pauses) follow(life context.Context, updates <-chan jetstream.KeyValueEntry) {
	var limit <-chan time.Time
	ended := life.Done()
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return
			}
			if entry != nil && ended != nil {
				p.apply(entry)
			}
		case <-ended:
			ended, limit = nil, time.After(drainTime)
		case <-limit:
			return
		}
	}
}

func (p *Pauses) apply(entry jetstream.KeyValueEntry) {
	rec := &senderv1.PauseRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		p.log.Error("pause is not readable", logkey.Error, err)
		return
	}
	p.gates.Pause(pace.Key{Account: rec.GetAccount(), Endpoint: rec.GetEndpoint()}, pace.Pause{
		Until: time.UnixMilli(rec.GetUntilUnixMs()), Errcode: rec.GetErrcode(), Reason: rec.GetReason(), Refuse: rec.GetRefuse(),
	})
}
