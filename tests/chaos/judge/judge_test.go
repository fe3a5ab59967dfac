package judge_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/judge"
	"github.com/wxbus/wxbus/tests/readback"
)

var at = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)

// good are the facts of a trial in which every promise was kept: one push was replied to, one was never
// stored and WeChat gave up, and one ended in each way that the promise allows.
func good() judge.Facts {
	f := judge.Facts{
		Load:     judge.Load{Due: 8, Expected: 8},
		Report:   judge.Report{Acked: 6, NotAcked: 2, Checker: judge.Checker{State: "complete"}, Violations: map[string]judge.Incidents{}},
		Readings: []readback.Reading{{Stream: "INBOUND", From: 11, Last: 17, Read: 17, Count: 7, Gapless: true}, {Stream: "DECISIONS", From: 5, Last: 40, Read: 40, Count: 9}},
		Books: judge.Books{Events: map[judge.Key][]string{}, Decisions: map[string]judge.Decision{}, Sends: map[string]judge.Send{},
			Dead: map[string]string{}},
	}
	add := func(msgID, event string, acked bool, seen int) {
		p := judge.Push{ID: uint64(len(f.Pushes) + 1), Account: "one", OpenID: "oFan", MsgID: msgID, Number: len(f.Pushes) + 1, Scheduled: at, ReplySeen: seen, Finished: true}
		if acked {
			p.Acked = at.Add(time.Second)
		}
		f.Pushes = append(f.Pushes, p)
		f.Report.Pushes++
		if event != "" {
			f.Books.Events[judge.Key{Account: "one", OpenID: "oFan", MsgID: msgID}] = []string{event}
		}
	}
	add("1", "e1", true, 1)
	f.Books.Decisions["e1"] = judge.Decision{Route: judge.RoutePassive, Delivered: true}
	add("2", "", false, 0)
	add("3", "e3", true, 0)
	f.Books.Decisions["e3"] = judge.Decision{Route: judge.RouteAmbiguous}
	add("4", "e4", true, 0)
	f.Books.Decisions["e4"], f.Books.Sends["e4"] = judge.Decision{Route: judge.RouteAsync}, judge.Send{State: judge.SendAmbiguous}
	add("5", "e5", true, 0)
	f.Books.Dead["e5"] = "invalid"
	add("6", "e6", true, 0)
	f.Books.Decisions["e6"], f.Books.Sends["e6"] = judge.Decision{Route: judge.RouteAsync}, judge.Send{State: judge.SendFailed, ErrCode: -1}
	add("7", "e7", true, 0)
	f.Books.Decisions["e7"] = judge.Decision{Route: judge.RouteNone}
	add("8", "e8", false, 0)
	f.Books.Decisions["e8"] = judge.Decision{Route: judge.RoutePassive, Delivered: true}
	return f
}

func TestPromisesThatWereKept(t *testing.T) {
	v := judge.Judge(good())
	require.True(t, v.Kept(), "%+v", v)
	require.Equal(t, map[string]int{
		judge.FateReplied: 1, judge.FateNotStored: 1, judge.FateDecision: 1, judge.FateSend: 1, judge.FateDead: 1,
		judge.FateFailed + " -1": 1, judge.FateNoReply: 1, judge.FateUnseen: 1,
	}, v.Fates)
	require.Equal(t, []string{"one/oFan push 3 number 3"}, v.FateIDs[judge.FateDecision])
}

// TestABrokenPromiseIsFound breaks one thing after the other.
func TestABrokenPromiseIsFound(t *testing.T) {
	violation := func(class, id string) func(f *judge.Facts) {
		return func(f *judge.Facts) {
			f.Report.Violations[class] = judge.Incidents{Count: 2, Incidents: []judge.Incident{{ID: id, Detail: "twice"}}}
		}
	}
	for name, c := range map[string]struct {
		spoil func(f *judge.Facts)
		class string
		id    string
	}{
		"acknowledged and not stored, says the simulator": {violation("acked_not_stored", "one/oFan push 1 text"), judge.ClassLost, "one/oFan push 1 text"},
		"acknowledged and not among what was read": {func(f *judge.Facts) {
			delete(f.Books.Events, judge.Key{Account: "one", OpenID: "oFan", MsgID: "1"})
			delete(f.Books.Decisions, "e1")
		}, judge.ClassLost, "one/oFan push 1 number 1"},
		"a reply seen twice":  {violation("reply_seen_twice", "one/oFan number 1"), "reply_seen_twice", "one/oFan number 1"},
		"stored twice":        {violation("stored_twice", "one/oFan push 1 text"), "stored_twice", "one/oFan push 1 text"},
		"out of order":        {violation("out_of_order", "one/oFan number 1"), "out_of_order", "one/oFan number 1"},
		"a malformed answer":  {violation("malformed", "one/oFan push 1 text"), "malformed", "one/oFan push 1 text"},
		"nothing was decided": {func(f *judge.Facts) { delete(f.Books.Decisions, "e3") }, judge.ClassNoEnd, "one/oFan push 3 number 3"},
		"a send without an end": {func(f *judge.Facts) { delete(f.Books.Sends, "e4") }, judge.ClassNoEnd,
			"one/oFan push 4 number 4"},
		"sent and never seen": {func(f *judge.Facts) { f.Books.Sends["e4"] = judge.Send{State: judge.SendSent} }, judge.ClassNoEnd,
			"one/oFan push 4 number 4"},
		"acknowledged, delivered and never seen": {func(f *judge.Facts) { f.Pushes[7].Acked = at }, judge.ClassNoEnd, "one/oFan push 8 number 8"},
		"a claim that never ended":               {func(f *judge.Facts) { f.Books.Decisions["e8"] = judge.Decision{Route: judge.RoutePassive} }, judge.ClassNoEnd, "one/oFan push 8 number 8"},
		"a decision about nothing": {func(f *judge.Facts) { f.Books.Decisions["e9"] = judge.Decision{Route: judge.RouteNone} },
			judge.ClassUnwanted, "e9"},
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			c.spoil(&f)
			v := judge.Judge(f)
			require.False(t, v.Kept())
			require.Positive(t, v.Counts[c.class], "%+v", v.Counts)
			ids := map[string]bool{}
			for _, x := range v.Violations {
				ids[x.ID] = true
			}
			require.True(t, ids[c.id], "%+v", v.Violations)
		})
	}
}

