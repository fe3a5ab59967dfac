package decision_test

import (
	"github.com/wxbus/wxbus/pkg/decision"
)

// step names a transition in the trace of a counterexample.
type step struct {
	what, note string
	who        uint8
	// fault marks what may never happen: crashes. A state is at rest when only faults can change it.
	fault bool
}

type emit func(step, state)

// wechat makes up to three attempts and counts an answer only for the attempt that is alive.
func (w *world) wechat(s state, out emit) {
	if s.alive {
		s.alive = false
		out(step{what: "attempt times out or is reset", who: s.attempt}, s)
		return
	}
	if s.acked || s.attempt == w.attempts {
		return
	}
	k := s.attempt
	s.attempt++
	s.waits[k].stage = gone
	out(step{what: "attempt reaches nobody", who: s.attempt}, s)
	s.alive = true
	s.waits[k].stage = publishing
	out(step{what: "attempt reaches gateway one", who: s.attempt}, s)
	if k > 0 { // the first goes to gateway one: they are alike
		s.waits[k].gw = 1
		out(step{what: "attempt reaches gateway two", who: s.attempt}, s)
	}
}

// answer lets the wait k end with an answer, which arrives or is lost on the way.
func answer(s state, k uint8, body bool, what string, out emit) {
	s.waits[k].stage = gone
	out(step{what: what, note: ", lost on the way", who: k + 1}, s)
	if !s.live(k) {
		return
	}
	s.alive, s.acked = false, true
	if body {
		s.shown++
	}
	out(step{what: what, note: ", arrives", who: k + 1}, s)
}

// live reports whether WeChat would take an answer to attempt k.
func (s state) live(k uint8) bool { return s.attempt == k+1 && s.alive && !s.acked }

// gateways makes the steps of the waits and of the processes that hold them.
func (w *world) gateways(s state, out emit) {
	for k := range uint8(decision.Attempts) {
		switch s.waits[k].stage {
		case publishing:
			w.publish(s, k, out)
		case offerable:
			w.dismiss(s, k, out)
			w.passDeadline(s, k, out)
		case offered:
			w.writeOffered(s, k, out)
		case reading:
			w.read(s, k, out)
			w.passDeadline(s, k, out)
		case looking:
			w.look(s, k, out)
		case claimed:
			w.writeClaimed(s, k, out)
		case delivering:
			w.settle(s, k, decision.Deliver{Server: w.ownServer(s, k)}, out)
		case succeeding:
			answer(s, k, false, "answers success", out)
		case writing:
			answer(s, k, true, "writes the body all the same", out)
		default:
		}
	}
	for g := range uint8(2) {
		w.crashGateway(s, g, out)
	}
	if s.spilled != 0 {
		if s.stored == 0 {
			s.stored = s.spilled
		}
		s.spilled = 0
		out(step{what: "mover brings the event home"}, s)
	}
}

// publish stores the event, or not, and hears about it, or not.
func (w *world) publish(s state, k uint8, out emit) {
	to := func(s state, st stage, what string) {
		s.waits[k].stage = st
		out(step{what: what, who: k + 1}, s)
	}
	fresh := offerable
	if w.hold { // stretch mode: nobody takes offers
		fresh = reading
	}
	to(s, gone, "publish fails, refuses")
	if w.twist.ackBeforeStore {
		to(s, succeeding, "publish fails, says success all the same")
	}
	home, spill := s, s
	home.stored, spill.spilled = k+1, k+1
	if s.stored == 0 {
		to(home, fresh, "stored")
		to(home, gone, "stored, acknowledgement lost, refuses")
	} else {
		to(s, reading, "stored before: duplicate")
	}
	if s.spilled == 0 {
		to(spill, fresh, "spilled")
	} else {
		to(s, reading, "spilled before: duplicate")
	}
}

// dismiss ends the wait for an offer when the rule service says that none will come.
func (w *world) dismiss(s state, k uint8, out emit) {
	if s.record != 0 && decision.Final(w.records[s.record].GetRoute()) {
		answer(s, k, false, "is dismissed, answers success", out)
	}
}

// passDeadline ends the time in which a wait takes an offer or claims.
func (w *world) passDeadline(s state, k uint8, out emit) {
	t := s
	t.waits[k].stage = gone
	out(step{what: "client gone", who: k + 1}, t)
	if w.hold && k+1 < w.attempts {
		return // held until the attempt is dead
	}
	if w.twist.noLastRead || w.twist.firstNeverLooks && s.waits[k].stage == offerable {
		s.waits[k].stage = succeeding
	} else {
		s.waits[k].stage = looking
	}
	out(step{what: "deadline passes", who: k + 1}, s)
}

