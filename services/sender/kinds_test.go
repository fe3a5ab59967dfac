package sender_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender"
)

const (
	accepted = senderv1.SendState_SEND_STATE_ACCEPTED
	refused  = senderv1.SendState_SEND_STATE_REFUSED

	customSend   = "/cgi-bin/message/custom/send"
	templateSend = "/cgi-bin/message/template/send"
	massSendAll  = "/cgi-bin/message/mass/sendall"
)

func template(value string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Template{Template: &eventv1.TemplateContent{
		TemplateId: "T1", Data: map[string]*eventv1.TemplateValue{"thing1": {Value: value}},
	}}}
}

func subscription() *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Subscribe{Subscribe: &eventv1.SubscribeContent{
		TemplateId: "S1", Data: map[string]*eventv1.TemplateValue{"thing1": {Value: "x"}},
	}}}
}

// bare is a request without a window: nothing is known of the fan.
func bare(account, openid, key string, c *eventv1.Content, fallback ...*eventv1.Content) *senderv1.SendRequest {
	return &senderv1.SendRequest{Account: account, Openid: openid, IdempotencyKey: key, Content: c, Fallback: fallback}
}

// tell publishes an event of WeChat, as the gateway does.
func (f *fixture) tell(t testing.TB, account, openid, event, fields string) {
	t.Helper()
	raw := fmt.Sprintf(`<xml><ToUserName>gh_x</ToUserName><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime><MsgType>event</MsgType><Event>%s</Event>%s</xml>`,
		openid, f.clock.Now().Unix(), event, fields)
	ev := &eventv1.InboundEvent{
		Id: fmt.Sprintf("%032x", time.Now().UnixNano()), Account: account, Openid: openid, Kind: eventv1.EventKind_EVENT_KIND_JOB,
		MsgType: "event", Event: strings.ToLower(event), CreateTime: f.clock.Now().Unix(), Raw: []byte(raw),
		AccountKind: eventv1.AccountKind_ACCOUNT_KIND_SERVICE,
	}
	subject, err := topology.SubjectInbound(account, f.env.Topology.Partition(account, openid), ev.GetKind(), openid)
	require.NoError(t, err)
	_, err = f.env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: ev.GetId(), Data: marshal(t, ev)})
	require.NoError(t, err)
}

// TestEveryKindGoesToItsAPI: what WeChat gets for every kind of message that is not one of the customer-service API.
func TestEveryKindGoesToItsAPI(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	typing := func(cancel bool) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Typing{Typing: &eventv1.TypingContent{Cancel: cancel}}}
	}
	once := &eventv1.Content{Body: &eventv1.Content_OneTime{OneTime: &eventv1.OneTimeContent{
		TemplateId: "O1", Scene: 7, Title: "到货", Content: &eventv1.TemplateValue{Value: "有货了"},
	}}}
	card := &eventv1.Content{Body: &eventv1.Content_Card{Card: &eventv1.CardContent{CardId: "C1"}}}
	for n, tc := range []struct {
		account    string
		content    *eventv1.Content
		path, body string
		end        senderv1.SendState
	}{
		{"shop", typing(false), "/cgi-bin/message/custom/typing", `{"touser":"fan-0","command":"Typing"}`, sent},
		{"shop", typing(true), "/cgi-bin/message/custom/typing", `{"touser":"fan-1","command":"CancelTyping"}`, sent},
		{"shop", template("发货"), templateSend, `{"touser":"fan-2","template_id":"T1","client_msg_id":"ID","data":{"thing1":{"value":"发货"}}}`, accepted},
		{"shop", subscription(), "/cgi-bin/message/subscribe/bizsend", `{"touser":"fan-3","template_id":"S1","data":{"thing1":{"value":"x"}}}`, accepted},
		{"mini", subscription(), "/cgi-bin/message/subscribe/send", `{"touser":"fan-4","template_id":"S1","data":{"thing1":{"value":"x"}}}`, accepted},
		{"shop", once, "/cgi-bin/message/template/subscribe", `{"touser":"fan-5","template_id":"O1","scene":"7","title":"到货","data":{"content":{"value":"有货了"}}}`, sent},
		{"shop", card, customSend, `{"touser":"fan-6","msgtype":"wxcard","wxcard":{"card_id":"C1"}}`, sent},
	} {
		req := bare(tc.account, fmt.Sprint("fan-", n), "k", tc.content)
		req.IdempotencyKey = fmt.Sprint("k", n)
		if tc.path == customSend {
			req.Evidence = f.said("said")
		}
		resp := send(t, s, req)
		rec := ends(t, s, tc.account, resp.GetId(), tc.end)
		calls := f.wechat.of(tc.path)
		require.NotEmpty(t, calls, tc.path)
		require.Equal(t, strings.ReplaceAll(tc.body, "ID", resp.GetId()), calls[len(calls)-1].Body)
		require.NotEqual(t, senderv1.SendEndpoint_SEND_ENDPOINT_UNSPECIFIED, rec.GetEndpoint())
	}
	require.EqualValues(t, senderv1.QuotaClass_QUOTA_CLASS_NEVER_OPENED, quota(t, s, "shop", "fan-2").GetClass(), "a template needs no window and takes none")
}

