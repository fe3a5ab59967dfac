package console_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console"
)

// endpoint is a business system that receives events.
type endpoint struct {
	url string

	mu     sync.Mutex // guards the rest
	answer int
	got    []received
}

type received struct {
	header http.Header
	body   string
	event  map[string]any
}

func newEndpoint(t testing.TB) *endpoint {
	t.Helper()
	e := &endpoint{answer: http.StatusNoContent}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		one := received{header: r.Header, body: string(body)}
		if err := json.Unmarshal(body, &one.event); err != nil {
			t.Error(err)
		}
		e.got = append(e.got, one)
		w.WriteHeader(e.answer)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *endpoint) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = status
}

func (e *endpoint) all() []received {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]received(nil), e.got...)
}

func (e *endpoint) wait(t testing.TB, n int) []received {
	t.Helper()
	require.Eventually(t, func() bool { return len(e.all()) >= n }, 30*time.Second, 5*time.Millisecond, "%d events", n)
	return e.all()
}

func outward(c *console.Config) { c.Webhooks.AllowHTTP, c.Webhooks.AllowPrivate = true, true }

func (v *visitor) webhooks() consolev1connect.WebhookServiceClient {
	return consolev1connect.NewWebhookServiceClient(v.http, v.url+"/api")
}

// subscribe adds a subscription of an administrator and returns it with its secret.
func (s *site) subscribe(v *visitor, e *endpoint, kinds []string, accounts ...string) (*consolev1.Webhook, string) {
	s.t.Helper()
	got, err := v.webhooks().CreateWebhook(s.t.Context(), connect.NewRequest(&consolev1.CreateWebhookRequest{Name: "crm", Url: e.url + "/hook?token=t", Kinds: kinds, Accounts: accounts}))
	require.NoError(s.t, err)
	return got.Msg.GetWebhook(), got.Msg.GetSecret()
}

// says stores a message of a fan.
func (s *site) says(account, openid, id, text string) {
	s.t.Helper()
	ev := &eventv1.InboundEvent{Id: id, Account: account, Openid: openid, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, MsgType: "text", Raw: []byte("<xml>raw</xml>"),
		GatewayInstance: "gateway-1", Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: text}}}
	data, err := proto.Marshal(ev)
	require.NoError(s.t, err)
	subject, err := topology.SubjectInbound(account, s.Topology.Partition(account, openid), ev.GetKind(), openid)
	require.NoError(s.t, err)
	_, err = s.Conn.Publish(s.t.Context(), bus.Msg{Subject: subject, ID: id, Data: data})
	require.NoError(s.t, err)
}

func (s *site) settles(account, openid, id string) {
	s.t.Helper()
	data, err := proto.Marshal(&senderv1.DeliverySettled{Id: id, Account: account, Openid: openid, State: senderv1.SendState_SEND_STATE_SENT})
	require.NoError(s.t, err)
	subject, err := topology.SubjectDelivery(account, s.Topology.Partition(account, openid), openid)
	require.NoError(s.t, err)
	_, err = s.Conn.Publish(s.t.Context(), bus.Msg{Subject: subject, ID: id + ":settled", Data: data, Header: nats.Header{bus.HeaderType: {"wxbus.sender.v1.DeliverySettled"}}})
	require.NoError(s.t, err)
}

