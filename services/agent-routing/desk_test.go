package agentrouting_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"

	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
)

const (
	offered = agentroutingv1.ConversationState_CONVERSATION_STATE_OFFERED
	active  = agentroutingv1.ConversationState_CONVERSATION_STATE_ACTIVE
	closed  = agentroutingv1.ConversationState_CONVERSATION_STATE_CLOSED
)

// as is a call of a console user.
func as(t *testing.T, user string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "wxbus-actor", user)
}

// staffed starts a replica with one group and two agents.
func staffed(t *testing.T, w *world) desk {
	t.Helper()
	cfg := agentrouting.DefaultConfig()
	cfg.EraseOnUnsubscribe = false
	cfg.Groups = []agentrouting.GroupConfig{{ID: "sales", Name: "售前", Survey: true}}
	cfg.Agents = []agentrouting.AgentConfig{{ID: "li", Name: "小李", Groups: []string{"sales"}}, {ID: "chen", Name: "小陈", Groups: []string{"sales"}}}
	d, _ := w.startReplica(cfg)
	return d
}

func (w *world) online(d desk, agents ...string) {
	w.t.Helper()
	for _, id := range agents {
		got, err := d.agents.SetPresence(as(w.t, id), &agentroutingv1.SetPresenceRequest{Presence: agentroutingv1.Presence_PRESENCE_ONLINE})
		require.NoError(w.t, err)
		require.EqualValues(w.t, 20, got.GetHeartbeatS())
	}
}

// in waits until the conversation is in a state.
func (w *world) in(d desk, conversation string, state agentroutingv1.ConversationState) *agentroutingv1.Conversation {
	w.t.Helper()
	var c *agentroutingv1.Conversation
	require.Eventually(w.t, func() bool {
		got, err := d.GetConversation(w.t.Context(), &agentroutingv1.GetConversationRequest{Account: shop, Conversation: conversation})
		c = got.GetConversation()
		return err == nil && c.GetState() == state
	}, patient, soon, "%s never became %s", conversation, state)
	return c
}

// events returns every ConversationEvent in the order of the stream.
func (w *world) events() (out []*agentroutingv1.ConversationEvent) {
	w.t.Helper()
	stream, err := w.JS.Stream(w.t.Context(), topology.StreamConversations)
	require.NoError(w.t, err)
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.t.Context(), seq)
		require.NoError(w.t, err)
		if msg.Header.Get(bus.HeaderType) != "wxbus.agentrouting.v1.ConversationEvent" {
			continue
		}
		ev := new(agentroutingv1.ConversationEvent)
		require.NoError(w.t, proto.Unmarshal(msg.Data, ev))
		out = append(out, ev)
	}
	return out
}

