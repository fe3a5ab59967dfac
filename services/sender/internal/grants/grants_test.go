package grants_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/grants"
)

const (
	service = eventv1.AccountKind_ACCOUNT_KIND_SERVICE
	mini    = eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
)

var start = time.Unix(1_700_000_000, 0)

func message(id string, at time.Time) *senderv1.GrantEvidence {
	return &senderv1.GrantEvidence{EventId: id, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, CreateTime: at.Unix()}
}

func event(id, name string, kind eventv1.EventKind, at time.Time) *senderv1.GrantEvidence {
	return &senderv1.GrantEvidence{EventId: id, Kind: kind, Event: name, CreateTime: at.Unix()}
}

func fold(rec *senderv1.GrantRecord, ev *senderv1.GrantEvidence) *senderv1.GrantRecord {
	return grants.Fold(rec, grants.DefaultNumbers(), service, ev, time.Unix(ev.GetCreateTime(), 0))
}

func send(rec *senderv1.GrantRecord, now time.Time, ids ...string) (*senderv1.GrantRecord, grants.Verdict) {
	for _, id := range ids {
		next, v := grants.Reserve(rec, []string{id}, now, 0)
		if v != grants.Open {
			return next, v
		}
		rec = grants.Consume(next, id, start)
	}
	return rec, grants.Open
}

func TestEveryActionGrantsWhatWeChatSays(t *testing.T) {
	tap := message("e", start)
	tap.MenuTap = true
	for name, tc := range map[string]struct {
		kind     eventv1.AccountKind
		ev       *senderv1.GrantEvidence
		messages int32
		window   time.Duration
	}{
		"message to an official account": {service, message("e", start), 5, 48 * time.Hour},
		"tap on a menu message":          {service, tap, 3, time.Minute},
		"menu click":                     {service, event("e", "click", eventv1.EventKind_EVENT_KIND_CLICK, start), 3, time.Minute},
		"scan from the menu":             {service, event("e", "scancode_waitmsg", eventv1.EventKind_EVENT_KIND_CLICK, start), 3, time.Minute},
		"other menu buttons":             {service, event("e", "location_select", eventv1.EventKind_EVENT_KIND_CLICK, start), 0, 0},
		"follow":                         {service, event("e", "subscribe", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, start), 3, time.Minute},
		"scan of a follower":             {service, event("e", "scan", eventv1.EventKind_EVENT_KIND_SCAN, start), 3, time.Minute},
		"payment":                        {service, event("e", "user_pay_from_pay_cell", eventv1.EventKind_EVENT_KIND_EVENT, start), 0, 0},
		"reported position":              {service, event("e", "location", eventv1.EventKind_EVENT_KIND_LOCATION, start), 0, 0},
		"message to a Mini Program":      {mini, message("e", start), 5, 48 * time.Hour},
		"entering a session":             {mini, event("e", "user_enter_tempsession", eventv1.EventKind_EVENT_KIND_EVENT, start), 2, time.Minute},
		"click in a Mini Program":        {mini, event("e", "click", eventv1.EventKind_EVENT_KIND_CLICK, start), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rec := grants.Fold(nil, grants.DefaultNumbers(), tc.kind, tc.ev, start)
			require.Equal(t, tc.messages, grants.Available(rec))
			if tc.messages == 0 {
				require.Equal(t, grants.NeverOpened, grants.Judge(rec, start, 0))
				return
			}
			require.Equal(t, start.Add(tc.window).UnixMilli(), rec.GetDeadlineUnixMs())
			require.Equal(t, grants.Open, grants.Judge(rec, start.Add(tc.window), 0))
			require.Equal(t, grants.Expired, grants.Judge(rec, start.Add(tc.window+time.Millisecond), 0))
			require.Equal(t, grants.Open, grants.Judge(rec, start.Add(tc.window+time.Millisecond), time.Second))
		})
	}
}

