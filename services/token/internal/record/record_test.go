package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/services/token/internal/record"
)

var (
	now    = time.UnixMilli(1_700_000_000_000)
	budget = record.Budget{PerDay: 20, Interval: 30 * time.Second}
)

func fetched(value string) record.Fetched {
	return record.Fetched{Value: value, Expires: now.Add(2 * time.Hour)}
}

func refreshed(t *testing.T, rec *tokenv1.TokenRecord, value string) *tokenv1.TokenRecord {
	t.Helper()
	rec = record.Lease(rec, "a", now, 10*time.Second)
	rec, err := record.Refresh(rec, "a", rec.GetToken().GetGeneration(), fetched(value), now)
	require.NoError(t, err)
	return rec
}

func TestEveryNewValueIsANewGeneration(t *testing.T) {
	rec := refreshed(t, nil, "one")
	require.EqualValues(t, 1, rec.GetToken().GetGeneration())
	require.Empty(t, rec.GetLeaseHolder())
	rec = refreshed(t, rec, "two")
	require.EqualValues(t, 2, rec.GetToken().GetGeneration())
	require.Equal(t, "one", rec.GetPrevious())
	require.Equal(t, now.UnixMilli(), rec.GetRefreshedUnixMs())
}

func TestTheSameValueOnlyLivesLonger(t *testing.T) {
	rec := refreshed(t, refreshed(t, nil, "one"), "two")
	later := record.Lease(rec, "a", now, time.Second)
	f := record.Fetched{Value: "two", Expires: now.Add(3 * time.Hour)}
	later, err := record.Refresh(later, "a", 2, f, now.Add(time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 2, later.GetToken().GetGeneration())
	require.Equal(t, "one", later.GetPrevious())
	require.Equal(t, f.Expires.UnixMilli(), later.GetToken().GetExpiresUnixMs())
	require.Equal(t, now.UnixMilli(), later.GetRefreshedUnixMs(), "the token is as old as before")
}

func TestAForcedRefreshIsAlwaysANewGeneration(t *testing.T) {
	rec := record.Lease(refreshed(t, nil, "one"), "a", now, time.Second)
	f := fetched("one")
	f.Forced = true
	rec, err := record.Refresh(rec, "a", 1, f, now)
	require.NoError(t, err)
	require.EqualValues(t, 2, rec.GetToken().GetGeneration())
}

func TestALateWriterCannotOverwrite(t *testing.T) {
	slow := record.Lease(refreshed(t, nil, "one"), "slow", now, 10*time.Second)
	taken := record.Lease(slow, "fast", now.Add(11*time.Second), 10*time.Second)
	_, err := record.Refresh(taken, "slow", 1, fetched("late"), now)
	require.ErrorIs(t, err, record.ErrLost, "while the other replica refreshes")

	done, err := record.Refresh(taken, "fast", 1, fetched("two"), now)
	require.NoError(t, err)
	_, err = record.Refresh(done, "slow", 1, fetched("late"), now)
	require.ErrorIs(t, err, record.ErrLost, "after the other replica refreshed")
	again := record.Lease(done, "slow", now, 10*time.Second)
	_, err = record.Refresh(again, "slow", 1, fetched("late"), now)
	require.ErrorIs(t, err, record.ErrLost, "with a lease but an old generation")
	_, err = record.Fail(done, "slow", 1, "timeout")
	require.ErrorIs(t, err, record.ErrLost)
}

func TestOnlyOthersHaveToWaitForALease(t *testing.T) {
	rec := record.Lease(nil, "a", now, 10*time.Second)
	require.Zero(t, record.Leased(rec, "a", now))
	require.Equal(t, 10*time.Second, record.Leased(rec, "b", now))
	require.Zero(t, record.Leased(rec, "b", now.Add(10*time.Second)))
	require.Zero(t, record.Leased(nil, "b", now))
	rec, err := record.Fail(rec, "a", 0, "WeChat did not answer")
	require.NoError(t, err)
	require.Zero(t, record.Leased(rec, "b", now))
	require.Equal(t, "WeChat did not answer", rec.GetLastError())
}

func TestAnExpiredTokenIsNotUsable(t *testing.T) {
	rec := refreshed(t, nil, "one")
	require.True(t, record.Usable(rec, now.Add(2*time.Hour-time.Millisecond)))
	require.False(t, record.Usable(rec, now.Add(2*time.Hour)))
	require.False(t, record.Usable(nil, now))
	require.Equal(t, 2*time.Hour, record.Remaining(rec, now))
}

// TestTheBudgetOfForcedRefreshesHolds: whoever asks ForceAt first never forces more than WeChat allows.
func TestTheBudgetOfForcedRefreshesHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			rec    *tokenv1.TokenRecord
			forced []time.Time
			at     = now
		)
		for range rapid.IntRange(1, 120).Draw(t, "reports") {
			at = at.Add(time.Duration(rapid.IntRange(1, 7200).Draw(t, "gap")) * time.Second)
			next := record.ForceAt(rec, budget, at)
			if next.After(at) {
				require.False(t, record.ForceAt(rec, budget, next).After(next), "it is possible when it was said to be")
				continue
			}
			rec = record.Force(rec, at)
			forced = append(forced, at)
		}
		for i := range forced {
			if i > 0 {
				require.GreaterOrEqual(t, forced[i].Sub(forced[i-1]), 30*time.Second)
			}
			if i >= 20 {
				require.GreaterOrEqual(t, forced[i].Sub(forced[i-20]), 24*time.Hour)
			}
		}
		require.LessOrEqual(t, len(rec.GetForcedUnixMs()), 20)
	})
}