func TestAWorkingDayAtTheDesk(t *testing.T) {
	w := newWorld(t)
	d := staffed(t, w)
	w.online(d, "li", "chen")
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	c := w.in(d, asked.GetId(), offered)
	require.Equal(t, "chen", c.GetAgent(), "equal loads: by id")
	require.Equal(t, "least load of 2, online, 1/5", c.GetAssignment().GetWhy())

	_, err := d.Decline(as(t, "chen"), &agentroutingv1.DeclineRequest{Account: shop, Conversation: asked.GetId(), Reason: "lunch"})
	require.NoError(t, err)
	_, err = d.Accept(as(t, "li"), &agentroutingv1.AcceptRequest{Account: shop, Openid: "fan"})
	require.NoError(t, err)
	require.Equal(t, agent, w.eventually(d, "fan", agent).GetOwner().GetKind())

	reply := &agentroutingv1.ReplyRequest{Account: shop, Conversation: asked.GetId(), Content: words("您好"), IdempotencyKey: "1", ExpectedLastSeq: 1}
	first, err := d.Reply(as(t, "li"), reply)
	require.NoError(t, err)
	require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED, first.GetMessage().GetState())
	w.settles(first.GetSendId(), senderv1.SendState_SEND_STATE_SENT)
	w.says("fan", "多少钱")
	w.quiet()
	reply.IdempotencyKey = "2"
	_, err = d.Reply(as(t, "li"), reply)
	require.Equal(t, codes.Aborted, status.Code(err))
	var collision *agentroutingv1.ReplyCollision
	for _, detail := range status.Convert(err).Details() {
		if found, ok := detail.(*agentroutingv1.ReplyCollision); ok {
			collision = found
		}
	}
	require.Equal(t, "多少钱", collision.GetMessages()[0].GetText())

	_, err = d.AddNote(as(t, "li"), &agentroutingv1.AddNoteRequest{Account: shop, Conversation: asked.GetId(), Text: "老客户，@chen 和 @小陈 请看", IdempotencyKey: "n"})
	require.NoError(t, err)
	_, err = d.TagFan(as(t, "li"), &agentroutingv1.TagFanRequest{Account: shop, Openid: "fan", Add: []string{"VIP"}})
	require.NoError(t, err)
	renamed, err := d.RenameFan(as(t, "li"), &agentroutingv1.RenameFanRequest{Account: shop, Openid: "fan", Remark: "王先生"})
	require.NoError(t, err)
	require.Equal(t, "王先生", renamed.GetFan().GetName())
	require.Equal(t, []string{"VIP"}, renamed.GetFan().GetTags())
	require.Len(t, renamed.GetFan().GetConversations(), 1)

	_, err = d.Transfer(as(t, "li"), &agentroutingv1.TransferRequest{
		Account: shop, Conversation: asked.GetId(), To: &agentroutingv1.TransferRequest_ToAgent{ToAgent: "chen"}, Note: "请报价",
	})
	require.NoError(t, err)
	require.Equal(t, "chen", w.in(d, asked.GetId(), offered).GetAgent())
	_, err = d.Accept(as(t, "chen"), &agentroutingv1.AcceptRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	list, err := d.ListConversations(as(t, "chen"), &agentroutingv1.ListConversationsRequest{Mine: true})
	require.NoError(t, err)
	require.EqualValues(t, 1, list.GetTotal())
	require.NotZero(t, list.GetStreamSequence())
	_, err = d.Close(as(t, "chen"), &agentroutingv1.CloseRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	w.clock.Advance(11 * time.Second)
	require.Eventually(t, func() bool {
		sent := w.sender.all()
		return sent[len(sent)-1].GetContent().GetMenu() != nil
	}, patient, soon, "the survey never came")
	sent := w.sender.all()
	menu := sent[len(sent)-1].GetContent().GetMenu()
	w.event("fan", eventv1.EventKind_EVENT_KIND_MESSAGE, func(ev *eventv1.InboundEvent) {
		ev.MsgType = "text"
		ev.Payload = &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: menu.GetItems()[0].GetContent(), BizMsgMenuId: menu.GetItems()[0].GetId()}}
	})
	require.Eventually(t, func() bool { return w.in(d, asked.GetId(), closed).GetSurveyScore() == 5 }, patient, soon)
	w.quiet()

	last := uint64(0)
	for _, ev := range w.events() {
		require.Equal(t, last+1, ev.GetNumber(), "numbers have no gap")
		last = ev.GetNumber()
	}
	found, err := d.Search(as(t, "li"), &agentroutingv1.SearchRequest{Query: "多少"})
	require.NoError(t, err)
	require.Len(t, found.GetHits(), 1)
	require.Equal(t, "王先生", found.GetHits()[0].GetFanName())
	mentioned, err := d.ListMentions(as(t, "chen"), &agentroutingv1.ListMentionsRequest{Agent: "chen", Names: []string{"chen", "小陈"}})
	require.NoError(t, err)
	require.Len(t, mentioned.GetMentions(), 1, "one conversation, however many notes")
	require.Equal(t, asked.GetId(), mentioned.GetMentions()[0].GetConversation())
	for _, who := range []*agentroutingv1.ListMentionsRequest{{Agent: "li", Names: []string{"chen"}}, {Agent: "chen", Names: []string{"CHEN"}}, {Agent: "chen", Names: []string{"wang"}}} {
		none, err := d.ListMentions(as(t, "li"), who)
		require.NoError(t, err)
		require.Empty(t, none.GetMentions(), "%v: own notes, another spelling and nobody's name do not count", who)
	}
	_, err = d.ListMentions(as(t, "li"), &agentroutingv1.ListMentionsRequest{Agent: "li"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	page, err := d.ListMessages(as(t, "li"), &agentroutingv1.ListMessagesRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	var authors []string
	for _, m := range page.GetMessages() {
		authors = append(authors, strings.ToLower(strings.TrimPrefix(m.GetAuthorKind().String(), "AUTHOR_KIND_"))+":"+m.GetAuthor())
	}
	require.Equal(t, []string{"fan:", "system:assigned", "agent:li", "fan:", "note:li", "note:li", "system:assigned", "system:survey", "system:survey_thanks"}, authors)
	require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED, page.GetMessages()[2].GetState())

	filter := &agentroutingv1.ReportFilter{FromUnixMs: w.clock.Now().Add(-time.Hour).UnixMilli(), ToUnixMs: w.clock.Now().Add(time.Hour).UnixMilli()}
	report, err := d.reports.GetReport(t.Context(), &agentroutingv1.GetReportRequest{Filter: filter, By: agentroutingv1.ReportBy_REPORT_BY_AGENT})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.GetTotal().GetServed())
	require.EqualValues(t, 1, report.GetTotal().GetTransferred())
	require.EqualValues(t, 5, report.GetTotal().GetSurveyAverage())
	require.Len(t, report.GetRows(), 2)
	for agent, served := range map[string]int64{"li": report.GetRows()[1].GetServed(), "chen": report.GetRows()[0].GetServed()} {
		own, err := d.reports.GetOwnReport(t.Context(), &agentroutingv1.GetOwnReportRequest{Agent: agent, FromUnixMs: filter.GetFromUnixMs(), ToUnixMs: filter.GetToUnixMs()})
		require.NoError(t, err)
		require.Equal(t, served, own.GetTotal().GetServed(), agent)
	}
	file, err := d.reports.ExportReport(t.Context(), &agentroutingv1.ExportReportRequest{Filter: filter})
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(file.GetCsv(), []byte("\xEF\xBB\xBFkey,opened,served")))
	rows, err := d.reports.ExportConversations(t.Context(), &agentroutingv1.ExportConversationsRequest{Filter: filter})
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(rows.GetCsv()), "\n"))
	definitions, err := d.reports.ListDefinitions(t.Context(), &agentroutingv1.ListDefinitionsRequest{})
	require.NoError(t, err)
	fields := (&agentroutingv1.ReportRow{}).ProtoReflect().Descriptor().Fields()
	require.Len(t, definitions.GetDefinitions(), fields.Len()-1, "every measure has a definition")
	for _, def := range definitions.GetDefinitions() {
		require.NotNil(t, fields.ByName(protoreflect.Name(def.GetMeasure())), def.GetMeasure())
	}
}