func TestTheWindowIsExhaustedByReservationsAndByMessages(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec, v := send(rec, start, "a", "b")
	require.Equal(t, grants.Open, v)
	for _, id := range []string{"c", "d", "e"} {
		rec, v = grants.Reserve(rec, []string{id}, start, 0)
		require.Equal(t, grants.Open, v)
	}
	_, v = grants.Reserve(rec, []string{"f"}, start, 0)
	require.Equal(t, grants.Exhausted, v)
	again, v := grants.Reserve(rec, []string{"c"}, start, 0)
	require.Equal(t, grants.Open, v)
	require.Same(t, rec, again)

	rec = grants.Release(rec, "c")
	rec, v = grants.Reserve(rec, []string{"f"}, start, 0)
	require.Equal(t, grants.Open, v)
	require.Zero(t, grants.Available(rec))
}

// TestSeveralMessagesAreHeldAtOnceOrNotAtAll: a long text needs all of its parts.
func TestSeveralMessagesAreHeldAtOnceOrNotAtAll(t *testing.T) {
	now := time.Now()
	rec := &senderv1.GrantRecord{Remaining: 3, DeadlineUnixMs: now.Add(time.Hour).UnixMilli(), Reserved: []string{"other"}}
	same, verdict := grants.Reserve(rec, []string{"m", "m~0~1", "m~0~2"}, now, 0)
	require.Equal(t, grants.Exhausted, verdict)
	require.Same(t, rec, same, "nothing is held of a text that does not fit")
	next, verdict := grants.Reserve(rec, []string{"m", "m~0~1"}, now, 0)
	require.Equal(t, grants.Open, verdict)
	require.Equal(t, []string{"other", "m", "m~0~1"}, next.GetReserved())
	require.Zero(t, grants.Available(next))
	again, verdict := grants.Reserve(next, []string{"m", "m~0~1"}, now, 0)
	require.Equal(t, grants.Open, verdict)
	require.Same(t, next, again, "a repetition holds nothing more")
}

func TestConsumingTwiceTakesOne(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec, _ = grants.Reserve(rec, []string{"a"}, start, 0)
	rec = grants.Consume(rec, "a", start)
	require.Same(t, rec, grants.Consume(rec, "a", start))
	require.EqualValues(t, 4, rec.GetRemaining())
}

func TestASettledSendHoldsNothingAgain(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec, _ = send(rec, start, "a")
	again, v := grants.Reserve(rec, []string{"a"}, start, 0)
	require.Equal(t, grants.Open, v, "the caller that repeats is not refused")
	require.Same(t, rec, again)
	for i := range 40 {
		rec = fold(rec, message(fmt.Sprint("e", i+2), start.Add(time.Duration(i)*time.Second)))
		rec, _ = send(rec, start, fmt.Sprint("m", i))
	}
	require.Len(t, rec.GetSettled(), 16)
}

func TestANewActionRaisesToTheMaximumAndNeverAdds(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec, _ = send(rec, start, "a", "b", "c", "d")
	require.EqualValues(t, 1, rec.GetRemaining())
	rec = fold(rec, event("e2", "click", eventv1.EventKind_EVENT_KIND_CLICK, start.Add(time.Second)))
	require.EqualValues(t, 3, rec.GetRemaining())
	require.Equal(t, start.Add(48*time.Hour).UnixMilli(), rec.GetDeadlineUnixMs())
	rec = fold(rec, message("e3", start.Add(2*time.Second)))
	rec = fold(rec, message("e4", start.Add(2*time.Second)))
	require.EqualValues(t, 5, rec.GetRemaining())
}

func TestWhatIsLeftOfAnOldWindowIsVoid(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec = fold(rec, event("e2", "click", eventv1.EventKind_EVENT_KIND_CLICK, start.Add(49*time.Hour)))
	require.EqualValues(t, 3, rec.GetRemaining())
}

