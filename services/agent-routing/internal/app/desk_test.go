package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// each runs a test against both engines, beside others: most of its time it waits for the database.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	sqldbtest.Each(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { test(t, newWorld(t, db)) })
}

func TestAConversationFromTheQuestionToTheSurvey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "sales", Survey: true})
		w.group(domain.Group{ID: "repair"})
		w.agent(domain.Member{ID: "li", Name: "小李", Groups: []string{"sales"}})
		w.agent(domain.Member{ID: "chen", Name: "小陈", Groups: []string{"repair"}, AutoAccept: true})
		w.online("li", "chen")

		id, err := w.asks("fan", "sales")
		require.NoError(t, err)
		c := w.conversation(id)
		require.Equal(t, domain.Offered, c.State)
		require.Equal(t, "li", c.Agent)
		require.Equal(t, "least load of 1, online, 1/5", c.Assignment.Why)
		require.Empty(t, w.texts(), "who is offered at once is not told to wait")

		_, err = w.desk.Accept(w.ctx, act(id, "li"))
		require.NoError(t, err)
		require.Equal(t, []string{"您好，我是客服小李，很高兴为您服务。"}, w.texts())
		done, err := w.desk.Reply(w.ctx, app.Reply{Act: act(id, "li"), Key: "k1", Content: text("请讲")})
		require.NoError(t, err)
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED, done.Message.GetState())
		require.NoError(t, w.desk.Settled(w.ctx, &senderv1.DeliverySettled{Id: done.Message.GetSendId(), Account: shop, Openid: "fan", State: senderv1.SendState_SEND_STATE_SENT, Lane: senderv1.Lane_LANE_AGENT}))

		_, err = w.desk.Transfer(w.ctx, act(id, "li"), "", "repair", "屏幕坏了")
		require.NoError(t, err)
		c = w.conversation(id)
		require.Equal(t, domain.Active, c.State, "an agent of the next group who accepts by themselves has it at once")
		require.Equal(t, "chen", c.Agent)
		require.Equal(t, "您好，我是客服小陈，很高兴为您服务。", w.texts()[2])

		require.NoError(t, w.says("fan", "谢谢"))
		w.later(26*time.Minute, "li", "chen")
		require.Equal(t, "您已有一段时间没有回复，5 分钟后会话将自动结束。如需继续，请回复任意内容。", w.texts()[3])
		w.later(5*time.Minute, "li", "chen")
		c = w.conversation(id)
		require.Equal(t, domain.Closed, c.State)
		require.Equal(t, "conversation is silent", c.Reason)
		require.Equal(t, "本次会话已结束，感谢您的咨询。", w.texts()[4], "the second group has no survey")
		require.Equal(t, []string{"opened", "offered", "accepted", "transferred", "assigned", "idle_warned", "closed", "said_goodbye"}, w.changes(id))
		w.requireNumbered()

		second, err := w.asks("fan", "sales")
		require.NoError(t, err)
		_, err = w.desk.Accept(w.ctx, act(second, "li"))
		require.NoError(t, err)
		_, err = w.desk.Close(w.ctx, act(second, "li"), false)
		require.NoError(t, err)
		n := len(w.texts())
		w.later(11*time.Second, "li")
		require.Equal(t, "menu: 本次会话已结束，请为本次服务评分：", w.texts()[n])
		menu := w.sent[len(w.sent)-1].GetContent().GetMenu()
		require.Len(t, menu.GetItems(), 5)
		require.Equal(t, "非常满意", menu.GetItems()[0].GetContent())
		tap := w.event("fan", menu.GetItems()[1].GetContent())
		tap.GetText().BizMsgMenuId = menu.GetItems()[1].GetId()
		require.NoError(t, w.desk.Said(w.ctx, tap))
		require.NoError(t, w.desk.Said(w.ctx, tap), "a repetition changes nothing")
		require.Equal(t, 4, w.conversation(second).Score)
		require.Equal(t, "感谢您的评价！", w.texts()[len(w.texts())-1])
		w.requireNumbered()
	})
}