// settles publishes the end of a send.
func (w *world) settles(id string, state senderv1.SendState) {
	w.t.Helper()
	subject, err := topology.SubjectDelivery(shop, w.Topology.Partition(shop, "fan"), "fan")
	require.NoError(w.t, err)
	data, err := proto.Marshal(&senderv1.DeliverySettled{Id: id, Account: shop, Openid: "fan", State: state, Lane: senderv1.Lane_LANE_AGENT})
	require.NoError(w.t, err)
	_, err = w.Conn.Publish(w.t.Context(), bus.Msg{Subject: subject, ID: id + ":settled", Data: data, Header: map[string][]string{bus.HeaderType: {"wxbus.sender.v1.DeliverySettled"}}})
	require.NoError(w.t, err)
}

func TestASupervisorFollowsWithoutAGap(t *testing.T) {
	w := newWorld(t)
	d := staffed(t, w)
	w.online(d, "li")
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	w.in(d, asked.GetId(), offered)
	ctx, cancel := context.WithCancel(as(t, "boss"))
	stream, err := d.Watch(ctx, &agentroutingv1.WatchRequest{Account: shop, Conversation: asked.GetId(), AfterNumber: 1})
	require.NoError(t, err)
	next := uint64(2)
	var changes []string
	until := func(change string) {
		for {
			got, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, next, got.GetEvent().GetNumber())
			next++
			changes = append(changes, got.GetEvent().GetConversationChanged().GetChange())
			if changes[len(changes)-1] == change {
				return
			}
		}
	}
	until("watched")
	_, err = d.Accept(as(t, "li"), &agentroutingv1.AcceptRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	until("accepted")
	_, err = d.TakeOver(as(t, "boss"), &agentroutingv1.TakeOverRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	until("taken_over")
	require.Equal(t, "boss", w.eventually(d, "fan", agent).GetOwner().GetName())
	_, err = d.Reply(as(t, "li"), &agentroutingv1.ReplyRequest{Account: shop, Conversation: asked.GetId(), Content: words("?"), IdempotencyKey: "x"})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.ErrorContains(t, err, "another agent talks to the fan")
	cancel()
	for err == nil || status.Code(err) != codes.Canceled {
		_, err = stream.Recv()
	}
}

func TestCannedRepliesAreFilledIn(t *testing.T) {
	w := newWorld(t)
	d := staffed(t, w)
	put, err := d.agents.PutCannedReply(as(t, "li"), &agentroutingv1.PutCannedReplyRequest{Reply: &agentroutingv1.CannedReply{
		Title: "发货", Shortcut: "fh", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_GROUP, ScopeId: "sales",
		Blocks: []*agentroutingv1.CannedBlock{
			{Content: words("{fan.name}您好，我是{agent.name}，订单{订单号}已发货")},
			{Content: &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: "m1"}}}, Asset: "asset-1"},
		},
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"订单号"}, put.GetReply().GetVariables())
	list, err := d.agents.ListCannedReplies(as(t, "chen"), &agentroutingv1.ListCannedRepliesRequest{Query: "FH"})
	require.NoError(t, err)
	require.Len(t, list.GetReplies(), 1, "the group's replies are for everybody in it")
	_, err = d.RenameFan(as(t, "li"), &agentroutingv1.RenameFanRequest{Account: shop, Openid: "fan", Remark: "王先生"})
	require.NoError(t, err)
	render := &agentroutingv1.RenderCannedReplyRequest{Id: put.GetReply().GetId(), Account: shop, Openid: "fan"}
	got, err := d.agents.RenderCannedReply(as(t, "li"), render)
	require.NoError(t, err)
	require.Equal(t, []string{"订单号"}, got.GetMissing())
	render.Values = map[string]string{"订单号": "123"}
	got, err = d.agents.RenderCannedReply(as(t, "li"), render)
	require.NoError(t, err)
	require.Empty(t, got.GetMissing())
	require.Equal(t, "王先生您好，我是小李，订单123已发货", got.GetContents()[0].GetText().GetContent())
	require.Equal(t, "m1", got.GetContents()[1].GetImage().GetMediaId())
	_, err = d.agents.PutCannedReply(as(t, "li"), &agentroutingv1.PutCannedReplyRequest{Reply: &agentroutingv1.CannedReply{Title: "x", Shortcut: "a b"}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	for _, path := range []string{"reply.shortcut: ", "reply.scope: ", "reply.blocks: "} {
		require.ErrorContains(t, err, path)
	}
}

func TestGroupsAreCheckedAsAWhole(t *testing.T) {
	w := newWorld(t)
	d := staffed(t, w)
	groups, err := d.agents.ListGroups(t.Context(), &agentroutingv1.ListGroupsRequest{})
	require.NoError(t, err)
	g := groups.GetGroups()[0]
	require.True(t, g.GetOpenNow())
	g.Hours = &agentroutingv1.WorkingHours{TimeZone: "Asia/Shanghai", Week: []*agentroutingv1.WeekInterval{{Weekday: 1, From: "09:00", To: "24:00"}}}
	stored, err := d.agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: g})
	require.NoError(t, err)
	require.True(t, proto.Equal(g.GetHours(), stored.GetGroup().GetHours()))
	_, err = d.agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: g})
	require.Equal(t, codes.Aborted, status.Code(err), "somebody else changed it")
	_, err = d.agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: &agentroutingv1.Group{
		Id: "a b", OfferTimeoutS: 1, QueueAction: agentroutingv1.QueueAction_QUEUE_ACTION_FORWARD, SurveyMax: 9, Texts: []*agentroutingv1.AutoText{{Kind: 99}},
		Hours: &agentroutingv1.WorkingHours{TimeZone: "Nowhere"},
	}})
	for _, path := range []string{"group.id: ", "group.name: ", "group.offer_timeout_s: ", "group.forward_group: ", "group.survey_max: ", "group.texts: ", "group.hours.time_zone: "} {
		require.ErrorContains(t, err, path)
	}
	_, err = d.agents.PutGroup(as(t, "boss"), &agentroutingv1.PutGroupRequest{Group: &agentroutingv1.Group{
		Id: "x", Name: "x", Hours: &agentroutingv1.WorkingHours{Week: []*agentroutingv1.WeekInterval{{Weekday: 1, From: "9", To: "10:00"}}},
	}})
	require.ErrorContains(t, err, "group.hours.week[0].from: ")
	texts, err := d.agents.GetDefaultTexts(t.Context(), &agentroutingv1.GetDefaultTextsRequest{})
	require.NoError(t, err)
	require.Len(t, texts.GetTexts(), 10)
	_, err = d.agents.DeleteAgent(as(t, "boss"), &agentroutingv1.DeleteAgentRequest{Id: "chen"})
	require.NoError(t, err)
	_, err = d.agents.DeleteGroup(as(t, "boss"), &agentroutingv1.DeleteGroupRequest{Id: "sales"})
	require.NoError(t, err)
}

