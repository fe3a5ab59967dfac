package coverage

import (
	"time"

	"github.com/wxbus/wxbus/pkg/decision"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/phrase"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const maxSample = 60 // characters

// settled tells whether the first reply of a decision has gone its way. A decision is counted then: before, its
// record may be replaced by a newer version any number of times.
func settled(rec *rulev1.DecisionMade) bool {
	if decision.Final(rec.GetRoute()) {
		return true
	}
	for _, c := range rec.GetClaims() {
		if c.GetState() == rulev1.ClaimState_CLAIM_STATE_DELIVERED {
			return true
		}
	}
	return false
}

// silent tells whether somebody owned the fan, so that no rule was asked.
func silent(rec *rulev1.DecisionMade) bool {
	return rec.GetRule() == "" && rec.GetRuleSetVersion() == "" && rec.GetReason() != ""
}

// tally counts decisions until they are written.
type tally struct {
	hits    map[hitKey]hit
	totals  map[hourKey]Totals
	phrases map[dayKey][]text
	size    int
}

type (
	hitKey struct {
		hour          int64
		account, rule string
	}
	hit     struct{ n, last int64 }
	hourKey struct {
		hour    int64
		account string
	}
	dayKey struct {
		day     int64
		account string
	}
	text struct {
		key, sample string
		at          time.Time
	}
)

// Totals are sums over decisions.
type Totals struct{ Matched, Caught, Missed, Silent int64 }

// Decided is the number of all of them.
func (t Totals) Decided() int64 { return t.Matched + t.Caught + t.Missed + t.Silent }

func newTally() *tally {
	return &tally{hits: map[hitKey]hit{}, totals: map[hourKey]Totals{}, phrases: map[dayKey][]text{}}
}

// add counts one decision. ev is its push when nothing of it matched a rule, if it is still stored.
func (t *tally) add(rec *rulev1.DecisionMade, ev *eventv1.InboundEvent) {
	message := ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE
	var n Totals
	switch {
	case silent(rec):
		n.Silent++
	case rec.GetRule() != "" && message:
		n.Caught++
	case rec.GetRule() != "":
		n.Matched++
	case message:
		n.Missed++
	default:
		return // an event that nobody wrote a rule for, or whose push is gone
	}
	t.size++
	at := time.UnixMilli(rec.GetDecidedUnixMs())
	t.addTotals(hourKey{hourOf(at), rec.GetAccount()}, n)
	if rec.GetRule() != "" {
		t.addHit(hitKey{hourOf(at), rec.GetAccount(), rec.GetRule()}, rec.GetDecidedUnixMs())
	}
	if n.Caught+n.Missed > 0 {
		t.addText(rec.GetAccount(), ruleset.InputOf(ev).Text, at)
	}
}

func (t *tally) addTotals(k hourKey, n Totals) {
	sum := t.totals[k]
	t.totals[k] = Totals{sum.Matched + n.Matched, sum.Caught + n.Caught, sum.Missed + n.Missed, sum.Silent + n.Silent}
}

func (t *tally) addHit(k hitKey, atMs int64) {
	h := t.hits[k]
	t.hits[k] = hit{h.n + 1, max(h.last, atMs)}
}

func (t *tally) addText(account, content string, at time.Time) {
	key := phrase.Key(content)
	if key == "" {
		return
	}
	k := dayKey{dayOf(at), account}
	t.phrases[k] = append(t.phrases[k], text{key, phrase.Masked(content, maxSample), at})
}

func dayOf(at time.Time) int64 { return at.UTC().Truncate(24 * time.Hour).UnixMilli() }
