package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/services/token"
)

// sawn answers the doctor in the place of a gateway.
func (f *fixture) sawn(t testing.TB, seen *gatewayv1.CollectEvidenceResponse) {
	t.Helper()
	seen.Instance = fmt.Sprintf("gw%d", time.Now().UnixNano())
	r, err := f.env.Conn.Respond(topology.SubjectEvidence(), "", func(_ context.Context, m *nats.Msg) ([]byte, error) {
		req := &gatewayv1.CollectEvidenceRequest{}
		if err := proto.Unmarshal(m.Data, req); err != nil || req.GetAccount() != "shop" {
			return nil, fmt.Errorf("asked for %q: %w", req.GetAccount(), err)
		}
		return proto.Marshal(seen)
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close(context.Background())) })
}

func examine(t testing.TB, s *token.Service, account string) map[string]*tokenv1.DoctorCheck {
	t.Helper()
	resp, err := s.Accounts().DoctorAccount(t.Context(), &tokenv1.DoctorAccountRequest{Account: account})
	require.NoError(t, err)
	out := map[string]*tokenv1.DoctorCheck{}
	for _, c := range resp.GetChecks() {
		require.NotContains(t, out, c.GetName(), "one check, one line")
		require.NotEmpty(t, c.GetEvidence().GetZh(), c.GetName())
		require.NotEmpty(t, c.GetEvidence().GetEn(), c.GetName())
		require.NotContains(t, c.String(), "%!", "a text that does not fit its values")
		if s := c.GetStatus(); s == tokenv1.DoctorStatus_DOCTOR_STATUS_FAIL || s == tokenv1.DoctorStatus_DOCTOR_STATUS_WARN {
			require.NotEmpty(t, c.GetAdvice().GetZh(), "%s: what to do", c.GetName())
			require.NotEmpty(t, c.GetAdvice().GetEn(), "%s: what to do", c.GetName())
		}
		for _, secret := range []string{"the-app-secret", "of-the-account", "PushToken"} {
			require.NotContains(t, c.String(), secret)
		}
		out[c.GetName()] = c
	}
	return out
}

// examineWith examines shop until n gateways have answered: on a busy machine the doctor may have stopped waiting for one.
func examineWith(t testing.TB, s *token.Service, n int) (found map[string]*tokenv1.DoctorCheck) {
	t.Helper()
	require.Eventually(t, func() bool {
		found = examine(t, s, "shop")
		return strings.Count(found["gateways"].GetEvidence().GetEn(), "(since") == n
	}, time.Minute, time.Millisecond)
	return found
}

const (
	isOK      = tokenv1.DoctorStatus_DOCTOR_STATUS_OK
	isWarn    = tokenv1.DoctorStatus_DOCTOR_STATUS_WARN
	isFail    = tokenv1.DoctorStatus_DOCTOR_STATUS_FAIL
	isSkipped = tokenv1.DoctorStatus_DOCTOR_STATUS_SKIPPED
)

func TestAHealthyAccountHasNothingWrong(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.sawn(t, &gatewayv1.CollectEvidenceResponse{Taken: 7, LastTakenUnixMs: f.clock.Now().UnixMilli()})
	f.sawn(t, &gatewayv1.CollectEvidenceResponse{Taken: 3, LastTakenUnixMs: f.clock.Now().UnixMilli()})
	for name, c := range examineWith(t, s, 2) {
		want := isOK
		if name == "callback_echo" {
			want = isSkipped
		}
		require.Equal(t, want, c.GetStatus(), "%s: %s", name, c)
	}
	require.Contains(t, examineWith(t, s, 2)["push_signature"].GetEvidence().GetEn(), "10 pushes taken", "all gateways are asked")
}

