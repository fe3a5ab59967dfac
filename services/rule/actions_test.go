package rule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule"
)

// says pushes texts of a fan of the ack account, each after the one before was handled, and returns what was sent since.
func (r *rig) says(openid string, texts ...string) []string {
	r.t.Helper()
	before := len(r.sender.got())
	for _, text := range texts {
		r.record(r.push(r.text("ackonly", openid, text)), func(*rulev1.DecisionMade) bool { return true })
		r.settled()
	}
	return append([]string{}, r.sender.texts()[before:]...)
}

// own makes somebody the owner of a fan of an account.
func (r *rig) own(account, openid string, kind agentroutingv1.OwnerKind, epoch uint64) {
	r.t.Helper()
	kv, err := r.env.JS.KeyValue(r.t.Context(), topology.BucketOwners)
	require.NoError(r.t, err)
	value, err := proto.Marshal(&agentroutingv1.OwnerRecord{Owner: &agentroutingv1.Owner{Kind: kind, Name: "li", Epoch: epoch}})
	require.NoError(r.t, err)
	_, err = kv.Put(r.t.Context(), account+"."+openid, value)
	require.NoError(r.t, err)
}

func TestARuleIsSilentTowardsAFanAfterItWonAndTagsDecide(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(`
rules:
  - {name: coupon, match: {exact: [券]}, when: {once_per: ever}, do: [{reply: "您的券，{{fan.openid}}"}, {tag: had}]}
  - {name: again, match: {exact: [券]}, when: {tags: had}, do: [{reply: "领过了：{{fan.tags}}"}]}
  - {name: forget, match: {exact: [忘记]}, do: [{untag: had}, {reply: 好}]}
  - {name: rest, match: any, priority: -1, do: [{reply: "不懂“{{event.text}}”"}]}
`))
	require.Equal(t, []string{"您的券，o_fan"}, r.says("o_fan", "券"))
	require.Equal(t, []string{"领过了：had"}, r.says("o_fan", "券"))
	require.Equal(t, []string{"好", "不懂“券”"}, r.says("o_fan", "忘记", "券"))
	require.Equal(t, []string{"您的券，o_other"}, r.says("o_other", "券"), "every fan for themselves")
	require.Equal(t, []string{"不懂“＜a href=x＞”"}, r.says("o_other", "<a href=x>"))
}

func TestWhoFollowsIsKnownByAge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(`
rules:
  - {name: new, match: {exact: [hi]}, when: {subscribed: {shorter_than: 7d}}, do: [{reply: new}]}
  - {name: old, match: {exact: [hi]}, do: [{reply: old}]}
`))
	require.Equal(t, []string{"old"}, r.says("o_fan", "hi"))
	subscribe := r.event("ackonly", "o_fan", eventv1.EventKind_EVENT_KIND_SUBSCRIBE, "subscribe", "")
	r.push(subscribe)
	r.settled()
	require.Equal(t, []string{"new"}, r.says("o_fan", "hi"))
	unsubscribe := r.event("ackonly", "o_fan", eventv1.EventKind_EVENT_KIND_UNSUBSCRIBE, "unsubscribe", "")
	unsubscribe.AcceptsPassive = false
	r.push(unsubscribe)
	r.settled()
	require.Equal(t, []string{"old"}, r.says("o_fan", "hi"))
}

func TestThePlaceThatIsNearIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules(`
places:
  stores: [{name: 朝阳店, latitude: 39.92, longitude: 116.44, phone: "010-1"}]
rules:
  - {name: close, match: {near: {places: stores, within: 5km}}, do: [{reply: "{{place.name}}，{{place.distance}}，{{place.phone}}"}]}
  - {name: far, on: location, match: any, do: [{reply: 附近没有门店}]}
`))
	at := func(latitude float64) []string {
		ev := r.text("ackonly", "o_fan", "")
		ev.MsgType = "location"
		ev.Payload = &eventv1.InboundEvent_Location{Location: &eventv1.Location{Latitude: latitude, Longitude: 116.44, Label: "某地"}}
		before := len(r.sender.got())
		r.push(ev)
		r.settled()
		return r.sender.texts()[before:]
	}
	require.Equal(t, []string{"朝阳店，1.1 km，010-1"}, at(39.93))
	require.Equal(t, []string{"附近没有门店"}, at(41))
}

