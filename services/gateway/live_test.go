package gateway_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
)

const freshKey = "FreshFreshFresh0123456789ABCDEFGHIJKLMNOPQR"

// managed makes an account of the API from that of the tests.
func managed(revision uint64, change func(*account.Account)) account.Update {
	a := shop(change)
	a.Revision = revision
	return account.Update{Name: a.Name, Account: &a}
}

func TestAccountsComeChangeAndGoWithoutARestart(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick())
	n := 0
	push := func(c credentials) response {
		n++
		m := message{id: fmt.Sprint(5000 + n), content: "hello"}
		query, body := c.seal(t, account.ModeSecure, wechat.XML, m.body())
		return g.post(t.Context(), query, body)
	}
	fresh := credentials{token: "FreshToken", key: freshKey, appID: appID}
	unknown := push(valid)
	require.Equal(t, http.StatusForbidden, unknown.status)

	require.NoError(t, g.accounts.Apply(managed(1, nil)))
	requireSuccess(t, push(valid))

	require.NoError(t, g.accounts.Apply(managed(2, func(a *account.Account) {
		a.PreviousToken, a.PreviousEncodingAESKey = a.Token, a.EncodingAESKey
		a.Token, a.EncodingAESKey = secret.New("FreshToken"), secret.New(freshKey)
	})))
	requireSuccess(t, push(valid))
	requireSuccess(t, push(fresh))
	requireSuccess(t, push(credentials{token: "FreshToken", key: key, appID: appID}))

	require.NoError(t, g.accounts.Apply(managed(3, func(a *account.Account) { a.Disabled = true })))
	disabled := push(valid)
	require.Equal(t, []any{unknown.status, unknown.body, unknown.contentType}, []any{disabled.status, disabled.body, disabled.contentType},
		"a stranger cannot tell a disabled account from none")

	require.NoError(t, g.accounts.Apply(managed(4, nil)))
	requireSuccess(t, push(valid))
	require.Equal(t, http.StatusForbidden, push(fresh).status)

	require.NoError(t, g.accounts.Apply(account.Update{Name: "shop"}))
	require.Equal(t, unknown.body, push(valid).body)
}

func TestAnAccountOfTheAPIThatDoesNotFitLeavesTheOthersAlone(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	other := managed(1, func(a *account.Account) {
		a.Name, a.AppID, a.Mode = "loose", "wx00000000000000aa", account.ModePlaintext
	})
	require.NoError(t, g.accounts.Apply(other))
	requireSuccess(t, g.push(t, message{id: "7001", content: "hello"}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/wx/loose?signature=x&timestamp=1&nonce=n&echostr=e", nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Contains(t, r.tel.Log.String(), "account takes no pushes")
}

// collect asks like the doctor.
func (r *rig) collect(t testing.TB) *gatewayv1.CollectEvidenceResponse {
	t.Helper()
	data, err := proto.Marshal(&gatewayv1.CollectEvidenceRequest{Account: "shop"})
	require.NoError(t, err)
	m, err := r.env.Conn.Request(t.Context(), topology.SubjectEvidence(), data)
	require.NoError(t, err)
	out := &gatewayv1.CollectEvidenceResponse{}
	require.NoError(t, proto.Unmarshal(m.Data, out))
	return out
}

func TestRefusedRequestsShowWhatIsWrong(t *testing.T) {
	other := "OtherOtherOther0123456789ABCDEFGHIJKLMNOPQR"
	sealed := func(c credentials, change func(*wechat.Query)) func(t *testing.T) (string, []byte) {
		return func(t *testing.T) (string, []byte) {
			raw, body := c.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "hi"}.body())
			q, err := wechat.ParseQuery(raw)
			require.NoError(t, err)
			if change != nil {
				change(&q)
			}
			return q.Encode(), body
		}
	}
	for name, tc := range map[string]struct {
		send func(t *testing.T) (string, []byte)
		want gatewayv1.Mismatch
	}{
		"another token":          {sealed(credentials{"NotOurToken", key, appID}, nil), gatewayv1.Mismatch_MISMATCH_TOKEN},
		"white space":            {sealed(credentials{token + " ", key, appID}, nil), gatewayv1.Mismatch_MISMATCH_TOKEN_SPACE},
		"a new line":             {sealed(credentials{token + "\r\n", key, appID}, nil), gatewayv1.Mismatch_MISMATCH_TOKEN_SPACE},
		"letter case":            {sealed(credentials{strings.ToUpper(token), key, appID}, nil), gatewayv1.Mismatch_MISMATCH_TOKEN_CASE},
		"another key":            {sealed(credentials{token, other, appID}, nil), gatewayv1.Mismatch_MISMATCH_KEY},
		"another appid":          {sealed(credentials{token, key, "wx00000000000000ff"}, nil), gatewayv1.Mismatch_MISMATCH_APPID},
		"msg_signature dropped":  {sealed(valid, func(q *wechat.Query) { q.MsgSignature = "" }), gatewayv1.Mismatch_MISMATCH_SIGNATURE_FOR_MSG},
		"signature instead":      {sealed(valid, func(q *wechat.Query) { q.MsgSignature = q.Signature }), gatewayv1.Mismatch_MISMATCH_SIGNATURE_FOR_MSG},
		"encrypt_type dropped":   {sealed(valid, func(q *wechat.Query) { q.EncryptType = "" }), gatewayv1.Mismatch_MISMATCH_SIGNATURE_FOR_MSG},
		"a body that was edited": {sealed(valid, func(q *wechat.Query) { q.MsgSignature = strings.Repeat("0", 40) }), gatewayv1.Mismatch_MISMATCH_BODY},
		"plaintext mode": {func(t *testing.T) (string, []byte) {
			return valid.seal(t, account.ModePlaintext, wechat.XML, message{id: "1", content: "hi"}.body())
		}, gatewayv1.Mismatch_MISMATCH_PLAIN},
		"another account": {func(t *testing.T) (string, []byte) {
			return valid.seal(t, account.ModeSecure, wechat.XML, strings.ReplaceAll(message{id: "1", content: "hi"}.body(), originalID, "gh_other"))
		}, gatewayv1.Mismatch_MISMATCH_RECIPIENT},
		"a stranger": {func(*testing.T) (string, []byte) { return "a=1", []byte("<xml/>") }, gatewayv1.Mismatch_MISMATCH_UNSPECIFIED},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := r.gateway(t, quick(), shop(nil))
			query, body := tc.send(t)
			require.Equal(t, http.StatusForbidden, g.post(t.Context(), query, body).status)
			refused := r.collect(t).GetRefused()
			require.Len(t, refused, 1)
			require.Equal(t, tc.want, refused[0].GetMismatch())
			require.EqualValues(t, 1, refused[0].GetCount())
			require.Equal(t, "127.0.0.1", refused[0].GetAddress())
			require.NotEmpty(t, refused[0].GetQueryFields())
			require.NotContains(t, refused[0].String(), token)
		})
	}
}

