// Package record is what may happen to the token record of an account. It is pure: every function
// returns a changed copy, which the caller stores by compare-and-set, so that of two replicas one wins.
//
// A refresh has three steps: Lease by one replica, the call to WeChat, and Refresh (or Fail) by the
// holder of the lease. A holder that comes back after its lease was taken over cannot write: the
// compare-and-set fails on the revision, and after a fresh read ErrLost on holder and generation.
package record

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// day is the window of WeChat's budget of forced refreshes.
const day = 24 * time.Hour

// How much of the past a record keeps.
const (
	maxRefreshes = 64
	maxEvidence  = 8
)

// China is the zone of WeChat's quotas. It has no daylight saving time.
var China = time.FixedZone("Asia/Shanghai", 8*60*60)

// ErrLost is returned when the lease belongs to somebody else by now, or the token was refreshed.
var ErrLost = fault.New(fault.Conflict, "the refresh was taken over by another replica")

// Budget bounds forced refreshes (protocol f.1: 20 a day, 30 s apart).
type Budget struct {
	PerDay   int
	Interval time.Duration
}

// Usable tells whether the current token may be handed out at now.
func Usable(rec *tokenv1.TokenRecord, now time.Time) bool {
	t := rec.GetToken()
	return t.GetValue() != "" && t.GetExpiresUnixMs() > now.UnixMilli()
}

// Remaining returns how long WeChat knows the current token; at most zero when there is none.
func Remaining(rec *tokenv1.TokenRecord, now time.Time) time.Duration {
	return time.Duration(rec.GetToken().GetExpiresUnixMs()-now.UnixMilli()) * time.Millisecond
}

// Leased returns how long another replica than holder has the right to refresh; zero when nobody has.
func Leased(rec *tokenv1.TokenRecord, holder string, now time.Time) time.Duration {
	if rec.GetLeaseHolder() == "" || rec.GetLeaseHolder() == holder {
		return 0
	}
	return max(0, time.Duration(rec.GetLeaseUntilUnixMs()-now.UnixMilli())*time.Millisecond)
}

// Lease gives holder the right to refresh until now + d. The caller has asked Leased, or has waited
// long enough to take a lease over.
func Lease(rec *tokenv1.TokenRecord, holder string, now time.Time, d time.Duration) *tokenv1.TokenRecord {
	next := clone(rec)
	next.LeaseHolder = holder
	next.LeaseUntilUnixMs = now.Add(d).UnixMilli()
	return next
}

// Fetched is an answer of WeChat.
type Fetched struct {
	Value   string
	Expires time.Time // by our clock
	Forced  bool
}

// Refresh stores what WeChat answered and gives the lease back. A new value is a new generation and
// the old value is kept as previous; the same value only lives longer. base is the generation that
// the refresh began with.
func Refresh(rec *tokenv1.TokenRecord, holder string, base uint64, f Fetched, now time.Time) (*tokenv1.TokenRecord, error) {
	if err := holds(rec, holder, base); err != nil {
		return nil, err
	}
	next := clone(rec)
	next.LeaseHolder, next.LeaseUntilUnixMs = "", 0
	next.LastError = ""
	mend(next, next.GetToken().GetValue() != f.Value, now)
	if next.GetToken().GetValue() == f.Value && !f.Forced {
		next.Token.ExpiresUnixMs = f.Expires.UnixMilli()
		return next, nil
	}
	next.Previous = next.GetToken().GetValue()
	next.Token = &tokenv1.AccessToken{Value: f.Value, Generation: base + 1, ExpiresUnixMs: f.Expires.UnixMilli()}
	next.RefreshedUnixMs = now.UnixMilli()
	next.RefreshesUnixMs = append(Today(rec, now), now.UnixMilli())
	next.RefreshesUnixMs = next.RefreshesUnixMs[max(0, len(next.RefreshesUnixMs)-maxRefreshes):]
	return next, nil
}

// Today returns a copy of the times of new values since midnight in China, oldest first.
func Today(rec *tokenv1.TokenRecord, now time.Time) []int64 {
	local := now.In(China)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, China).UnixMilli()
	return slices.DeleteFunc(slices.Clone(rec.GetRefreshesUnixMs()), func(at int64) bool { return at < midnight })
}

// Fail gives the lease back and keeps why, without secrets.
func Fail(rec *tokenv1.TokenRecord, holder string, base uint64, reason string) (*tokenv1.TokenRecord, error) {
	if err := holds(rec, holder, base); err != nil {
		return nil, err
	}
	next := clone(rec)
	next.LeaseHolder, next.LeaseUntilUnixMs = "", 0
	next.LastError = reason
	return next, nil
}

func holds(rec *tokenv1.TokenRecord, holder string, base uint64) error {
	if rec.GetLeaseHolder() != holder || rec.GetToken().GetGeneration() != base {
		return ErrLost
	}
	return nil
}

// ForceAt returns when the budget allows the next forced refresh; not after now means at once.
func ForceAt(rec *tokenv1.TokenRecord, b Budget, now time.Time) time.Time {
	forced := recent(rec, now)
	switch {
	case b.PerDay <= 0:
		return now.Add(day)
	case len(forced) == 0:
		return now
	}
	at := time.UnixMilli(forced[len(forced)-1]).Add(b.Interval)
	if len(forced) >= b.PerDay {
		full := time.UnixMilli(forced[len(forced)-b.PerDay]).Add(day)
		if full.After(at) {
			at = full
		}
	}
	return at
}

// Force enters a forced refresh at now into the budget. It is stored before the call, so that a crash
// cannot spend more than the budget.
func Force(rec *tokenv1.TokenRecord, now time.Time) *tokenv1.TokenRecord {
	next := clone(rec)
	next.ForcedUnixMs = append(recent(rec, now), now.UnixMilli())
	return next
}

// recent returns a copy of the forced refreshes that still count, oldest first.
func recent(rec *tokenv1.TokenRecord, now time.Time) []int64 {
	since := now.Add(-day).UnixMilli()
	forced := slices.DeleteFunc(slices.Clone(rec.GetForcedUnixMs()), func(at int64) bool { return at <= since })
	slices.Sort(forced)
	return forced
}

// ForcedLeft returns how many forced refreshes the budget allows in the 24 hours that end now.
func ForcedLeft(rec *tokenv1.TokenRecord, b Budget, now time.Time) int {
	return max(0, b.PerDay-len(recent(rec, now)))
}

// Outside counts a token that went bad without our doing and keeps the evidence, newest first.
func Outside(rec *tokenv1.TokenRecord, e *tokenv1.OutsideEvidence) *tokenv1.TokenRecord {
	next := clone(rec)
	next.OutsideRefreshes++
	next.Outside = append([]*tokenv1.OutsideEvidence{e}, next.Outside...)
	next.Outside = next.Outside[:min(len(next.Outside), maxEvidence)]
	return next
}

func clone(rec *tokenv1.TokenRecord) *tokenv1.TokenRecord {
	if rec == nil {
		return &tokenv1.TokenRecord{}
	}
	return proto.CloneOf(rec)
}
