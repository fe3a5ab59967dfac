// Package owners keeps the bucket owners, which rule and sender read: who may talk to each fan, under which epoch. The database
// decides; the bucket follows and never goes back to an older epoch.
package owners

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

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

// Owners reads and writes the bucket. It is safe for concurrent use.
type Owners struct {
	kv atomic.Pointer[jetstream.KeyValue]
}

// New returns owners that answer Unavailable until Open.
func New() *Owners { return &Owners{} }

// Open finds the bucket, which must have been provisioned.
func (o *Owners) Open(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, topology.BucketOwners)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", topology.BucketOwners, err)
	}
	o.kv.Store(&kv)
	return nil
}

func (o *Owners) at(account, openID string) (jetstream.KeyValue, string, error) {
	kv := o.kv.Load()
	if kv == nil {
		return nil, "", errNotOpen
	}
	key, err := topology.FanKey(account, openID)
	return *kv, key, err
}

// Owner returns who may talk to a fan, and whether anything is kept about them.
func (o *Owners) Owner(ctx context.Context, account, openID string) (domain.Owner, bool, error) {
	kv, key, err := o.at(account, openID)
	if err != nil {
		return domain.Owner{}, false, err
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return domain.Owner{Kind: domain.Bot}, false, nil
	}
	if err != nil {
		return domain.Owner{}, false, fault.Errorf(fault.Unavailable, "read owner: %w", err)
	}
	var rec agentroutingv1.OwnerRecord
	if err := proto.Unmarshal(entry.Value(), &rec); err != nil {
		return domain.Owner{}, false, fault.Errorf(fault.Permanent, "decode owner record: %w", err)
	}
	return wire.OwnerOf(rec.GetOwner()), true, nil
}

// Project writes a record unless the bucket has it or a newer one.
func (o *Owners) Project(ctx context.Context, record *agentroutingv1.OwnerRecord) error {
	kv, key, err := o.at(record.GetAccount(), record.GetOpenid())
	if err != nil {
		return err
	}
	_, _, err = bus.UpdateKV(ctx, kv, key, func(cur *agentroutingv1.OwnerRecord, exists bool) (*agentroutingv1.OwnerRecord, error) {
		if exists && cur.GetOwner().GetEpoch() >= record.GetOwner().GetEpoch() {
			return nil, bus.ErrUnchanged
		}
		return record, nil
	})
	if err != nil {
		return fmt.Errorf("write owner: %w", err)
	}
	return nil
}

// Forget removes what is kept about a fan, every revision of it, and tells whether there was anything.
func (o *Owners) Forget(ctx context.Context, account, openID string) (bool, error) {
	kv, key, err := o.at(account, openID)
	if err != nil {
		return false, err
	}
	if _, err := kv.Get(ctx, key); errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err := kv.Purge(ctx, key); err != nil {
		return false, fault.Errorf(fault.Unavailable, "forget owner: %w", err)
	}
	return true, nil
}
