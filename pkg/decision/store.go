package decision

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

const (
	// maxTries bounds a change that loses against others: more writers than claims cannot be.
	maxTries = 2 * MaxClaims
	// maxBackoff is the longest pause between two tries.
	maxBackoff = 20 * time.Millisecond
	// maxAwaits bounds the subscriptions of Await.
	maxAwaits = 4096
	// pollEvery is how often Await reads without a hint. A hint can be lost with a connection.
	pollEvery = 500 * time.Millisecond
)

// Store reads and writes decision records on the stream DECISIONS. Every write is a compare-and-set
// on the sequence of the last version, every read goes to the leader of the stream. It is safe for
// concurrent use; it ends with its connection and has nothing to close.
type Store struct {
	conn   *bus.Conn
	topo   *topology.Topology
	now    func() time.Time
	poll   time.Duration
	slots  chan struct{}
	stream *atomic.Pointer[jetstream.Stream]
}

// NewStore returns a store on a connection. It does not touch the network.
func NewStore(conn *bus.Conn, t *topology.Topology) *Store {
	return &Store{
		conn: conn, topo: t, now: time.Now, poll: pollEvery,
		slots:  make(chan struct{}, maxAwaits),
		stream: new(atomic.Pointer[jetstream.Stream]),
	}
}

// WithClock returns the store with another clock, which decides what is before passive_until.
func (s *Store) WithClock(now func() time.Time) *Store {
	c := *s
	c.now = now
	return &c
}

// Create writes the first version of a record and returns its sequence. It fails with ErrExists when
// there is one. After a fault.Unavailable the record may have been written: read it, and do not take
// a record that is there for one's own.
func (s *Store) Create(ctx context.Context, rec *rulev1.DecisionMade) (uint64, error) {
	seq, err := s.write(ctx, rec, 0)
	if errors.Is(err, bus.ErrWrongSequence) {
		err = ErrExists
	}
	if err != nil {
		return 0, fmt.Errorf("create decision %s: %w", rec.GetId(), err)
	}
	return seq, nil
}

// Get returns the record of a push and its sequence, or ErrNotFound.
func (s *Store) Get(ctx context.Context, account, openid, id string) (*rulev1.DecisionMade, uint64, error) {
	subject, err := s.subject(account, openid, id)
	if err != nil {
		return nil, 0, err
	}
	rec, seq, err := s.read(ctx, subject)
	if err != nil {
		return nil, 0, fmt.Errorf("read decision %s: %w", id, err)
	}
	return rec, seq, nil
}

// Change applies a command to the record as it is: it reads, applies and writes, and starts again
// when somebody else was faster, a bounded number of times. It returns the record after the command
// and its sequence; when the record said so already, that is the record as it was. It fails with
// ErrForbidden when the table forbids the command, ErrNotFound, ErrContended, or fault.Unavailable:
// then the change may have been written, and repeating the command is safe.
func (s *Store) Change(ctx context.Context, account, openid, id string, c Command) (*rulev1.DecisionMade, uint64, error) {
	subject, err := s.subject(account, openid, id)
	if err != nil {
		return nil, 0, err
	}
	last := ErrContended
	for try := range maxTries {
		if err := pause(ctx, try); err != nil {
			return nil, 0, fmt.Errorf("change decision %s: %w", id, errors.Join(last, err))
		}
		rec, seq, err := s.read(ctx, subject)
		if err != nil {
			return nil, 0, fmt.Errorf("change decision %s: %w", id, err)
		}
		rec, seq, err = s.ChangeAt(ctx, rec, seq, c)
		switch {
		case errors.Is(err, ErrContended), fault.KindOf(err) == fault.Unavailable && ctx.Err() == nil:
			last = err // repeated commands are harmless, so an unknown outcome is worth another look
		default:
			return rec, seq, err
		}
	}
	return nil, 0, last
}

// ChangeAt applies a command to the version seq of a record, which the caller has read. It fails like
// Change, but with ErrContended at once when seq is not the last version.
func (s *Store) ChangeAt(ctx context.Context, rec *rulev1.DecisionMade, seq uint64, c Command) (*rulev1.DecisionMade, uint64, error) {
	next, err := Apply(rec, c, s.now())
	switch {
	case errors.Is(err, ErrUnchanged):
		return rec, seq, nil
	case err != nil:
		return nil, 0, fmt.Errorf("change decision %s: %w", rec.GetId(), err)
	}
	at, err := s.write(ctx, next, seq)
	if errors.Is(err, bus.ErrWrongSequence) {
		err = ErrContended
	}
	if err != nil {
		return nil, 0, fmt.Errorf("change decision %s: %w", rec.GetId(), err)
	}
	return next, at, nil
}

func (s *Store) write(ctx context.Context, rec *rulev1.DecisionMade, expect uint64) (uint64, error) {
	subject, err := s.subject(rec.GetAccount(), rec.GetOpenid(), rec.GetId())
	if err != nil {
		return 0, err
	}
	data, err := proto.Marshal(rec)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err)
	}
	ack, err := s.conn.Publish(ctx, bus.Msg{Subject: subject, Data: data, ExpectLastSubjectSeq: &expect})
	return ack.Seq, err
}

func (s *Store) subject(account, openid, id string) (string, error) {
	return topology.SubjectDecision(account, s.topo.Partition(account, openid), id)
}

// read asks the leader of the stream: a follower may not have the last version yet.
func (s *Store) read(ctx context.Context, subject string) (*rulev1.DecisionMade, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, bus.AnswerTimeout)
	defer cancel()
	stream, err := s.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, 0, ErrNotFound
	case err != nil:
		return nil, 0, fault.Wrap(fault.Unavailable, err)
	}
	rec := new(rulev1.DecisionMade)
	if err := proto.Unmarshal(msg.Data, rec); err != nil {
		return nil, 0, fault.Wrap(fault.Permanent, err)
	}
	return rec, msg.Sequence, nil
}

// open returns the handle of the stream, which knows whether to read from the leader.
func (s *Store) open(ctx context.Context) (jetstream.Stream, error) {
	if p := s.stream.Load(); p != nil {
		return *p, nil
	}
	stream, err := s.conn.JS().Stream(ctx, topology.StreamDecisions)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "open stream %s: %w", topology.StreamDecisions, err)
	}
	s.stream.Store(&stream)
	return stream, nil
}

// pause waits a little longer after every try but the first.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(rand.N(min(time.Millisecond<<try, maxBackoff))) //nolint:gosec // spreads retries, no secret
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
