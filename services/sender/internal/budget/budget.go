// Package budget shares the rate and the daily count of each API between all replicas: a call is made under a lease from
// one record in the bucket budgets, taken by compare-and-set. See ADR 0031.
package budget

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// history is how many minutes of calls a record remembers, for the forecast.
const history = 10

// tries bounds how often a lost compare-and-set is repeated.
const tries = 16

// china is the zone of WeChat's quotas. It has no daylight saving time.
var china = time.FixedZone("Asia/Shanghai", 8*60*60)

// Reset returns when WeChat renews the quotas of the day.
func Reset(now time.Time) time.Time {
	local := now.In(china)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, china)
}

// Budgets is safe for concurrent use.
type Budgets struct {
	kv    jetstream.KeyValue
	rate  float64
	burst int
	quota Quota
	// now counts the days; server is the clock of NATS, which all replicas go by.
	now, server func() time.Time

	mu   sync.Mutex // guards last
	last map[pace.Key]seen
}

// seen is a record as this process saw it last; it saves the read before a write.
type seen struct {
	rec      *senderv1.BudgetRecord
	revision uint64
}

// New returns budgets on the bucket: rate calls a second for each account and API, burst at once after a quiet time.
func New(kv jetstream.KeyValue, rate float64, burst int, quota Quota, now, server func() time.Time) *Budgets {
	return &Budgets{kv: kv, rate: rate, burst: burst, quota: quota, now: now, server: server, last: map[pace.Key]seen{}}
}

// Lease implements pace.Lender.
func (b *Budgets) Lease(ctx context.Context, key pace.Key, want int, lane senderv1.Lane) (pace.Grant, error) {
	name, err := topology.RecordKey(key.Account, key.Endpoint)
	if err != nil {
		return pace.Grant{}, err
	}
	cur, err := b.known(ctx, key, name)
	if err == nil && b.shares(key, cur.rec).room(cur.rec, lane, b.now()) == 0 {
		cur, err = b.read(ctx, name) // WeChat may have told another replica more
	}
	for try := 1; err == nil; try++ {
		shares := b.shares(key, cur.rec)
		room := shares.room(cur.rec, lane, b.now())
		if room == 0 {
			return pace.Grant{Spent: shares.spent(cur.rec, 0, b.now())}, nil
		}
		next, granted, wait := Take(cur.rec, int(min(int64(want), room)), b.rate, b.burst, b.server(), b.now())
		if granted == 0 {
			return pace.Grant{Wait: wait, Spent: shares.spent(cur.rec, 1, b.now())}, nil
		}
		var revision uint64
		if revision, err = b.store(ctx, name, next, cur.revision); err == nil {
			b.remember(key, seen{next, revision})
			return pace.Grant{Calls: granted, Spent: shares.spent(next, 1, b.now())}, nil
		}
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !errors.Is(err, jetstream.ErrKeyExists) {
			break
		}
		if try == tries {
			return pace.Grant{Wait: 10 * time.Millisecond}, nil // many replicas ask at once
		}
		cur, err = b.read(ctx, name)
	}
	return pace.Grant{}, fault.Wrap(fault.Unavailable, fmt.Errorf("lease calls: %w", err))
}

func (b *Budgets) store(ctx context.Context, name string, rec *senderv1.BudgetRecord, revision uint64) (uint64, error) {
	value, err := proto.Marshal(rec)
	if err != nil {
		return 0, fmt.Errorf("encode budget: %w", err)
	}
	if revision == 0 {
		return b.kv.Create(ctx, name, value)
	}
	return b.kv.Update(ctx, name, value, revision)
}

func (b *Budgets) known(ctx context.Context, key pace.Key, name string) (seen, error) {
	b.mu.Lock()
	cur, ok := b.last[key]
	b.mu.Unlock()
	if ok {
		return cur, nil
	}
	return b.read(ctx, name)
}

func (b *Budgets) remember(key pace.Key, s seen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[key] = s
}

func (b *Budgets) read(ctx context.Context, name string) (seen, error) {
	entry, err := b.kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return seen{rec: &senderv1.BudgetRecord{}}, nil
	}
	if err != nil {
		return seen{}, err
	}
	rec := &senderv1.BudgetRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return seen{}, fmt.Errorf("decode budget: %w", err)
	}
	return seen{rec, entry.Revision()}, nil
}