// oneToken is a token service with one token that goes bad once.
type oneToken struct{}

func (oneToken) Current(context.Context, string) (tokens.Token, error) {
	return tokens.Token{Value: secret.New("stale"), Generation: 1}, nil
}

func (oneToken) Bad(context.Context, string, uint64, int32) (tokens.Token, error) {
	return tokens.Token{Value: secret.New("fresh"), Generation: 2}, nil
}

// weChat answers as WeChat would.
func weChat(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("access_token") != "fresh" {
			_, _ = io.WriteString(rw, `{"errcode":40001,"errmsg":"invalid credential"}`)
			return
		}
		switch r.URL.Path + "?" + r.URL.Query().Get("media_id") {
		case "/cgi-bin/media/get?picture":
			rw.Header().Set("Content-Type", "image/jpeg")
			rw.Header().Set("Content-Disposition", `attachment; filename="a.jpg"`)
			_, _ = rw.Write(append([]byte("\xff\xd8\xff\xe0"), bytes.Repeat([]byte{1}, 300<<10)...))
		case "/cgi-bin/media/get?gone":
			_, _ = io.WriteString(rw, `{"errcode":40007,"errmsg":"invalid media_id"}`)
		case "/cgi-bin/customservice/getkflist?":
			_, _ = io.WriteString(rw, `{"kf_list":[{"kf_account":"a@shop","kf_nick":"小安","kf_id":"1001"},{"kf_account":"b@shop","kf_nick":"小贝","kf_id":1002}]}`)
		case "/cgi-bin/customservice/getonlinekflist?":
			_, _ = io.WriteString(rw, `{"kf_online_list":[{"kf_account":"b@shop","status":1,"kf_id":"1002","accepted_case":3}]}`)
		case "/customservice/kfsession/getsessionlist?":
			_, _ = io.WriteString(rw, `{"sessionlist":[{"createtime":1700000000,"openid":"fan"}]}`)
		case "/customservice/kfsession/getwaitcase?":
			_, _ = io.WriteString(rw, `{"count":150,"waitcaselist":[{"latest_time":1700000001,"openid":"other"}]}`)
		case "/customservice/kfsession/create?":
			_, _ = io.WriteString(rw, `{"errcode":65415,"errmsg":"kf is offline"}`)
		case "/cgi-bin/user/info?":
			_, _ = io.WriteString(rw, `{"openid":"fan","unionid":"union-1","language":"zh_CN"}`)
		default:
			_, _ = io.WriteString(rw, `{"errcode":0,"errmsg":"ok"}`)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestPicturesAreKeptBeforeWeChatForgetsThem(t *testing.T) {
	w := newWorld(t)
	w.api, w.tokens = weChat(t).URL, oneToken{}
	d := staffed(t, w)
	w.decides(w.says("fan", "转人工"), "sales")
	w.eventually(d, "fan", queue)
	for _, id := range []string{"picture", "gone"} {
		w.event("fan", eventv1.EventKind_EVENT_KIND_MESSAGE, func(ev *eventv1.InboundEvent) {
			ev.MsgType = "image"
			ev.Payload = &eventv1.InboundEvent_Media{Media: &eventv1.MediaMessage{MediaId: id}}
		})
	}
	var files []*agentroutingv1.Media
	require.Eventually(t, func() bool {
		page, err := d.ListMessages(t.Context(), &agentroutingv1.ListMessagesRequest{Account: shop, Openid: "fan"})
		require.NoError(t, err)
		files = nil
		for _, m := range page.GetMessages() {
			files = append(files, m.GetMedia()...)
		}
		return len(files) == 2 && files[0].GetState() == agentroutingv1.MediaState_MEDIA_STATE_STORED && files[1].GetState() == agentroutingv1.MediaState_MEDIA_STATE_LOST
	}, patient, soon, "the files were never fetched")
	require.Equal(t, "image/jpeg", files[0].GetContentType())
	require.Contains(t, files[1].GetReason(), "40007")
	stream, err := d.GetMedia(t.Context(), &agentroutingv1.GetMediaRequest{Account: shop, Id: files[0].GetId()})
	require.NoError(t, err)
	var got []byte
	for pieces := 0; ; pieces++ {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			require.Equal(t, 2, pieces)
			break
		}
		require.NoError(t, err)
		require.Equal(t, pieces == 0, part.GetSize() > 0)
		got = append(got, part.GetData()...)
	}
	require.Len(t, got, 300<<10+4)

	fan, err := d.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: shop, Openid: "fan", Refresh: true})
	require.NoError(t, err)
	require.Equal(t, "union-1", fan.GetFan().GetUnionid())

	w.rules.learn("fan")
	export, err := d.privacy.ExportFan(as(t, "boss"), &agentroutingv1.ExportFanRequest{Account: shop, Openid: "fan"})
	require.NoError(t, err)
	var file []byte
	for {
		part, err := export.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		file = append(file, part.GetData()...)
	}
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	require.Equal(t, []string{"fan.json", "messages.json", "events.json", "rules.json", "files/" + files[0].GetId()}, names)
	opened, err := archive.Open("fan.json")
	require.NoError(t, err)
	var card map[string]any
	require.NoError(t, json.NewDecoder(opened).Decode(&card))
	require.Equal(t, "union-1", card["unionid"])
	opened, err = archive.Open("rules.json")
	require.NoError(t, err)
	var known struct{ Record struct{ Tags []string } }
	require.NoError(t, json.NewDecoder(opened).Decode(&known))
	require.Equal(t, []string{"vip"}, known.Record.Tags)

	erased, err := d.privacy.EraseFan(as(t, "boss"), &agentroutingv1.EraseFanRequest{Account: shop, Openid: "fan", Reason: "request"})
	require.NoError(t, err)
	require.True(t, erased.GetErasure().GetVerified())
	require.False(t, w.rules.knows("fan"))
	_, err = recv(d.GetMedia(t.Context(), &agentroutingv1.GetMediaRequest{Account: shop, Id: files[0].GetId()}))
	require.Equal(t, codes.NotFound, status.Code(err))
}

