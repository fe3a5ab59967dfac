package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway"
)

func TestEveryModeAndFormatIsStoredAndAcknowledged(t *testing.T) {
	r := newRig(t)
	for _, mode := range []account.Mode{account.ModeSecure, account.ModeCompatible, account.ModePlaintext} {
		for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
			t.Run(string(mode)+" "+format.String(), func(t *testing.T) {
				g := r.gateway(t, quick(), shop(func(a *account.Account) {
					a.Mode, a.AllowInsecure, a.Format = mode, mode != account.ModeSecure, account.Format(format.String())
				}))
				before := len(r.events(t, topology.StreamInbound))
				m := message{format: format, id: fmt.Sprint(1000 + before), content: "请问周末营业吗？"}
				query, body := valid.seal(t, mode, format, m.body())
				start := time.Now()
				requireSuccess(t, g.post(t.Context(), query, body))

				events := r.events(t, topology.StreamInbound)
				require.Len(t, events, before+1)
				e := events[before]
				require.Equal(t, m.dedupeKey(t), e.GetId())
				require.Equal(t, "shop", e.GetAccount())
				require.Equal(t, appID, e.GetAppid())
				require.Equal(t, openID, e.GetOpenid())
				require.Equal(t, originalID, e.GetToUser())
				require.Equal(t, eventv1.EventKind_EVENT_KIND_MESSAGE, e.GetKind())
				require.Equal(t, "请问周末营业吗？", e.GetText().GetContent())
				require.Equal(t, m.id, e.GetMsgId())
				require.Equal(t, int64(1700000000), e.GetCreateTime())
				require.WithinDuration(t, start, time.UnixMilli(e.GetReceivedUnixMs()), 5*time.Second)
				require.Equal(t, r.env.Topology.Partition("shop", openID), e.GetPartition())
				require.Empty(t, e.GetGatewayInstance(), "nobody waits in ack mode")
				require.Zero(t, e.GetPassiveDeadlineUnixMs())
				require.True(t, e.GetAcceptsPassive())
				if mode == account.ModeSecure {
					require.Equal(t, m.body(), string(e.GetRaw()))
				}
			})
		}
	}
}

func TestRetriesAreStoredOnce(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(nil))
	for range 3 {
		requireSuccess(t, g.push(t, message{id: "1", content: "hi"}))
	}
	require.Len(t, r.events(t, topology.StreamInbound), 1)
}

func TestURLVerification(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	stamp := fmt.Sprint(time.Now().Unix())
	genuine := wechat.Query{Timestamp: stamp, Nonce: "n", Signature: wechat.Sign(token, stamp, "n"), EchoStr: "4375120948345356249<b>"}
	forged, silent := genuine, genuine
	forged.Signature = wechat.Sign("OtherToken", stamp, "n")
	silent.EchoStr = ""
	tests := []struct {
		name, account, query string
		status               int
		body                 string
	}{
		{"genuine", "shop", genuine.Encode(), http.StatusOK, "4375120948345356249<b>"},
		{"wrong signature", "shop", forged.Encode(), http.StatusForbidden, "refused"},
		{"nothing to echo", "shop", silent.Encode(), http.StatusForbidden, "refused"},
		{"unknown account", "shoe", genuine.Encode(), http.StatusForbidden, "refused"},
		{"no parameters", "shop", "", http.StatusForbidden, "refused"},
		{"malformed query", "shop", "echostr=%zz", http.StatusForbidden, "refused"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/wx/"+tc.account+"?"+tc.query, nil)
			require.NoError(t, err)
			res, err := client.Do(req)
			require.NoError(t, err)
			got := read(t, res)
			require.Equal(t, tc.status, got.status)
			require.Equal(t, tc.body, got.body)
			require.Equal(t, "text/plain; charset=utf-8", got.contentType)
		})
	}
}

