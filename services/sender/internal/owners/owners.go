// Package owners reads who may talk to a fan. The bucket belongs to agent routing.
package owners

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Owners reads the bucket owners. It is safe for concurrent use.
type Owners struct{ kv jetstream.KeyValue }

// New returns a reader of the bucket.
func New(kv jetstream.KeyValue) *Owners { return &Owners{kv} }

// Newer tells whether the owner of the fan has changed since epoch. Zero means that nobody asks.
func (o *Owners) Newer(ctx context.Context, account, openid string, epoch uint64) (bool, error) {
	if epoch == 0 {
		return false, nil
	}
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return false, err
	}
	entry, err := o.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Wrap(fault.Unavailable, fmt.Errorf("read owner: %w", err))
	}
	rec := &agentroutingv1.OwnerRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return false, fault.Errorf(fault.Internal, "decode owner: %w", err)
	}
	return rec.GetOwner().GetEpoch() > epoch, nil
}