func TestOffersGoToTheNextAgent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g", OfferS: 20})
		for _, id := range []string{"a", "b"} {
			w.agent(domain.Member{ID: id, Groups: []string{"g"}})
		}
		w.online("a", "b")
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		require.Equal(t, "a", w.conversation(id).Agent)
		_, err = w.desk.Decline(w.ctx, act(id, "b"))
		require.Equal(t, fault.Conflict, fault.KindOf(err), "nobody declines for another")
		_, err = w.desk.Decline(w.ctx, act(id, "a"))
		require.NoError(t, err)
		require.Equal(t, "b", w.conversation(id).Agent)
		w.later(21*time.Second, "a", "b")
		require.Equal(t, "a", w.conversation(id).Agent, "when everybody let it go, the first one is asked again")
		require.Equal(t, []string{"opened", "offered", "declined", "offered", "offer_expired", "offered"}, w.changes(id))
	})
}

func TestFullAgentsKeepFansWaitingInOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g", Capacity: 1})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		w.online("a")
		var ids []string
		for _, fan := range []string{"one", "two", "three"} {
			id, err := w.asks(fan, "g")
			require.NoError(t, err)
			ids = append(ids, id)
			w.clock.Advance(time.Second)
		}
		require.Equal(t, domain.Active, w.conversation(ids[0]).State)
		require.Equal(t, []string{"您好，我是客服专员，很高兴为您服务。", "当前排队人数较多，您排在第 1 位，请稍候。", "当前排队人数较多，您排在第 2 位，请稍候。"}, w.texts())
		_, err := w.desk.Take(w.ctx, act(ids[2], "a"))
		require.Equal(t, fault.Refused, fault.KindOf(err), "full")
		_, err = w.desk.Close(w.ctx, act(ids[0], "a"), false)
		require.NoError(t, err)
		require.Equal(t, domain.Active, w.conversation(ids[1]).State, "the longest waiting fan is next")
		_, err = w.desk.Hold(w.ctx, act(ids[1], "a"), w.clock.Now().Add(time.Minute))
		require.NoError(t, err)
		require.Equal(t, domain.Active, w.conversation(ids[2]).State, "what is on hold takes no place")
		w.later(61*time.Second, "a")
		require.Equal(t, domain.Waiting, w.conversation(ids[1]).State, "back from hold, with no place free")
		require.Equal(t, "hold is over, the agent is full", w.conversation(ids[1]).Reason)
	})
}

func TestAgentsWhoGoAwayGiveBackWhatTheyHad(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g"})
		w.group(domain.Group{ID: "forward", OfflineAction: domain.OfflineForward, ForwardGroup: "g"})
		w.group(domain.Group{ID: "keep", OfflineAction: domain.OfflineKeep})
		w.agent(domain.Member{ID: "a", Groups: []string{"g", "forward", "keep"}, AutoAccept: true})
		w.online("a")
		var ids []string
		for _, g := range []string{"g", "forward", "keep"} {
			id, err := w.asks("fan-"+g, g)
			require.NoError(t, err)
			require.Equal(t, domain.Active, w.conversation(id).State)
			ids = append(ids, id)
		}
		w.agent(domain.Member{ID: "b", Groups: []string{"g"}, AutoAccept: true})
		w.online("b")
		w.later(61*time.Second, "b") // the lease of a runs out
		require.Equal(t, "b", w.conversation(ids[0]).Agent)
		require.Equal(t, "b", w.conversation(ids[1]).Agent)
		require.Equal(t, "g", w.conversation(ids[1]).Group)
		require.Equal(t, "a", w.conversation(ids[2]).Agent)
		require.Equal(t, domain.Active, w.conversation(ids[2]).State)
		_, err := w.desk.SetPresence(w.ctx, "b", domain.Offline)
		require.NoError(t, err)
		require.Equal(t, domain.Waiting, w.conversation(ids[0]).State, "saying so is as good as a lease that ends")
	})
}

func TestTheQueueEndsAsTheGroupSays(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "leave"})
		w.group(domain.Group{ID: "close", QueueAction: domain.QueueClose})
		w.group(domain.Group{ID: "forward", QueueAction: domain.QueueForward, ForwardGroup: "leave"})
		var ids []string
		for _, g := range []string{"leave", "close", "forward"} {
			id, err := w.asks("fan-"+g, g)
			require.NoError(t, err)
			ids = append(ids, id)
		}
		require.Len(t, w.texts(), 3, "all three are told that nobody is there")
		w.later(10*time.Minute + time.Second)
		require.Equal(t, domain.LeftMessage, w.conversation(ids[0]).State)
		require.Equal(t, domain.Closed, w.conversation(ids[1]).State)
		require.Equal(t, domain.Waiting, w.conversation(ids[2]).State)
		require.Equal(t, "leave", w.conversation(ids[2]).Group)
		_, err := w.desk.Take(w.ctx, act(ids[0], "li"))
		require.NoError(t, err)
		require.Equal(t, domain.Active, w.conversation(ids[0]).State, "a message that was left is answered later")
	})
}

