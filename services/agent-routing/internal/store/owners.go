// Package store keeps the records of owners in the bucket owners. Every change is a
// compare-and-set, so replicas need no lock.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

var errNotOpen = fault.New(fault.Unavailable, "the bucket of owners is not open yet")

// Owners reads and changes records. It is safe for concurrent use.
type Owners struct {
	kv  atomic.Pointer[jetstream.KeyValue]
	now func() time.Time
}

// NewOwners returns a store that answers Unavailable until Open.
func NewOwners(now func() time.Time) *Owners { return &Owners{now: now} }

// Open finds the bucket, which must have been provisioned.
func (o *Owners) Open(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, topology.BucketOwners)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", topology.BucketOwners, err)
	}
	o.kv.Store(&kv)
	return nil
}

// Bucket returns the open bucket, or an Unavailable fault.
func (o *Owners) Bucket() (jetstream.KeyValue, error) {
	kv := o.kv.Load()
	if kv == nil {
		return nil, errNotOpen
	}
	return *kv, nil
}

// Get returns the record of a fan; the bot is the owner of a fan about whom nothing is kept.
func (o *Owners) Get(ctx context.Context, account, openID string) (domain.Record, error) {
	kv, err := o.Bucket()
	if err != nil {
		return domain.Record{}, err
	}
	key, err := topology.FanKey(account, openID)
	if err != nil {
		return domain.Record{}, err
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return domain.New(account, openID), nil
	}
	if err != nil {
		return domain.Record{}, fault.Errorf(fault.Unavailable, "read owner: %w", err)
	}
	return Decode(entry.Value())
}

// Change applies a command to the newest record and stores the result. It tells whether the record
// changed, and returns the newest record also when it did not. Errors are those of domain.Apply, and
// Unavailable when the bucket does not answer.
func (o *Owners) Change(ctx context.Context, account, openID string, c domain.Command) (domain.Record, bool, error) {
	kv, err := o.Bucket()
	if err != nil {
		return domain.Record{}, false, err
	}
	key, err := topology.FanKey(account, openID)
	if err != nil {
		return domain.Record{}, false, err
	}
	var newest domain.Record
	var changed bool
	_, _, err = bus.UpdateKV(ctx, kv, key, func(cur *agentroutingv1.OwnerRecord, exists bool) (*agentroutingv1.OwnerRecord, error) {
		before := domain.New(account, openID)
		if exists {
			before = wire.Record(cur)
		}
		var applyErr error
		newest, changed, applyErr = domain.Apply(before, c, o.now().UTC())
		switch {
		case applyErr != nil:
			return nil, applyErr
		case !changed:
			return nil, bus.ErrUnchanged
		default:
			return wire.Stored(newest), nil
		}
	})
	if err != nil {
		return domain.Record{}, false, fmt.Errorf("change owner: %w", err)
	}
	return newest, changed, nil
}

// Decode reads the value of a key of the bucket.
func Decode(value []byte) (domain.Record, error) {
	var rec agentroutingv1.OwnerRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return domain.Record{}, fault.Errorf(fault.Permanent, "decode owner record: %w", err)
	}
	return wire.Record(&rec), nil
}