func TestTheDoctorNamesWhatIsWrongWithTheAPI(t *testing.T) {
	for name, tc := range map[string]struct {
		harm         func(*fakeWeChat)
		check        string
		status       tokenv1.DoctorStatus
		errcode      int32
		zh, en, todo string
	}{
		"wrong AppSecret": {func(w *fakeWeChat) { w.errcode, w.errmsg = 40125, "invalid appsecret" }, "credentials", isFail, 40125, "40125", "40125", "set-secret"},
		"wrong AppID":     {func(w *fakeWeChat) { w.errcode, w.errmsg = 40013, "invalid appid" }, "credentials", isFail, 40013, "40013", "40013", "appid"},
		"address not listed": {func(w *fakeWeChat) {
			w.errcode, w.errmsg = 40164, "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1"
		}, "egress_ip", isFail, 40164, "203.0.113.9", "203.0.113.9", "paste 203.0.113.9 into"},
		"address without a name": {func(w *fakeWeChat) { w.errcode, w.errmsg = 40164, "not in whitelist" }, "egress_ip", isFail, 40164, "没有说明", "does not say", "whitelist"},
		"clock":                  {func(w *fakeWeChat) { w.skew = time.Minute }, "clock", isFail, 0, "相差 1m", "by 1m", "NTP"},
		"slow clock":             {func(w *fakeWeChat) { w.skew = -time.Minute }, "clock", isFail, 0, "相差 59s", "by 59s", "NTP"},
		"quota nearly used up":   {func(w *fakeWeChat) { w.remain = 49_000 }, "quota_custom_send", isWarn, 0, "只剩 49000", "has 49000 of 500000", "fewer"},
		"quota used up":          {func(w *fakeWeChat) { w.remain = 0 }, "quota_custom_send", isFail, 45009, "已用完", "are used up", "midnight"},
		"no quota API":           {func(w *fakeWeChat) { w.codes["/cgi-bin/openapi/quota/get"] = 48001 }, "quota_template_send", isSkipped, 0, "没有", "no permission", ""},
		"no customer service":    {func(w *fakeWeChat) { w.codes["/cgi-bin/customservice/getkflist"] = 48001 }, "permission_customer_service", isFail, 48001, "没有客服接口权限", "no permission", "kf_api: false"},
		"rate limit":             {func(w *fakeWeChat) { w.codes["/cgi-bin/customservice/getkflist"] = 45009 }, "permission_customer_service", isWarn, 45009, "受限", "used up", "later"},
		"no server address":      {func(w *fakeWeChat) { w.codes["/cgi-bin/callback/check"] = 40201 }, "callback_reachable", isFail, 40201, "40201", "40201", "/wx/shop"},
		"lost pings":             {func(w *fakeWeChat) { w.loss = "100%" }, "callback_reachable", isWarn, 0, "ping 不通", "are lost", "firewall"},
		"an API that is busy":    {func(w *fakeWeChat) { w.codes["/cgi-bin/callback/check"] = -1 }, "callback_reachable", isSkipped, 0, "未能查到", "could not", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			s := f.replica(t, "a")
			f.wechat.set(tc.harm)
			c := examine(t, s, "shop")[tc.check]
			require.NotNil(t, c)
			require.Equal(t, tc.status, c.GetStatus(), c)
			require.Equal(t, tc.errcode, c.GetErrcode())
			require.Contains(t, c.GetEvidence().GetZh(), tc.zh)
			require.Contains(t, c.GetEvidence().GetEn(), tc.en)
			require.Contains(t, c.GetAdvice().GetEn(), tc.todo)
		})
	}
}