// writeOffered ends a wait that has taken an offer. The process remembers what it did.
func (w *world) writeOffered(s state, k uint8, out emit) {
	t := s
	t.sealed = sealedDelivered
	answer(t, k, true, "writes the offered body", out)
	t.sealed = sealedUnknown
	answer(t, k, true, "writes the offered body, cannot tell how far", out)

	t = s
	t.sealed = sealedUndeliverable
	t.waits[k].stage = gone
	if w.twist.writesAfterDeadline {
		t.waits[k].stage = writing
	}
	out(step{what: "deadline or client gone before the write", who: k + 1}, t)
}

// read is the way of duplicates: the record decides.
func (w *world) read(s state, k uint8, out emit) {
	if s.record == 0 {
		return
	}
	if w.twist.duplicateIsSuccess {
		answer(s, k, false, "answers a duplicate with success", out)
	}
	w.bySettled(s, k, out)
	if decision.AnswerFor(w.records[s.record], before) == decision.ClaimFirst && (!w.hold || w.early || k+1 == w.attempts) {
		w.claim(s, k, out)
	}
}

// look is the way of every wait past its deadline: success only if no reply is on its way.
func (w *world) look(s state, k uint8, out emit) {
	t := s
	t.waits[k].stage = gone
	out(step{what: "cannot read or finds the record open, aborts", who: k + 1}, t)
	if s.record != 0 {
		w.bySettled(s, k, out)
		if w.twist.claimsLate && decision.AnswerFor(w.records[s.record], before) == decision.ClaimFirst {
			w.claim(s, k, out)
		}
		return
	}
	if w.lastInLine(s, k) {
		t.waits[k].stage = succeeding
		out(step{what: "finds no record", who: k + 1}, t)
	}
}

// bySettled answers from a record that will not change its mind.
func (w *world) bySettled(s state, k uint8, out emit) {
	switch decision.AnswerFor(w.records[s.record], before) {
	case decision.Success:
		answer(s, k, false, "reads a final route, answers success", out)
	case decision.Serve:
		answer(s, k, true, "reads delivered, writes the body again", out)
	default:
	}
}

// lastInLine reports whether every earlier attempt is past its deadline too.
func (w *world) lastInLine(s state, k uint8) bool {
	if w.twist.deadlinesOutOfOrder {
		return true
	}
	for j := range k {
		switch s.waits[j].stage {
		case publishing, offerable, reading:
			return false
		default:
		}
	}
	return true
}

func (w *world) claim(s state, k uint8, out emit) {
	if w.twist.retriesDoNotClaim {
		s.waits[k].stage = writing
		out(step{what: "goes on without a claim", who: k + 1}, s)
		return
	}
	record, ok := w.apply(s.record, decision.Claim{Server: w.ownServer(s, k)}, before)
	if !ok {
		return
	}
	s.record = record
	s.waits[k].stage = claimed
	out(step{what: "claims", who: k + 1}, s)
	s.waits[k].stage = gone
	out(step{what: "claims, does not learn that it did, aborts", who: k + 1}, s)
}

func (w *world) writeClaimed(s state, k uint8, out emit) {
	answer(s, k, true, "writes the claimed body", func(st step, t state) {
		out(step{what: "writes the claimed body, cannot tell how far", note: st.note, who: st.who}, t)
		t.waits[k].stage = delivering
		out(st, t)
	})
	w.settle(s, k, decision.Release{Server: w.ownServer(s, k)}, out)
}

// settle ends a wait with a change of its own claim, or without it when the change fails.
func (w *world) settle(s state, k uint8, cmd decision.Command, out emit) {
	s.waits[k].stage = gone
	out(step{what: "cannot settle its claim", who: k + 1}, s)
	if record, ok := w.apply(s.record, cmd, before); ok {
		s.record = record
		out(step{what: "settles its claim", who: k + 1}, s)
	}
}

// crashGateway ends every wait of a process and its memory. It is up again at once.
func (w *world) crashGateway(s state, g uint8, out emit) {
	if s.stored != 0 && s.waits[s.stored-1].gw == g {
		s.sealed = unsealed
	}
	for k := range s.waits {
		if wt := &s.waits[k]; wt.gw == g && wt.stage != idle {
			wt.stage, wt.old = gone, true
		}
	}
	out(step{what: "gateway crashes", who: g + 1, fault: true}, s)
}