func TestOffHoursAFanLeavesAMessageAndIsServedInTheMorning(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.clock.Set(time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)) // Friday 22:00 in Shanghai
		week := []domain.WeekSpan{}
		for day := 1; day <= 5; day++ {
			week = append(week, domain.WeekSpan{Weekday: day, From: 9 * 60, To: 18 * 60})
		}
		w.group(domain.Group{ID: "g", Hours: domain.Hours{Week: week}})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		require.Equal(t, domain.LeftMessage, w.conversation(id).State)
		require.Equal(t, []string{"现在是非工作时间。请留言，我们将在 11-23 09:00 上班后回复您。"}, w.texts())
		require.Equal(t, agentroutingv1.OwnerKind_OWNER_KIND_BOT, w.owners[shop+"/fan"].GetOwner().GetKind(), "the rules still answer at night")
		require.NoError(t, w.says("fan", "我的订单没有到"))
		again, err := w.asks("fan", "g")
		require.NoError(t, err)
		require.NotEqual(t, id, again)
		require.Len(t, w.texts(), 1, "asking again opens nothing and is not answered again")

		w.clock.Set(time.Date(2026, 11, 23, 1, 0, 1, 0, time.UTC)) // Monday 09:00
		w.online("a")
		w.care()
		c := w.conversation(id)
		require.Equal(t, domain.Active, c.State)
		require.Equal(t, 2, c.Unanswered)
	})
}

func TestAReplyWaitsForWhatCameInBetween(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id, err := w.asks("fan", "q")
		require.NoError(t, err)
		_, err = w.desk.Accept(w.ctx, act(id, "li"))
		require.NoError(t, err)
		seen, err := w.desk.View(w.ctx, shop, id)
		require.NoError(t, err)
		require.NoError(t, w.says("fan", "等等，我说错了"))

		r := app.Reply{Act: act(id, "li"), Key: "k", Content: text("好的"), Expected: seen.Fan.Seq}
		_, err = w.desk.Reply(w.ctx, r)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		var held *app.CollisionError
		require.True(t, errors.As(err, &held))
		detail := held.StatusDetails()[0].(*agentroutingv1.ReplyCollision)
		require.Equal(t, "等等，我说错了", detail.GetMessages()[0].GetText())
		require.Empty(t, w.texts(), "nothing was sent")

		r.Expected = detail.GetLastSeq()
		done, err := w.desk.Reply(w.ctx, r)
		require.NoError(t, err)
		require.False(t, done.Replayed)
		again, err := w.desk.Reply(w.ctx, r)
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, done.Message.GetSeq(), again.Message.GetSeq())
		require.Equal(t, []string{"好的"}, w.texts())
	})
}

