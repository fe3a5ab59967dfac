package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

const fan = "oFan"

func newLedger(t *testing.T, change ...func(*ledger.Config)) (*ledger.Ledger, *clock.Clock) {
	t.Helper()
	ask, err := ledger.NewPattern("k%04d")
	require.NoError(t, err)
	reply, err := ledger.NewPattern("re:k%04d")
	require.NoError(t, err)
	cfg := ledger.Config{KeepPushes: 100, KeepPerFan: 20, MaxFans: 10, OrderSlack: 10 * time.Millisecond, Windows: ledger.DefaultWindows(), Ask: ask, Reply: reply}
	for _, f := range change {
		f(&cfg)
	}
	c := clock.Virtual(start)
	return ledger.New(cfg, c, []codec.Account{{Name: "oa", Kind: codec.KindService}, {Name: "mp", Kind: codec.KindMiniProgram}}), c
}

func open(t *testing.T, l *ledger.Ledger, account string, kind ledger.Kind, text string) *ledger.Push {
	t.Helper()
	o, err := l.Open(ledger.NewPush{Account: account, OpenID: fan, Kind: kind, Text: text, Shown: codec.Content{Type: "x"}})
	require.NoError(t, err)
	return o.Push
}

func event(name string) ledger.Kind { return ledger.Kind{MsgType: "event", Event: name} }

var message = ledger.Kind{MsgType: "text"}

func kf(text string) codec.Content { return codec.Content{Type: "text", Text: text} }

func TestWindowsByAction(t *testing.T) {
	tap := ledger.Kind{MsgType: "text", MenuTap: true}
	tests := []struct {
		name    string
		account string
		kind    ledger.Kind
		allowed int
		within  time.Duration
	}{
		{"message", "oa", message, 5, 48 * time.Hour},
		{"menu click", "oa", event("CLICK"), 3, time.Minute},
		{"scan from the menu", "oa", event("scancode_push"), 3, time.Minute},
		{"scan from the menu with answer", "oa", event("scancode_waitmsg"), 3, time.Minute},
		{"follow", "oa", event("subscribe"), 3, time.Minute},
		{"QR code", "oa", event("SCAN"), 3, time.Minute},
		{"tap on a menu message", "oa", tap, 3, time.Minute},
		{"opened a page", "oa", event("VIEW"), 0, 0},
		{"position", "oa", event("LOCATION"), 0, 0},
		{"photo from the menu", "oa", event("pic_sysphoto"), 0, 0},
		{"message to a Mini Program", "mp", message, 5, 48 * time.Hour},
		{"session of a Mini Program", "mp", event("user_enter_tempsession"), 2, time.Minute},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l, c := newLedger(t)
			open(t, l, tc.account, tc.kind, "")
			for range tc.allowed {
				require.Zero(t, l.SendKf(tc.account, fan, kf("x")))
			}
			if tc.allowed == 0 {
				require.Equal(t, 45015, l.SendKf(tc.account, fan, kf("x")))
				return
			}
			require.Equal(t, 45047, l.SendKf(tc.account, fan, kf("x")), "the count is used up")
			open(t, l, tc.account, tc.kind, "")
			c.Advance(tc.within)
			require.Zero(t, l.SendKf(tc.account, fan, kf("x")), "at the last moment")
			c.Advance(time.Second)
			require.Equal(t, 45015, l.SendKf(tc.account, fan, kf("x")), "too late")
			require.EqualValues(t, 1, l.Totals().Violations[ledger.ClassWindow].Count)
			require.EqualValues(t, 1, l.Totals().Violations[ledger.ClassCount].Count)
		})
	}
}

func TestWindowsDoNotAddUp(t *testing.T) {
	l, c := newLedger(t)
	open(t, l, "oa", message, "")
	open(t, l, "oa", message, "")
	f, _ := l.Fan("oa", fan)
	require.Equal(t, 5, f.Grant.Remaining)
	c.Advance(time.Hour)
	open(t, l, "oa", event("CLICK"), "")
	f, _ = l.Fan("oa", fan)
	require.Equal(t, ledger.Grant{Remaining: 5, Deadline: start.Add(48 * time.Hour)}, f.Grant, "a click does not shorten what a message opened")
	for range 4 {
		require.Zero(t, l.SendKf("oa", fan, kf("x")))
	}
	open(t, l, "oa", event("CLICK"), "")
	f, _ = l.Fan("oa", fan)
	require.Equal(t, 3, f.Grant.Remaining, "raised to the click's own number")
	c.Advance(48 * time.Hour)
	open(t, l, "oa", event("CLICK"), "")
	f, _ = l.Fan("oa", fan)
	require.Equal(t, 3, f.Grant.Remaining, "nothing is left of an expired window")
}