func TestAWebhookGivesVariablesTagsAndAFallback(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var asked map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_ = json.Unmarshal(body, &asked)
		if req.URL.Path == "/down" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(`{"vars":{"price":9.9,"evil":"<a href=\"https://evil\">"},"tags":{"set":["buyer"]},"language":"en"}`))
	}))
	defer server.Close()
	r.replica("rule-a", r.rules(fmt.Sprintf(`
rules:
  - {name: price, match: {prefix: [价格]}, do: [{webhook: {url: "%[1]s/price"}}, {reply: "{{webhook.price}} 元 {{webhook.evil}}"}]}
  - {name: down, match: {exact: [坏]}, do: [{webhook: {url: "%[1]s/down", fallback: "{{event.text}}：稍后再试"}}, {reply: "{{webhook.price | \"未知\"}}"}]}
  - {name: english, match: {exact: [hello]}, when: {language: en, tags: buyer}, do: [{reply: welcome}]}
`, server.URL)))
	require.Equal(t, []string{"9.9 元 ＜a href=\"https://evil\"＞"}, r.says("o_fan", "价格 X"))
	require.Equal(t, "price", asked["rule"])
	require.Equal(t, "价格", asked["matched"])
	require.Equal(t, []string{"坏：稍后再试", "未知"}, r.says("o_fan", "坏"))
	require.Equal(t, []string{"welcome"}, r.says("o_fan", "hello"))
}

func TestAFormIsFilledInOverSeveralPushes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var posted map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_ = json.Unmarshal(body, &posted)
		_, _ = w.Write([]byte(`{"vars":{"id":"R-7"}}`))
	}))
	defer server.Close()
	text := r.rules(fmt.Sprintf(`
rules:
  - name: repair
    match: {exact: [报修]}
    do:
      - form:
          leave: [人工]
          confirm: "{{form.phone}}，{{form.what}}，对吗？"
          questions:
            - {name: phone, ask: 手机号？, kind: mobile}
            - {name: what, ask: 什么？, choices: [空调, 洗衣机]}
          done:
            - webhook: {url: "%s/repair"}
            - reply: "单号 {{webhook.id}}，我们会打 {{form.phone}}"
            - tag: repair
  - {name: human, match: {exact: [人工]}, do: [{reply: 转人工}]}
  - {name: rest, match: any, priority: -1, do: [{reply: 不懂}]}
`, server.URL))
	r.replica("rule-a", text)
	require.Equal(t, []string{"手机号？"}, r.says("o_fan", "报修"))
	require.Equal(t, []string{"请回复 11 位手机号码。\n手机号？"}, r.says("o_fan", "人工智能"))
	require.Equal(t, []string{"什么？\n1. 空调\n2. 洗衣机"}, r.says("o_fan", "13800138000"))
	require.Equal(t, []string{"不懂"}, r.says("o_other", "2"), "somebody else is in no form")
	r.replica("rule-b", text) // a replica that starts in between knows who is in a form
	require.Equal(t, []string{"13800138000，洗衣机，对吗？", "单号 R-7，我们会打 13800138000", "不懂"}, r.says("o_fan", "2", "是", "是"))
	require.Equal(t, map[string]any{"phone": "13800138000", "what": "洗衣机"}, posted["form"])

	require.Equal(t, []string{"手机号？", "已取消。", "不懂"}, r.says("o_fan", "报修", "取消", "13800138000"))
	require.Equal(t, []string{"手机号？", "转人工", "不懂"}, r.says("o_fan", "报修", "人工", "13800138000"))
}

// model plays a chat model that answers with the number of messages that it was told.
func model(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body struct {
			Messages []struct{ Content string } `json:"messages"`
		}
		_ = json.NewDecoder(req.Body).Decode(&body)
		if body.Messages[len(body.Messages)-1].Content == "坏" || req.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintf(w, `{"choices":[{"message":{"content":"%d 条，%s"}}],"usage":{"total_tokens":1}}`, len(body.Messages), body.Messages[0].Content)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAChatModelRemembersTheConversation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config = func(cfg *rule.Config) {
		base := model(t)
		cfg.Chat = rule.ChatConfig{PrivateBases: []string{base}, Providers: []rule.ChatProvider{{Name: "main", BaseURL: base, APIKey: secret.New("key"), Model: "m"}}}
	}
	r.replica("rule-a", r.rules(`
rules:
  - {name: model, match: any, do: [{chat: {system: "对{{fan.openid}}友好", history: 2, fallback: "我去问问同事"}}]}
`))
	require.Equal(t, []string{"2 条，对o_fan友好", "4 条，对o_fan友好"}, r.says("o_fan", "你好", "在吗"))
	require.Equal(t, []string{"我去问问同事"}, r.says("o_fan", "坏"))
	require.Equal(t, []string{"6 条，对o_fan友好", "6 条，对o_fan友好"}, r.says("o_fan", "一", "二"), "two turns are remembered")
	require.Equal(t, []string{"2 条，对o_other友好"}, r.says("o_other", "你好"))
}