func signature(secret string, r received) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(r.header.Get("Webhook-Id") + "." + r.header.Get("Webhook-Timestamp") + "." + r.body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestEventsGoOutSignedAndInTheOrderOfEachFan(t *testing.T) {
	s := demoSite(t, outward, busy)
	admin, e := s.as("admin"), newEndpoint(t)
	s.says("shop", "early", "e0", "before the subscription")
	_, secret := s.subscribe(admin, e, []string{"message.received", "delivery.settled"}, "shop")
	for i := range 20 {
		s.says("shop", fmt.Sprintf("fan%d", i%2), fmt.Sprintf("id%d", i), fmt.Sprint(i))
		s.says("club", "fan", fmt.Sprintf("club%d", i), "of another account")
	}
	s.settles("shop", "fan0", "send-1")
	got := e.wait(t, 21)
	require.Len(t, got, 21)
	last := map[string]float64{}
	kinds := map[string]int{}
	for _, r := range got {
		require.Equal(t, signature(secret, r), r.header.Get("Webhook-Signature"))
		require.Equal(t, fmt.Sprint(s.clock.Now().Unix()), r.header.Get("Webhook-Timestamp"))
		require.Equal(t, r.event["id"], r.header.Get("Webhook-Id"))
		require.Equal(t, "shop", r.event["account"])
		require.NotContains(t, r.body, "raw")
		require.NotContains(t, r.body, "gateway-1")
		kinds[r.event["kind"].(string)]++
		place := r.event["sequence"].(map[string]any)
		if place["stream"] == "INBOUND" {
			fan := r.event["data"].(map[string]any)["openid"].(string)
			require.Greater(t, place["seq"].(float64), last[fan], "one fan in order")
			last[fan] = place["seq"].(float64)
		}
	}
	require.Equal(t, map[string]int{"message.received": 20, "delivery.settled": 1}, kinds)
	require.Eventually(t, func() bool {
		list, err := admin.webhooks().ListWebhooks(t.Context(), connect.NewRequest(&consolev1.ListWebhooksRequest{}))
		require.NoError(t, err)
		w := list.Msg.GetWebhooks()[0]
		return w.GetLastSuccessUnixMs() > 0 && w.GetPending() == 0 && len(list.Msg.GetKinds()) == 8
	}, 30*time.Second, 10*time.Millisecond)
}

func (v *visitor) deliveries(t testing.TB, id string, state consolev1.WebhookDeliveryState) []*consolev1.WebhookDelivery {
	t.Helper()
	got, err := v.webhooks().ListWebhookDeliveries(t.Context(), connect.NewRequest(&consolev1.ListWebhookDeliveriesRequest{Webhook: id, State: state}))
	require.NoError(t, err)
	return got.Msg.GetDeliveries()
}

func TestAnEventThatFailsIsTriedAgainUnderTheSameID(t *testing.T) {
	s := demoSite(t, outward, busy)
	admin, e := s.as("admin"), newEndpoint(t)
	w, _ := s.subscribe(admin, e, nil, "*")
	e.answers(http.StatusInternalServerError)
	s.says("shop", "fan", "a", "hello")
	first := e.wait(t, 1)[0]
	var d *consolev1.WebhookDelivery
	require.Eventually(t, func() bool {
		waiting := admin.deliveries(t, w.GetId(), consolev1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING)
		if len(waiting) == 1 {
			d = waiting[0]
		}
		return d != nil
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, []any{"status 500", int32(500), int32(1), "message.received"}, []any{d.GetFailure(), d.GetStatus(), d.GetAttempts(), d.GetKind()})
	require.Equal(t, s.clock.Now().Add(10*time.Second).UnixMilli(), d.GetNextUnixMs())

	e.answers(http.StatusOK)
	s.says("shop", "fan", "b", "newer")
	require.Len(t, e.wait(t, 2), 2, "newer ones go on")
	s.clock.Advance(10 * time.Second)
	third := e.wait(t, 3)[2]
	require.Equal(t, first.header.Get("Webhook-Id"), third.header.Get("Webhook-Id"))
	require.Equal(t, first.body, third.body)
	require.NotEqual(t, first.header.Get("Webhook-Timestamp"), third.header.Get("Webhook-Timestamp"), "a receiver may refuse old requests")
	require.Eventually(t, func() bool {
		return len(admin.deliveries(t, w.GetId(), consolev1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_DELIVERED)) == 1
	}, 30*time.Second, 10*time.Millisecond)
}

func TestADeliveryThatIsGivenUpCanBeRetried(t *testing.T) {
	s := demoSite(t, outward, busy, func(c *console.Config) { c.Webhooks.MaxAttempts = 2 })
	admin, e := s.as("admin"), newEndpoint(t)
	w, _ := s.subscribe(admin, e, nil, "*")
	e.answers(http.StatusBadGateway)
	s.says("shop", "fan", "a", "hello")
	dead := func() int {
		return len(admin.deliveries(t, w.GetId(), consolev1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_DEAD))
	}
	require.Eventually(t, func() bool { s.clock.Advance(10 * time.Second); return dead() == 1 }, 30*time.Second, 20*time.Millisecond)
	tried := len(e.all())
	require.Equal(t, 2, tried)
	e.answers(http.StatusOK)
	got, err := admin.webhooks().RetryWebhookDeliveries(t.Context(), connect.NewRequest(&consolev1.RetryWebhookDeliveriesRequest{Webhook: w.GetId()}))
	require.NoError(t, err)
	require.Equal(t, int64(1), got.Msg.GetRetried())
	e.wait(t, tried+1)
	require.Eventually(t, func() bool { return dead() == 0 }, 30*time.Second, 10*time.Millisecond)
}

func TestAnEndpointThatIsAwayGetsABreakAndLosesNothing(t *testing.T) {
	s := demoSite(t, outward, busy)
	admin, e := s.as("admin"), newEndpoint(t)
	w, _ := s.subscribe(admin, e, nil, "*")
	e.answers(http.StatusServiceUnavailable)
	const n = 100
	for i := range n {
		s.says("shop", fmt.Sprintf("fan%d", i), fmt.Sprintf("id%d", i), "hello")
	}
	open := func() int64 {
		list, err := admin.webhooks().ListWebhooks(t.Context(), connect.NewRequest(&consolev1.ListWebhooksRequest{}))
		require.NoError(t, err)
		return list.Msg.GetWebhooks()[0].GetOpenUntilUnixMs()
	}
	require.Eventually(t, func() bool { return open() > s.clock.Now().UnixMilli() }, 30*time.Second, 10*time.Millisecond)
	tried := len(e.all())
	require.Less(t, tried, 20, "an endpoint that is down is left alone")
	e.answers(http.StatusOK)
	require.Eventually(t, func() bool {
		s.clock.Advance(time.Minute)
		seen := map[string]bool{}
		for _, r := range e.all()[tried:] {
			seen[r.header.Get("Webhook-Id")] = true
		}
		return len(seen) == n
	}, 30*time.Second, 50*time.Millisecond, "everything arrives in the end")
	require.NotEmpty(t, w.GetId())
}

func TestNothingIsLostWhileASubscriptionIsPaused(t *testing.T) {
	s := demoSite(t, outward, busy)
	admin, e := s.as("admin"), newEndpoint(t)
	w, _ := s.subscribe(admin, e, nil, "*")
	pause := func(paused bool) {
		got, err := admin.webhooks().PauseWebhook(t.Context(), connect.NewRequest(&consolev1.PauseWebhookRequest{Id: w.GetId(), Paused: paused}))
		require.NoError(t, err)
		require.Equal(t, paused, got.Msg.GetWebhook().GetPaused())
	}
	s.says("shop", "fan", "a", "hello")
	e.wait(t, 1)
	pause(true)
	s.says("shop", "fan", "b", "hello")
	require.Never(t, func() bool { return len(e.all()) > 1 }, 200*time.Millisecond, 20*time.Millisecond)
	pause(false)
	e.wait(t, 2)

	_, err := admin.webhooks().DeleteWebhook(t.Context(), connect.NewRequest(&consolev1.DeleteWebhookRequest{Id: w.GetId()}))
	require.NoError(t, err)
	_, err = admin.webhooks().TestWebhook(t.Context(), connect.NewRequest(&consolev1.TestWebhookRequest{Id: w.GetId()}))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
}

func TestASecretIsRotatedWithoutAGap(t *testing.T) {
	s := demoSite(t, outward, busy)
	admin, e := s.as("admin"), newEndpoint(t)
	w, old := s.subscribe(admin, e, nil, "*")
	rotated, err := admin.webhooks().RotateWebhookSecret(t.Context(), connect.NewRequest(&consolev1.RotateWebhookSecretRequest{Id: w.GetId()}))
	require.NoError(t, err)
	test := func() received {
		n := len(e.all())
		got, err := admin.webhooks().TestWebhook(t.Context(), connect.NewRequest(&consolev1.TestWebhookRequest{Id: w.GetId()}))
		require.NoError(t, err)
		require.Equal(t, int32(http.StatusNoContent), got.Msg.GetStatus())
		return e.wait(t, n+1)[n]
	}
	r := test()
	require.Equal(t, "webhook.test", r.event["kind"])
	require.Equal(t, signature(rotated.Msg.GetSecret(), r)+" "+signature(old, r), r.header.Get("Webhook-Signature"))
	s.clock.Advance(25 * time.Hour)
	admin = s.as("admin")
	r = test()
	require.Equal(t, signature(rotated.Msg.GetSecret(), r), r.header.Get("Webhook-Signature"))
}

func TestASubscriptionCannotReachInsideNorBeyondOnesAccounts(t *testing.T) {
	s := demoSite(t, busy) // as in production: https and public addresses only
	admin := s.as("admin")
	one := s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_OPERATOR)
	create := func(v *visitor, url string, accounts ...string) (*consolev1.Webhook, error) {
		got, err := v.webhooks().CreateWebhook(t.Context(), connect.NewRequest(&consolev1.CreateWebhookRequest{Name: "x", Url: url, Accounts: accounts}))
		if err != nil {
			return nil, err
		}
		return got.Msg.GetWebhook(), nil
	}
	for _, inside := range []string{"http://example.com", "https://127.0.0.1/", "https://localhost/", "https://169.254.169.254/", "https://[::1]/", "nonsense", "https://user:pw@example.com/"} {
		_, err := create(admin, inside, "*")
		require.Equal(t, "url", detail(t, err).GetField(), inside)
	}
	all, err := create(admin, "https://example.com/hook", "*")
	require.NoError(t, err)
	_, err = create(one, "https://example.com/hook", "*")
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
	own, err := create(one, "https://example.com/hook", "shop")
	require.NoError(t, err)
	list, err := one.webhooks().ListWebhooks(t.Context(), connect.NewRequest(&consolev1.ListWebhooksRequest{}))
	require.NoError(t, err)
	require.Len(t, list.Msg.GetWebhooks(), 1)
	_, err = one.webhooks().DeleteWebhook(t.Context(), connect.NewRequest(&consolev1.DeleteWebhookRequest{Id: all.GetId()}))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
	_, err = one.webhooks().UpdateWebhook(t.Context(), connect.NewRequest(&consolev1.UpdateWebhookRequest{Id: own.GetId(), Revision: 7, Name: "y", Url: "https://example.com", Accounts: []string{"shop"}}))
	require.Equal(t, connect.CodeAborted, connect.CodeOf(err))
	changed, err := one.webhooks().UpdateWebhook(t.Context(), connect.NewRequest(&consolev1.UpdateWebhookRequest{Id: own.GetId(), Revision: own.GetRevision(), Name: "y", Url: "https://example.com", Accounts: []string{"shop"}}))
	require.NoError(t, err)
	require.Equal(t, "y", changed.Msg.GetWebhook().GetName())
	_, err = create(admin, "https://example.com/"+strings.Repeat("x", 3000), "*")
	require.Equal(t, "url", detail(t, err).GetField())
}

func TestACallThatIsRepeatedWithItsKeyMakesOneSubscription(t *testing.T) {
	s := newSite(t)
	const body = `{"name":"crm","url":"https://crm.example.com/hook","kinds":["message.received"],"accounts":["shop"]}`
	create := func(body, key string) answer {
		return s.call("POST", "/api/v1/webhooks", body, "Idempotency-Key", key)
	}
	first, again := create(body, "k").data(t), create(body, "k").data(t)
	require.NotEmpty(t, first["secret"])
	require.Equal(t, first["secret"], again["secret"], "its first answer may have been lost")
	require.Equal(t, first["webhook"].(map[string]any)["id"], again["webhook"].(map[string]any)["id"])
	other := create(strings.Replace(body, "/hook", "/other", 1), "k")
	require.Equal(t, http.StatusConflict, other.status, other.text)
	require.NotContains(t, other.text, first["secret"])
	require.NotEqual(t, first["secret"], create(body, "k2").data(t)["secret"])
	require.Len(t, s.call("GET", "/api/v1/webhooks", "").data(t)["webhooks"], 2)
	eightCallsMakeOne(t, "at once")
}

// eightCallsMakeOne asks for the same subscription eight times at once, with a key or without one.
func eightCallsMakeOne(t *testing.T, key string) {
	t.Helper()
	calls := demoSite(t, busy).as("admin").webhooks()
	var all sync.WaitGroup
	ids, errs := make([]string, 8), make([]error, 8)
	for i := range ids {
		all.Go(func() {
			got, err := calls.CreateWebhook(t.Context(), connect.NewRequest(&consolev1.CreateWebhookRequest{
				Name: "erp", Url: "https://erp.example.com/hook", Accounts: []string{"shop"}, IdempotencyKey: key,
			}))
			if errs[i] = err; err == nil {
				ids[i] = got.Msg.GetWebhook().GetId()
			}
		})
	}
	all.Wait()
	for i := range ids {
		require.NoError(t, errs[i])
		require.Equal(t, ids[0], ids[i])
	}
}

func TestASubscriptionThatIsAskedForTwiceWithoutAKeyIsOne(t *testing.T) {
	s := newSite(t, withKeys)
	const body = `{"name":"crm","url":"https://crm.example.com/hook","kinds":["message.received","event.received"],"accounts":["shop"]}`
	create := func(body string, key string) map[string]any {
		got := s.call("POST", "/api/v1/webhooks", body, "Authorization", "Bearer "+key)
		require.Equal(t, http.StatusCreated, got.status, got.text)
		out := got.data(t)["webhook"].(map[string]any)
		out["secret"] = got.data(t)["secret"]
		return out
	}
	first := create(body, shopKey)
	again := create(`{"name":"crm again","url":"https://crm.example.com/hook","kinds":["event.received","message.received","event.received"],"accounts":["shop"]}`, shopKey)
	require.Equal(t, first, again, "the order of kinds and the name make no other subscription")
	ids := map[any]bool{
		first["id"]: true,
		create(strings.Replace(body, "/hook", "/other", 1), shopKey)["id"]:                      true,
		create(strings.Replace(body, `"message.received",`, "", 1), shopKey)["id"]:              true,
		create(strings.Replace(body, `"crm"`, `"crm","idempotency_key":"k"`, 1), shopKey)["id"]: true,
		create(body, opsKey)["id"]: true,
	}
	require.Len(t, ids, 5, "another address, other kinds, a key of its own, another caller")
	require.NotEqual(t, first["secret"], create(body, opsKey)["secret"])

	path := "/api/v1/webhooks/" + first["id"].(string)
	changed := s.call("PUT", path, `{"revision":1,"name":"moved","url":"https://new.example.com","accounts":["shop"]}`, "Authorization", "Bearer "+shopKey)
	require.Equal(t, http.StatusOK, changed.status, changed.text)
	other := create(body, shopKey)
	require.NotEqual(t, first["id"], other["id"], "the first one sends elsewhere now")
	require.Equal(t, other, create(body, shopKey))
	require.Equal(t, http.StatusOK, s.call("DELETE", path, "", "Authorization", "Bearer "+shopKey).status)
	eightCallsMakeOne(t, "")
}

func TestASubscriptionIsKeptByTheAPIOfPrograms(t *testing.T) {
	s, e := newSite(t, outward), newEndpoint(t)
	made := s.call("POST", "/api/v1/webhooks", `{"name":"crm","url":"`+e.url+`","kinds":["message.received"],"accounts":["shop"]}`).data(t)
	path := "/api/v1/webhooks/" + made["webhook"].(map[string]any)["id"].(string)
	tested := s.call("POST", path+"/test", "").data(t)
	require.EqualValues(t, http.StatusNoContent, tested["status"], tested)
	require.Equal(t, true, s.call("POST", path+"/pause", "").data(t)["webhook"].(map[string]any)["paused"])
	require.Equal(t, false, s.call("POST", path+"/resume", "").data(t)["webhook"].(map[string]any)["paused"])
	secret := s.call("POST", path+"/rotate", "").data(t)["secret"]
	require.NotEqual(t, made["secret"], secret)
	e.answers(http.StatusInternalServerError)
	s.says("shop", "o_x", "1", "hello")
	require.Eventually(t, func() bool {
		return len(s.call("GET", path+"/deliveries?state=pending", "").data(t)["deliveries"].([]any)) == 1
	}, 30*time.Second, 20*time.Millisecond)
	require.Empty(t, s.call("GET", path+"/deliveries?state=dead", "").data(t)["deliveries"])
	wrong := s.call("GET", path+"/deliveries?state=gone", "").problem(t)
	require.Equal(t, []any{"state", "must be one of pending, delivered, dead"}, []any{wrong["field"], wrong["message"]})
	e.answers(http.StatusOK)
	id := s.call("GET", path+"/deliveries", "").data(t)["deliveries"].([]any)[0].(map[string]any)["id"].(string)
	require.Equal(t, "1", s.call("POST", path+"/retry", `{"ids":["`+id+`"]}`).data(t)["retried"])
	require.Eventually(t, func() bool {
		return len(s.call("GET", path+"/deliveries?state=delivered", "").data(t)["deliveries"].([]any)) == 1
	}, 30*time.Second, 20*time.Millisecond)
	stale := s.call("PUT", path, `{"revision":1,"name":"x","url":"`+e.url+`","accounts":["shop"]}`)
	require.Equal(t, http.StatusConflict, stale.status, stale.text)
}