func TestSendsToStrangersAndLostFollowers(t *testing.T) {
	l, _ := newLedger(t)
	require.Equal(t, 40003, l.SendKf("oa", "oNobody", kf("x")))
	open(t, l, "oa", message, "")
	open(t, l, "oa", event("unsubscribe"), "")
	require.Equal(t, 43004, l.SendKf("oa", fan, kf("x")))
	require.Equal(t, 43004, l.CanReceive("oa", fan, "template"))
	require.EqualValues(t, 2, l.Totals().Violations[ledger.ClassUnfollowed].Count)
	open(t, l, "oa", event("subscribe"), "")
	require.Zero(t, l.SendKf("oa", fan, kf("x")), "following again opens a window")
}

// ack settles a numbered push by "success" and returns when the reply may come.
func ack(l *ledger.Ledger, p *ledger.Push) {
	n := l.StartAttempt(p, "r")
	l.EndAttempt(p, ledger.Attempt{Number: n, Status: 200, Outcome: ledger.OutcomeSuccess}, &codec.Answer{Kind: codec.AnswerAck})
	l.Finish(p, false)
}

func TestRepliesSeenTwiceAreFound(t *testing.T) {
	l, _ := newLedger(t)
	p := open(t, l, "oa", message, "k0001")
	n := l.StartAttempt(p, "r")
	l.EndAttempt(p, ledger.Attempt{Number: n, Status: 200, Outcome: ledger.OutcomeReply}, &codec.Answer{Kind: codec.AnswerReply, Content: kf("re:k0001")})
	require.Empty(t, l.Totals().Violations)
	require.Zero(t, l.SendKf("oa", fan, kf("re:k0001")))
	v := l.Totals().Violations[ledger.ClassDuplicate]
	require.EqualValues(t, 1, v.Count)
	require.Contains(t, v.Incidents[0].ID, "oFan number 1")
	require.Contains(t, v.Incidents[0].Detail, "first by passive, now by kf")
	got := l.Get(p)
	require.Equal(t, ledger.WayPassive, got.ReplyWay)
	require.Equal(t, 2, got.ReplySeen)
}

func TestAReplyThatNobodyAskedForIsFound(t *testing.T) {
	l, _ := newLedger(t)
	open(t, l, "oa", message, "k0001")
	require.Zero(t, l.SendKf("oa", fan, kf("re:k0007")))
	require.EqualValues(t, 1, l.Totals().Violations[codec.ClassWrongRecipient].Count)
	require.Zero(t, l.SendKf("oa", fan, kf("something else")))
	require.EqualValues(t, 1, l.Totals().Violations[codec.ClassWrongRecipient].Count)
}

func TestInversionsAreFoundWhereAnOrderExists(t *testing.T) {
	t.Run("the first push was over before the second began", func(t *testing.T) {
		l, c := newLedger(t)
		first := open(t, l, "oa", message, "k0001")
		ack(l, first)
		c.Advance(time.Second)
		second := open(t, l, "oa", message, "k0002")
		ack(l, second)
		l.SendKf("oa", fan, kf("re:k0002"))
		l.SendKf("oa", fan, kf("re:k0001"))
		require.EqualValues(t, 1, l.Totals().Violations[ledger.ClassOrder].Count)
		f, _ := l.Fan("oa", fan)
		require.Equal(t, []int{2, 1}, []int{f.Replies[0].Number, f.Replies[1].Number})
	})
	t.Run("both were open together", func(t *testing.T) {
		l, c := newLedger(t)
		first := open(t, l, "oa", message, "k0001")
		l.StartAttempt(first, "r")
		c.Advance(time.Second)
		ack(l, open(t, l, "oa", message, "k0002"))
		l.SendKf("oa", fan, kf("re:k0002"))
		l.SendKf("oa", fan, kf("re:k0001"))
		require.Empty(t, l.Totals().Violations)
		require.EqualValues(t, 1, l.Totals().OrderUnclear.Count)
	})
	t.Run("in order", func(t *testing.T) {
		l, c := newLedger(t)
		for _, k := range []string{"k0001", "k0002", "k0003"} {
			ack(l, open(t, l, "oa", message, k))
			c.Advance(time.Second)
			l.SendKf("oa", fan, kf("re:"+k))
		}
		require.Empty(t, l.Totals().Violations)
		require.Zero(t, l.Totals().OrderUnclear.Count)
		totals := l.Totals()
		require.Equal(t, time.Second, totals.Reply.Max())
	})
}

func TestUnansweredPushesAreCountedUntilTheReplyComes(t *testing.T) {
	l, _ := newLedger(t)
	ack(l, open(t, l, "oa", message, "k0001"))
	ack(l, open(t, l, "oa", message, "k0002"))
	ack(l, open(t, l, "oa", message, "no number"))
	require.Equal(t, 2, l.Unanswered())
	l.SendKf("oa", fan, kf("re:k0001"))
	require.Equal(t, 1, l.Unanswered())
	require.Len(t, l.UnansweredPushes(10), 1)
	require.Contains(t, l.UnansweredPushes(10)[0], "number 2")
}