func TestMessagesNeverClaimMoreThanIsKnown(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id, err := w.asks("fan", "q")
		require.NoError(t, err)
		reply := func(key string) *agentroutingv1.Message {
			done, err := w.desk.Reply(w.ctx, app.Reply{Act: act(id, "li"), Key: key, Content: text(key)})
			require.NoError(t, err)
			return done.Message
		}
		settle := func(m *agentroutingv1.Message, state senderv1.SendState, reason string, code int32) *agentroutingv1.Message {
			require.NoError(t, w.desk.Settled(w.ctx, &senderv1.DeliverySettled{Id: m.GetSendId(), Account: shop, Openid: "fan", State: state, Reason: reason, Errcode: code}))
			q, err := w.store.Query()
			require.NoError(t, err)
			now, _, err := q.Message(w.ctx, shop, "fan", m.GetSeq())
			require.NoError(t, err)
			return now
		}
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED, settle(reply("a"), senderv1.SendState_SEND_STATE_SENT, "", 0).GetState())
		failed := settle(reply("b"), senderv1.SendState_SEND_STATE_FAILED, "window is closed", 45015)
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_FAILED, failed.GetState())
		require.Equal(t, "window is closed", failed.GetReason())
		require.EqualValues(t, 45015, failed.GetErrcode())
		unknown := settle(reply("c"), senderv1.SendState_SEND_STATE_AMBIGUOUS, "no answer", 0)
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_AMBIGUOUS, unknown.GetState())
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_AMBIGUOUS, settle(unknown, senderv1.SendState_SEND_STATE_SENT, "", 0).GetState(), "a final state stays")

		w.setDead(true) // the sender is away: nothing is claimed, nothing is lost
		waiting := reply("d")
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED, waiting.GetState())
		require.Empty(t, waiting.GetSendId())
		require.NoError(t, w.desk.Settled(w.ctx, &senderv1.DeliverySettled{Id: "somebody else's", Account: shop, Openid: "other", State: senderv1.SendState_SEND_STATE_SENT}))
		require.Equal(t, fault.Retryable, fault.KindOf(w.desk.Settled(w.ctx, &senderv1.DeliverySettled{Id: "send-3", Account: shop, Openid: "fan", State: senderv1.SendState_SEND_STATE_SENT})),
			"the end of a message may come before its hand-over is stored")
		w.setDead(false)
		w.later(3 * time.Second)
		require.Equal(t, []string{"a", "b", "c", "d"}, w.texts())
		w.requireNumbered()
	})
}

func TestWhatADeadProcessLeftBehindIsDoneOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g"})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		w.online("a")
		ev := w.event("fan", "转人工")
		require.NoError(t, w.desk.Followed(w.ctx, shop, "fan"))
		second := w.replica()
		// The process dies after the transaction and before anything is told.
		require.NoError(t, func() error {
			_, err := w.desk.EditFan(w.ctx, shop, "fan", "li", "remark", func(f *domain.Fan) error { f.Remark = "王先生"; return nil })
			return err
		}())
		w.setDead(true)
		require.Equal(t, fault.Unavailable, fault.KindOf(w.join(ev, "g")))
		w.setDead(false)
		require.NoError(t, w.join(ev, "g")) // the redelivery
		w.clock.Advance(3 * time.Second)
		var group errgroup.Group
		for _, d := range []*app.Desk{w.desk, second, w.replica()} {
			group.Go(func() error { return d.Care(w.ctx) })
		}
		require.NoError(t, group.Wait())
		require.Equal(t, []string{"opened", "assigned"}, w.changes(ev.GetId()))
		require.Equal(t, []string{"您好，我是客服专员，很高兴为您服务。"}, w.texts())
		require.Len(t, w.facts, 2)
		w.requireNumbered()
		q, err := w.store.Query()
		require.NoError(t, err)
		items, err := q.Items(w.ctx, shop, "fan", 10)
		require.NoError(t, err)
		require.Empty(t, items)
	})
}

func TestTimersFireOnceHoweverManyReplicasRun(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g"})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true, Capacity: 20})
		w.online("a")
		for n := range 10 {
			_, err := w.asks(string(rune('a'+n)), "g")
			require.NoError(t, err)
		}
		replicas := []*app.Desk{w.replica(), w.replica(), w.replica(), w.replica()}
		for range 3 {
			w.clock.Advance(26 * time.Minute)
			_, err := w.desk.SetPresence(w.ctx, "a", domain.Online)
			require.NoError(t, err)
			var group errgroup.Group
			for _, d := range replicas {
				group.Go(func() error {
					for range 2 {
						if err := d.Care(w.ctx); err != nil {
							return err
						}
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			w.clock.Advance(time.Minute)
		}
		count := map[string]int{}
		for _, ev := range w.events {
			count[ev.GetConversationChanged().GetChange()]++
		}
		require.Equal(t, 10, count["idle_warned"])
		require.Equal(t, 10, count["closed"])
		require.Equal(t, 10, count["said_goodbye"])
		require.Len(t, w.texts(), 30)
		w.requireNumbered()
	})
}

func TestACloseCanBeUndoneForTenSeconds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g"})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		w.online("a")
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		_, err = w.desk.Close(w.ctx, act(id, "a"), false)
		require.NoError(t, err)
		w.later(5 * time.Second)
		_, err = w.desk.Reopen(w.ctx, act(id, "a"))
		require.NoError(t, err)
		require.Equal(t, domain.Active, w.conversation(id).State)
		require.Len(t, w.texts(), 1, "the fan has noticed nothing")
		_, err = w.desk.Close(w.ctx, act(id, "a"), false)
		require.NoError(t, err)
		w.later(11 * time.Second)
		require.Len(t, w.texts(), 2)
		_, err = w.desk.Reopen(w.ctx, act(id, "a"))
		require.Equal(t, fault.Refused, fault.KindOf(err))
	})
}