func TestARetriedPushRefreshesOnce(t *testing.T) {
	first := message("e0", start)
	rec := fold(nil, first)
	rec, _ = send(rec, start, "a", "b")
	require.Same(t, rec, fold(rec, first))

	for i := range 40 {
		rec = fold(rec, message(fmt.Sprintf("n%d", i), start.Add(time.Duration(i+1)*time.Second)))
	}
	rec, _ = send(rec, start.Add(time.Minute), "c", "d", "e")
	require.Same(t, rec, fold(rec, first), "also when the id is forgotten")
	require.Len(t, rec.GetFolded(), 16)
}

func TestUnsubscribingClosesAndFollowingOpensAgain(t *testing.T) {
	leave := event("u", "unsubscribe", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, start.Add(2*time.Second))
	rec := fold(fold(nil, message("e1", start)), leave)
	require.Equal(t, grants.Unsubscribed, grants.Judge(rec, start.Add(3*time.Second), 0))
	rec = fold(rec, message("late", start.Add(time.Second)))
	require.Equal(t, grants.Unsubscribed, grants.Judge(rec, start.Add(3*time.Second), 0), "an older action does not open")
	rec = fold(rec, event("s", "subscribe", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, start.Add(4*time.Second)))
	require.Equal(t, grants.Open, grants.Judge(rec, start.Add(5*time.Second), 0))

	back := fold(nil, event("s", "subscribe", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, start.Add(4*time.Second)))
	back = fold(back, leave)
	require.Equal(t, grants.Open, grants.Judge(back, start.Add(5*time.Second), 0), "the fan came back before we heard of the leaving")
}

func TestWeChatIsTheTruth(t *testing.T) {
	rec := fold(nil, message("e1", start))
	for code, want := range map[int32]grants.Verdict{
		45047: grants.Exhausted, 45015: grants.ClosedByWeChat, 43004: grants.Unsubscribed, 43019: grants.ClosedByWeChat,
	} {
		closed := grants.Close(rec, code, start.Add(time.Second))
		require.Equal(t, want, grants.Judge(closed, start.Add(time.Second), 0), "errcode %d", code)
		require.Same(t, closed, grants.Close(closed, code, start.Add(time.Second)))
		reopened := fold(closed, message("e2", start.Add(2*time.Second)))
		require.Equal(t, grants.Open, grants.Judge(reopened, start.Add(3*time.Second), 0))
		require.EqualValues(t, 5, grants.Available(reopened))
	}
}

func TestARefusalOfAnOlderCallSaysNothingAboutANewerAction(t *testing.T) {
	rec := fold(nil, message("e1", start))
	called := start.Add(time.Second)
	rec = fold(rec, message("e2", start.Add(2*time.Second)))
	require.Same(t, rec, grants.Close(rec, 45047, called))
}

func TestNumbersAreCheckedWithTheirPath(t *testing.T) {
	n := grants.DefaultNumbers()
	require.NoError(t, n.Validate())
	n.Official.Scan.Messages = -1
	n.MiniProgram.Message.Window = 0
	err := n.Validate()
	require.ErrorContains(t, err, "official.scan.messages:")
	require.ErrorContains(t, err, "mini_program.message.window:")
}

// naive is the ledger as WeChat would keep it: every action and every accepted message in order of
// time, judged from the beginning each time.
type naive struct {
	log []entry
}

type entry struct {
	at      time.Time
	grants  int // 0 for a message
	window  time.Duration
	left    bool
	message bool
}

func (n *naive) state(now time.Time) (remaining int, deadline time.Time) {
	for _, e := range n.log {
		switch {
		case e.left:
			remaining, deadline = 0, time.Time{}
		case e.message:
			remaining--
		default:
			if !deadline.After(e.at) {
				remaining = 0
			}
			remaining = max(remaining, e.grants)
			if end := e.at.Add(e.window); end.After(deadline) {
				deadline = end
			}
		}
	}
	if now.After(deadline) {
		return 0, deadline
	}
	return remaining, deadline
}

