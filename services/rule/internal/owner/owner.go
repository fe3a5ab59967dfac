// Package owner knows who may talk to a fan: while it is not the bot, rules are silent.
package owner

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
)

// keptEpochs bounds the fans of the bot whose epoch is remembered: those whose owner changed last,
// because only they can change hands while a reply is on its way.
const keptEpochs = 1 << 16

// Registry follows the bucket owners. It is safe for concurrent use.
type Registry struct {
	log *slog.Logger

	mu     sync.RWMutex // guards the fields below
	others map[string]*agentroutingv1.Owner
	epochs map[string]uint64
	ring   []string // keys of epochs in the order in which they came, from next
	next   int

	follower *bus.Follower // nil until Start
}

// New returns a registry that knows nothing until Start.
func New(log *slog.Logger) *Registry {
	return &Registry{
		log: log, others: map[string]*agentroutingv1.Owner{}, epochs: map[string]uint64{}, ring: make([]string, keptEpochs),
	}
}

// Start returns when every owner of the bucket is known.
func (r *Registry) Start(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, topology.BucketOwners)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "open bucket %s: %w", topology.BucketOwners, err)
	}
	r.follower = bus.NewFollower(kv, r.log, r.take)
	return r.follower.Start(ctx)
}

// Stop ends the watch and waits for it, until ctx ends. It may be called twice and without Start.
func (r *Registry) Stop(ctx context.Context) error {
	if r.follower == nil {
		return nil
	}
	return r.follower.Stop(ctx)
}

func (r *Registry) take(entries []jetstream.KeyValueEntry) {
	for _, entry := range entries {
		r.takeOne(entry)
	}
}

func (r *Registry) takeOne(entry jetstream.KeyValueEntry) {
	var record agentroutingv1.OwnerRecord
	if entry.Operation() == jetstream.KeyValuePut {
		if err := proto.Unmarshal(entry.Value(), &record); err != nil {
			r.log.Error("owner record cannot be read, the fan keeps the owner before",
				"revision", entry.Revision(), logkey.Error, err)
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.others, entry.Key())
	delete(r.epochs, entry.Key())
	switch owner := record.GetOwner(); owner.GetKind() {
	case agentroutingv1.OwnerKind_OWNER_KIND_UNSPECIFIED:
	case agentroutingv1.OwnerKind_OWNER_KIND_BOT:
		r.remember(entry.Key(), owner.GetEpoch())
	default:
		r.others[entry.Key()] = owner
	}
}

func (r *Registry) remember(key string, epoch uint64) {
	delete(r.epochs, r.ring[r.next])
	r.ring[r.next] = key
	r.next = (r.next + 1) % len(r.ring)
	r.epochs[key] = epoch
}

// Of returns why rules are silent towards a fan, or "" and the epoch under which they may talk; an
// epoch of zero is not known, so nothing guards the reply.
func (r *Registry) Of(account, openid string) (silent string, epoch uint64) {
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return "", 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	owner, ok := r.others[key]
	if !ok {
		return "", r.epochs[key]
	}
	kind := strings.ToLower(strings.TrimPrefix(owner.GetKind().String(), "OWNER_KIND_"))
	return strings.TrimSpace(fmt.Sprintf("owner %s %s", kind, owner.GetName())), 0
}