func recv(stream interface {
	Recv() (*agentroutingv1.GetMediaResponse, error)
}, err error) (*agentroutingv1.GetMediaResponse, error) {
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

func TestADatabaseThatIsAwayStopsTheDeskOnly(t *testing.T) {
	w := newWorld(t)
	w.sql = sqldb.Options{Service: "agent-routing", URL: secret.New("postgres://postgres@127.0.0.1:1/none?sslmode=disable&connect_timeout=1")}
	w.decides(w.says("fan", "转人工"), "sales")
	d := staffed(t, w)
	_, err := d.ListConversations(t.Context(), &agentroutingv1.ListConversationsRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err), "the process runs, the desk says why it does not")
}

func TestTheDeskRunsOnPostgres(t *testing.T) {
	w := newWorld(t)
	w.sql = sqldbtest.Options(t, sqldb.Postgres, nil)
	d := staffed(t, w)
	second := staffed(t, w)
	w.online(d, "li")
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	w.in(second, asked.GetId(), offered)
	_, err := second.Accept(as(t, "li"), &agentroutingv1.AcceptRequest{Account: shop, Conversation: asked.GetId()})
	require.NoError(t, err)
	require.Equal(t, "li", w.in(d, asked.GetId(), active).GetAgent())
	w.quiet()
}