func TestASupervisorTakesOverAndTheAgentIsTold(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "g", Capacity: 1})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		w.online("a")
		id, err := w.asks("fan", "g")
		require.NoError(t, err)
		_, err = w.desk.Watch(w.ctx, act(id, "boss"))
		require.NoError(t, err)
		m, err := w.desk.Note(w.ctx, act(id, "boss"), agentroutingv1.AuthorKind_AUTHOR_KIND_WHISPER, "先道歉", "k")
		require.NoError(t, err)
		again, err := w.desk.Note(w.ctx, act(id, "boss"), agentroutingv1.AuthorKind_AUTHOR_KIND_WHISPER, "先道歉", "k")
		require.NoError(t, err)
		require.Equal(t, m.GetSeq(), again.GetSeq())
		_, err = w.desk.TakeOver(w.ctx, act(id, "boss"))
		require.NoError(t, err)
		_, err = w.desk.Reply(w.ctx, app.Reply{Act: act(id, "a"), Key: "late", Content: text("…")})
		require.Equal(t, fault.Refused, fault.KindOf(err))
		require.Equal(t, "another agent talks to the fan", err.Error())
		require.Equal(t, "boss", w.owners[shop+"/fan"].GetOwner().GetName())
		for _, s := range w.texts() {
			require.NotContains(t, s, "道歉", "the fan never sees a whisper")
		}
	})
}

func TestHistoryComesFromTheStreamWhenAConversationOpens(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		require.NoError(t, w.says("fan", "早上好")) // nobody keeps this: the fan has no conversation
		q, err := w.store.Query()
		require.NoError(t, err)
		_, known, err := q.Fan(w.ctx, shop, "fan")
		require.NoError(t, err)
		require.False(t, known, "a fan without a conversation never reaches the database")
		asked := w.event("fan", "转人工")
		w.event("fan", "在吗") // on the stream before anybody hears of the queue
		require.NoError(t, w.join(asked, "q"))
		require.NoError(t, w.says("fan", "有人吗"))
		page, _, err := q.Messages(w.ctx, store.Page{Account: shop, OpenID: "fan", Limit: 10})
		require.NoError(t, err)
		var said, in []string
		for _, m := range page {
			said = append(said, m.GetText())
			in = append(in, m.GetConversation())
		}
		require.Equal(t, []string{"早上好", "转人工", "在吗", "有人吗"}, said)
		require.Equal(t, []string{"", asked.GetId(), asked.GetId(), asked.GetId()}, in)
	})
}

func TestEraseLeavesNothingAndProvesIt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id, err := w.asks("fan", "q")
		require.NoError(t, err)
		_, err = w.desk.Reply(w.ctx, app.Reply{Act: act(id, "li"), Key: "k", Content: text("请说地址")})
		require.NoError(t, err)
		require.NoError(t, w.says("fan", "幸福路 8 号"))
		_, err = w.desk.EditFan(w.ctx, shop, "fan", "li", "remark", func(f *domain.Fan) error { f.Remark = "王先生"; return nil })
		require.NoError(t, err)
		w.known[shop+"/fan"] = 1
		export, err := w.desk.Export(w.ctx, shop, "fan")
		require.NoError(t, err)
		require.Len(t, export.Messages, 3)
		require.Equal(t, []string{"vip"}, export.Rules.GetRecord().GetTags())

		proof, err := w.desk.Erase(w.ctx, shop, "fan", "boss", "request of the fan")
		require.NoError(t, err)
		require.True(t, proof.GetVerified())
		erased := map[string]int64{}
		for _, it := range proof.GetItems() {
			require.Zero(t, it.GetLeft(), it.GetPlace())
			erased[it.GetPlace()] = it.GetErased()
		}
		require.EqualValues(t, 3, erased["messages"])
		require.EqualValues(t, 1, erased["fans"])
		require.EqualValues(t, 1, erased["bucket owners"])
		require.EqualValues(t, 1, erased["bucket fans"])
		require.Equal(t, []string{shop + "/" + id}, w.purged)
		require.NotContains(t, w.owners, shop+"/fan")
		last := w.events[len(w.events)-1]
		require.Equal(t, "erased", last.GetFanChanged().GetChange())
		require.Empty(t, last.GetOpenid())
		c := w.conversation(id)
		require.Equal(t, domain.Closed, c.State)
		require.NotEqual(t, "fan", c.OpenID)
		require.Empty(t, c.Preview)

		again, err := w.desk.Erase(w.ctx, shop, "fan", "boss", "again")
		require.NoError(t, err)
		require.True(t, again.GetVerified())
		require.NoError(t, w.join(&eventv1.InboundEvent{Id: id, Openid: "fan"}, "q"), "a late duplicate of the decision")
		require.Equal(t, domain.Closed, w.conversation(id).State)
	})
}

