package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/stack"
)

// grpc connects to a service: in one process all of them listen at the first one's address.
func (w *world) grpc(t *testing.T, service string) *grpc.ClientConn {
	t.Helper()
	if w.Mode == stack.All {
		service = "rule"
	}
	conn, err := grpc.NewClient(w.Address(service), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as is a call of a console user.
func as(t *testing.T, user string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "wxbus-actor", user)
}

func words(s string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}
}

// conversation waits until the fan's newest conversation is in a state.
func (f *fan) conversation(t *testing.T, desk agentroutingv1.ConversationServiceClient, state agentroutingv1.ConversationState) *agentroutingv1.Conversation {
	t.Helper()
	var newest *agentroutingv1.Conversation
	ok := eventually(t, 60*time.Second, func() bool {
		got, err := desk.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: f.account, Openid: f.openid})
		if err != nil || len(got.GetFan().GetConversations()) == 0 {
			return false
		}
		newest = got.GetFan().GetConversations()[0]
		return newest.GetState() == state
	})
	require.True(t, ok, "the conversation of %s is %s, not %s", f.openid, newest.GetState(), state)
	return newest
}

// screen waits until the fan's last line begins with a text.
func (f *fan) screen(t *testing.T, begins string) {
	t.Helper()
	var lines []string
	ok := eventually(t, 60*time.Second, func() bool {
		lines = f.saw(t)
		return len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], begins)
	})
	require.True(t, ok, "%s sees %q, not %q", f.openid, lines, begins)
}

var atTheDesk = map[string]func(*testing.T, *world){
	"from the queue over offer, answer, transfer and silence to the survey":   fromQueueToSurvey,
	"two agents take the same fan: one of them has it":                        twoAgentsRace,
	"a stale owner's message is refused with the reason":                      staleOwner,
	"an agent who writes much leaves the survey its message":                  aWordyAgent,
	"an agent sees what the rules answered before":                            answeredBefore,
	"a fan who waits longer than promised is told of once, on the page's API": aBrokenPromise,
}

func fromQueueToSurvey(t *testing.T, w *world) {
	conn := w.grpc(t, "agent-routing")
	desk, agents := agentroutingv1.NewConversationServiceClient(conn), agentroutingv1.NewAgentServiceClient(conn)
	_, err := agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: &agentroutingv1.Group{
		Id: "desk", Name: "服务台", IdleTimeoutS: 6, IdleWarningS: 3, Survey: true,
	}})
	require.NoError(t, err)
	for _, id := range []string{"desk-li", "desk-chen"} {
		_, err := agents.PutAgent(as(t, "boss"), &agentroutingv1.PutAgentRequest{Agent: &agentroutingv1.Agent{Id: id, Name: id, Groups: []string{"desk"}}})
		require.NoError(t, err)
	}
	online := func(id string) {
		_, err := agents.SetPresence(as(t, id), &agentroutingv1.SetPresenceRequest{Presence: agentroutingv1.Presence_PRESENCE_ONLINE})
		require.NoError(t, err)
	}
	f := w.newFan(t, secureXML)
	f.says(t, "转人工")
	f.screen(t, "kf:当前没有客服在线")
	online("desk-li")
	c := f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_OFFERED)
	require.Equal(t, "desk-li", c.GetAgent())
	_, err = desk.Accept(as(t, "desk-li"), &agentroutingv1.AcceptRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	f.screen(t, "kf:您好，我是客服专员")
	_, err = desk.Reply(as(t, "desk-li"), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words("请讲"), IdempotencyKey: f.openid})
	require.NoError(t, err)
	f.screen(t, "kf:请讲")
	f.says(t, "你好") // no rule answers, and WeChat's window is open for five messages again
	online("desk-chen")
	_, err = desk.Transfer(as(t, "desk-li"), &agentroutingv1.TransferRequest{
		Account: f.account, Conversation: c.GetId(), To: &agentroutingv1.TransferRequest_ToAgent{ToAgent: "desk-chen"}, Note: "请接手",
	})
	require.NoError(t, err)
	_, err = desk.Accept(as(t, "desk-chen"), &agentroutingv1.AcceptRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	f.screen(t, "kf:您好，我是客服专员")
	f.screen(t, "kf:您已有一段时间没有回复")
	f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_CLOSED)
	require.True(t, eventually(t, 60*time.Second, func() bool { return len(f.saw(t)) == 6 }), "the survey never came: %q", f.saw(t))
	f.does(t, "text", map[string]any{"Content": "非常满意", "bizmsgmenuid": "wxbus.survey." + c.GetId() + ".5"})
	f.screen(t, "kf:感谢您的评价")
	require.EqualValues(t, 5, f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_CLOSED).GetSurveyScore())
	f.says(t, "你好")
	f.screen(t, "passive:你好，朋友") // the rules answer again
}

