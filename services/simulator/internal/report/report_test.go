package report_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func newLedger(t *testing.T, keep int) (*ledger.Ledger, *clock.Clock) {
	t.Helper()
	ask, err := ledger.NewPattern("k%04d")
	require.NoError(t, err)
	reply, err := ledger.NewPattern("re:k%04d")
	require.NoError(t, err)
	c := clock.Virtual(start)
	return ledger.New(ledger.Config{KeepPushes: keep, KeepPerFan: 10, MaxFans: 10, Windows: ledger.DefaultWindows(), Ask: ask, Reply: reply}, c, []codec.Account{{Name: "oa"}}), c
}

// push makes an acknowledged push that took a while and returns it.
func push(t *testing.T, l *ledger.Ledger, c *clock.Clock, n ledger.NewPush, took time.Duration, acked bool) ledger.Push {
	t.Helper()
	n.Account, n.OpenID, n.Shown = "oa", "oFan", codec.Content{Type: "x"}
	o, err := l.Open(n)
	require.NoError(t, err)
	number := l.StartAttempt(o.Push, "http://r1")
	c.Advance(took)
	end := ledger.Attempt{Number: number, Status: 200, Outcome: ledger.OutcomeSuccess}
	if !acked {
		end.Status, end.Outcome = 0, ledger.OutcomeTimeout
	}
	l.EndAttempt(o.Push, end, nil)
	l.Finish(o.Push, !acked)
	return l.Get(o.Push)
}

func stored(pushes ...ledger.Push) report.StoredSet {
	s := report.StoredSet{Complete: true}
	for _, p := range pushes {
		s.Pushes = append(s.Pushes, report.Stored{Account: p.Account, OpenID: p.OpenID, MsgID: p.MsgID, Event: p.Kind.Event, CreateTime: p.CreateTime})
	}
	return s
}

func reader(s report.StoredSet) report.Reader {
	return func(context.Context) (report.StoredSet, error) { return s, nil }
}

var (
	text  = ledger.NewPush{Kind: ledger.Kind{MsgType: "text"}, Text: "k0001"}
	click = ledger.NewPush{Kind: ledger.Kind{MsgType: "event", Event: "CLICK"}}
	job   = ledger.NewPush{Kind: ledger.Kind{MsgType: "event", Event: "TEMPLATESENDJOBFINISH"}, JobID: "77"}
)

func TestAckedButNotStored(t *testing.T) {
	l, c := newLedger(t, 100)
	a := push(t, l, c, text, time.Millisecond, true)
	b := push(t, l, c, click, time.Millisecond, true)
	j := push(t, l, c, job, time.Millisecond, true)
	push(t, l, c, text, time.Millisecond, false) // nobody acknowledged it, so nothing is lost

	all := report.Build(t.Context(), l, reader(stored(a, b, j)))
	require.Zero(t, all.Count(report.ClassNotStored))
	require.True(t, all.Clean(), all.Text())

	for name, set := range map[string]report.StoredSet{"a message": stored(b, j), "an event": stored(a, j), "a job result": stored(a, b)} {
		r := report.Build(t.Context(), l, reader(set))
		require.EqualValues(t, 1, r.Count(report.ClassNotStored), name)
		require.False(t, r.Clean())
	}
	lower := stored(b)
	lower.Pushes[0].Event = "click"
	jobByTime := stored(j)
	jobByTime.Pushes[0].MsgID = ""
	lower.Pushes = append(lower.Pushes, append(jobByTime.Pushes, stored(a).Pushes...)...)
	require.True(t, report.Build(t.Context(), l, reader(lower)).Clean(), "the case of event names does not matter, nor does a missing job id")
}

func TestTheSameMessageIDOfAnotherFanIsNotTheSame(t *testing.T) {
	l, c := newLedger(t, 100)
	set := stored(push(t, l, c, text, 0, true))
	set.Pushes[0].OpenID = "oOther"
	require.EqualValues(t, 1, report.Build(t.Context(), l, reader(set)).Count(report.ClassNotStored))
}

