package sender_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
)

// live makes an account of the API from the one of the fixture.
func (f *fixture) live(t testing.TB, revision uint64, change func(*account.Account)) {
	t.Helper()
	a, ok := f.dir.Get("shop")
	require.True(t, ok)
	a.Name, a.AppID, a.Revision = "live", "wx0000000000000099", revision
	change(&a)
	require.NoError(t, f.dir.Apply(account.Update{Name: a.Name, Account: &a}))
}

func TestAnAccountThatIsAddedWhileRunningSendsAndADisabledOneDoesNot(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	request := func(key string) *senderv1.SendRequest {
		r := f.request("fan-1", key, "hello "+key)
		r.Account = "live"
		return r
	}
	_, err := s.Send(t.Context(), request("k0"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	// One message is queued while nobody can tell the token, and then the account is disabled.
	f.tokens.set(fault.New(fault.Unavailable, "no token"))
	f.live(t, 1, func(*account.Account) {})
	waiting := send(t, s, request("k1"))
	off := func(a *account.Account) { a.Disabled, a.DisabledReason = true, "moved to another system" }
	f.live(t, 2, off)
	rec := ends(t, s, "live", waiting.GetId(), senderv1.SendState_SEND_STATE_REFUSED)
	require.Equal(t, "the account is disabled: moved to another system", rec.GetReason())

	f.tokens.set(nil)
	f.live(t, 3, func(*account.Account) {})
	ends(t, s, "live", send(t, s, request("k2")).GetId(), senderv1.SendState_SEND_STATE_SENT)

	f.live(t, 4, off)
	_, err = s.Send(t.Context(), request("k3"))
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "moved to another system")
	require.Contains(t, quota(t, s, "live", "fan-1").GetReason(), "disabled")
	require.Len(t, f.wechat.seen(), 1)
}
