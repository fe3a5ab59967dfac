package decision_test

import (
	"github.com/wxbus/wxbus/pkg/decision"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// rules makes the steps of both handlers and of the offers that they sent.
func (w *world) rules(s state, out emit) {
	for i := range uint8(2) {
		switch s.handlers[i].phase {
		case resting:
			if s.stored != 0 && !s.handled {
				w.begin(s, i, out)
			}
		case created:
			w.offerFirst(s, i, out)
		case awaiting:
			w.hear(s, i, out)
		case watching:
			w.watch(s, i, out)
		}
		if s.handlers[i].phase != resting {
			t := s
			t.handlers[i].phase = resting
			out(step{what: "rule handler crashes", who: i + 1, fault: true}, t)
		}
		if s.handlers[i].offer {
			w.receive(s, i, out)
		}
	}
	if w.twist.forgetsOutcomes && s.sealed != unsealed {
		s.sealed = unsealed
		out(step{what: "gateway forgets the outcome"}, s)
	}
}

// begin reads the record, and creates it when there is none.
func (w *world) begin(s state, i uint8, out emit) {
	s.handlers[i].phase = watching
	if s.record != 0 && !w.twist.decidesAgain {
		out(step{what: "takes over a record", who: i + 1}, s)
		return
	}
	s.record = w.fresh(w.lateRoute())
	out(step{what: "decides too late for a passive reply", who: i + 1}, s)
	if w.hold {
		s.record = w.fresh(w.openRoute())
		out(step{what: "decides, nobody to offer to", who: i + 1}, s)
		return
	}
	s.record = w.fresh(w.openRoute(), w.eventServer(s))
	s.handlers[i].phase = created
	out(step{what: "decides, claims for the gateway of the event", who: i + 1}, s)
}

// offerFirst is the very first offer. It finds nobody when the process is gone or disconnected.
func (w *world) offerFirst(s state, i uint8, out emit) {
	t := s
	t.handlers[i].phase = watching
	if record, ok := w.apply(s.record, decision.Abandon{Server: w.eventServer(s)}, before); ok {
		t.record = record
	}
	out(step{what: "first offer finds no responder, abandons the claim", who: i + 1}, t)
	w.send(s, i, out)
}

// send puts an offer on its way.
func (w *world) send(s state, i uint8, out emit) {
	s.handlers[i].phase = awaiting
	s.handlers[i].offer = true
	out(step{what: "offers", who: i + 1}, s)
}

// hear is the answer to an offer. A handler that awaits one may learn what the process remembers
// at any later moment, or never.
func (w *world) hear(s state, i uint8, out emit) {
	t := s
	t.handlers[i].phase = watching
	out(step{what: "offer times out", who: i + 1}, t)

	var cmd decision.Command
	switch {
	case s.sealed == sealedDelivered:
		cmd = decision.Deliver{Server: w.eventServer(s)}
	case s.sealed == sealedUndeliverable, w.twist.silenceIsRelease:
		cmd = decision.Release{Server: w.eventServer(s)}
	case w.twist.nobodyMeansReleased && s.waits[s.stored-1].old:
		cmd = decision.Release{Server: w.eventServer(s)}
	default:
		return
	}
	if record, ok := w.apply(s.record, cmd, before); ok {
		t.record = record
		out(step{what: "hears the outcome, settles the claim", who: i + 1}, t)
	}
}

// watch goes by the record: finish, offer again, or close it when the table allows.
func (w *world) watch(s state, i uint8, out emit) {
	rec := w.records[s.record]
	switch {
	case rec.GetRoute() == rulev1.Route_ROUTE_ASYNC && (s.sent == 0 || w.twist.senderSendsTwice && s.sent == 1):
		t := s
		t.sent++
		out(step{what: "calls the sender", who: i + 1}, t)
		if s.sent == 0 {
			return
		}
		fallthrough
	case decision.Final(rec.GetRoute()), decision.AnswerFor(rec, before) == decision.Serve:
		s.handlers[i].phase = resting
		s.handled = true
		out(step{what: "acknowledges the event", who: i + 1}, s)
		return
	}
	if !w.hold && !s.handlers[i].offer && w.claimOf(s.record, w.eventServer(s)) == rulev1.ClaimState_CLAIM_STATE_PENDING {
		t := s
		if record, ok := w.apply(s.record, decision.Share{Server: w.eventServer(s)}, before); ok && !w.twist.offersUnshared {
			t.record = record
		}
		w.send(t, i, out)
	}
	for _, cmd := range []decision.Command{decision.MoveToAsync{}, decision.Refuse{}, decision.MarkAmbiguous{}} {
		if record, ok := w.apply(s.record, cmd, after); ok {
			t := s
			t.record = record
			out(step{what: "closes the record", who: i + 1}, t)
		}
	}
}

// receive lets the offer of a handler reach the process that had the connection of the event.
func (w *world) receive(s state, i uint8, out emit) {
	s.handlers[i].offer = false
	out(step{what: "offer is lost", who: i + 1}, s)
	home := s.waits[s.stored-1]
	if s.sealed != unsealed || home.old && !w.twist.processKeepsName {
		return
	}
	for k := range s.waits {
		wt := &s.waits[k]
		if wt.gw != home.gw || wt.old {
			continue
		}
		switch wt.stage {
		case publishing, offered:
			return // held until the publish or the write has ended
		case offerable:
			wt.stage = offered
			out(step{what: "offer is taken", who: i + 1}, s)
			return
		default:
		}
	}
	s.sealed = sealedUndeliverable
	out(step{what: "offer finds no wait", who: i + 1}, s)
}
