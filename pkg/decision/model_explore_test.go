package decision_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wxbus/wxbus/pkg/decision"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// finding is a violated invariant with the shortest way to it.
type finding struct {
	what  string
	trace []string
}

func (f *finding) String() string {
	return f.what + "\n  " + strings.Join(f.trace, "\n  ")
}

// explorer visits the states breadth first, so that a counterexample is as short as can be.
type explorer struct {
	w      *world
	states []uint64 // packed, in the order in which they were found
	parent []uint32
	seen   set
	rests  int
}

// explore visits every reachable state and returns the first violation.
func explore(w *world) (*explorer, *finding) {
	e := &explorer{w: w}
	e.add(state{}, 0)
	for i := uint32(0); int(i) < len(e.states); i++ {
		if f := e.visit(i); f != nil {
			return e, f
		}
	}
	return e, nil
}

// moves makes every step that is possible in a state.
func (w *world) moves(s state, out emit) {
	w.wechat(s, out)
	w.gateways(s, out)
	w.rules(s, out)
}

func (e *explorer) visit(i uint32) *finding {
	s := unpack(e.states[i])
	if s.shown+s.sent > 1 {
		return e.finding(i, "the fan has two copies")
	}
	rest := true
	e.w.moves(s, func(st step, t state) {
		rest = rest && st.fault
		e.add(canonical(t), i)
	})
	if !rest {
		return nil
	}
	e.rests++
	if what := e.w.wrongAtRest(s); what != "" {
		return e.finding(i, what)
	}
	return nil
}

// wrongAtRest says what is wrong with a state in which nothing more will happen.
func (w *world) wrongAtRest(s state) string {
	if s.stored != 0 && !s.handled {
		return "the event is never finished"
	}
	if s.shown+s.sent > 0 || !s.acked {
		return ""
	}
	switch w.records[s.record].GetRoute() {
	case rulev1.Route_ROUTE_AMBIGUOUS, rulev1.Route_ROUTE_REFUSED:
		return ""
	default:
		return "silent loss: WeChat has success, the fan has nothing, and the record does not say so"
	}
}

func (e *explorer) add(s state, parent uint32) {
	p := s.pack()
	if !e.seen.add(p) {
		return
	}
	e.states = append(e.states, p)
	e.parent = append(e.parent, parent)
}

// canonical maps states to one that behaves the same: the names of the two handlers mean nothing,
// and neither does what nobody can see any more.
func canonical(s state) state {
	for k := range s.waits {
		wt := &s.waits[k]
		if !s.live(uint8(k)) && (wt.stage == succeeding || wt.stage == writing) {
			wt.stage = gone // the answer goes nowhere
		}
		if wt.stage == gone && int(s.stored) != k+1 && int(s.spilled) != k+1 {
			wt.gw, wt.old = 0, false
		}
	}
	if s.stored != 0 && s.spilled != 0 {
		s.spilled = s.stored // the mover will find a duplicate, whichever it is
	}
	quiet := s.handled
	for i := range s.handlers {
		if s.handled && s.handlers[i].phase == resting {
			s.handlers[i].offer = s.handlers[i].offer && canOffer(s)
		}
		quiet = quiet && s.handlers[i] == handler{}
	}
	if quiet {
		s.sealed = unsealed
	}
	a, b := s.handlers[0], s.handlers[1]
	if a.phase > b.phase || a.phase == b.phase && !a.offer && b.offer {
		s.handlers[0], s.handlers[1] = b, a
	}
	return s
}

// canOffer reports whether an offer can still find a connection.
func canOffer(s state) bool {
	for _, wt := range s.waits {
		switch wt.stage {
		case idle, publishing, offerable, offered:
			return true
		default:
		}
	}
	return false
}

// finding tells the way to a state, with the record after each step.
func (e *explorer) finding(i uint32, what string) *finding {
	f := &finding{what: what}
	for i != 0 {
		from, to := unpack(e.states[e.parent[i]]), e.states[i]
		line := ""
		e.w.moves(from, func(st step, t state) {
			if canonical(t).pack() == to && line == "" {
				line = st.what + st.note
				if st.who != 0 {
					line = fmt.Sprintf("%s (%d)", line, st.who)
				}
			}
		})
		f.trace = append(f.trace, line+e.w.describe(unpack(to)))
		i = e.parent[i]
	}
	slices.Reverse(f.trace)
	return f
}

func (w *world) describe(s state) string {
	rec := w.records[s.record]
	if rec == nil {
		return ""
	}
	text := "   [" + decision.RouteName(rec.GetRoute())
	for _, c := range rec.GetClaims() {
		text += " " + c.GetServer() + "=" + strings.ToLower(strings.TrimPrefix(c.GetState().String(), "CLAIM_STATE_"))
	}
	return text + "]"
}

// traps returns the states from which no state at rest can be reached without a fault.
func (e *explorer) traps() []string {
	var ends set
	for again := true; again; {
		again = false
		for _, p := range slices.Backward(e.states) {
			s := unpack(p)
			end, moves := false, false
			e.w.moves(s, func(st step, t state) {
				if !st.fault {
					moves = true
					end = end || ends.has(canonical(t).pack())
				}
			})
			if (end || !moves) && ends.add(p) {
				again = true
			}
		}
	}
	var traps []string
	for _, p := range e.states {
		if !ends.has(p) {
			traps = append(traps, fmt.Sprintf("%+v%s", unpack(p), e.w.describe(unpack(p))))
		}
	}
	return traps
}