func TestWeChatsOwnDeskIsReachable(t *testing.T) {
	w := newWorld(t)
	w.api, w.tokens = weChat(t).URL, oneToken{}
	d := staffed(t, w)
	accounts, err := d.kf.ListKfAccounts(t.Context(), &agentroutingv1.ListKfAccountsRequest{Account: shop})
	require.NoError(t, err)
	require.Len(t, accounts.GetAccounts(), 2)
	require.False(t, accounts.GetAccounts()[0].GetOnline())
	require.True(t, accounts.GetAccounts()[1].GetOnline())
	require.EqualValues(t, 3, accounts.GetAccounts()[1].GetSessions())
	require.Equal(t, "1002", accounts.GetAccounts()[1].GetKfId())
	_, err = d.kf.AddKfAccount(t.Context(), &agentroutingv1.AddKfAccountRequest{Account: shop, KfAccount: "c@shop", Nickname: "小陈"})
	require.NoError(t, err)
	_, err = d.kf.AddKfAccount(t.Context(), &agentroutingv1.AddKfAccountRequest{Account: shop, KfAccount: "c", Nickname: ""})
	require.ErrorContains(t, err, "kf_account: ")
	require.ErrorContains(t, err, "nickname: ")
	sessions, err := d.kf.ListKfSessions(t.Context(), &agentroutingv1.ListKfSessionsRequest{Account: shop, KfAccount: "b@shop"})
	require.NoError(t, err)
	require.Equal(t, "fan", sessions.GetFans()[0].GetOpenid())
	waiting, err := d.kf.ListKfWaiting(t.Context(), &agentroutingv1.ListKfWaitingRequest{Account: shop})
	require.NoError(t, err)
	require.EqualValues(t, 150, waiting.GetTotal())
	_, err = d.kf.CreateKfSession(t.Context(), &agentroutingv1.CreateKfSessionRequest{Account: shop, KfAccount: "b@shop", Openid: "fan"})
	require.ErrorContains(t, err, "65415", "WeChat's code reaches the caller")
}

func TestAReplyThatWouldTakeWhatIsKeptSaysSo(t *testing.T) {
	w := newWorld(t)
	d := staffed(t, w)
	w.online(d, "li")
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	c := w.in(d, asked.GetId(), offered)
	_, err := d.Accept(as(t, "li"), &agentroutingv1.AcceptRequest{Account: shop, Openid: "fan"})
	require.NoError(t, err)
	require.EqualValues(t, 1, c.GetKeptForEnd())
	w.sender.leaveOne()
	reply := &agentroutingv1.ReplyRequest{Account: shop, Conversation: asked.GetId(), Content: words("您好"), IdempotencyKey: "1"}
	_, err = d.Reply(as(t, "li"), reply)
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	var held *agentroutingv1.ReplyWouldUseKept
	for _, detail := range status.Convert(err).Details() {
		if found, ok := detail.(*agentroutingv1.ReplyWouldUseKept); ok {
			held = found
		}
	}
	require.EqualValues(t, 1, held.GetRemaining())
	reply.UseKept = true
	_, err = d.Reply(as(t, "li"), reply)
	require.NoError(t, err, "the same request, on purpose")
}