func TestTheDoctorExplainsRefusedPushes(t *testing.T) {
	for number, name := range gatewayv1.Mismatch_name {
		m := gatewayv1.Mismatch(number)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			s := f.replica(t, "a")
			now := f.clock.Now()
			f.sawn(t, &gatewayv1.CollectEvidenceResponse{
				Taken: 1, LastTakenUnixMs: now.Add(-time.Hour).UnixMilli(),
				Refused: []*gatewayv1.RefusedRequests{{Mismatch: m, Count: 2, LastUnixMs: now.UnixMilli(), QueryFields: []string{"signature"}, Address: "203.0.113.5", FromWechat: true}},
			})
			f.sawn(t, &gatewayv1.CollectEvidenceResponse{
				Refused: []*gatewayv1.RefusedRequests{{Mismatch: m, Count: 3, LastUnixMs: now.Add(-time.Minute).UnixMilli(), Address: "203.0.113.6"}},
			})
			found := examineWith(t, s, 2)
			if m == gatewayv1.Mismatch_MISMATCH_UNSPECIFIED {
				require.Equal(t, isOK, found["push_signature"].GetStatus(), "strangers are nobody's fault")
				return
			}
			c := found["push_signature_"+strings.ToLower(strings.TrimPrefix(name, "MISMATCH_"))]
			require.NotNil(t, c, "every mismatch is explained")
			require.Equal(t, isFail, c.GetStatus())
			require.Contains(t, c.GetEvidence().GetEn(), "5 times")
			require.Contains(t, c.GetEvidence().GetEn(), "from 203.0.113.5, parameters signature")
			require.Regexp(t, `at gw\d+×[23], gw\d+×[23]$`, c.GetEvidence().GetEn(), "which gateway saw what")
			f.sawn(t, &gatewayv1.CollectEvidenceResponse{Taken: 1, LastTakenUnixMs: now.Add(time.Second).UnixMilli()})
			c = examineWith(t, s, 3)[c.GetName()]
			require.Equal(t, isWarn, c.GetStatus(), "those who refused have taken nothing since")
			require.Contains(t, c.GetEvidence().GetEn(), "only other gateways took pushes since")
		})
	}
}

func TestACauseIsGoneWhenEveryGatewayThatRefusedTookAPushSince(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	now := f.clock.Now()
	for _, count := range []uint64{2, 3} {
		f.sawn(t, &gatewayv1.CollectEvidenceResponse{
			Taken: 9, LastTakenUnixMs: now.UnixMilli(),
			Refused: []*gatewayv1.RefusedRequests{{Mismatch: gatewayv1.Mismatch_MISMATCH_KEY, Count: count, LastUnixMs: now.Add(-time.Duration(count) * time.Minute).UnixMilli()}},
		})
	}
	c := examineWith(t, s, 2)["push_signature_key"]
	require.Equal(t, isOK, c.GetStatus(), c)
	require.Contains(t, c.GetEvidence().GetEn(), "5 times")
	require.Contains(t, c.GetEvidence().GetEn(), "pushes were taken since")
}

func TestTheDoctorSaysWhichGatewaySawWhat(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	now := f.clock.Now()
	f.sawn(t, &gatewayv1.CollectEvidenceResponse{
		StartedUnixMs: now.Add(-time.Hour).UnixMilli(), Taken: 120, LastTakenUnixMs: now.UnixMilli(), Previous: 4,
		Refused: []*gatewayv1.RefusedRequests{{Count: 2, LastUnixMs: now.UnixMilli()}, {Mismatch: gatewayv1.Mismatch_MISMATCH_BODY, Count: 5}},
	})
	c := examineWith(t, s, 1)["gateways"]
	require.Equal(t, isOK, c.GetStatus())
	require.Regexp(t, `^gw\d+ \(since 20[0-9T:Z-]+\): 120 taken, 7 refused, 4 by previous keys$`, c.GetEvidence().GetEn())

	f.sawn(t, &gatewayv1.CollectEvidenceResponse{StartedUnixMs: now.Add(-time.Minute).UnixMilli()})
	require.Equal(t, isOK, examineWith(t, s, 2)["gateways"].GetStatus(), "it has just started")
	f.sawn(t, &gatewayv1.CollectEvidenceResponse{StartedUnixMs: now.Add(-time.Hour).UnixMilli()})
	c = examineWith(t, s, 3)["gateways"]
	require.Equal(t, isWarn, c.GetStatus())
	require.Regexp(t, `^gw\d+ got no push for an hour or more: .*load balancer`, c.GetAdvice().GetEn())
}

