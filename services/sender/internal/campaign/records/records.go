// Package records keeps the record of every campaign, and the lease of the replica that runs it, in the bucket
// campaigns.
package records

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
)

// leases keeps leases apart from records: their keys have three tokens, those of records two.
const leases = "lease."

// ErrNotFound is returned for a campaign that is not known, or was forgotten 90 days after its last change.
var ErrNotFound = fault.New(fault.NotFound, "no such campaign")

// ErrExists is returned by Create for an id that is taken.
var ErrExists = fault.New(fault.Conflict, "the campaign exists")

// Record is a campaign as of a revision. Rec must not be changed.
type Record struct {
	Rec      *senderv1.CampaignRecord
	Revision uint64
}

// Store is safe for concurrent use.
type Store struct {
	kv  jetstream.KeyValue
	now func() time.Time
}

// New returns a store on the bucket campaigns.
func New(kv jetstream.KeyValue, now func() time.Time) *Store { return &Store{kv: kv, now: now} }

// Create stores a new campaign. It fails with ErrExists when the id is taken.
func (s *Store) Create(ctx context.Context, rec *senderv1.CampaignRecord) error {
	key, err := topology.RecordKey(rec.GetAccount(), rec.GetId())
	if err != nil {
		return err
	}
	value, err := proto.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode campaign: %w", err)
	}
	_, err = s.kv.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return ErrExists
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("create campaign: %w", err))
	}
	return nil
}

// Get returns a campaign, or ErrNotFound. In a cluster the answer may be a moment old.
func (s *Store) Get(ctx context.Context, account, id string) (*senderv1.CampaignRecord, error) {
	rec, err := s.Fresh(ctx, account, id)
	return rec.Rec, err
}

// Fresh is Get with the revision.
func (s *Store) Fresh(ctx context.Context, account, id string) (Record, error) {
	key, err := topology.RecordKey(account, id)
	if err != nil {
		return Record{}, err
	}
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read campaign: %w", err))
	}
	return Decode(entry)
}

// Decode reads an entry of the bucket.
func Decode(entry jetstream.KeyValueEntry) (Record, error) {
	rec := &senderv1.CampaignRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return Record{}, fault.Errorf(fault.Permanent, "decode campaign: %w", err)
	}
	return Record{rec, entry.Revision()}, nil
}

// Change applies a change, however often somebody else is faster. Its errors are those of campaignstate.Apply, and ErrNotFound.
func (s *Store) Change(ctx context.Context, account, id string, c campaignstate.Change) (Record, error) {
	key, err := topology.RecordKey(account, id)
	if err != nil {
		return Record{}, err
	}
	rec, revision, err := bus.UpdateKV(ctx, s.kv, key, func(cur *senderv1.CampaignRecord, exists bool) (*senderv1.CampaignRecord, error) {
		if !exists {
			return nil, ErrNotFound
		}
		return campaignstate.Apply(cur, c, s.now())
	})
	if err != nil {
		return Record{}, err
	}
	return Record{rec, revision}, nil
}

// List returns the campaigns of an account, or of all accounts when it is empty, in no order.
func (s *Store) List(ctx context.Context, account string) ([]*senderv1.CampaignRecord, error) {
	if account == "" {
		account = "*"
	} else if err := topology.CheckToken("account", account); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.kv.Watch(ctx, account+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("list campaigns: %w", err))
	}
	var out []*senderv1.CampaignRecord
	for entry := range w.Updates() {
		if entry == nil {
			return out, nil
		}
		rec, err := Decode(entry)
		if err != nil {
			return nil, err
		}
		out = append(out, rec.Rec)
	}
	return nil, fault.Wrap(fault.Unavailable, errors.Join(errors.New("list campaigns: watch ended"), context.Cause(ctx)))
}
