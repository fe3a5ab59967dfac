package record

import (
	"slices"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

const (
	// quiet is how long a trouble is not seen before the next time is a new trouble.
	quiet = day
	// settled is how long a repair must hold before it is told.
	settled = time.Minute
)

// Trouble is something that a person has to put right.
type Trouble struct {
	Kind     tokenv1.AccountAlarmKind
	Errcode  int32
	Detail   string // what to do, without secrets
	Address  string
	ForcedAt time.Time
}

// Raise counts a trouble. A record has at most one alarm of each kind.
func Raise(rec *tokenv1.TokenRecord, t Trouble, now time.Time) *tokenv1.TokenRecord {
	next := clone(rec)
	a := alarm(next, t.Kind)
	if a == nil {
		a = &tokenv1.AlarmRecord{Kind: t.Kind}
		next.Alarms = append(next.Alarms, a)
	}
	if !Recent(a, now) || a.GetEndTold() {
		a.FirstSeenUnixMs, a.Count, a.Told, a.ToldCount, a.EndTold = now.UnixMilli(), 0, 0, 0, false
	}
	a.RepairedUnixMs = 0
	a.LastSeenUnixMs = now.UnixMilli()
	a.Count++
	a.Errcode, a.Detail, a.Address, a.ForcedAtUnixMs = t.Errcode, t.Detail, t.Address, 0
	if !t.ForcedAt.IsZero() {
		a.ForcedAtUnixMs = t.ForcedAt.UnixMilli()
	}
	return next
}

// mend notes in next, which its caller has made, what an answer of WeChat shows to be put right: credentials and address by
// any token, a used up budget of forced refreshes by a token that is not the refused one. That nobody else refreshes is
// shown by time alone.
func mend(next *tokenv1.TokenRecord, fresh bool, now time.Time) {
	for _, a := range next.GetAlarms() {
		switch a.GetKind() {
		case tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_CREDENTIALS, tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_ADDRESS:
		case tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_FORCED_BUDGET:
			if !fresh {
				continue
			}
		default:
			continue
		}
		if a.GetRepairedUnixMs() == 0 {
			a.RepairedUnixMs = now.UnixMilli()
		}
	}
}

// Going tells whether a trouble goes on.
func Going(a *tokenv1.AlarmRecord, now time.Time) bool {
	return Recent(a, now) && a.GetRepairedUnixMs() == 0
}

// Ended returns how a trouble ended, and when; ACCOUNT_ALARM_END_UNSPECIFIED while it goes on.
func Ended(a *tokenv1.AlarmRecord, now time.Time) (tokenv1.AccountAlarmEnd, time.Time) {
	repaired := time.UnixMilli(a.GetRepairedUnixMs())
	switch {
	case a.GetCount() == 0:
	case a.GetRepairedUnixMs() != 0 && now.Sub(repaired) >= settled:
		return tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_REPAIRED, repaired
	case !Recent(a, now):
		return tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_QUIET, time.UnixMilli(a.GetLastSeenUnixMs())
	}
	return tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_UNSPECIFIED, time.Time{}
}

// Recent tells whether a trouble was seen so lately that the next time belongs to it.
func Recent(a *tokenv1.AlarmRecord, now time.Time) bool {
	return a.GetCount() > 0 && now.Sub(time.UnixMilli(a.GetLastSeenUnixMs())) < quiet
}

// Untold returns what there is to tell: what was seen since the last event of its kind, which is at least every old.
func Untold(rec *tokenv1.TokenRecord, every time.Duration, now time.Time) []*tokenv1.AlarmRecord {
	var out []*tokenv1.AlarmRecord
	for _, a := range rec.GetAlarms() {
		if a.GetCount() > a.GetToldCount() && now.Sub(time.UnixMilli(a.GetToldUnixMs())) >= every {
			out = append(out, a)
		}
	}
	return out
}

// Told notes that an event about an alarm, as it was in seen, is stored.
func Told(rec *tokenv1.TokenRecord, seen *tokenv1.AlarmRecord, now time.Time) *tokenv1.TokenRecord {
	next := clone(rec)
	if a := alarm(next, seen.GetKind()); a != nil && a.GetFirstSeenUnixMs() == seen.GetFirstSeenUnixMs() {
		a.Told, a.ToldCount, a.ToldUnixMs = seen.GetTold()+1, seen.GetCount(), now.UnixMilli()
	}
	return next
}

// UntoldEnds returns the troubles that were told of and are over, when that is not told yet.
func UntoldEnds(rec *tokenv1.TokenRecord, now time.Time) []*tokenv1.AlarmRecord {
	var out []*tokenv1.AlarmRecord
	for _, a := range rec.GetAlarms() {
		if end, _ := Ended(a, now); end != tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_UNSPECIFIED && a.GetTold() > 0 && !a.GetEndTold() {
			out = append(out, a)
		}
	}
	return out
}

// EndTold notes that the end of an alarm, as it was in seen, is told. What was seen of it after the last event is not told
// any more.
func EndTold(rec *tokenv1.TokenRecord, seen *tokenv1.AlarmRecord) *tokenv1.TokenRecord {
	next := clone(rec)
	if a := alarm(next, seen.GetKind()); a != nil && a.GetFirstSeenUnixMs() == seen.GetFirstSeenUnixMs() {
		a.EndTold, a.ToldCount = true, a.GetCount()
	}
	return next
}

func alarm(rec *tokenv1.TokenRecord, kind tokenv1.AccountAlarmKind) *tokenv1.AlarmRecord {
	i := slices.IndexFunc(rec.GetAlarms(), func(a *tokenv1.AlarmRecord) bool { return a.GetKind() == kind })
	if i < 0 {
		return nil
	}
	return rec.GetAlarms()[i]
}