func TestStoredTwice(t *testing.T) {
	l, c := newLedger(t, 100)
	a := push(t, l, c, text, 0, true)
	r := report.Build(t.Context(), l, reader(stored(a, a)))
	require.EqualValues(t, 1, r.Count(report.ClassStoredTwice))
}

func TestAnIncompleteCheckIsNotZero(t *testing.T) {
	l, c := newLedger(t, 100)
	push(t, l, c, text, 0, true)
	tests := map[string]report.Reader{
		"nobody gave the list":                 nil,
		"did not read to the end: leader gone": reader(report.StoredSet{Reason: "leader gone"}),
		"the reader failed: no route":          func(context.Context) (report.StoredSet, error) { return report.StoredSet{}, errors.New("no route") },
	}
	for reason, read := range tests {
		r := report.Build(t.Context(), l, read)
		require.False(t, r.Clean())
		require.Zero(t, r.Count(report.ClassNotStored), "what was not read to the end accuses nobody")
		require.Contains(t, r.Text(), "CHECKER INCOMPLETE")
		require.Contains(t, r.Text(), reason)
		page, err := r.HTML()
		require.NoError(t, err)
		require.Contains(t, string(page), "CHECKER INCOMPLETE")
	}

	late := report.StoredSet{Complete: true, At: start.Add(-time.Second)}
	require.Contains(t, report.Build(t.Context(), l, reader(late)).Checker.Reason, "1 pushes were acknowledged after the list was read")

	small, c := newLedger(t, 4)
	for range 8 {
		push(t, small, c, text, 0, true)
	}
	r := report.Build(t.Context(), small, reader(report.StoredSet{Complete: true}))
	require.Equal(t, report.CheckerIncomplete, r.Checker.State)
	require.Contains(t, r.Checker.Reason, "keep_pushes")
}

func TestLatencyCountsFromWhenAPushWasDue(t *testing.T) {
	l, c := newLedger(t, 100)
	n := text
	n.Scheduled = start.Add(-time.Second) // it began one second late
	push(t, l, c, n, 500*time.Millisecond, true)
	r := report.Build(t.Context(), l, nil)
	require.Equal(t, 1500*time.Millisecond, r.Ack.Max)
	require.EqualValues(t, 1, r.Ack.Count)
}

func TestReportPageEscapesWhatOthersWrote(t *testing.T) {
	l, c := newLedger(t, 100)
	push(t, l, c, text, time.Millisecond, true)
	require.Zero(t, l.SendKf("oa", "oFan", codec.Content{Type: "text", Text: "re:k0001"}))
	require.Zero(t, l.SendKf("oa", "oFan", codec.Content{Type: "text", Text: "re:k0001"}))
	l.Ambiguous(ledger.Ambiguous{Path: "<script>alert(1)</script>"})
	l.Called("oa", "/cgi-bin/message/custom/send", 0, "", time.Millisecond)
	r := report.Build(t.Context(), l, nil)
	page, err := r.HTML()
	require.NoError(t, err)
	html := string(page)
	require.NotContains(t, html, "<script")
	require.Contains(t, html, ledger.ClassDuplicate)
	require.Contains(t, html, "<polyline")
	require.Equal(t, 2, strings.Count(html, "<polyline"))
	require.Contains(t, r.Text(), "VIOLATION reply_seen_twice 1")
}

func TestPostedLists(t *testing.T) {
	var l report.List
	require.Nil(t, l.Reader(), "nobody posted anything")
	_, err := l.Add(report.StoredSet{Pushes: []report.Stored{{MsgID: "1"}}}, start)
	require.NoError(t, err)
	n, err := l.Add(report.StoredSet{Pushes: []report.Stored{{MsgID: "2"}}, Complete: true}, start)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	set, err := l.Reader()(t.Context())
	require.NoError(t, err)
	require.True(t, set.Complete)
	require.Len(t, set.Pushes, 2)
	n, err = l.Add(report.StoredSet{Pushes: []report.Stored{{MsgID: "3"}}}, start)
	require.NoError(t, err)
	require.Equal(t, 1, n, "a new list begins after a complete one")
	l.Reset()
	require.Nil(t, l.Reader())
}