func twoAgentsRace(t *testing.T, w *world) {
	desk := agentroutingv1.NewConversationServiceClient(w.grpc(t, "agent-routing"))
	f := w.newFan(t, secureJSON)
	f.says(t, "抢单")
	c := f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING)
	agents := []string{"race-li", "race-chen"}
	errs := make([]error, len(agents))
	var all sync.WaitGroup
	for i, id := range agents {
		all.Go(func() {
			_, errs[i] = desk.Take(as(t, id), &agentroutingv1.TakeRequest{Account: f.account, Conversation: c.GetId()})
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.Equal(t, codes.Aborted, status.Code(err))
		require.ErrorContains(t, err, "another agent was faster")
	}
	require.Equal(t, 1, won)
	for i, id := range agents {
		_, err := desk.Reply(as(t, id), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words("我是" + id), IdempotencyKey: f.openid})
		require.Equal(t, errs[i] == nil, err == nil, "only who has the fan can answer: %v", err)
		if errs[i] == nil {
			f.sees(t, "kf:我是"+id)
		}
	}
}

func staleOwner(t *testing.T, w *world) {
	desk := agentroutingv1.NewConversationServiceClient(w.grpc(t, "agent-routing"))
	f := w.newFan(t, secureJSON)
	f.says(t, "抢单")
	c := f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING)
	taken, err := desk.Take(as(t, "stale-li"), &agentroutingv1.TakeRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	_, err = desk.TakeOver(as(t, "stale-boss"), &agentroutingv1.TakeOverRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	_, err = desk.Reply(as(t, "stale-li"), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words("太迟"), IdempotencyKey: f.openid})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.ErrorContains(t, err, "another agent talks to the fan")
	// Also a message that was composed before and is handed over only now.
	_, err = senderv1.NewSenderServiceClient(w.grpc(t, "sender")).Send(t.Context(), &senderv1.SendRequest{
		Account: f.account, Openid: f.openid, Lane: senderv1.Lane_LANE_AGENT, Content: words("太迟"), IdempotencyKey: "stale-" + f.openid,
		OwnerEpoch: taken.GetConversation().GetOwnerEpoch(),
	})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.ErrorContains(t, err, "somebody else talks to the fan by now")
	f.stays(t, time.Second)
}

func aWordyAgent(t *testing.T, w *world) {
	conn := w.grpc(t, "agent-routing")
	desk, agents := agentroutingv1.NewConversationServiceClient(conn), agentroutingv1.NewAgentServiceClient(conn)
	_, err := agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: &agentroutingv1.Group{Id: "wordy", Name: "细说", IdleTimeoutS: -1, Survey: true}})
	require.NoError(t, err)
	_, err = agents.PutAgent(as(t, "boss"), &agentroutingv1.PutAgentRequest{Agent: &agentroutingv1.Agent{Id: "wordy-li", Name: "wordy-li", Groups: []string{"wordy"}, AutoAccept: true}})
	require.NoError(t, err)
	_, err = agents.SetPresence(as(t, "wordy-li"), &agentroutingv1.SetPresenceRequest{Presence: agentroutingv1.Presence_PRESENCE_ONLINE})
	require.NoError(t, err)
	f := w.newFan(t, secureXML)
	f.says(t, "细说")
	f.screen(t, "kf:您好，我是客服专员") // one of the five of the window
	c := f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_ACTIVE)
	require.EqualValues(t, 1, c.GetKeptForEnd())
	reply := func(text string) error {
		_, err := desk.Reply(as(t, "wordy-li"), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words(text), IdempotencyKey: f.openid + text})
		return err
	}
	for _, text := range []string{"一", "二", "三"} {
		require.NoError(t, reply(text))
		f.screen(t, "kf:"+text)
	}
	err = reply("四")
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.True(t, slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool {
		held, ok := d.(*agentroutingv1.ReplyWouldUseKept)
		return ok && held.GetRemaining() == 1 && held.GetKept() == 1
	}))
	_, err = desk.Close(as(t, "wordy-li"), &agentroutingv1.CloseRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	require.True(t, eventually(t, 60*time.Second, func() bool { return len(f.saw(t)) == 5 }), "the survey never came: %q", f.saw(t))
}