func TestTypingThatCannotBeShownIsNoFailure(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	for n, code := range []int{45072, 45080, 45081} {
		f.wechat.once(answer{errcode: code})
		resp := send(t, s, bare("shop", "fan", fmt.Sprint("k", n), &eventv1.Content{Body: &eventv1.Content_Typing{Typing: &eventv1.TypingContent{}}}))
		ends(t, s, "shop", resp.GetId(), sent)
	}
}

// TestAResultEventSettlesTheMessage: the facts are those of the event, whichever comes first, the event or the answer of the call.
func TestAResultEventSettlesTheMessage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status string
		want   senderv1.SendState
		reason string
	}{
		"delivered":     {"success", sent, ""},
		"blocked":       {"failed:user block", failed, "the fan has blocked the account"},
		"system failed": {"failed: system failed", failed, "WeChat could not deliver it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			s := f.replica(t, "a")
			for _, early := range []bool{false, true} {
				openid := fmt.Sprint("fan-", early)
				tell := func(id string) {
					f.tell(t, "shop", openid, "TEMPLATESENDJOBFINISH", "<MsgID>"+id+"</MsgID><Status><![CDATA["+tc.status+"]]></Status>")
				}
				if early {
					f.wechat.answer(func(call, int) answer {
						tell("777")
						return answer{more: `,"msgid":777`}
					})
				}
				resp := send(t, s, bare("shop", openid, openid, template("x")))
				if !early {
					tell(ends(t, s, "shop", resp.GetId(), accepted).GetMsgId())
				}
				rec := ends(t, s, "shop", resp.GetId(), tc.want)
				require.Equal(t, tc.status, rec.GetResult().GetStatus())
				require.Equal(t, tc.reason, rec.GetReason())
				var settled *senderv1.DeliverySettled
				require.Eventually(t, func() bool {
					settled, _ = settledOf(f.readFacts(t), resp.GetId())
					return settled != nil
				}, 30*time.Second, 10*time.Millisecond)
				require.Equal(t, tc.want, settled.GetState())
				require.Equal(t, tc.status, settled.GetResult().GetStatus())
				require.Equal(t, senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE, settled.GetEndpoint())
			}
		})
	}
}

func TestASubscriptionEventSettlesTheMessage(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	one := send(t, s, bare("shop", "fan-1", "k1", subscription()))
	two := send(t, s, bare("shop", "fan-1", "k2", subscription()))
	items := ""
	for _, id := range []string{one.GetId(), two.GetId()} {
		rec := ends(t, s, "shop", id, accepted)
		code, status := "0", "success"
		if id == two.GetId() {
			code, status = "43101", "user refuse to accept the msg"
		}
		items += "<List><TemplateId>S1</TemplateId><MsgID>" + rec.GetMsgId() + "</MsgID><ErrorCode>" + code + "</ErrorCode><ErrorStatus>" + status + "</ErrorStatus></List>"
	}
	f.tell(t, "shop", "fan-1", "subscribe_msg_sent_event", "<SubscribeMsgSentEvent>"+items+"</SubscribeMsgSentEvent>")
	ends(t, s, "shop", one.GetId(), sent)
	require.Contains(t, ends(t, s, "shop", two.GetId(), failed).GetReason(), "43101")
}

