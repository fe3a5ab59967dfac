package record

import (
	"slices"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// quiet is how long a trouble is not seen before the next time is a new trouble.
const quiet = day

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
	if !Recent(a, now) {
		a.FirstSeenUnixMs, a.Count, a.Told, a.ToldCount = now.UnixMilli(), 0, 0, 0
	}
	a.LastSeenUnixMs = now.UnixMilli()
	a.Count++
	a.Errcode, a.Detail, a.Address, a.ForcedAtUnixMs = t.Errcode, t.Detail, t.Address, 0
	if !t.ForcedAt.IsZero() {
		a.ForcedAtUnixMs = t.ForcedAt.UnixMilli()
	}
	return next
}

// Recent tells whether a trouble was seen so lately that it counts as going on.
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

func alarm(rec *tokenv1.TokenRecord, kind tokenv1.AccountAlarmKind) *tokenv1.AlarmRecord {
	i := slices.IndexFunc(rec.GetAlarms(), func(a *tokenv1.AlarmRecord) bool { return a.GetKind() == kind })
	if i < 0 {
		return nil
	}
	return rec.GetAlarms()[i]
}