func answeredBefore(t *testing.T, w *world) {
	desk := agentroutingv1.NewConversationServiceClient(w.grpc(t, "agent-routing"))
	f := w.newFan(t, secureXML)
	f.says(t, "你好")
	f.sees(t, "passive:你好，朋友")
	f.says(t, "抢单")
	f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING)
	var said []string
	require.True(t, eventually(t, 60*time.Second, func() bool {
		got, err := desk.ListMessages(t.Context(), &agentroutingv1.ListMessagesRequest{Account: f.account, Openid: f.openid})
		said = nil
		for _, m := range got.GetMessages() {
			said = append(said, strings.TrimPrefix(m.GetAuthorKind().String(), "AUTHOR_KIND_")+" "+m.GetText())
		}
		return err == nil && slices.Equal(said, []string{"FAN 你好", "BOT 你好，朋友", "FAN 抢单"})
	}), "the timeline of %s is %q", f.openid, said)
}

func aBrokenPromise(t *testing.T, w *world) {
	admin := w.logIn(t)
	admin.must(t, "agentrouting.v1.AgentService/PutGroup", map[string]any{"group": map[string]any{
		"id": "late", "name": "急事", "method": "ROUTING_METHOD_MANUAL", "firstResponseS": 3, "nextResponseS": 3600,
	}})
	agents := agentroutingv1.NewAgentServiceClient(w.grpc(t, "agent-routing"))
	_, err := agents.PutAgent(as(t, "boss"), &agentroutingv1.PutAgentRequest{Agent: &agentroutingv1.Agent{Id: "late-li", Name: "late-li", Groups: []string{"late"}}})
	require.NoError(t, err)
	_, err = agents.SetPresence(as(t, "late-li"), &agentroutingv1.SetPresenceRequest{Presence: agentroutingv1.Presence_PRESENCE_ONLINE})
	require.NoError(t, err)
	f := w.newFan(t, secureXML)
	f.says(t, "急事")
	desk := agentroutingv1.NewConversationServiceClient(w.grpc(t, "agent-routing"))
	c := f.conversation(t, desk, agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING)
	// The page asks for what happened to a conversation, and draws what it is told.
	told := func(change string) (events []map[string]any) {
		out := admin.must(t, "agentrouting.v1.ConversationService/GetConversation", map[string]any{"account": f.account, "conversation": c.GetId()})
		changes, _ := out["changes"].([]any)
		for _, e := range changes {
			if changed, _ := e.(map[string]any)["conversationChanged"].(map[string]any); changed["change"] == change {
				events = append(events, changed)
			}
		}
		return events
	}
	require.True(t, eventually(t, 60*time.Second, func() bool { return len(told("promise_broken")) == 1 }), "nobody says that the fan waits")
	promise, _ := told("promise_broken")[0]["promise"].(map[string]any)
	require.Equal(t, "TARGET_FIRST_RESPONSE", promise["target"])
	require.EqualValues(t, 3, promise["targetS"])
	require.Equal(t, true, promise["broken"])

	_, err = desk.Accept(as(t, "late-li"), &agentroutingv1.AcceptRequest{Account: f.account, Conversation: c.GetId()})
	require.NoError(t, err)
	_, err = desk.Reply(as(t, "late-li"), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words("来了"), IdempotencyKey: f.openid})
	require.NoError(t, err)
	f.screen(t, "kf:来了")
	f.says(t, "你好")
	require.True(t, eventually(t, 60*time.Second, func() bool {
		got, err := desk.GetConversation(t.Context(), &agentroutingv1.GetConversationRequest{Account: f.account, Conversation: c.GetId()})
		open := got.GetConversation().GetPromises()
		return err == nil && len(open) == 1 && open[0].GetTarget() == agentroutingv1.Target_TARGET_NEXT_RESPONSE
	}), "the next message is promised an answer")
	_, err = desk.Reply(as(t, "late-li"), &agentroutingv1.ReplyRequest{Account: f.account, Conversation: c.GetId(), Content: words("好的"), IdempotencyKey: f.openid + "2"})
	require.NoError(t, err)
	day := int64(24 * time.Hour / time.Millisecond)
	now := time.Now().UnixMilli()
	report := admin.must(t, "agentrouting.v1.ReportService/GetReport", map[string]any{"by": "REPORT_BY_GROUP", "filter": map[string]any{
		"fromUnixMs": now - day, "toUnixMs": now + day, "group": "late",
	}})
	rows, _ := report["rows"].([]any)
	require.Len(t, rows, 1)
	row, _ := rows[0].(map[string]any)
	first, _ := row["firstResponseKept"].(map[string]any)
	next, _ := row["nextResponseKept"].(map[string]any)
	require.Equal(t, "1", first["broken"])
	require.Equal(t, "1", next["kept"])
	require.EqualValues(t, 100, next["percent"])
	require.Len(t, told("promise_broken"), 1)
}
