package decision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Await returns the record of a push as soon as there is one. It fails when ctx ends
// (fault.Unavailable), or at once when too many callers wait (fault.Exhausted).
func (s *Store) Await(ctx context.Context, account, openid, id string) (*rulev1.DecisionMade, uint64, error) {
	return s.AwaitAfter(ctx, account, openid, id, 0)
}

// AwaitAfter returns the record of a push as soon as it has a version after the sequence after.
// It fails like Await. Errors of single reads are taken for "not yet", since NATS may recover
// before ctx ends.
//
// Whoever writes the record publishes on its subject, which the wait listens to. That is only a
// hint: a listener hears it before the stream has stored the message, misses it when it begins to
// listen in between, and misses it while it reconnects. So the beginning and every hint start a
// quick series of reads, which slows down to one in half a second.
func (s *Store) AwaitAfter(ctx context.Context, account, openid, id string, after uint64) (*rulev1.DecisionMade, uint64, error) {
	subject, err := s.subject(account, openid, id)
	if err != nil {
		return nil, 0, err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return nil, 0, fault.Errorf(fault.Exhausted, "await decision %s: %d wait already", id, cap(s.slots))
	}
	hint := make(chan struct{}, 1)
	sub, err := s.conn.NC().Subscribe(subject, func(*nats.Msg) {
		select {
		case hint <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, 0, fault.Errorf(fault.Unavailable, "await decision %s: %w", id, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed: then it is gone
	rec, seq, err := s.readUntil(ctx, subject, after, hint)
	if err != nil {
		return nil, 0, fault.Errorf(fault.Unavailable, "await decision %s: %w", id, err)
	}
	return rec, seq, nil
}

const (
	// firstLook is the pause between a hint and the second read after it; it doubles up to the slow pace.
	firstLook = 2 * time.Millisecond
	// readTimeout bounds one read of many: while the stream has no leader nobody answers.
	readTimeout = time.Second
)

// readUntil reads until there is a version after the given one.
func (s *Store) readUntil(ctx context.Context, subject string, after uint64, hint <-chan struct{}) (*rulev1.DecisionMade, uint64, error) {
	wait := firstLook
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var failed error
	for {
		rec, seq, err := s.readWithin(ctx, subject, readTimeout)
		if err == nil && seq > after {
			return rec, seq, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			failed = err
		}
		timer.Reset(wait)
		select {
		case <-hint:
			wait = firstLook
		case <-timer.C:
			wait = min(2*wait, s.poll)
		case <-ctx.Done():
			return nil, 0, joinCause(ctx.Err(), failed)
		}
	}
}

func (s *Store) readWithin(ctx context.Context, subject string, d time.Duration) (*rulev1.DecisionMade, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.read(ctx, subject)
}

func joinCause(end, failed error) error {
	if failed == nil {
		return end
	}
	return fmt.Errorf("%w; last error: %w", end, failed)
}
