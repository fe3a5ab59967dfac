package tokens

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Follower keeps up with the bucket tokens: it tells every change of every record, in the order of
// the revisions of a key, from one goroutine.
type Follower struct {
	*bus.Follower
	sealer *secret.Sealer
	log    *slog.Logger
	apply  func(key string, rec *tokenv1.TokenRecord, revision uint64)
}

// NewFollower returns a follower that calls apply for each change; rec is nil when the key is gone.
// A record that cannot be opened is logged and left out. apply must be quick.
func NewFollower(kv jetstream.KeyValue, sealer *secret.Sealer, log *slog.Logger, apply func(key string, rec *tokenv1.TokenRecord, revision uint64)) *Follower {
	f := &Follower{sealer: sealer, log: log, apply: apply}
	f.Follower = bus.NewFollower(kv, log, f.takeAll)
	return f
}

// Start opens the watch and returns when everything that the bucket holds now was applied. The watch
// survives lost connections and lives until Stop.
func (f *Follower) Start(ctx context.Context) error {
	if f.sealer == nil {
		return fault.New(fault.Invalid, "master_key: must be set: tokens are stored sealed")
	}
	return f.Follower.Start(ctx)
}

func (f *Follower) takeAll(entries []jetstream.KeyValueEntry) {
	for _, entry := range entries {
		f.take(entry)
	}
}

func (f *Follower) take(entry jetstream.KeyValueEntry) {
	if entry.Operation() != jetstream.KeyValuePut {
		f.apply(entry.Key(), nil, entry.Revision())
		return
	}
	rec, err := OpenRecord(f.sealer, entry.Key(), entry.Value())
	if err != nil {
		f.log.Error("token record is not readable", "key", entry.Key(), logkey.Error, err)
		return
	}
	f.apply(entry.Key(), rec, entry.Revision())
}
