package judge

import (
	"cmp"
	"fmt"
	"slices"
)

// Classes of violations that the judge adds to those of the simulator.
const (
	ClassNoEnd    = "no_end"           // a stored push whose reply neither came nor has an end that is known
	ClassLost     = "acked_not_stored" // the simulator finds these, and so does the judge
	ClassUnwanted = "reply_of_nobody"  // decided about a push that the stream does not have
	ClassOrder    = "out_of_order"     // found by the simulator
)

// Fates of a push.
const (
	FateReplied    = "replied"
	FateNotStored  = "refused, WeChat gave up" // never acknowledged and nowhere stored
	FateNoReply    = "no rule"
	FateDead       = "dead letter"
	FateDecision   = "decision ambiguous"
	FateRefused    = "decision refused"
	FateSend       = "send ambiguous"
	FateFailed     = "send failed"
	FateSendDenied = "send refused"
	FateUnseen     = "written to a broken connection" // docs/guarantees.md: WeChat gives no receipt
	FateParked     = "parked until the quota returns"
)

// Violation is one broken promise.
type Violation struct {
	Class  string `json:"class"`
	ID     string `json:"id"`
	Detail string `json:"detail"`
}

// Verdict is what the facts say.
type Verdict struct {
	// Incomplete says why the facts do not suffice for a verdict; empty when they do.
	Incomplete []string `json:"incomplete,omitempty"`
	// Counts of each class, exact; Violations are the first of each class, with their ids.
	Counts     map[string]int `json:"counts"`
	Violations []Violation    `json:"violations,omitempty"`
	// Excused are incidents that do not fail the trial and are reported: those of the classes that the row allows.
	Excused map[string]int `json:"excused,omitempty"`
	// AfterSpill are the replies out of order whose push took the spill stream. That explains them and excuses none.
	AfterSpill []Violation `json:"after_spill,omitempty"`
	// Fates of the numbered pushes, and the ids of those with a fate that somebody will ask about.
	Fates   map[string]int      `json:"fates"`
	FateIDs map[string][]string `json:"fate_ids,omitempty"`
}

// Kept tells that everything is known and no promise was broken.
func (v Verdict) Kept() bool { return len(v.Incomplete) == 0 && len(v.Counts) == 0 }

// Lost is L of the fault table; Doubled and Disordered below are D and O.
func (v Verdict) Lost() int { return v.Counts[ClassLost] }

// Doubled counts replies that a fan saw twice and pushes that are stored twice.
func (v Verdict) Doubled() int { return v.Counts["reply_seen_twice"] + v.Counts["stored_twice"] }

// Disordered counts replies that came after a later one of the same fan, excused ones too.
func (v Verdict) Disordered() int { return v.Counts[ClassOrder] + v.Excused[ClassOrder] }

// keepIDs is how many ids of each class and fate a verdict names.
const keepIDs = 1000

// AllowParked lets Judge take a send that has not ended as parked. It is no class of the simulator.
const AllowParked = "parked"

// Judge looks at a trial. Classes of the simulator's report in allowed are what the trial is about and no violations.
func Judge(f Facts, allowed ...string) Verdict {
	v := Verdict{Counts: map[string]int{}, Excused: map[string]int{}, Fates: map[string]int{}, FateIDs: map[string][]string{}}
	v.complete(f)
	spilled := f.spilled()
	for class, in := range f.Report.Violations {
		v.incidents(class, in, spilled, slices.Contains(allowed, class))
	}
	for _, p := range f.Pushes {
		v.push(p, f, slices.Contains(allowed, AllowParked))
	}
	v.unwanted(f.Books)
	slices.SortFunc(v.Violations, func(a, b Violation) int { return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.ID, b.ID)) })
	return v
}

// incidents takes over a class of the simulator's violations.
func (v *Verdict) incidents(class string, in Incidents, spilled map[string]bool, allowed bool) {
	for _, i := range in.Incidents {
		found := Violation{class, i.ID, i.Detail}
		v.Violations = append(v.Violations, found)
		if class == ClassOrder && spilled[i.ID] {
			v.AfterSpill = append(v.AfterSpill, found)
		}
	}
	switch {
	case in.Count == 0:
	case allowed:
		v.Excused[class] = in.Count
	default:
		v.Counts[class] = in.Count
	}
}

// spilled are the replies, as the simulator names them, to pushes that took the spill stream.
func (f Facts) spilled() map[string]bool {
	out := map[string]bool{}
	for _, p := range f.Pushes {
		if f.Books.Spilled[p.key()] {
			out[fmt.Sprintf("%s/%s number %d", p.Account, p.OpenID, p.Number)] = true
		}
	}
	return out
}