func TestTheThreeLettersOfTheTable(t *testing.T) {
	f := good()
	for class, n := range map[string]int{"acked_not_stored": 3, "reply_seen_twice": 4, "stored_twice": 5, "out_of_order": 6} {
		f.Report.Violations[class] = judge.Incidents{Count: n}
	}
	v := judge.Judge(f)
	require.Equal(t, [3]int{3, 9, 6}, [3]int{v.Lost(), v.Doubled(), v.Disordered()})
}

// TestASpillExplainsAReplyOutOfOrderAndExcusesNone: the promise is order, whichever stream a push took.
func TestASpillExplainsAReplyOutOfOrderAndExcusesNone(t *testing.T) {
	f := good()
	f.Report.Violations["out_of_order"] = judge.Incidents{Count: 3, Incidents: []judge.Incident{{ID: "one/oFan number 1"}, {ID: "one/oFan number 3"}}}
	f.Books.Spilled = map[judge.Key]bool{{Account: "one", OpenID: "oFan", MsgID: "1"}: true}
	v := judge.Judge(f)
	require.False(t, v.Kept())
	require.Equal(t, 3, v.Counts["out_of_order"])
	require.Equal(t, []judge.Violation{{Class: "out_of_order", ID: "one/oFan number 1"}}, v.AfterSpill)
	allowed := judge.Judge(f, judge.ClassOrder)
	require.True(t, allowed.Kept())
	require.Equal(t, 3, allowed.Disordered(), "the figure is the whole truth")
}

func TestWhatARowIsAboutIsNoViolation(t *testing.T) {
	f := good()
	f.Report.Violations["kf_outside_window"] = judge.Incidents{Count: 1}
	require.False(t, judge.Judge(f).Kept())
	v := judge.Judge(f, "kf_outside_window")
	require.True(t, v.Kept())
	require.Equal(t, map[string]int{"kf_outside_window": 1}, v.Excused, "and reported all the same")
}

func TestAParkedSendIsAnEndOnlyWhereTheRowIsAboutIt(t *testing.T) {
	f := good()
	delete(f.Books.Sends, "e4")
	require.False(t, judge.Judge(f).Kept())
	v := judge.Judge(f, judge.AllowParked)
	require.True(t, v.Kept(), "%+v", v)
	require.Equal(t, 1, v.Fates[judge.FateParked])
	delete(f.Books.Decisions, "e4")
	require.False(t, judge.Judge(f, judge.AllowParked).Kept(), "nothing was decided about it")
}

// TestWhoDidNotSeeEverythingDoesNotJudge: a reader that ends early must never look like a kept promise.
func TestWhoDidNotSeeEverythingDoesNotJudge(t *testing.T) {
	for name, spoil := range map[string]func(f *judge.Facts){
		"the simulator's checker":        func(f *judge.Facts) { f.Report.Checker = judge.Checker{State: "incomplete", Reason: "nobody posted"} },
		"the simulator has no checker":   func(f *judge.Facts) { f.Report.Checker = judge.Checker{} },
		"an open push":                   func(f *judge.Facts) { f.Report.Open = 1 },
		"a list that is cut":             func(f *judge.Facts) { f.Pushes = f.Pushes[:2] },
		"no pushes":                      func(f *judge.Facts) { f.Pushes, f.Report.Pushes = nil, 0 },
		"nothing read":                   func(f *judge.Facts) { f.Readings = nil },
		"not the last sequence":          func(f *judge.Facts) { f.Readings[1].Read = 39 },
		"a gap where nothing is deleted": func(f *judge.Facts) { f.Readings[0].Count = 6 },
		"a reader that failed":           func(f *judge.Facts) { f.Readings[0].Error = "timeout" },
		"a plan that was cut":            func(f *judge.Facts) { f.Load.Due = 4 },
		"pushes that were left out":      func(f *judge.Facts) { f.Load.Shed = 1 },
		"pushes that could not begin":    func(f *judge.Facts) { f.Load.Failed = 1 },
		"a generator that failed":        func(f *judge.Facts) { f.Load.Error = "no account" },
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			spoil(&f)
			v := judge.Judge(f)
			require.NotEmpty(t, v.Incomplete)
			require.False(t, v.Kept())
		})
	}
}

func TestAnEmptyStreamIsCompletelyRead(t *testing.T) {
	f := good()
	f.Readings = append(f.Readings, readback.Reading{Stream: "DLQ", From: 8, Last: 7})
	require.True(t, judge.Judge(f).Kept())
}