func TestRefusalsAreConstantAndNothingIsStored(t *testing.T) {
	r := newRig(t)
	r.readTimeout = time.Minute
	secure := r.gateway(t, quick(), shop(nil))
	plain := r.gateway(t, quick(), shop(func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true }))
	compatible := r.gateway(t, quick(), shop(func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModeCompatible, true }))

	const bomb = `<?xml version="1.0"?><!DOCTYPE xml [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><ToUserName>gh_000000000001</ToUserName><FromUserName>o</FromUserName><MsgType>text</MsgType><Content>&b;</Content></xml>`
	hi := message{id: "1", content: "hi"}
	otherRecipient := strings.ReplaceAll(hi.body(), originalID, "gh_somebody_else")
	stranger, foreign, retired := valid, valid, valid
	stranger.token, foreign.appID, retired.key = "OtherToken", "wx9999999999999999", retiredKey

	type request struct {
		query string
		body  []byte
	}
	seal := func(c credentials, mode account.Mode, body string) request {
		q, b := c.seal(t, mode, wechat.XML, body)
		return request{q, b}
	}
	strip := func(q request, body string) request {
		return request{strings.Split(q.query, "&encrypt_type")[0], []byte(body)}
	}
	tests := []struct {
		name   string
		to     *replica
		req    request
		reason string
	}{
		{"wrong signature", secure, seal(stranger, account.ModeSecure, hi.body()), "signature"},
		{"no signature at all", secure, request{"", []byte(hi.body())}, "signature"},
		{"wrong appid", secure, seal(foreign, account.ModeSecure, hi.body()), "decrypt"},
		{"old key after rotation", secure, seal(retired, account.ModeSecure, hi.body()), "decrypt"},
		{"5 MB body", secure, request{seal(valid, account.ModeSecure, hi.body()).query, make([]byte, 5<<20)}, "too_large"},
		{"entity bomb", plain, seal(valid, account.ModePlaintext, bomb), "limits"},
		{"entity bomb as the outer body", secure, request{seal(valid, account.ModeSecure, hi.body()).query, []byte(bomb)}, "format"},
		{"entity bomb inside", secure, seal(valid, account.ModeSecure, bomb), "limits"},
		{"plain body for a secure account", secure, seal(valid, account.ModePlaintext, hi.body()), "signature"},
		{"plain body for a compatible account", compatible, seal(valid, account.ModePlaintext, hi.body()), "signature"},
		{"changed ciphertext", secure, request{seal(valid, account.ModeSecure, hi.body()).query, seal(valid, account.ModeSecure, hi.body()).body}, "signature"},
		{"nested too deep", secure, seal(valid, account.ModeSecure, strings.Repeat("<xml>", 40)), "limits"},
		{"for another account", secure, seal(valid, account.ModeSecure, otherRecipient), "recipient"},
		{"not XML and not JSON", plain, seal(valid, account.ModePlaintext, "hello"), "format"},
		{"no message", plain, seal(valid, account.ModePlaintext, "<xml><a>b</a></xml>"), "content"},
		{"malformed query", secure, request{"nonce=%zz", []byte(hi.body())}, "query"},
		{"signature without the encryption", secure, strip(seal(valid, account.ModeSecure, hi.body()), hi.body()), "signature"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			counted := r.metric(t, "wxbus_gateway_refused_total", "reason="+tc.reason)
			got := tc.to.post(t.Context(), tc.req.query, tc.req.body)
			require.NoError(t, got.err)
			require.Equal(t, http.StatusForbidden, got.status)
			require.Equal(t, "refused", got.body)
			require.Equal(t, "text/plain; charset=utf-8", got.contentType)
			require.Equal(t, counted+1, r.metric(t, "wxbus_gateway_refused_total", "reason="+tc.reason), "counted by reason")
		})
	}
	r.requireNothingStored(t)
}

func TestUnknownAccountIsRefusedLikeAWrongSignature(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/wx/nobody", strings.NewReader("x"))
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	got := read(t, res)
	require.Equal(t, http.StatusForbidden, got.status)
	require.Equal(t, "refused", got.body)
}

func TestCompatibleModeUsesTheEncryptedText(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModeCompatible, true }))
	query, body := valid.seal(t, account.ModeCompatible, wechat.XML, message{id: "1", content: "real"}.body())
	forged := strings.Replace(string(body), "real", "forged", 1)
	require.NotEqual(t, string(body), forged)
	requireSuccess(t, g.post(t.Context(), query, []byte(forged)))
	require.Equal(t, "real", r.nextEvent(t).GetText().GetContent())
}

func TestRotationOfTheKey(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(func(a *account.Account) { a.PreviousEncodingAESKey = secret.New(previousKey) }))
	old := valid
	old.key = previousKey
	query, body := old.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "hi"}.body())
	requireSuccess(t, g.post(t.Context(), query, body))
	require.Len(t, r.events(t, topology.StreamInbound), 1)
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_previous_credentials_total", "account=shop"))
}

