package pusher_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/gatewaytest"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fan = "oSim_Fan0000000000000000001"

func account(name, format, mode string) codec.Account {
	return codec.Account{Name: name, AppID: "wx" + name, OriginalID: "gh_" + name, Kind: codec.KindService, Format: format, Mode: mode,
		Token: "tokenForTests", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", KfAPI: true}
}

// world is a pusher with replicas of a test gateway.
type world struct {
	*pusher.Pusher
	ledger   *ledger.Ledger
	faults   *faults.Engine
	gateway  *gatewaytest.Gateway
	replicas []string
}

type option func(*pusher.Config)

func newWorld(t *testing.T, replicas int, accounts []codec.Account, options ...option) *world {
	t.Helper()
	c, d := clock.Wall(), clock.NewDice(1)
	ask, err := ledger.NewPattern("k%04d")
	require.NoError(t, err)
	reply, err := ledger.NewPattern("re:k%04d")
	require.NoError(t, err)
	w := &world{gateway: gatewaytest.New(accounts...), faults: faults.NewEngine(c, d)}
	w.ledger = ledger.New(ledger.Config{KeepPushes: 1000, KeepPerFan: 100, MaxFans: 100, Windows: ledger.DefaultWindows(), Ask: ask, Reply: reply}, c, accounts)
	for range replicas {
		server := httptest.NewServer(w.gateway)
		t.Cleanup(server.Close)
		w.replicas = append(w.replicas, server.URL)
	}
	cfg := pusher.Config{Targets: w.replicas, AttemptTimeout: time.Minute, Attempts: 3}
	for _, o := range options {
		o(&cfg)
	}
	w.Pusher, err = pusher.New(cfg, pusher.Deps{Clock: c, Dice: d, Ledger: w.ledger, Faults: w.faults, Accounts: accounts,
		Media: func(account, typ string) (string, string) { return "media-" + typ, "http://127.0.0.1/" + typ }})
	require.NoError(t, err)
	w.Start(t.Context())
	t.Cleanup(func() { require.NoError(t, w.Close(context.Background())) })
	return w
}

func quickTimeout(cfg *pusher.Config) { cfg.AttemptTimeout = 60 * time.Millisecond }

func (w *world) push(t *testing.T, p pusher.Push) *ledger.Push {
	t.Helper()
	if p.Account == "" {
		p.Account, p.OpenID = "demo", fan
	}
	result, err := w.Push(t.Context(), p)
	require.NoError(t, err)
	require.NotNil(t, result.Push)
	return result.Push
}

// screen returns what the fan saw, without the fan's own messages.
func (w *world) screen(t *testing.T) []codec.Content {
	t.Helper()
	f, ok := w.ledger.Fan("demo", fan)
	require.True(t, ok)
	var out []codec.Content
	for _, e := range f.Timeline {
		if e.Way != ledger.WayPush {
			out = append(out, e.Content)
		}
	}
	return out
}

func outcomes(p *ledger.Push) (out []string) {
	for _, a := range p.Attempts {
		out = append(out, a.Outcome)
	}
	return out
}

func text(s string) pusher.Push {
	return pusher.Push{Type: "text", Fields: map[string]any{"Content": s}}
}

// hang makes the gateway answer only the given attempt (from 1) of each push; the others wait for the client to leave.
func hang(w *world, answered int64) {
	var n atomic.Int64
	w.gateway.Raw = func(_ http.ResponseWriter, r *http.Request, _ gatewaytest.Message) bool {
		if n.Add(1) == answered {
			return false
		}
		<-r.Context().Done()
		return true
	}
}

func TestEveryTypeArrivesInEveryModeAndFormat(t *testing.T) {
	messages, events := pusher.Kinds()
	for _, format := range []string{"xml", "json"} {
		for _, mode := range []string{"plaintext", "compatible", "secure"} {
			t.Run(format+" "+mode, func(t *testing.T) {
				w := newWorld(t, 1, []codec.Account{account("demo", format, mode)})
				w.gateway.Answer = func(gatewaytest.Message) []byte { return nil }
				for _, kind := range append(messages, events...) {
					p := w.push(t, pusher.Push{Type: kind})
					require.Equal(t, []string{ledger.OutcomeSuccess}, outcomes(p), kind)
					require.False(t, p.Acked.IsZero())
					if kind == "unsubscribe" {
						w.push(t, pusher.Push{Type: "subscribe"})
					}
				}
				for i, m := range w.gateway.Log()[:len(messages)] {
					require.Equal(t, messages[i], m.MsgType)
					require.NotEmpty(t, m.MsgID)
					require.Equal(t, "gh_demo", m.ToUserName)
					require.Equal(t, fan, m.FromUserName)
				}
				require.Empty(t, w.ledger.Totals().Violations)
			})
		}
	}
}

func TestSubscribeListsAreFlatInJSONAndWrappedInXML(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "json", "plaintext"), account("xml", "xml", "plaintext")})
	w.gateway.Answer = func(gatewaytest.Message) []byte { return nil }
	p := pusher.Push{Type: "subscribe_msg_popup_event", Fields: map[string]any{"TemplateId": "T1"}}
	w.push(t, p)
	p.Account, p.OpenID = "xml", fan
	w.push(t, p)
	log := w.gateway.Log()
	require.Contains(t, string(log[0].Raw), `"List":{"TemplateId":"T1","SubscribeStatusString":"accept","PopupScene":"0"}`)
	require.Contains(t, string(log[1].Raw), `<SubscribeMsgPopupEvent><List><TemplateId><![CDATA[T1]]></TemplateId>`)
	f, _ := w.ledger.Fan("demo", fan)
	require.Equal(t, map[string]int{"T1": 1}, f.Consents, "the fan allowed one message")
}