func TestDelayedRepliesComeInOrderAndNotBeforeTheirTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.gateway(always(delivered))
	r.replica("rule-a", r.rules("rules:\n  - {match: any, do: [{reply: one}, {reply: two, after: 300ms}, {reply: three, after: 200ms}]}\n"))
	start := time.Now()
	rec := r.record(r.push(r.text("shop", "o_fan", "x")), claimIs(isDelivered))
	require.Equal(t, []int64{0, 300, 200}, rec.GetDelaysMs())
	require.Eventually(t, func() bool { return len(r.sender.got()) == 1 }, patience, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
	r.settled()
	require.GreaterOrEqual(t, time.Since(start), 500*time.Millisecond)
	require.Equal(t, []string{"two", "three"}, r.sender.texts())
}

func TestTheNextPushOfAFanDoesNotWaitForDelays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.replica("rule-a", r.rules("rules:\n  - {match: {exact: [slow]}, do: [{reply: one}, {reply: two, after: 30s}, {reply: three, after: 30s}]}\n  - {match: any, do: [{reply: next}]}\n"))
	r.record(r.push(r.text("ackonly", "o_fan", "slow")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Eventually(t, func() bool { return len(r.sender.got()) == 1 }, patience, time.Millisecond)
	r.push(r.text("ackonly", "o_fan", "x"))
	r.settled()
	require.Equal(t, []string{"one", "two", "three", "next"}, r.sender.texts(), "and still nothing overtakes anything")
}

func TestADelayedReplySurvivesTheProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	file := r.rules("rules:\n  - {match: any, do: [{reply: one}, {reply: two, after: 2s}]}\n")
	first := r.replica("rule-a", file)
	start := time.Now()
	r.push(r.text("ackonly", "o_fan", "x"))
	require.Eventually(t, func() bool { return len(r.sender.got()) == 1 }, patience, time.Millisecond)
	require.NoError(t, first.Stop(t.Context()))
	require.Equal(t, []string{"one"}, r.sender.texts())
	r.replica("rule-b", file)
	require.Eventually(t, func() bool { return len(r.sender.got()) == 2 }, patience, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
	r.settled()
	require.Equal(t, []string{"one", "two"}, r.sender.texts())
}

// A person takes the fan while a business system, or a model, is still thinking: what it says is not said.
func TestALateAnswerNeverTalksOverAPerson(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name, acct string
		back       bool // whether the person gives the fan back before the answer comes
	}{{"passively", "shop", false}, {"by the API", "ackonly", false}, {"passively, after the person is gone again", "shop", true}, {"by the API, after the person is gone again", "ackonly", true}} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			g := r.gateway(always(delivered))
			asked, release := make(chan struct{}), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(asked)
				<-release
				_, _ = w.Write([]byte(`{"replies":["late"]}`))
			}))
			defer server.Close()
			r.own(how.acct, "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_BOT, 3)
			r.replica("rule-a", r.rules(fmt.Sprintf("rules:\n  - {match: any, do: [{webhook: {url: %q, timeout: 10s}}, {reply: more}, {tag: t}]}\n", server.URL)))
			ev := r.text(how.acct, "o_fan", "x")
			if how.acct == "shop" {
				ev.PassiveDeadlineUnixMs = time.Now().Add(time.Minute).UnixMilli()
			}
			r.push(ev)
			<-asked
			r.own(how.acct, "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_AGENT, 4)
			if how.back {
				r.own(how.acct, "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_BOT, 5)
			}
			// The replica follows the bucket: it has seen the last change when a later event of another fan is silent.
			r.own(how.acct, "o_last", agentroutingv1.OwnerKind_OWNER_KIND_AGENT, 1)
			require.Eventually(t, func() bool {
				return r.record(r.push(r.text(how.acct, "o_last", "y")), func(*rulev1.DecisionMade) bool { return true }).GetReason() != ""
			}, patience, time.Millisecond)
			close(release)
			rec := r.record(ev, hasRoute(rulev1.Route_ROUTE_NONE))
			require.Equal(t, "somebody else talks to the fan by now", rec.GetReason())
			require.Equal(t, []string{"t"}, rec.GetTags())
			r.settled()
			require.Empty(t, r.sender.got())
			for _, offered := range g.got() {
				require.Nil(t, offered.GetContent())
			}
		})
	}
}