// Learn stores what WeChat says about the quota of the day.
func (b *Budgets) Learn(ctx context.Context, key pace.Key, limit, used int64) error {
	name, err := topology.RecordKey(key.Account, key.Endpoint)
	if err != nil {
		return err
	}
	for range tries {
		cur, err := b.read(ctx, name)
		if err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("read budget: %w", err))
		}
		next := proto.CloneOf(cur.rec)
		next.Day, next.Used, next.Limit, next.AskedUnixMs = day(b.now()), used, limit, b.now().UnixMilli()
		revision, err := b.store(ctx, name, next, cur.revision)
		if err == nil {
			b.remember(key, seen{next, revision})
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !errors.Is(err, jetstream.ErrKeyExists) {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("keep budget: %w", err))
		}
	}
	return fault.New(fault.Conflict, "the budget changes too fast")
}

// Use is how an API stands today.
type Use struct {
	Used        int64
	Limit       int64 // as WeChat told; zero when it did not
	Rate        float64
	Exhausted   time.Time // at the pace of the last minutes; zero when the budget lasts until the reset
	AskedUnixMs int64
}

// Use returns how an API stands; usual is the limit when WeChat has told none.
func (b *Budgets) Use(ctx context.Context, key pace.Key, usual int64) (Use, error) {
	name, err := topology.RecordKey(key.Account, key.Endpoint)
	if err != nil {
		return Use{}, err
	}
	cur, err := b.read(ctx, name)
	if err != nil {
		return Use{}, fault.Wrap(fault.Unavailable, fmt.Errorf("read budget: %w", err))
	}
	return Forecast(cur.rec, usual, b.now()), nil
}

// Take leases up to want calls from a record and returns the new record, or how long to wait. wall is the clock that paces:
// one that all replicas go by, for they write it into the record; now is the clock of days. It leaves rec alone.
//
// The pace is that of a virtual clock: next_unix_us is when the next call is due; it may lag behind by the burst.
func Take(rec *senderv1.BudgetRecord, want int, rate float64, burst int, wall, now time.Time) (*senderv1.BudgetRecord, int, time.Duration) {
	gap := float64(time.Second/time.Microsecond) / rate
	at := wall.UnixMicro()
	due := max(rec.GetNextUnixUs(), at-int64(gap*float64(burst-1)))
	if due > at {
		return nil, 0, time.Duration(due-at) * time.Microsecond
	}
	granted := min(want, 1+int(float64(at-due)/gap))
	next := proto.CloneOf(rec)
	if today := day(now); next.GetDay() != today {
		next.Day, next.Used = today, 0
	}
	next.Used += int64(granted)
	next.NextUnixUs = due + int64(gap*float64(granted))
	count(next, granted, now)
	return next, granted, 0
}

// count adds calls to the minute.
func count(rec *senderv1.BudgetRecord, n int, now time.Time) {
	minute := now.Unix() / 60
	if gone := minute - rec.GetMinute(); gone > 0 {
		fresh := make([]int64, history)
		for i, calls := range rec.GetMinutes() {
			if at := int64(i) + gone; at < history {
				fresh[at] = calls
			}
		}
		rec.Minutes, rec.Minute = fresh, minute
	}
	if len(rec.GetMinutes()) > 0 {
		rec.Minutes[0] += int64(n)
	}
}

// Forecast tells when the budget of the day is used up at the pace of the last minutes.
func Forecast(rec *senderv1.BudgetRecord, usual int64, now time.Time) Use {
	u := Use{Limit: rec.GetLimit(), AskedUnixMs: rec.GetAskedUnixMs(), Used: used(rec, now)}
	aged := proto.CloneOf(rec)
	count(aged, 0, now)
	var calls int64
	for _, n := range aged.GetMinutes() {
		calls += n
	}
	// The newest minute has only begun.
	u.Rate = float64(calls) / (float64(history-1)*60 + float64(now.Unix()%60) + 1)
	limit := u.Limit
	if limit == 0 {
		limit = usual
	}
	if left := limit - u.Used; limit > 0 && left <= 0 {
		u.Exhausted = now
	} else if limit > 0 && u.Rate > 0 {
		if end := now.Add(time.Duration(float64(left) / u.Rate * float64(time.Second))); end.Before(Reset(now)) {
			u.Exhausted = end
		}
	}
	return u
}

func day(now time.Time) int32 {
	local := now.In(china)
	return int32(local.Year()*10_000 + int(local.Month())*100 + local.Day())
}
