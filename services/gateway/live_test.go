package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
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