// The person comes between the decision and the sending of its later replies, and goes again.
func TestRepliesOfAnOlderEpochAreNotSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.own("ackonly", "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_BOT, 3)
	r.replica("rule-a", r.rules("rules:\n  - {match: any, do: [{reply: one}, {reply: two, after: 1s}]}\n"))
	ev := r.push(r.text("ackonly", "o_fan", "x"))
	require.EqualValues(t, 3, r.record(ev, hasRoute(rulev1.Route_ROUTE_ASYNC)).GetOwnerEpoch())
	require.Eventually(t, func() bool { return len(r.sender.got()) == 1 }, patience, time.Millisecond)
	require.EqualValues(t, 3, r.sender.got()[0].GetOwnerEpoch())
	r.own("ackonly", "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_AGENT, 4)
	r.own("ackonly", "o_fan", agentroutingv1.OwnerKind_OWNER_KIND_BOT, 5)
	r.settled()
	require.Equal(t, []string{"one"}, r.sender.texts())
}

func TestASystemThatHangsTakesABoundedNumberOfPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex // guards calls
	calls := 0
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		<-release
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	r.config = func(cfg *rule.Config) { cfg.SlowActions = 4 }
	r.replica("rule-a", r.rules(fmt.Sprintf(`
rules:
  - {name: slow, match: {exact: [slow]}, do: [{webhook: {url: %q, timeout: 10s, fallback: busy}}]}
  - {name: quick, match: any, do: [{reply: quick}]}
`, server.URL)))
	for i := range 4 {
		r.push(r.text("ackonly", fmt.Sprintf("slow%d", i), "slow"))
	}
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return calls == 4 }, patience, time.Millisecond)
	rec := r.record(r.push(r.text("ackonly", "slow9", "slow")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Equal(t, "webhook: too many slow actions are under way", rec.GetReason())
	require.Equal(t, "busy", rec.GetReplies()[0].GetText().GetContent())
	for i := range 20 {
		r.record(r.push(r.text("ackonly", fmt.Sprintf("quick%d", i), "x")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	}
	close(release)
	r.settled()
	require.Equal(t, 4, calls)
}

func TestADryRunSaysWhoWouldBeAskedAndWhichConditionFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.replica("rule-a", r.rules(`
places: {stores: [{name: 朝阳店, latitude: 39.92, longitude: 116.44}]}
rules:
  - {name: vip, match: {contains: [退货]}, when: {tags: vip}, do: [none]}
  - name: returns
    match: {contains: [退货]}
    do:
      - {webhook: {url: "https://example.com/hook?key=topsecret"}}
      - {reply: "{{webhook.price}} {{event.text}}"}
      - {reply: more, after: 2s}
      - {tag: a}
      - {untag: b}
  - {name: near, match: {near: {places: stores, within: 5km}}, when: {hours: ["09:00-10:00"]}, do: [{reply: "{{place.name}}"}]}
  - {name: form, match: {exact: [报修]}, do: [{form: {questions: [{name: a, ask: "谁？"}], done: [{tag: x}]}}]}
`))
	resp, err := r.api(s).DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: "我要退货"})
	require.NoError(t, err)
	require.Equal(t, []string{"webhook https://example.com/hook"}, resp.GetAsks())
	require.Equal(t, "‹webhook.price› 我要退货", resp.GetReplies()[0].GetText().GetContent())
	require.Equal(t, []int64{0, 2000}, resp.GetDelaysMs())
	require.Equal(t, []string{"a"}, resp.GetTags())
	require.Equal(t, []string{"b"}, resp.GetClearTags())
	won, lost := resp.GetCandidates()[0], resp.GetCandidates()[1]
	require.Equal(t, "contains", won.GetTrigger())
	require.EqualValues(t, len("我要"), won.GetStart())
	require.Equal(t, `tags: the fan has no tag "vip"`, lost.GetFailed())

	resp, err = r.api(s).DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: "我要退货", Tags: []string{"vip"}})
	require.NoError(t, err)
	require.Equal(t, "vip", resp.GetRule(), "a fan can be imagined")

	resp, err = r.api(s).DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: "报修"})
	require.NoError(t, err)
	require.Equal(t, "谁？", resp.GetReplies()[0].GetText().GetContent())
	require.Equal(t, []string{"the fan, 1 questions"}, resp.GetAsks())

	here := &rulev1.DryRunRequest{Account: "shop", On: "location", Latitude: 39.93, Longitude: 116.44, AtUnixMs: 1_700_010_000_000} // 09:00 in Shanghai
	resp, err = r.api(s).DryRun(t.Context(), here)
	require.NoError(t, err)
	require.Equal(t, "朝阳店", resp.GetReplies()[0].GetText().GetContent())
	here.AtUnixMs += time.Hour.Milliseconds()
	resp, err = r.api(s).DryRun(t.Context(), here)
	require.NoError(t, err)
	require.Equal(t, "hours, weekdays: not at Wed 10:00", resp.GetCandidates()[0].GetFailed())
}