// TestAnOverdueResultCountsAsSent: WeChat took the message, and its event was lost.
func TestAnOverdueResultCountsAsSent(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.ResultWait = 300 * time.Millisecond
	s := f.replica(t, "a")
	resp := send(t, s, bare("shop", "fan-1", "k1", template("x")))
	rec := ends(t, s, "shop", resp.GetId(), sent)
	require.Contains(t, rec.GetReason(), "did not come")
	settled, _ := settledOf(f.facts(t, 1), resp.GetId())
	require.Equal(t, sent, settled.GetState())
	// The event comes after all: the end stands.
	f.tell(t, "shop", "fan-1", "TEMPLATESENDJOBFINISH", "<MsgID>"+rec.GetMsgId()+"</MsgID><Status>failed:user block</Status>")
	f.idle(t)
	require.Equal(t, sent, state(t, s, "shop", resp.GetId()).GetState())
}

// TestATemplateIsRepeatedUnderItsOwnID: an answer that is lost is no doubt while WeChat knows the id.
func TestATemplateIsRepeatedUnderItsOwnID(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.once(answer{reset: true}, answer{status: 502, raw: "bad gateway"}, answer{})
	resp := send(t, s, bare("shop", "fan-1", "k1", template("x")))
	rec := ends(t, s, "shop", resp.GetId(), accepted)
	require.EqualValues(t, 3, rec.GetAttempts())
	require.True(t, rec.GetUncertain())
	ids := map[string]bool{}
	for _, c := range f.wechat.of(templateSend) {
		var body struct {
			ID string `json:"client_msg_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(c.Body), &body))
		ids[body.ID] = true
	}
	require.Equal(t, map[string]bool{resp.GetId(): true}, ids)
}

// TestATemplateIsAmbiguousWhenItsIDIsForgotten: after WeChat's ten minutes a repetition would be another message.
func TestATemplateIsAmbiguousWhenItsIDIsForgotten(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.answer(func(_ call, nth int) answer {
		f.clock.advance(5 * time.Minute)
		return answer{reset: true}
	})
	resp := send(t, s, bare("shop", "fan-1", "k1", template("x")))
	ends(t, s, "shop", resp.GetId(), ambiguous)
	f.idle(t)
	require.Len(t, f.wechat.of(templateSend), 2)
}

// TestAKilledSenderSendsATemplateOnce: the next worker calls again under the same id.
func TestAKilledSenderSendsATemplateOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.CallTimeout = time.Second
	a, conn := f.replicaOn(t, "a")
	reached := make(chan struct{}, 8)
	f.wechat.once(answer{hang: true})
	go func() {
		for len(f.wechat.of(templateSend)) == 0 {
			<-time.After(time.Millisecond)
		}
		reached <- struct{}{}
	}()
	resp := send(t, a, bare("shop", "fan-1", "k1", template("x")))
	<-reached
	conn.NC().Close()
	f.cfg.CallTimeout = 20 * time.Second // its answer is in time
	b := f.replica(t, "b")
	rec := ends(t, b, "shop", resp.GetId(), accepted)
	require.EqualValues(t, 2, rec.GetAttempts())
}

// TestAFallbackTakesOver: for every reason for which the window or WeChat refuses the first content.
func TestAFallbackTakesOver(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		code     int // of the first call; 0: the window refuses it before
		open     bool
		refusedB bool // WeChat refuses the template too
		end      senderv1.SendState
		step     senderv1.SendState
	}{
		"the window is closed":            {end: accepted, step: refused},
		"45015":                           {code: 45015, open: true, end: accepted, step: failed},
		"45047":                           {code: 45047, open: true, end: accepted, step: failed},
		"48001":                           {code: 48001, open: true, end: accepted, step: failed},
		"the whole chain comes to an end": {code: 45015, open: true, refusedB: true, end: failed, step: failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			s := f.replica(t, "a")
			f.wechat.answer(func(c call, _ int) answer {
				switch {
				case c.Path == customSend:
					return answer{errcode: tc.code}
				case tc.refusedB:
					return answer{errcode: 40037}
				}
				return answer{}
			})
			req := bare("shop", "fan-1", "k1", text("hello"), template("x"))
			if tc.open {
				req.Evidence = f.said("said")
			}
			resp := send(t, s, req)
			rec := ends(t, s, "shop", resp.GetId(), tc.end)
			require.Len(t, rec.GetSteps(), 1)
			first := rec.GetSteps()[0]
			require.Equal(t, tc.step, first.GetState())
			require.EqualValues(t, tc.code, first.GetErrcode())
			require.NotEmpty(t, first.GetReason())
			require.Equal(t, senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND, first.GetEndpoint())
			require.Equal(t, senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE, rec.GetEndpoint())
			require.Len(t, f.wechat.of(templateSend), 1)
			if tc.refusedB {
				settled, attempts := settledOf(f.facts(t, 1), resp.GetId())
				require.EqualValues(t, 40037, settled.GetErrcode())
				require.Len(t, settled.GetSteps(), 1)
				require.Len(t, attempts, 2)
				require.EqualValues(t, 1, attempts[1].GetStep())
			}
			if tc.code == 45015 {
				require.Equal(t, senderv1.QuotaClass_QUOTA_CLASS_CLOSED_BY_WECHAT, quota(t, s, "shop", "fan-1").GetClass())
			}
			require.Zero(t, quota(t, s, "shop", "fan-1").GetReserved(), "the step that was not sent holds nothing")
		})
	}
}

func TestAFallbackMayNeedTheWindowItself(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.once(answer{errcode: 45002})
	req := bare("shop", "fan-1", "k1", text("hello"), text("short"), template("x"))
	req.Evidence = f.said("said")
	resp := send(t, s, req)
	rec := ends(t, s, "shop", resp.GetId(), sent)
	require.EqualValues(t, 1, rec.GetStep())
	require.Equal(t, []string{"hello", "short"}, f.wechat.texts("fan-1"))
	f.idle(t)
	require.EqualValues(t, 4, quota(t, s, "shop", "fan-1").GetRemaining())
}

func TestALongTextArrivesInParts(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	long := strings.Repeat("这是一个句子。", 250) // 5250 bytes
	req := f.request("fan-1", "k1", long)
	f.wechat.once(answer{}, answer{errcode: -1}, answer{})
	resp := send(t, s, req)
	require.EqualValues(t, 3, resp.GetRecord().GetParts())
	require.LessOrEqual(t, quota(t, s, "shop", "fan-1").GetRemaining(), int32(2), "three messages are held at once")
	rec := ends(t, s, "shop", resp.GetId(), sent)
	require.EqualValues(t, 3, rec.GetPartsSent())
	f.idle(t)
	texts := f.wechat.texts("fan-1")
	require.Len(t, texts, 4, "one part was tried twice")
	require.Equal(t, long, texts[0]+texts[2]+texts[3])
	for _, part := range texts {
		require.LessOrEqual(t, len(part), 2047)
		require.True(t, strings.HasSuffix(part, "。"))
	}
	q := quota(t, s, "shop", "fan-1")
	require.EqualValues(t, 2, q.GetRemaining())
	require.Zero(t, q.GetReserved())
	_, attempts := settledOf(f.facts(t, 1), resp.GetId())
	require.EqualValues(t, []uint32{1, 2, 2, 3}, []uint32{attempts[0].GetPart(), attempts[1].GetPart(), attempts[2].GetPart(), attempts[3].GetPart()})
}

func TestALongTextIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	for n := range 4 {
		ends(t, s, "shop", send(t, s, f.request("fan-1", fmt.Sprint("k", n), "hello")).GetId(), sent)
	}
	_, err := s.Send(t.Context(), f.request("fan-1", "long", strings.Repeat("这是一个句子。", 250)))
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "the text needs 3 messages, the window has 1 left")
	require.EqualValues(t, 1, quota(t, s, "shop", "fan-1").GetRemaining())
	_, err = s.Send(t.Context(), f.request("fan-1", "longer", strings.Repeat("句。", 10_000)))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "at most 10")
}

// TestAPartThatIsRefusedEndsTheText: the fan has the beginning, nothing falls back to a repetition, and the window
// counts what arrived.
func TestAPartThatIsRefusedEndsTheText(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.once(answer{}, answer{errcode: 45002})
	req := f.request("fan-1", "k1", strings.Repeat("这是一个句子。", 250))
	req.Fallback = []*eventv1.Content{template("x")}
	resp := send(t, s, req)
	rec := ends(t, s, "shop", resp.GetId(), failed)
	require.EqualValues(t, 1, rec.GetPartsSent())
	require.Contains(t, rec.GetReason(), "1 of 3 parts")
	f.idle(t)
	require.Empty(t, f.wechat.of(templateSend))
	require.Eventually(t, func() bool {
		q := quota(t, s, "shop", "fan-1")
		return q.GetRemaining() == 4 && q.GetReserved() == 0
	}, 30*time.Second, 10*time.Millisecond)
}

func TestAMessageWaitsForItsTime(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	req := f.request("fan-1", "k1", "hello")
	own := time.Now().Add(5 * time.Second) // later than all that is done until then
	req.NotBeforeUnixMs = own.UnixMilli()
	resp := send(t, s, req)
	require.Equal(t, parked, resp.GetRecord().GetState())
	require.Equal(t, own.UnixMilli(), resp.GetRecord().GetNotBeforeUnixMs())
	require.EqualValues(t, senderv1.QuotaClass_QUOTA_CLASS_NEVER_OPENED, quota(t, s, "shop", "fan-1").GetClass(), "the window is judged at its time")
	require.True(t, send(t, s, req).GetReplayed(), "a repeated call keeps it once")
	send(t, s, f.request("fan-1", "k2", "now"))
	rec := ends(t, s, "shop", resp.GetId(), sent)
	require.False(t, f.wechat.seen()[1].At.Before(own.Truncate(time.Second)))
	require.EqualValues(t, 1, rec.GetAttempts())
	require.Equal(t, []string{"now", "hello"}, f.wechat.texts("fan-1"))
}

func TestAMessageThatExpiresIsNotSent(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.tokens.set(fault.Status(fault.New(fault.Unavailable, "no")))
	s := f.replica(t, "a")
	req := f.request("fan-1", "k1", "hello")
	req.ExpiresUnixMs = f.clock.Now().Add(time.Minute).UnixMilli()
	resp := send(t, s, req)
	f.clock.advance(2 * time.Minute)
	require.Contains(t, ends(t, s, "shop", resp.GetId(), failed).GetReason(), "expired")
	require.Empty(t, f.wechat.seen())
}

func TestABatchHasAResultForEachMessage(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	batch := &senderv1.SendBatchRequest{}
	for n := range 30 {
		batch.Requests = append(batch.Requests, f.request(fmt.Sprint("fan-", n%10), fmt.Sprint("k", n), fmt.Sprint("message ", n/10)))
	}
	batch.Requests = append(batch.Requests, bare("shop", "stranger", "x", text("hello")), bare("nobody", "fan", "x", text("hello")))
	resp, err := s.SendBatch(t.Context(), batch)
	require.NoError(t, err)
	require.Len(t, resp.GetResults(), 32)
	for _, r := range resp.GetResults()[:30] {
		require.NotEmpty(t, r.GetResponse().GetId())
	}
	require.EqualValues(t, codes.FailedPrecondition, resp.GetResults()[30].GetProblem().GetCode())
	require.EqualValues(t, codes.NotFound, resp.GetResults()[31].GetProblem().GetCode())
	f.idle(t)
	for n := range 10 {
		require.Equal(t, []string{"message 0", "message 1", "message 2"}, f.wechat.texts(fmt.Sprint("fan-", n)))
	}
	_, err = s.SendBatch(t.Context(), &senderv1.SendBatchRequest{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	now := f.clock.Now()
	for want, change := range map[string]func(*senderv1.SendRequest){
		"fallback: at most 4, has 5": func(r *senderv1.SendRequest) {
			r.Fallback = []*eventv1.Content{text("1"), text("2"), text("3"), text("4"), text("5")}
		},
		"fallback[0]: text.content: required": func(r *senderv1.SendRequest) { r.Fallback = []*eventv1.Content{text("")} },
		"fallback[0]: text.content: at most":  func(r *senderv1.SendRequest) { r.Fallback = []*eventv1.Content{text(strings.Repeat("x", 3000))} },
		"fallback[0]: the typing sign": func(r *senderv1.SendRequest) {
			r.Fallback = []*eventv1.Content{{Body: &eventv1.Content_Typing{Typing: &eventv1.TypingContent{}}}}
		},
		"not_before_unix_ms: at most":    func(r *senderv1.SendRequest) { r.NotBeforeUnixMs = now.Add(100 * time.Hour).UnixMilli() },
		"expires_unix_ms: must be after": func(r *senderv1.SendRequest) { r.NotBeforeUnixMs, r.ExpiresUnixMs = now.UnixMilli(), now.UnixMilli() },
		"must not be negative":           func(r *senderv1.SendRequest) { r.ExpiresUnixMs = -1 },
		"content: template.template_id: required": func(r *senderv1.SendRequest) {
			r.Content = &eventv1.Content{Body: &eventv1.Content_Template{Template: &eventv1.TemplateContent{}}}
		},
	} {
		req := f.request("fan", "k", "hello")
		change(req)
		_, err := s.Send(t.Context(), req)
		require.Equal(t, fault.Invalid, fault.KindOf(err), want)
		require.ErrorContains(t, err, want)
	}
}

func massMessage(content string) *senderv1.MassMessage {
	return &senderv1.MassMessage{
		Target: &senderv1.MassMessage_TagId{TagId: 2}, Body: &senderv1.MassMessage_Text{Text: &eventv1.TextContent{Content: content}},
	}
}

func sendMass(t testing.TB, s *sender.Service, key string) *senderv1.SendMassResponse {
	t.Helper()
	resp, err := s.SendMass(t.Context(), &senderv1.SendMassRequest{Account: "shop", IdempotencyKey: key, Message: massMessage("hello")})
	require.NoError(t, err)
	return resp
}

func TestAMassMessageGoesOutOnceAndItsEventEndsIt(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.once(answer{reset: true}, answer{errcode: 45065, more: `,"msg_id":4711`})
	resp := sendMass(t, s, "spring")
	require.True(t, sendMass(t, s, "spring").GetReplayed())
	rec := ends(t, s, "shop", resp.GetId(), accepted)
	require.Equal(t, "4711", rec.GetMsgId(), "45065 is the success of the call whose answer was lost")
	for _, c := range f.wechat.of(massSendAll) {
		require.Contains(t, c.Body, `"clientmsgid":"`+resp.GetId()+`"`)
		require.Contains(t, c.Body, `"tag_id":2`)
	}
	status, err := s.GetMassStatus(t.Context(), &senderv1.GetMassStatusRequest{Account: "shop", Id: resp.GetId()})
	require.NoError(t, err)
	require.Equal(t, "SENDING", status.GetWechatStatus())
	f.tell(t, "shop", "oPlatform", "MASSSENDJOBFINISH",
		"<MsgID>4711</MsgID><Status>send success</Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount>")
	rec = ends(t, s, "shop", resp.GetId(), sent)
	require.EqualValues(t, 75, rec.GetResult().GetSentCount())
	settled, _ := settledOf(f.facts(t, 1), resp.GetId())
	require.EqualValues(t, 100, settled.GetResult().GetTotalCount())
	require.Empty(t, settled.GetOpenid())
}

func TestMassMessagesAreFoundAgainByNameWithTheirResult(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	list := func(account, name string) []*senderv1.MassJob {
		resp, err := s.ListMassJobs(t.Context(), &senderv1.ListMassJobsRequest{Account: account, Name: name})
		require.NoError(t, err)
		return resp.GetJobs()
	}
	require.Empty(t, list("shop", ""))
	named := &senderv1.SendMassRequest{Account: "shop", IdempotencyKey: "k1", Name: "周五八折", Message: massMessage("hello")}
	first, err := s.SendMass(t.Context(), named)
	require.NoError(t, err)
	rec := ends(t, s, "shop", first.GetId(), accepted)
	f.clock.advance(time.Minute)
	second := sendMass(t, s, "k2")
	again, err := s.SendMass(t.Context(), &senderv1.SendMassRequest{Account: "shop", IdempotencyKey: "k1", Name: "other", Message: massMessage("hello")})
	require.NoError(t, err)
	require.True(t, again.GetReplayed())

	all := list("shop", "")
	require.Len(t, all, 2)
	require.Equal(t, second.GetId(), all[0].GetRecord().GetId(), "the newest first")
	require.Equal(t, "周五八折", all[1].GetName(), "the first name stays")
	require.Equal(t, "tag 2", all[1].GetTarget())
	require.Empty(t, list("other", ""))

	f.tell(t, "shop", "oPlatform", "MASSSENDJOBFINISH",
		"<MsgID>"+rec.GetMsgId()+"</MsgID><Status>send success</Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount>")
	ends(t, s, "shop", first.GetId(), sent)
	found := list("shop", "周五八折")
	require.Len(t, found, 1)
	require.Equal(t, sent, found[0].GetRecord().GetState())
	require.EqualValues(t, 75, found[0].GetRecord().GetResult().GetSentCount())

	named.Name = strings.Repeat("长", 101)
	_, err = s.SendMass(t.Context(), named)
	require.ErrorContains(t, err, "name:")
	_, err = s.ListMassJobs(t.Context(), &senderv1.ListMassJobsRequest{Account: "nobody"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestAMassMessageThatIsRefusedByTheAdministrator(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	resp := sendMass(t, s, "spring")
	rec := ends(t, s, "shop", resp.GetId(), accepted)
	f.tell(t, "shop", "oPlatform", "MASSSENDJOBFINISH", "<MsgID>"+rec.GetMsgId()+"</MsgID><Status>err(40001)</Status>")
	require.Equal(t, "not sent: the administrator refused", ends(t, s, "shop", resp.GetId(), failed).GetReason())
}

func TestAnOverdueMassMessageIsAskedFor(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.MassResultWait = 300 * time.Millisecond
	s := f.replica(t, "a")
	f.wechat.answer(func(c call, nth int) answer {
		if c.Path == "/cgi-bin/message/mass/get" && nth > 2 {
			return answer{more: `,"msg_status":"SEND_FAIL"`}
		}
		return answer{}
	})
	resp := sendMass(t, s, "spring")
	require.Equal(t, "SEND_FAIL", ends(t, s, "shop", resp.GetId(), failed).GetResult().GetStatus())
	require.Len(t, f.wechat.of("/cgi-bin/message/mass/get"), 2, "it was still being sent at first")
}

func TestMassMessagesOnDemand(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	preview, err := s.PreviewMass(t.Context(), &senderv1.PreviewMassRequest{Account: "shop", Openid: "me", Message: massMessage("look")})
	require.NoError(t, err)
	require.NotEmpty(t, preview.GetMsgId())
	_, err = s.PreviewMass(t.Context(), &senderv1.PreviewMassRequest{Account: "shop", Message: massMessage("look")})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	resp := sendMass(t, s, "spring")
	rec := ends(t, s, "shop", resp.GetId(), accepted)
	_, err = s.DeleteMass(t.Context(), &senderv1.DeleteMassRequest{Account: "shop", Id: resp.GetId(), ArticleIndex: 2})
	require.NoError(t, err)
	require.Equal(t, `{"article_idx":2,"msg_id":`+rec.GetMsgId()+`}`, f.wechat.of("/cgi-bin/message/mass/delete")[0].Body)

	f.wechat.answer(func(call, int) answer { return answer{more: `,"speed":3,"realspeed":15`} })
	speed, err := s.GetMassSpeed(t.Context(), &senderv1.GetMassSpeedRequest{Account: "shop"})
	require.NoError(t, err)
	require.EqualValues(t, 300_000, speed.GetPerMinute())
	_, err = s.SetMassSpeed(t.Context(), &senderv1.SetMassSpeedRequest{Account: "shop", Speed: 4})
	require.NoError(t, err)
	_, err = s.SetMassSpeed(t.Context(), &senderv1.SetMassSpeedRequest{Account: "shop", Speed: 5})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	single := send(t, s, f.request("fan-1", "k1", "hello"))
	_, err = s.GetMassStatus(t.Context(), &senderv1.GetMassStatusRequest{Account: "shop", Id: single.GetId()})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.SendMass(t.Context(), &senderv1.SendMassRequest{Account: "mini", IdempotencyKey: "k", Message: massMessage("x")})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestTemplatesAreReadOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.answer(func(c call, _ int) answer {
		if c.Path == "/wxaapi/newtmpl/gettemplate" {
			return answer{more: `,"data":[{"priTmplId":"S1","title":"到货","content":"物品:{{thing1.DATA}}\n时间:{{time2.DATA}}","example":"e"}]`}
		}
		return answer{more: `,"template_list":[{"template_id":"T1","title":"发货","content":"{{thing1.DATA}}","example":"e"}]`}
	})
	for range 3 {
		list, err := s.ListTemplates(t.Context(), &senderv1.ListTemplatesRequest{Account: "shop"})
		require.NoError(t, err)
		require.Len(t, list.GetTemplates(), 2)
		require.Equal(t, []string{"thing1", "time2"}, list.GetTemplates()[1].GetFields())
	}
	require.Len(t, f.wechat.seen(), 2)
	one, err := s.GetTemplate(t.Context(), &senderv1.GetTemplateRequest{Account: "shop", TemplateId: "S1"})
	require.NoError(t, err)
	require.Equal(t, senderv1.TemplateKind_TEMPLATE_KIND_SUBSCRIBE, one.GetTemplate().GetKind())
	_, err = s.GetTemplate(t.Context(), &senderv1.GetTemplateRequest{Account: "shop", TemplateId: "gone"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	f.clock.advance(time.Hour)
	_, err = s.ListTemplates(t.Context(), &senderv1.ListTemplatesRequest{Account: "shop"})
	require.NoError(t, err)
	require.Len(t, f.wechat.seen(), 4)
	_, err = s.ListTemplates(t.Context(), &senderv1.ListTemplatesRequest{Account: "mini", Kind: senderv1.TemplateKind_TEMPLATE_KIND_TEMPLATE})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// TestNothingIsSentToAFanWhoLeft: the reason is clear, WeChat is not asked, and who comes back gets messages again. A
// one-time subscription outlives the follow.
func TestNothingIsSentToAFanWhoLeft(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.CallTimeout = time.Minute
	s := f.replica(t, "a")
	gone := make(chan struct{})
	f.wechat.answer(func(call, int) answer {
		<-gone // the fan leaves during the call
		return answer{errcode: 45015}
	})
	chain := f.request("fan-1", "during", "hello")
	chain.Fallback = []*eventv1.Content{template("instead")}
	during := send(t, s, chain).GetId()
	require.Eventually(t, func() bool { return state(t, s, "shop", during).GetAttempts() == 1 }, 30*time.Second, 5*time.Millisecond)
	f.push(t, "fan-1", "leave", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, "unsubscribe")
	require.Eventually(t, func() bool {
		return strings.Contains(quota(t, s, "shop", "fan-1").GetReason(), "unsubscribed")
	}, 30*time.Second, 5*time.Millisecond)
	for name, c := range map[string]*eventv1.Content{"template": template("x"), "subscribe": subscription()} {
		_, err := s.Send(t.Context(), bare("shop", "fan-1", name, c))
		require.Equal(t, fault.Refused, fault.KindOf(err), name)
		require.ErrorContains(t, err, "the fan does not follow", name)
	}
	_, err := s.Send(t.Context(), bare("shop", "fan-1", "chain", template("x"), subscription()))
	require.ErrorContains(t, err, "the fan does not follow")
	close(gone)
	require.Contains(t, ends(t, s, "shop", during, failed).GetReason(), "the fan does not follow", "its template is not sent")
	require.Len(t, f.wechat.seen(), 1, "WeChat was asked for the first message only")
	f.wechat.answer(nil)

	once := &eventv1.Content{Body: &eventv1.Content_OneTime{OneTime: &eventv1.OneTimeContent{
		TemplateId: "O1", Scene: 7, Title: "到货", Content: &eventv1.TemplateValue{Value: "有货了"},
	}}}
	ends(t, s, "shop", send(t, s, bare("shop", "fan-1", "once", once)).GetId(), sent)

	f.push(t, "fan-1", "back", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, "subscribe")
	require.Eventually(t, func() bool { return quota(t, s, "shop", "fan-1").GetRemaining() > 0 }, 30*time.Second, 5*time.Millisecond)
	ends(t, s, "shop", send(t, s, bare("shop", "fan-1", "again", template("x"))).GetId(), accepted)
}
