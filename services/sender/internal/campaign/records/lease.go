package records

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// ErrTaken is returned when somebody else holds the lease.
var ErrTaken = fault.New(fault.Conflict, "another replica holds the lease")

// Seen is the lease of a campaign as it was seen last.
type Seen struct {
	Lease    *senderv1.CampaignLease
	Revision uint64
}

// Free tells whether the lease was given back or never taken.
func (s Seen) Free() bool { return s.Lease.GetHolder() == "" }

// LeaseOf returns the key of the record that a key of the bucket is the lease of.
func LeaseOf(key string) (record string, ok bool) { return strings.CutPrefix(key, leases) }

// DecodeLease reads an entry of the bucket.
func DecodeLease(entry jetstream.KeyValueEntry) (Seen, error) {
	l := &senderv1.CampaignLease{}
	if err := proto.Unmarshal(entry.Value(), l); err != nil {
		return Seen{}, fault.Errorf(fault.Permanent, "decode lease: %w", err)
	}
	return Seen{l, entry.Revision()}, nil
}

// Lease is the right to run one campaign. Whether it is over is decided by our own clock against the last
// renewal, and by others through watching that it is not renewed; clocks are never compared.
type Lease struct {
	store    *Store
	key      string
	holder   string
	epoch    uint64
	revision uint64       // changed by Renew and Release only
	renewed  atomic.Int64 // nanoseconds of the monotonic clock since start
	start    time.Time
}

// Acquire takes the lease as it was seen, for holder. The epoch is larger than that of the last holder and than least. It
// fails with ErrTaken when somebody was faster.
func (s *Store) Acquire(ctx context.Context, account, id, holder string, seen Seen, least uint64) (*Lease, error) {
	key, err := topology.RecordKey(account, id)
	if err != nil {
		return nil, err
	}
	l := &Lease{store: s, key: leases + key, holder: holder, epoch: max(seen.Lease.GetEpoch(), least) + 1, revision: seen.Revision, start: time.Now()}
	return l, l.write(ctx, holder)
}

// Epoch is larger than that of every holder before.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Renew keeps the lease. It fails with ErrTaken when it is lost.
func (l *Lease) Renew(ctx context.Context) error { return l.write(ctx, l.holder) }

// Release gives the lease back, so that nobody has to wait until it is over.
func (l *Lease) Release(ctx context.Context) error { return l.write(ctx, "") }

// Age is how long ago the last renewal began that was stored.
func (l *Lease) Age() time.Duration { return time.Since(l.start) - time.Duration(l.renewed.Load()) }

func (l *Lease) write(ctx context.Context, holder string) error {
	began := time.Since(l.start)
	value, err := proto.Marshal(&senderv1.CampaignLease{Holder: holder, Epoch: l.epoch})
	if err != nil {
		return fmt.Errorf("encode lease: %w", err)
	}
	var revision uint64
	if l.revision == 0 {
		revision, err = l.store.kv.Create(ctx, l.key, value)
	} else {
		revision, err = l.store.kv.Update(ctx, l.key, value, l.revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return ErrTaken
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("write lease: %w", err))
	}
	l.revision = revision
	l.renewed.Store(int64(began))
	return nil
}