// TestTheLedgerAgreesWithWeChat: when events arrive in order, however often each is repeated, the
// ledger lets a message through exactly when WeChat would take it.
func TestTheLedgerAgreesWithWeChat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			rec     *senderv1.GrantRecord
			wechat  naive
			past    []*senderv1.GrantEvidence
			pending []string
			now     = start
			serial  int
		)
		numbers := grants.DefaultNumbers()
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 50*3600).Draw(t, "seconds")) * time.Second)
			},
			"a moment passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			},
			"the fan acts": func(t *rapid.T) {
				serial++
				id := fmt.Sprintf("e%d", serial)
				switch rapid.IntRange(0, 3).Draw(t, "action") {
				case 0:
					past = append(past, message(id, now))
					wechat.log = append(wechat.log, entry{at: now, grants: 5, window: 48 * time.Hour})
				case 1, 2:
					past = append(past, event(id, "click", eventv1.EventKind_EVENT_KIND_CLICK, now))
					wechat.log = append(wechat.log, entry{at: now, grants: 3, window: time.Minute})
				default:
					past = append(past, event(id, "unsubscribe", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, now))
					wechat.log = append(wechat.log, entry{at: now, left: true})
				}
				rec = grants.Fold(rec, numbers, service, past[len(past)-1], now)
				now = now.Add(time.Second)
			},
			"a push is delivered again": func(t *rapid.T) {
				if len(past) == 0 {
					t.Skip("no push yet")
				}
				old := rapid.SampledFrom(past).Draw(t, "push")
				rec = grants.Fold(rec, numbers, service, old, now)
			},
			"a message is reserved": func(t *rapid.T) {
				serial++
				id := fmt.Sprintf("m%d", serial)
				next, verdict := grants.Reserve(rec, []string{id}, now, 0)
				remaining, _ := wechat.state(now)
				want := remaining-len(pending) > 0
				require.Equal(t, want, verdict == grants.Open, "verdict %q, WeChat has %d left, %d on their way", verdict, remaining, len(pending))
				if verdict == grants.Open {
					pending = append(pending, id)
				}
				rec = next
			},
			"WeChat answers": func(t *rapid.T) {
				if len(pending) == 0 {
					t.Skip("nothing on its way")
				}
				id := pending[0]
				pending = pending[1:]
				remaining, _ := wechat.state(now)
				if remaining > 0 {
					wechat.log = append(wechat.log, entry{at: now, message: true})
					rec = grants.Consume(rec, id, now)
					require.Same(t, rec, grants.Consume(rec, id, now))
					return
				}
				rec = grants.Release(rec, id)
			},
			"": func(t *rapid.T) {
				require.LessOrEqual(t, len(rec.GetFolded()), 16)
				require.GreaterOrEqual(t, rec.GetRemaining(), int32(0))
				require.Len(t, rec.GetReserved(), len(pending))
			},
		})
	})
}

// TestEventsInAnyOrderNeverCloseAnOpenWindow: pushes may overtake each other between the evidence of
// a send and the ledger's own consumer. The window may then be too generous, never too tight.
func TestEventsInAnyOrderNeverCloseAnOpenWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "events")
		events := make([]*senderv1.GrantEvidence, n)
		at := start
		for i := range events {
			at = at.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "gap")) * time.Second)
			if rapid.Bool().Draw(t, "message") {
				events[i] = message(fmt.Sprintf("e%d", i), at)
			} else {
				events[i] = event(fmt.Sprintf("e%d", i), "click", eventv1.EventKind_EVENT_KIND_CLICK, at)
			}
		}
		var ordered, shuffled *senderv1.GrantRecord
		for _, ev := range events {
			ordered = fold(ordered, ev)
		}
		for _, ev := range rapid.Permutation(events).Draw(t, "arrival") {
			shuffled = fold(shuffled, ev)
		}
		require.Equal(t, ordered.GetDeadlineUnixMs(), shuffled.GetDeadlineUnixMs())
		if ordered.GetDeadlineUnixMs() > at.UnixMilli() {
			require.GreaterOrEqual(t, shuffled.GetRemaining(), ordered.GetRemaining())
		}
	})
}