func TestTheDoctorWarnsOfAnotherSystemAndOfOldKeys(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(20 * time.Second)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	f.sawn(t, &gatewayv1.CollectEvidenceResponse{
		Taken: 4, LastTakenUnixMs: f.clock.Now().UnixMilli(),
		Outside: []*gatewayv1.OutsideAddress{{Address: "192.0.2.1", Count: 4, LastUnixMs: f.clock.Now().UnixMilli()}},
	})
	found := examineWith(t, s, 1)
	require.Equal(t, isFail, found["outside_refresh"].GetStatus())
	require.Contains(t, found["outside_refresh"].GetEvidence().GetEn(), "generation 1 died 20s after")
	require.Equal(t, isWarn, found["callback_ips"].GetStatus())
	require.Contains(t, found["callback_ips"].GetEvidence().GetEn(), "192.0.2.1×4")
	require.NotContains(t, found, "previous_keys")
	f.clock.Advance(25 * time.Hour)
	require.Equal(t, isOK, examine(t, s, "shop")["outside_refresh"].GetStatus())
}

func TestTheDoctorTriesTheCallbackAsWeChatDoes(t *testing.T) {
	answer := func(rw http.ResponseWriter, q wechat.Query) {
		if !wechat.VerifySignature("CanaryToken", q.Timestamp, q.Nonce, q.Signature) {
			rw.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(rw, "refused")
			return
		}
		_, _ = fmt.Fprint(rw, q.EchoStr)
	}
	for name, tc := range map[string]struct {
		handle func(http.ResponseWriter, wechat.Query)
		status tokenv1.DoctorStatus
		en     string
	}{
		"right":           {answer, isOK, "returns echostr"},
		"a changed query": {func(rw http.ResponseWriter, q wechat.Query) { q.Nonce = "x"; answer(rw, q) }, isFail, "refused the signature"},
		"a page around":   {func(rw http.ResponseWriter, q wechat.Query) { _, _ = fmt.Fprintf(rw, "<html>%s</html>", q.EchoStr) }, isFail, "around it"},
		"another server":  {func(rw http.ResponseWriter, _ wechat.Query) { rw.WriteHeader(http.StatusNotFound) }, isFail, "HTTP 404"},
		"nobody":          {nil, isFail, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			s := f.replica(t, "a")
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				q, err := wechat.ParseQuery(r.URL.RawQuery)
				require.NoError(t, err)
				tc.handle(rw, q)
			}))
			url := server.URL + "/wx/club"
			if tc.handle == nil {
				server.Close()
			} else {
				defer server.Close()
			}
			create(t, s, f.creation("club", "wx00000000000000c1"))
			_, err := s.Accounts().UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{
				Account: "club", Settings: &tokenv1.AccountSettings{CallbackUrl: url}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"callback_url"}},
			})
			require.NoError(t, err)
			c := examine(t, s, "club")["callback_echo"]
			require.Equal(t, tc.status, c.GetStatus())
			require.Contains(t, c.GetEvidence().GetEn(), tc.en)
			require.NotContains(t, c.String(), "Canary")
		})
	}
}

func TestADisabledAccountIsExaminedWithoutCalls(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	create(t, s, f.creation("club", "wx00000000000000c1"))
	_, err := s.Accounts().DisableAccount(t.Context(), &tokenv1.DisableAccountRequest{Account: "club", Reason: "moved"})
	require.NoError(t, err)
	found := examine(t, s, "club")
	require.Equal(t, isWarn, found["settings"].GetStatus())
	require.Equal(t, isSkipped, found["credentials"].GetStatus())
	require.Equal(t, isSkipped, found["push_signature"].GetStatus(), "no gateway answered")
	normal, forced, _ := f.wechat.calls()
	require.Zero(t, normal+forced)
	mute := examine(t, s, "mute")
	require.Equal(t, isWarn, mute["credentials"].GetStatus())
}
