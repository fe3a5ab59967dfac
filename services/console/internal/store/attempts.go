package store

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Limit says how many failed attempts are free, and how long the next ones wait: Base, doubled with each
// further failure, at most Max. Without an attempt for Forget everything is forgotten.
type Limit struct {
	Free      int
	Base, Max time.Duration
	Forget    time.Duration
}

const (
	// maxAttempts bounds the rows, whatever names somebody tries: beyond it the oldest are forgotten.
	maxAttempts = 100_000
	// sweepEvery is the number of attempts of a process from one look at the bound to the next.
	sweepEvery = 100
)

// TakeAttempt counts an attempt of a subject before it is made, so that many at once do not get more than
// their number. It fails with Exhausted and a delay while the subject has to wait.
func (s *Store) TakeAttempt(ctx context.Context, subject string, l Limit, now time.Time) error {
	var wait time.Duration
	sweep := s.attempts.Add(1)%sweepEvery == 1
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		wait = 0
		nowMS := now.UnixMilli()
		// Rows of others that nobody needs any more go along, so the table stays as small as the trouble.
		if _, err := tx.Exec(ctx, "DELETE FROM attempts WHERE last_ms < ? AND until_ms < ?", now.Add(-l.Forget).UnixMilli(), nowMS); err != nil {
			return err
		}
		if sweep {
			if _, err := tx.Exec(ctx, "DELETE FROM attempts WHERE last_ms < (SELECT last_ms FROM attempts ORDER BY last_ms DESC LIMIT 1 OFFSET ?)", s.maxAttempts-1); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO attempts (subject, failures, last_ms, until_ms) VALUES (?, 0, ?, 0) ON CONFLICT DO NOTHING", subject, nowMS); err != nil {
			return err
		}
		var failures int
		var until int64
		if err := tx.Row(ctx, "SELECT failures, until_ms FROM attempts WHERE subject = ?"+tx.ForUpdate(), []any{subject}, &failures, &until); err != nil {
			return err
		}
		if until > nowMS {
			wait = time.Duration(until-nowMS) * time.Millisecond
			return nil
		}
		failures++
		until = now.Add(l.delay(failures)).UnixMilli()
		_, err := tx.Exec(ctx, "UPDATE attempts SET failures = ?, last_ms = ?, until_ms = ? WHERE subject = ?", failures, nowMS, until, subject)
		return err
	})
	if err == nil && wait > 0 {
		return fault.Wrap(fault.Exhausted, fault.After(wait, fault.New(fault.Retryable, "too many attempts")))
	}
	return err
}

// delay is how long to wait after so many failures.
func (l Limit) delay(failures int) time.Duration {
	over := failures - l.Free
	if over < 0 {
		return 0
	}
	d := l.Base
	for range over {
		if d >= l.Max {
			return l.Max
		}
		d *= 2
	}
	return min(d, l.Max)
}

// ForgiveAttempt takes back the attempt that succeeded. With all, everything about the subject is forgotten.
func (s *Store) ForgiveAttempt(ctx context.Context, subject string, all bool) error {
	db, err := s.get()
	if err != nil {
		return err
	}
	if all {
		_, err = db.Exec(ctx, "DELETE FROM attempts WHERE subject = ?", subject)
		return err
	}
	_, err = db.Exec(ctx, "UPDATE attempts SET failures = CASE WHEN failures > 0 THEN failures - 1 ELSE 0 END, until_ms = 0 WHERE subject = ?", subject)
	return err
}

// LockedUntil returns when subjects that have to wait may try again, by subject.
func (s *Store) LockedUntil(ctx context.Context, nowMS int64) (map[string]int64, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	err = db.Each(ctx, "SELECT subject, until_ms FROM attempts WHERE until_ms > ?", []any{nowMS}, func(row sqldb.Scanner) error {
		var subject string
		var until int64
		err := row.Scan(&subject, &until)
		out[subject] = until
		return err
	})
	return out, err
}