func TestAuthenticButUnreadablePushIsParked(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	const odd = "<xml><ToUserName>gh_000000000001</ToUserName><NewKindOfPush>1</NewKindOfPush></xml>"
	for range 2 { // a retry is kept once
		requireSuccess(t, g.push(t, message{raw: odd}))
	}
	require.Empty(t, r.messages(t, topology.StreamInbound))
	letters, err := r.env.Conn.DeadLetters().List(t.Context(), bus.DeadLetterFilter{Service: topology.ServiceGateway}, 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "content", letters[0].Reason)
	require.Equal(t, "invalid", letters[0].Kind)
	require.Equal(t, topology.ServiceGateway, letters[0].Service)
	require.Equal(t, "shop", letters[0].Header.Get("Account"))
	letter, err := r.env.Conn.DeadLetters().Get(t.Context(), letters[0].Seq)
	require.NoError(t, err)
	require.Equal(t, odd, string(letter.Data))
}

func TestUndecryptablePushIsParkedOnRequest(t *testing.T) {
	r := newRig(t)
	cfg := quick()
	cfg.ParkUndecryptable = true
	g := r.gateway(t, cfg, shop(nil))
	retired := valid
	retired.key = retiredKey
	query, body := retired.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "hi"}.body())
	requireSuccess(t, g.post(t.Context(), query, body))
	letters, err := r.env.Conn.DeadLetters().List(t.Context(), bus.DeadLetterFilter{Service: topology.ServiceGateway}, 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, "decrypt", letters[0].Reason)
}

func TestProbeOfCloudHosting(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true }))
	for _, body := range []string{`{"action":"CheckContainerPath"}`, `<xml><action>CheckContainerPath</action></xml>`} {
		query, sealed := valid.seal(t, account.ModePlaintext, wechat.JSON, body)
		requireSuccess(t, g.post(t.Context(), query, sealed))
	}
	r.requireNothingStored(t)
}

func TestUndocumentedTypeIsStoredAndCounted(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	raw := strings.Replace(message{id: "1", content: "x"}.body(), "[text]", "[hologram]", 1)
	got := g.push(t, message{raw: raw})
	requireSuccess(t, got)
	require.Less(t, got.took, patient().PassiveDeadline, "nobody waits for a reply to it")
	require.Equal(t, "hologram", r.nextEvent(t).GetMsgType())
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_unknown_types_total", "account=shop"))
}

func TestTimestampTolerance(t *testing.T) {
	r := newRig(t)
	old := fmt.Sprint(time.Now().Add(-20 * time.Minute).Unix())
	q := wechat.Query{Timestamp: old, Nonce: "n", Signature: wechat.Sign(token, old, "n"), EchoStr: "e"}
	verify := func(g *replica) response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/wx/shop?"+q.Encode(), nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err)
		return read(t, res)
	}
	require.Equal(t, http.StatusOK, verify(r.gateway(t, quick(), shop(nil))).status, "without a tolerance it is only counted")
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_timestamps_skewed_total"))
	cfg := quick()
	cfg.TimestampTolerance = 10 * time.Minute
	require.Equal(t, http.StatusForbidden, verify(r.gateway(t, cfg, shop(nil))).status)
}

func TestOverloadIsRefusedBeforeTheBodyIsRead(t *testing.T) {
	r := newRig(t)
	cfg := quick()
	cfg.MaxInFlight = 1
	g := r.gateway(t, cfg, shop(nil))
	slow, release := newSlowBody()
	done := make(chan response, 1)
	query, _ := valid.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "x"}.body())
	go func() { done <- g.postReader(t, query, slow) }()
	slow.waitRead(t)
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_in_flight") == 1 }, 30*time.Second, time.Millisecond)

	got := g.push(t, message{id: "2", content: "x"})
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Equal(t, "unavailable", got.body)
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_refused_total", "reason=overload"))
	release()
	require.Equal(t, http.StatusForbidden, (<-done).status)
	requireSuccess(t, g.push(t, message{id: "3", content: "x"}))
}

func TestInsecureModesNeedConsent(t *testing.T) {
	for _, mode := range []account.Mode{account.ModePlaintext, account.ModeCompatible} {
		r := newRig(t)
		directory, err := account.NewDirectory([]account.Account{shop(func(a *account.Account) { a.Mode = mode })})
		require.NoError(t, err)
		deps := gateway.Deps{Accounts: directory, Bus: r.env.Conn, Topology: r.env.Topology, Tel: r.tel.Telemetry, Instance: "gw"}
		_, err = gateway.New(quick(), deps)
		require.ErrorContains(t, err, "account shop: mode "+string(mode))
		require.ErrorContains(t, err, "gateway.allow_insecure_modes")

		cfg := quick()
		cfg.AllowInsecureModes = true
		s, err := gateway.New(cfg, deps)
		require.NoError(t, err)
		require.NoError(t, s.Stop(t.Context()), "stopping without a start is fine")
	}
}