func TestNoFunctionChangesItsArgument(t *testing.T) {
	rec := fold(nil, message("e1", start))
	rec, _ = grants.Reserve(rec, []string{"a"}, start, 0)
	before := proto.CloneOf(rec)
	fold(rec, message("e2", start.Add(time.Second)))
	grants.Reserve(rec, []string{"b"}, start, 0)
	grants.Consume(rec, "a", start)
	grants.Release(rec, "a")
	grants.Close(rec, 45015, start.Add(time.Minute))
	require.True(t, proto.Equal(before, rec))
}

// TestALateActionGrantsOnlyWhatTheMessagesSinceLeftOfIt: the ledger may learn of an action long after messages that
// were sent since, and the attempt that told of it may have been WeChat's last. It then lets a message through exactly
// when WeChat would take it, once it knows every action.
func TestALateActionGrantsOnlyWhatTheMessagesSinceLeftOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			rec    *senderv1.GrantRecord
			wechat naive
			late   []*senderv1.GrantEvidence
			now    = start
		)
		numbers := grants.DefaultNumbers()
		for serial := range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := fmt.Sprintf("s%d", serial)
			now = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				ev := message(id, now)
				attempt := rapid.IntRange(0, 2).Draw(t, "attempt")
				ev.ReceivedUnixMs = now.Add(time.Duration(attempt) * 5 * time.Second).UnixMilli()
				late = append(late, ev)
				wechat.log = append(wechat.log, entry{at: now, grants: 5, window: 48 * time.Hour})
			case 1:
				next, verdict := grants.Reserve(rec, []string{id}, now, 0)
				remaining, _ := wechat.state(now)
				if verdict != grants.Open {
					continue
				}
				require.Positive(t, remaining, "WeChat would refuse what the ledger lets through")
				wechat.log = append(wechat.log, entry{at: now, message: true})
				rec = grants.Consume(next, id, now)
			default:
				for _, ev := range late {
					now = time.UnixMilli(max(now.UnixMilli(), ev.GetReceivedUnixMs()))
				}
				for _, ev := range rapid.Permutation(late).Draw(t, "arrival") {
					rec = grants.Fold(rec, numbers, service, ev, now)
				}
				late = nil
				remaining, _ := wechat.state(now)
				require.EqualValues(t, remaining, grants.Available(rec))
			}
		}
	})
}

func TestAnActionThatWeChatKnewWhenItRefusedOpensNothing(t *testing.T) {
	ev := message("e1", start)
	ev.ReceivedUnixMs = start.UnixMilli()
	rec := fold(nil, ev)
	rec = grants.Close(rec, 45047, start.Add(10*time.Second))
	late := message("e2", start.Add(5*time.Second))
	late.ReceivedUnixMs = start.Add(6 * time.Second).UnixMilli()
	require.Same(t, rec, fold(rec, late), "it reached us before the call that WeChat refused")
	next := message("e3", start.Add(11*time.Second))
	next.ReceivedUnixMs = start.Add(12 * time.Second).UnixMilli()
	require.EqualValues(t, 5, grants.Available(fold(rec, next)))
}

// TestAClockThatRunsAheadTakesLittle: an action seems to be as late as our clock is ahead of WeChat's.
func TestAClockThatRunsAheadTakesLittle(t *testing.T) {
	const ahead = 10 * time.Minute
	rec := fold(nil, message("e1", start))
	for i, before := range []time.Duration{16 * time.Second, 14 * time.Second} {
		id := fmt.Sprintf("m%d", i)
		next, verdict := grants.Reserve(rec, []string{id}, start, 0)
		require.Equal(t, grants.Open, verdict)
		rec = grants.Consume(next, id, start.Add(time.Minute+ahead-before))
	}
	ev := message("e2", start.Add(time.Minute))
	ev.ReceivedUnixMs = start.Add(time.Minute + ahead).UnixMilli()
	rec = grants.Fold(rec, grants.DefaultNumbers(), service, ev, start.Add(time.Minute+ahead))
	require.EqualValues(t, 4, grants.Available(rec), "the message before the last 15 s is not held against it")
}