// TestAnErasureThatCannotEndGoesOnUntilItIsDone: the rules are away, the desk's rows are gone already, and what is still to
// be erased outside is not forgotten.
func TestAnErasureThatCannotEndGoesOnUntilItIsDone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id, err := w.asks("fan", "q")
		require.NoError(t, err)
		w.known[shop+"/fan"] = 1
		w.away = true
		_, err = w.desk.Erase(w.ctx, shop, "fan", "boss", "request of the fan")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.ErrorContains(t, err, "goes on by itself")
		pending := w.pending()
		require.Len(t, pending, 1)
		require.Equal(t, "boss", pending[0].Actor)
		require.Equal(t, []string{id}, pending[0].Conversations)
		require.Contains(t, pending[0].Problem, "what rules know")

		w.clock.Advance(5 * time.Second)
		require.Error(t, w.desk.Care(w.ctx))
		require.Equal(t, 2, w.pending()[0].Tries)
		w.away = false
		require.NoError(t, w.desk.Care(w.ctx), "not due: it waits longer each time")
		require.Len(t, w.pending(), 1)
		w.clock.Advance(10 * time.Second)
		require.NoError(t, w.replica().Care(w.ctx), "any replica does it")
		require.Empty(t, w.pending())
		require.Empty(t, w.known)
		q, err := w.store.Query()
		require.NoError(t, err)
		proofs, err := q.Erasures(w.ctx, shop, 10)
		require.NoError(t, err)
		require.Len(t, proofs, 1)
		require.True(t, proofs[0].GetVerified())
		require.Equal(t, "boss", proofs[0].GetActor())
		erased := map[string]int64{}
		for _, it := range proofs[0].GetItems() {
			erased[it.GetPlace()] = it.GetErased()
		}
		require.EqualValues(t, 1, erased["fans"], "what earlier tries erased counts")
		require.EqualValues(t, 1, erased["bucket owners"])
		require.EqualValues(t, 1, erased["bucket fans"])
		require.Contains(t, w.purged, shop+"/"+id)
	})
}

// TestWhoCameBackKeepsWhatIsNew: an erasure of a fan who left is late, and the fan has written again.
func TestWhoCameBackKeepsWhatIsNew(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		old, err := w.asks("fan", "q")
		require.NoError(t, err)
		require.NoError(t, w.desk.Unfollowed(w.ctx, shop, "fan"))
		w.away = true
		require.NoError(t, w.desk.EraseWhoLeft(w.ctx, shop, "fan"), "it is written down")
		fresh, err := w.asks("fan", "q")
		require.NoError(t, err)
		require.NotEqual(t, old, fresh)
		w.away = false
		w.clock.Advance(5 * time.Second)
		require.NoError(t, w.desk.Care(w.ctx))
		require.Empty(t, w.pending())
		require.Equal(t, "fan", w.conversation(fresh).OpenID)
		require.NotEqual(t, "fan", w.conversation(old).OpenID)
		require.Contains(t, w.owners, shop+"/fan")
		require.NotContains(t, w.purged, shop+"/"+fresh)
	})
}

func (w *world) pending() []store.Pending {
	w.t.Helper()
	q, err := w.store.Query()
	require.NoError(w.t, err)
	out, err := q.ListPending(w.ctx, shop, 10)
	require.NoError(w.t, err)
	return out
}