func TestFieldsReplaceAndExtendElements(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "json", "plaintext")})
	w.gateway.Answer = func(gatewaytest.Message) []byte { return nil }
	w.push(t, pusher.Push{Type: "user_gifting_card", MsgID: "x", Fields: map[string]any{"CardId": "c", "Count": 2.0, "Items": []any{"a", "b"}, "Info": map[string]any{"Deep": 1.5}}})
	require.Contains(t, string(w.gateway.Log()[0].Raw), `"Event":"user_gifting_card","CardId":"c","Count":2,"Info":{"Deep":1.5},"Items":["a","b"]`)
	w.push(t, pusher.Push{Type: "hologram", MsgID: "49d72d_15", Fields: map[string]any{"MsgType": "hologram", "Content": "x"}})
	require.Contains(t, string(w.gateway.Log()[1].Raw), `"MsgType":"hologram","Content":"x","MsgId":"49d72d_15"`)
}

func TestRetriesKeepTheBodyAndChangeTheReplica(t *testing.T) {
	t.Parallel()
	inTime := func(cfg *pusher.Config) { cfg.AttemptTimeout = 2 * time.Second } // for the third, which is answered
	w := newWorld(t, 3, []codec.Account{account("demo", "xml", "secure")}, inTime)
	hang(w, 3)
	p := w.push(t, text("hello"))
	require.Equal(t, []string{ledger.OutcomeTimeout, ledger.OutcomeTimeout, ledger.OutcomeReply}, outcomes(p))
	replicas, nonces, ids := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, m := range w.gateway.Log() {
		replicas[p.Attempts[i].Replica] = true
		nonces[m.Query.Get("nonce")] = true
		ids[string(m.MsgID)+string(m.Raw)] = true
	}
	require.Len(t, replicas, 3)
	require.Len(t, nonces, 3, "fresh nonces")
	require.Len(t, ids, 1, "one body")
	require.Equal(t, []codec.Content{{Type: "text", Text: "re:hello"}}, w.screen(t))
}

func TestNobodyAnswersShowsTheFaultPrompt(t *testing.T) {
	for _, tc := range []struct {
		push   pusher.Push
		prompt bool
	}{{text("hello"), true}, {pusher.Push{Type: "CLICK"}, true}, {pusher.Push{Type: "LOCATION"}, false}} {
		t.Run(tc.push.Type, func(t *testing.T) {
			w := newWorld(t, 2, []codec.Account{account("demo", "xml", "plaintext")}, quickTimeout)
			hang(w, 0)
			p := w.push(t, tc.push)
			require.Len(t, p.Attempts, 3)
			require.True(t, p.Acked.IsZero())
			require.Equal(t, tc.prompt, len(w.screen(t)) == 1)
		})
	}
}