func TestNoFunctionChangesItsArgument(t *testing.T) {
	rec := record.Force(record.Lease(refreshed(t, nil, "one"), "a", now, time.Second), now)
	before := proto.CloneOf(rec)
	record.Lease(rec, "b", now, time.Second)
	record.Force(rec, now.Add(48*time.Hour))
	record.Outside(rec, &tokenv1.OutsideEvidence{Generation: 1})
	_, _ = record.Refresh(rec, "a", 1, fetched("two"), now)
	_, _ = record.Fail(rec, "a", 1, "no")
	require.True(t, proto.Equal(before, rec))
}

// TestGenerationsOnlyEverGoUp plays replicas that read, take leases, die, come back late and write by
// compare-and-set: whatever the order, one generation is one value for ever, the next is one greater, and
// nobody writes without the lease of the generation that is there.
func TestGenerationsOnlyEverGoUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type copied struct {
			rec      *tokenv1.TokenRecord
			revision int
		}
		var stored copied // what the bucket has
		held := map[string]copied{}
		values := map[uint64]string{}
		replicas := []string{"a", "b", "c"}
		for step := range rapid.IntRange(1, 80).Draw(t, "steps") {
			who := rapid.SampledFrom(replicas).Draw(t, "who")
			at := now.Add(time.Duration(step) * time.Second)
			mine := held[who]
			var next *tokenv1.TokenRecord
			var err error
			switch rapid.IntRange(0, 4).Draw(t, "action") {
			case 0:
				held[who] = stored
				continue
			case 1:
				next = record.Lease(mine.rec, who, at, 10*time.Second)
			case 2:
				f := record.Fetched{Value: rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "value"), Expires: at.Add(2 * time.Hour), Forced: rapid.Bool().Draw(t, "forced")}
				next, err = record.Refresh(mine.rec, who, mine.rec.GetToken().GetGeneration(), f, at)
			case 3:
				next, err = record.Fail(mine.rec, who, mine.rec.GetToken().GetGeneration(), "no answer")
			case 4:
				next = record.Outside(mine.rec, &tokenv1.OutsideEvidence{Generation: mine.rec.GetToken().GetGeneration()})
			}
			if err != nil {
				require.ErrorIs(t, err, record.ErrLost)
				require.NotEqual(t, who, mine.rec.GetLeaseHolder(), "only a lease that is gone is lost")
				continue
			}
			if mine.revision != stored.revision {
				continue // the compare-and-set fails
			}
			before, after := stored.rec.GetToken(), next.GetToken()
			require.Contains(t, []uint64{before.GetGeneration(), before.GetGeneration() + 1}, after.GetGeneration())
			if known, ok := values[after.GetGeneration()]; ok {
				require.Equal(t, known, after.GetValue(), "a generation has one value")
			} else if after != nil {
				values[after.GetGeneration()] = after.GetValue()
				require.Equal(t, who, mine.rec.GetLeaseHolder())
			}
			require.LessOrEqual(t, len(next.GetRefreshesUnixMs()), 64)
			require.LessOrEqual(t, len(next.GetOutside()), 8)
			require.EqualValues(t, min(next.GetOutsideRefreshes(), 8), len(next.GetOutside()))
			stored = copied{next, stored.revision + 1}
			held[who] = stored
		}
	})
}

func TestRefreshesAreCountedByTheDayOfChina(t *testing.T) {
	rec := refreshed(t, refreshed(t, nil, "one"), "two")
	require.Len(t, record.Today(rec, now), 2)
	midnight := time.Date(2023, 11, 16, 0, 0, 0, 0, record.China) // now is the 15th there
	require.Len(t, record.Today(rec, midnight.Add(-time.Millisecond)), 2)
	require.Empty(t, record.Today(rec, midnight))
	for range 100 {
		rec = refreshed(t, rec, rec.GetToken().GetValue()+"x")
	}
	require.Len(t, rec.GetRefreshesUnixMs(), 64)
}

func TestTheBudgetThatIsLeftCanBeSeen(t *testing.T) {
	rec := record.Force(record.Force(nil, now), now.Add(time.Hour))
	require.Equal(t, 18, record.ForcedLeft(rec, budget, now.Add(2*time.Hour)))
	require.Equal(t, 19, record.ForcedLeft(rec, budget, now.Add(24*time.Hour)))
	require.Equal(t, 20, record.ForcedLeft(nil, budget, now))
}

func TestTheEvidenceOfAnOutsideRefreshIsKeptNewestFirst(t *testing.T) {
	var rec *tokenv1.TokenRecord
	for i := range 10 {
		rec = record.Outside(rec, &tokenv1.OutsideEvidence{Generation: uint64(i)})
	}
	require.EqualValues(t, 10, rec.GetOutsideRefreshes())
	require.Len(t, rec.GetOutside(), 8)
	require.EqualValues(t, 9, rec.GetOutside()[0].GetGeneration())
}
