package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// promising makes a group with targets of one minute for every answer and an hour for the end, and an agent.
func (w *world) promising() {
	w.group(domain.Group{ID: "g", FirstS: 60, NextS: 60, CloseS: 3600, Method: domain.Manual})
	w.agent(domain.Member{ID: "a", Groups: []string{"g"}})
	w.online("a")
}

// told returns what was published about promises of a conversation, in order.
func (w *world) told(id string) (out []*agentroutingv1.ConversationChanged) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.events {
		if c := ev.GetConversationChanged(); c.GetPromise() != nil && ev.GetConversation() == id {
			out = append(out, c)
		}
	}
	return out
}

func (w *world) answers(id, key string) *agentroutingv1.Message {
	w.t.Helper()
	done, err := w.desk.Reply(w.ctx, app.Reply{Act: act(id, "a"), Key: key, Content: text("请讲")})
	require.NoError(w.t, err)
	return done.Message
}

func (w *world) settles(m *agentroutingv1.Message, state senderv1.SendState) {
	w.t.Helper()
	require.NoError(w.t, w.desk.Settled(w.ctx, &senderv1.DeliverySettled{Id: m.GetSendId(), Account: shop, Openid: "fan", State: state, Lane: senderv1.Lane_LANE_AGENT}))
}

func (w *world) counted(target domain.Target, broken bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outcomes[app.Outcome{Group: "g", Target: target, Broken: broken}]
}

// measured returns what became of promises, folded from the log.
func (w *world) measured(by domain.By) map[string]domain.Measures {
	w.t.Helper()
	q, err := w.store.Query()
	require.NoError(w.t, err)
	r := domain.NewReport(by, morning.Add(-time.Hour), w.clock.Now().Add(time.Hour), time.UTC)
	require.NoError(w.t, q.EachEntry(w.ctx, morning.Add(-time.Hour), w.clock.Now().Add(time.Hour), shop, r.Fold))
	out := map[string]domain.Measures{}
	for _, m := range r.Rows() {
		out[m.Key] = m
	}
	return out
}

func TestAFanWhoWaitsTooLongIsToldOfOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.promising()
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		require.Len(t, w.conversation(id).Promises, 2)
		w.later(47*time.Second, "a")
		require.Empty(t, w.told(id))
		w.later(time.Second, "a")
		warned := w.told(id)
		require.Len(t, warned, 1)
		require.Equal(t, "promise_warned", warned[0].GetChange())
		require.Equal(t, agentroutingv1.Target_TARGET_FIRST_RESPONSE, warned[0].GetPromise().GetTarget())
		require.NoError(t, w.says("fan", "有人吗"))
		w.later(15*time.Second, "a")
		w.care()
		broken := w.told(id)
		require.Len(t, broken, 2)
		require.Equal(t, "promise_broken", broken[1].GetChange())
		require.EqualValues(t, 60, broken[1].GetPromise().GetTargetS())
		require.EqualValues(t, 3000, broken[1].GetLateMs())
		require.True(t, broken[1].GetConversation().GetPromises()[0].GetBroken())
		require.Equal(t, broken[1].GetFrom(), broken[1].GetTo(), "it changes no state")
		w.later(10*time.Minute, "a")
		require.Len(t, w.told(id), 2, "once")

		w.answers(id, "k1")
		require.Len(t, w.conversation(id).Promises, 1, "the end is still promised")
		require.NoError(t, w.says("fan", "谢谢"))
		w.later(30*time.Second, "a")
		w.answers(id, "k2")
		_, err = w.desk.Close(w.ctx, act(id, "a"), true)
		require.NoError(t, err)
		require.Len(t, w.told(id), 2)
		require.Equal(t, 1, w.counted(domain.FirstResponse, true))
		require.Zero(t, w.counted(domain.FirstResponse, false))
		require.Equal(t, 1, w.counted(domain.NextResponse, false))
		require.Equal(t, 1, w.counted(domain.InTime, false))
		for _, m := range []domain.Measures{w.measured(domain.ByTotal)["total"], w.measured(domain.ByGroup)["g"], w.measured(domain.ByDay)["2026-11-20"]} {
			require.Equal(t, [4]int64{0, 0, 1, 1}, m.Kept)
			require.Equal(t, [4]int64{0, 1, 0, 0}, m.Broken)
		}
		byAgent := w.measured(domain.ByAgent)["a"]
		require.Zero(t, byAgent.Broken, "nobody had it when it was due")
		require.EqualValues(t, 1, byAgent.Kept[domain.NextResponse])
		w.requireNumbered()
	})
}

func TestAnAnswerAMomentLateIsLate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.promising()
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		w.clock.Advance(61 * time.Second) // no timer has looked
		w.answers(id, "k1")
		told := w.told(id)
		require.Len(t, told, 1, "who is late is not warned any more")
		require.Equal(t, "promise_broken", told[0].GetChange())
		require.EqualValues(t, 1000, told[0].GetLateMs())
		require.Zero(t, w.counted(domain.FirstResponse, false))
		w.clock.Advance(time.Hour)
		_, err = w.desk.Close(w.ctx, act(id, "a"), true)
		require.NoError(t, err)
		require.Equal(t, agentroutingv1.Target_TARGET_CLOSE, w.told(id)[1].GetPromise().GetTarget(), "so is an end")
		require.EqualValues(t, 1, w.measured(domain.ByAgent)["a"].Broken[domain.InTime])
		w.requireNumbered()
	})
}

func TestAMessageThatWasNotSentAnswersNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.promising()
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		w.later(20*time.Second, "a")
		first, second := w.answers(id, "k1"), w.answers(id, "k2")
		w.settles(first, senderv1.SendState_SEND_STATE_FAILED)
		require.Len(t, w.conversation(id).Promises, 1, "the second may still arrive")
		require.EqualValues(t, 1, w.measured(domain.ByTotal)["total"].Kept[domain.FirstResponse])
		w.settles(second, senderv1.SendState_SEND_STATE_FAILED)
		require.Len(t, w.conversation(id).Promises, 2)
		require.Zero(t, w.measured(domain.ByTotal)["total"].Kept[domain.FirstResponse])
		w.mu.Lock()
		last := w.events[len(w.events)-1].GetMessageStateChanged()
		w.mu.Unlock()
		require.Len(t, last.GetPromises(), 2, "the page is told")
		w.later(40*time.Second, "a")
		require.Equal(t, "promise_broken", w.told(id)[0].GetChange(), "the time of the first question counts")
		m := w.answers(id, "k3")
		w.settles(m, senderv1.SendState_SEND_STATE_SENT)
		require.EqualValues(t, 1, w.measured(domain.ByTotal)["total"].Broken[domain.FirstResponse])
		require.Zero(t, w.measured(domain.ByTotal)["total"].Kept[domain.FirstResponse])

		require.NoError(t, w.says("fan", "好的"))
		w.mu.Lock()
		w.refuse = fault.New(fault.Refused, "45015")
		w.mu.Unlock()
		_, err = w.desk.Reply(w.ctx, app.Reply{Act: act(id, "a"), Key: "k4", Content: text("!")})
		require.Error(t, err)
		require.Len(t, w.conversation(id).Promises, 2, "what the sender refuses at once answers nothing either")
		_, err = w.desk.Note(w.ctx, act(id, "a"), agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE, "客户很急", "n1")
		require.NoError(t, err)
		require.Len(t, w.conversation(id).Promises, 2, "nor does a note")
		w.requireNumbered()
	})
}

func TestPromisesCountTheHoursOfTheGroup(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		hours := domain.Hours{Week: []domain.WeekSpan{{Weekday: 5, From: 9 * 60, To: 10*60 + 1}, {Weekday: 1, From: 9 * 60, To: 18 * 60}}}
		w.group(domain.Group{ID: "g", FirstS: 120, Hours: hours, QueueS: -1, Method: domain.Manual})
		id, err := w.asks("fan", "g") // Friday 10:00, a minute before the end
		require.NoError(t, err)
		monday := morning.AddDate(0, 0, 3).Add(-time.Hour) // 9:00 in Shanghai
		require.Equal(t, monday.Add(time.Minute), w.conversation(id).Promises[0].Due)
		w.later(24 * time.Hour)
		require.Empty(t, w.told(id))
		late, err := w.asks("other", "g") // Saturday: leaves a message
		require.NoError(t, err)
		require.Equal(t, domain.LeftMessage, w.conversation(late).State)
		require.Equal(t, monday.Add(2*time.Minute), w.conversation(late).Promises[0].Due)
		w.clock.Advance(monday.Add(5 * time.Minute).Sub(w.clock.Now()))
		require.NoError(t, w.desk.Fire(w.ctx))
		require.EqualValues(t, 4*60_000, w.told(id)[0].GetLateMs())
		require.EqualValues(t, 3*60_000, w.told(late)[0].GetLateMs())
	})
}

func TestManyReplicasTellOfABrokenPromiseOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.promising()
		var ids []string
		for _, fan := range []string{"one", "two", "three", "four"} {
			id, err := w.asks(fan, "g")
			require.NoError(t, err)
			ids = append(ids, id)
		}
		w.clock.Advance(2 * time.Minute)
		var group errgroup.Group
		for range 4 {
			desk := w.replica()
			group.Go(func() error { return errors.Join(desk.Fire(w.ctx), desk.Fire(w.ctx)) })
		}
		require.NoError(t, group.Wait())
		require.NoError(t, w.desk.Fire(w.ctx))
		for _, id := range ids {
			require.Len(t, w.told(id), 1)
		}
		require.Equal(t, len(ids), w.counted(domain.FirstResponse, true))
		w.requireNumbered()
	})
}

func TestACloseThatIsUndoneTakesItsPromiseBack(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.promising()
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		w.settles(w.answers(id, "k1"), senderv1.SendState_SEND_STATE_SENT)
		_, err = w.desk.Close(w.ctx, act(id, "a"), true)
		require.NoError(t, err)
		require.EqualValues(t, 1, w.measured(domain.ByTotal)["total"].Kept[domain.InTime])
		_, err = w.desk.Reopen(w.ctx, act(id, "a"))
		require.NoError(t, err)
		require.Zero(t, w.measured(domain.ByTotal)["total"].Kept[domain.InTime])
		w.later(2*time.Hour, "a")
		require.EqualValues(t, 1, w.measured(domain.ByTotal)["total"].Broken[domain.InTime])
	})
}