// unwanted finds decisions about nothing.
func (v *Verdict) unwanted(b Books) {
	stored := map[string]bool{}
	for _, ids := range b.Events {
		for _, id := range ids {
			stored[id] = true
		}
	}
	for id := range b.Decisions {
		if !stored[id] {
			v.violate(ClassUnwanted, id, "there is a decision about a push that is not stored")
		}
	}
}

// complete notes every reason for which the facts are not the whole truth.
func (v *Verdict) complete(f Facts) {
	note := func(format string, a ...any) { v.Incomplete = append(v.Incomplete, fmt.Sprintf(format, a...)) }
	if f.Report.Checker.State != "complete" {
		note("the simulator could not check what is stored: %s", f.Report.Checker.Reason)
	}
	if f.Report.Open > 0 {
		note("%d pushes are not over", f.Report.Open)
	}
	if f.Report.Pushes != len(f.Pushes) {
		note("the simulator counts %d pushes and lists %d", f.Report.Pushes, len(f.Pushes))
	}
	if len(f.Pushes) == 0 {
		note("nothing was pushed")
	}
	if len(f.Readings) == 0 {
		note("no stream was read")
	}
	for _, r := range f.Readings {
		if !r.Complete() {
			note("%s", r)
		}
	}
	l := f.Load
	if l.Error != "" || l.Failed > 0 || l.Shed > 0 || l.Due < l.Expected-1 {
		note("the load generator did not make its plan: %d of %d, %d left out, %d failed: %s", l.Due, l.Expected, l.Shed, l.Failed, l.Error)
	}
}

func (v *Verdict) violate(class, id, detail string) {
	v.Counts[class]++
	if v.Counts[class] <= keepIDs {
		v.Violations = append(v.Violations, Violation{class, id, detail})
	}
}

func (p Push) key() Key { return Key{p.Account, p.OpenID, p.MsgID} }

// ID names a push in verdicts.
func (p Push) id() string {
	return fmt.Sprintf("%s/%s push %d number %d", p.Account, p.OpenID, p.ID, p.Number)
}

// push finds the fate of one push, or that it has none.
func (v *Verdict) push(p Push, f Facts, parked bool) {
	ids := f.Books.Events[p.key()]
	if len(ids) == 0 && !p.Acked.IsZero() && f.Report.Violations[ClassLost].Count == 0 {
		v.violate(ClassLost, p.id(), "acknowledged, but not among what was read from the stream")
	}
	if p.Number == 0 {
		return // expects no certain reply
	}
	fate, open := fateOf(p, ids, f.Books)
	if open == openSend && parked {
		fate, open = FateParked, ""
	}
	if open != "" {
		v.violate(ClassNoEnd, p.id(), open)
		return
	}
	v.Fates[fate]++
	if fate != FateReplied && len(v.FateIDs[fate]) < keepIDs {
		v.FateIDs[fate] = append(v.FateIDs[fate], p.id())
	}
}

// fateOf returns the fate of a push, or in open what it still waits for.
func fateOf(p Push, ids []string, b Books) (fate, open string) {
	switch {
	case p.ReplySeen > 0:
		return FateReplied, ""
	case len(ids) == 0 && p.Acked.IsZero():
		return FateNotStored, ""
	case len(ids) == 0:
		return "", "acknowledged and not stored"
	}
	id := ids[0]
	if _, dead := b.Dead[id]; dead {
		return FateDead, ""
	}
	d, decided := b.Decisions[id]
	if !decided {
		return "", "stored, and nothing was decided"
	}
	switch d.Route {
	case RouteNone:
		return FateNoReply, ""
	case RouteAmbiguous:
		return FateDecision, ""
	case RouteRefused:
		return FateRefused, ""
	case RoutePassive, RouteNative:
		if d.Delivered && p.Acked.IsZero() {
			return FateUnseen, ""
		}
		return "", fmt.Sprintf("the decision is %s (delivered: %t), acknowledged: %t, and the fan saw nothing", d.Route, d.Delivered, !p.Acked.IsZero())
	}
	return sendFate(id, b)
}

// openSend says that a send has not ended.
const openSend = "the sender has it, and no send has ended"

func sendFate(id string, b Books) (fate, open string) {
	s, settled := b.Sends[id]
	if !settled {
		return "", openSend
	}
	switch s.State {
	case SendAmbiguous:
		return FateSend, ""
	case SendFailed:
		return fmt.Sprintf("%s %d", FateFailed, s.ErrCode), ""
	case SendRefused:
		return FateSendDenied, ""
	default:
		return "", fmt.Sprintf("the send ended as %s, and the fan saw nothing", s.State)
	}
}