func TestOldPushesAreFoldedButCounted(t *testing.T) {
	l, _ := newLedger(t, func(c *ledger.Config) { c.KeepPushes = 8 })
	for range 20 {
		ack(l, open(t, l, "oa", message, "x"))
	}
	require.LessOrEqual(t, len(l.Pushes()), 8)
	totals := l.Totals()
	require.EqualValues(t, 20, totals.Pushes)
	require.EqualValues(t, 20, totals.Acked)
	require.EqualValues(t, 20-len(l.Pushes()), totals.FoldedAcked)
}

func TestEventsOfAFanNeverLookTheSame(t *testing.T) {
	l, _ := newLedger(t)
	a, b := open(t, l, "oa", event("CLICK"), ""), open(t, l, "oa", event("CLICK"), "")
	require.NotEqual(t, l.Get(a).CreateTime, l.Get(b).CreateTime)
	require.Empty(t, l.Get(a).MsgID)
}

func TestARestartedSimulatorUsesNewMessageIDs(t *testing.T) {
	l, c := newLedger(t)
	first := l.Get(open(t, l, "oa", message, "")).MsgID
	c.Advance(time.Second)
	l.Reset()
	require.NotEqual(t, first, l.Get(open(t, l, "oa", message, "")).MsgID)
}

func TestPushesFromBeforeAResetAreRecordedNowhere(t *testing.T) {
	l, _ := newLedger(t)
	p := open(t, l, "oa", message, "k0001")
	l.Reset()
	ack(l, p)
	require.Zero(t, l.Totals().Acked)
	require.Zero(t, l.Totals().Open)
	require.Empty(t, l.Fans("oa"))
}

func TestSessionsEndBySilence(t *testing.T) {
	l, c := newLedger(t)
	open(t, l, "oa", message, "")
	require.Zero(t, l.OpenSession("oa", fan, "a@b"))
	c.Advance(29 * time.Minute)
	require.True(t, l.SayNative("oa", fan, kf("hello")))
	c.Advance(29 * time.Minute)
	require.Empty(t, l.ExpireSessions(30*time.Minute))
	c.Advance(2 * time.Minute)
	ended := l.ExpireSessions(30 * time.Minute)
	require.Len(t, ended, 1)
	require.Equal(t, "a@b", ended[0].Session.KfAccount)
	require.False(t, l.SayNative("oa", fan, kf("too late")))
}

func TestFansAndTheirScreensAreBounded(t *testing.T) {
	l, _ := newLedger(t)
	for range 100 {
		open(t, l, "oa", message, "")
	}
	f, _ := l.Fan("oa", fan)
	require.LessOrEqual(t, len(f.Timeline), 20)
	for i := range 9 {
		require.NoError(t, l.AddFan("oa", "o"+string(rune('a'+i)), true))
	}
	require.ErrorContains(t, l.AddFan("oa", "oOneMore", true), "max_fans")
	require.Error(t, l.AddFan("nobody", "o", true))
}

func TestPlatformEventsMakeNoFan(t *testing.T) {
	l, _ := newLedger(t)
	_, err := l.Open(ledger.NewPush{Account: "oa", OpenID: "oPlatform", Kind: event("MASSSENDJOBFINISH"), JobID: "7"})
	require.NoError(t, err)
	require.Empty(t, l.Fans("oa"))
	_, err = l.Open(ledger.NewPush{Account: "oa", OpenID: "oPlatform", Kind: message, Shown: kf("a person after all")})
	require.NoError(t, err)
	require.Len(t, l.Fans("oa"), 1)
}

func TestWatchersAreWoken(t *testing.T) {
	l, _ := newLedger(t)
	changed := l.Changed()
	open(t, l, "oa", message, "")
	<-changed
	entries := l.Entries("oa", fan, 0)
	require.Len(t, entries, 1)
	require.Empty(t, l.Entries("oa", fan, entries[0].Seq))
	open(t, l, "oa", message, "")
	require.Len(t, l.Entries("oa", fan, entries[0].Seq), 1)
}

func TestPatterns(t *testing.T) {
	p, err := ledger.NewPattern("re:k%04d!")
	require.NoError(t, err)
	require.Equal(t, "re:k0012!", p.Text(12))
	require.Equal(t, 12, p.Number("re:k0012!"))
	require.Equal(t, 12345, p.Number("re:k12345!"))
	for _, other := range []string{"re:k12!", "re:k0000!", "re:k0012", "k0012!", "re:k-001!", "", "re:k0012!!"} {
		require.Zero(t, p.Number(other), other)
	}
	for _, broken := range []string{"", "k", "%d", "k%s", "k%d%d", "k%", "k%04.2d"} {
		_, err := ledger.NewPattern(broken)
		require.Error(t, err, broken)
	}
}

func TestTypingNeedsARecentContact(t *testing.T) {
	l, c := newLedger(t)
	require.Equal(t, 40003, l.CanType("oa", fan))
	open(t, l, "oa", message, "")
	require.Zero(t, l.CanType("oa", fan))
	c.Advance(31 * time.Second)
	require.Equal(t, 45080, l.CanType("oa", fan))
}
