// Package sends keeps the state of every message in the bucket sends. Changes follow the table of
// package sendstate and are compare-and-set, so that two workers cannot both make one.
package sends

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

// ErrExists is returned by Create for an id that is taken.
var ErrExists = fault.New(fault.Conflict, "the send exists")

// ErrNotFound is returned for an id that is not known, or was forgotten after seven days.
var ErrNotFound = fault.New(fault.NotFound, "no such send")

// ErrClosed is returned when the connection to the bus was closed for good: no repeat can help.
var ErrClosed = fault.New(fault.Unavailable, "the connection to the bus is closed")

// Record is a send as of a revision. Rec must not be changed.
type Record struct {
	Rec      *senderv1.SendRecord
	Revision uint64
}

// Store is safe for concurrent use.
type Store struct {
	kv  jetstream.KeyValue
	now func() time.Time
}

// New returns a store on the bucket sends.
func New(kv jetstream.KeyValue, now func() time.Time) *Store { return &Store{kv: kv, now: now} }

// Create stores a new send. It fails with ErrExists when the id is taken.
func (s *Store) Create(ctx context.Context, account string, rec *senderv1.SendRecord) (Record, error) {
	key, value, err := encode(account, rec)
	if err != nil {
		return Record{}, err
	}
	revision, err := s.kv.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return Record{}, ErrExists
	}
	if err != nil {
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("create send: %w", err))
	}
	return Record{rec, revision}, nil
}

// Get returns a send, or ErrNotFound. In a cluster the answer may be a moment old; Change finds that out.
func (s *Store) Get(ctx context.Context, account, id string) (Record, error) {
	key, err := topology.RecordKey(account, id)
	if err != nil {
		return Record{}, err
	}
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read send: %w", err))
	}
	rec := &senderv1.SendRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return Record{}, fault.Errorf(fault.Permanent, "decode send: %w", err)
	}
	return Record{rec, entry.Revision()}, nil
}

// Change applies one change to the record of that revision. It fails with sendstate.ErrNotAllowed when
// the table forbids it or somebody else was first, and with Unavailable when nobody can tell; ErrClosed is one of these.
func (s *Store) Change(ctx context.Context, account string, cur Record, change sendstate.Change) (Record, error) {
	next, err := sendstate.Apply(cur.Rec, change, s.now())
	if err != nil {
		return Record{}, err
	}
	key, value, err := encode(account, next)
	if err != nil {
		return Record{}, err
	}
	revision, err := s.kv.Update(ctx, key, value, cur.Revision)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists) {
		return Record{}, sendstate.ErrNotAllowed
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return Record{}, ErrClosed
	}
	if err != nil {
		return Record{}, fault.Wrap(fault.Unavailable, fmt.Errorf("change send: %w", err))
	}
	return Record{next, revision}, nil
}

func encode(account string, rec *senderv1.SendRecord) (string, []byte, error) {
	key, err := topology.RecordKey(account, rec.GetId())
	if err != nil {
		return "", nil, err
	}
	value, err := proto.Marshal(rec)
	if err != nil {
		return "", nil, fmt.Errorf("encode send: %w", err)
	}
	return key, value, nil
}