func TestAPlaintextAccountThatGetsEncryptedPushesIsToldSo(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(func(a *account.Account) {
		a.Mode, a.AllowInsecure, a.EncodingAESKey = account.ModePlaintext, true, secret.Value{}
	}))
	query, body := valid.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "hi"}.body())
	g.post(t.Context(), query, body)
	got := r.collect(t)
	require.Len(t, got.GetRefused(), 1)
	require.Equal(t, gatewayv1.Mismatch_MISMATCH_ENCRYPTED, got.GetRefused()[0].GetMismatch())
}

func TestPushesFromElsewhereAreCountedAndTaken(t *testing.T) {
	r := newRig(t)
	cfg := quick()
	cfg.TrustedProxies = []string{"127.0.0.0/8"}
	g := r.gateway(t, cfg, shop(nil))
	n := 0
	from := func(forwarded string) {
		n++
		query, body := valid.seal(t, account.ModeSecure, wechat.XML, message{id: fmt.Sprint(9000 + n), content: "hi"}.body())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/wx/shop?"+query, bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("X-Forwarded-For", forwarded)
		res, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode)
	}
	from("192.0.2.9")
	require.Empty(t, r.collect(t).GetOutside(), "nothing to compare with")

	kv, err := r.env.JS.KeyValue(t.Context(), topology.BucketCallbackIPs)
	require.NoError(t, err)
	list, err := proto.Marshal(&tokenv1.CallbackIPs{Prefixes: []string{"203.0.113.0/24", "not a prefix"}})
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), "shop", list)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		from("198.51.100.1, 192.0.2.9, 127.0.0.1") // what a client wrote, WeChat or not, a proxy of ours
		return len(r.collect(t).GetOutside()) > 0
	}, 30*time.Second, 5*time.Millisecond)
	from("203.0.113.77")
	got := r.collect(t)
	require.Len(t, got.GetOutside(), 1)
	require.Equal(t, "192.0.2.9", got.GetOutside()[0].GetAddress())
	require.EqualValues(t, n, got.GetTaken())
	require.NotZero(t, got.GetLastTakenUnixMs())
	metrics, err := r.tel.Registry.Gather()
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(metrics), "wxbus_gateway_outside_callback_ips")
}
