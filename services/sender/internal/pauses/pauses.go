// Package pauses shares the pauses of gates between replicas and over restarts: when WeChat says to
// one replica that the quota of a day is used up, no other one asks again.
package pauses

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// prefix keeps pauses apart from sends: those have two tokens, pauses three.
const prefix = "pause."

// Pauses follows the pauses in the bucket sends. It is a lifecycle.Component and safe for concurrent use.
type Pauses struct {
	kv       jetstream.KeyValue
	gates    *pace.Gates
	log      *slog.Logger
	follower *bus.Follower
}

// New returns pauses that are applied to gates.
func New(kv jetstream.KeyValue, gates *pace.Gates, log *slog.Logger) *Pauses {
	p := &Pauses{kv: kv, gates: gates, log: log}
	p.follower = bus.NewFollower(kv, log, p.apply).Only(prefix+"*.*", jetstream.IgnoreDeletes())
	return p
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
func (p *Pauses) Start(ctx context.Context) error { return p.follower.Start(ctx) }

// Stop ends the watch and waits for its goroutine, until ctx ends.
func (p *Pauses) Stop(ctx context.Context) error { return p.follower.Stop(ctx) }

func (p *Pauses) apply(entries []jetstream.KeyValueEntry) {
	for _, entry := range entries {
		rec := &senderv1.PauseRecord{}
		if err := proto.Unmarshal(entry.Value(), rec); err != nil {
			p.log.Error("pause is not readable", logkey.Error, err)
			continue
		}
		p.gates.Pause(pace.Key{Account: rec.GetAccount(), Endpoint: rec.GetEndpoint()}, pace.Pause{
			Until: time.UnixMilli(rec.GetUntilUnixMs()), Errcode: rec.GetErrcode(), Reason: rec.GetReason(), Refuse: rec.GetRefuse(),
		})
	}
}