func TestOtherStatusesAndDeadReplicasAreTriedAgain(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "plaintext")})
	var n atomic.Int64
	w.gateway.Raw = func(rw http.ResponseWriter, _ *http.Request, _ gatewaytest.Message) bool {
		if n.Add(1) > 1 {
			return false
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	p := w.push(t, text("a"))
	require.Equal(t, []string{ledger.OutcomeStatus, ledger.OutcomeReply}, outcomes(p))
	require.Equal(t, 503, p.Attempts[0].Status)

	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	require.NoError(t, w.SetTargets([]string{dead.URL, w.replicas[0]}))
	for range 2 {
		p = w.push(t, text("b"))
		last := p.Attempts[len(p.Attempts)-1]
		require.Equal(t, ledger.OutcomeReply, last.Outcome)
		if len(p.Attempts) == 2 {
			require.Equal(t, ledger.OutcomeFailed, p.Attempts[0].Outcome)
			require.Contains(t, p.Attempts[0].Detail, "refused")
			require.NotContains(t, p.Attempts[0].Detail, "signature=")
		}
	}
}

func TestTheSamePushAtOnceIsShownOnce(t *testing.T) {
	w := newWorld(t, 3, []codec.Account{account("demo", "xml", "secure")})
	result, err := w.PushConcurrently(t.Context(), pusher.Push{Account: "demo", OpenID: fan, Type: "text", Fields: map[string]any{"Content": "k0001"}}, 3)
	require.NoError(t, err)
	require.Equal(t, []string{"reply", "reply", "reply"}, outcomes(result.Push))
	require.Len(t, w.screen(t), 1)
	require.Empty(t, w.ledger.Totals().Violations)
	require.EqualValues(t, 1, w.ledger.Totals().Passive)
}

func TestDifferentAnswersOfOnePushAreFound(t *testing.T) {
	w := newWorld(t, 3, []codec.Account{account("demo", "xml", "plaintext")})
	var n atomic.Int64
	w.gateway.Answer = func(m gatewaytest.Message) []byte { return gatewaytest.Text(m, strings.Repeat("x", int(n.Add(1)))) }
	_, err := w.PushConcurrently(t.Context(), pusher.Push{Account: "demo", OpenID: fan, Type: "text"}, 2)
	require.NoError(t, err)
	require.EqualValues(t, 1, w.ledger.Totals().Violations[ledger.ClassAnswersDiffer].Count)
	require.Len(t, w.screen(t), 1)
}

func TestMalformedAnswersShowThePromptAndEndThePush(t *testing.T) {
	w := newWorld(t, 2, []codec.Account{account("demo", "xml", "plaintext")})
	w.gateway.Answer = func(gatewaytest.Message) []byte { return []byte(`{"ok":true}`) }
	p := w.push(t, text("a"))
	require.Equal(t, []string{ledger.OutcomeMalformed}, outcomes(p))
	require.False(t, p.Acked.IsZero(), "it was a 2xx answer")
	require.Equal(t, []codec.Content{{Type: codec.TypePrompt}}, w.screen(t))
	require.EqualValues(t, 1, w.ledger.Totals().Violations[codec.ClassMalformed].Count)

	w.gateway.Answer = func(m gatewaytest.Message) []byte { m.FromUserName = "oAnother"; return gatewaytest.Text(m, "x") }
	w.push(t, text("b"))
	require.EqualValues(t, 1, w.ledger.Totals().Violations[codec.ClassWrongRecipient].Count)
}

func TestTransferQueuesTheFanAndASessionTakesTheMessages(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "plaintext")})
	w.gateway.Answer = func(m gatewaytest.Message) []byte {
		return gatewaytest.Reply(m, codec.Fields{{Name: "MsgType", Value: "transfer_customer_service"}})
	}
	w.push(t, text("human please"))
	f, _ := w.ledger.Fan("demo", fan)
	require.Equal(t, ledger.SessionWaiting, f.Session.State)
	w.push(t, text("still pushed while waiting"))

	require.Zero(t, w.ledger.OpenSession("demo", fan, "a@b"))
	require.Equal(t, 65414, w.ledger.OpenSession("demo", fan, "c@d"))
	result, err := w.Push(t.Context(), pusher.Push{Account: "demo", OpenID: fan, Type: "text"})
	require.NoError(t, err)
	require.True(t, result.Native)
	require.Len(t, w.gateway.Log(), 2, "the message in the session was not pushed")

	w.gateway.Answer = nil
	w.push(t, pusher.Push{Type: "CLICK"})
	require.Len(t, w.gateway.Log(), 3, "events are pushed all the same")
}

// BenchmarkPush is the simulator's own cost of a push, without a gateway's: it must leave the machine to what it measures.
func BenchmarkPush(b *testing.B) {
	a := account("demo", "xml", "secure")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "success")
	}))
	defer server.Close()
	c, d := clock.Wall(), clock.NewDice(1)
	l := ledger.New(ledger.Config{KeepPushes: 10_000, KeepPerFan: 100, MaxFans: 100, Windows: ledger.DefaultWindows()}, c, []codec.Account{a})
	p, err := pusher.New(pusher.Config{Targets: []string{server.URL}, AttemptTimeout: time.Minute, Attempts: 3},
		pusher.Deps{Clock: c, Dice: d, Ledger: l, Faults: faults.NewEngine(c, d), Accounts: []codec.Account{a}})
	require.NoError(b, err)
	defer func() { require.NoError(b, p.Close(context.Background())) }()
	push := pusher.Push{Account: "demo", OpenID: fan, Type: "text", Fields: map[string]any{"Content": "hello"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Push(b.Context(), push); err != nil {
			b.Fatal(err)
		}
	}
}
