package access_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/services/console/internal/access"
)

func TestWithoutKeysOnlyThisMachineIsServed(t *testing.T) {
	guard := access.New(access.Options{Rate: 100, Burst: 100})
	for _, c := range []struct {
		name, remote, host string
		header             [2]string
		served             bool
	}{
		{name: "the browser of the user", remote: "127.0.0.1:50000", host: "localhost:8081", served: true},
		{name: "by address", remote: "127.0.0.1:50000", host: "127.0.0.1:8081", served: true},
		{name: "by IPv6", remote: "[::1]:50000", host: "[::1]:8081", served: true},
		{name: "IPv4 in IPv6", remote: "[::ffff:127.0.0.1]:50000", host: "LOCALHOST", served: true},
		{name: "a neighbour", remote: "10.0.0.7:50000", host: "10.0.0.1:8081"},
		{name: "a neighbour that pretends", remote: "10.0.0.7:50000", host: "localhost:8081"},
		{name: "a page of a stranger whose name points here", remote: "127.0.0.1:50000", host: "evil.example:8081"},
		{name: "behind a proxy on this machine", remote: "127.0.0.1:50000", host: "localhost", header: [2]string{"X-Forwarded-For", "203.0.113.9"}},
		{name: "behind a standard proxy", remote: "127.0.0.1:50000", host: "localhost", header: [2]string{"Forwarded", "for=203.0.113.9"}},
		{name: "no address", remote: "", host: "localhost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
			r.RemoteAddr, r.Host = c.remote, c.host
			if c.header[0] != "" {
				r.Header.Set(c.header[0], c.header[1])
			}
			caller, err := guard.Caller(r)
			if !c.served {
				require.ErrorIs(t, err, access.ErrNotLocal)
				return
			}
			require.NoError(t, err)
			require.True(t, caller.May("any"))
		})
	}
}

func TestKeys(t *testing.T) {
	guard := access.New(access.Options{Rate: 100, Burst: 100, Keys: []access.Key{
		{Name: "shop", Secret: secret.New("shop-key-0123456789"), Accounts: []string{"shop"}},
		{Name: "ops", Secret: secret.New("ops-key-0123456789"), Accounts: []string{access.EveryAccount}},
	}})
	call := func(authorization string) (*access.Caller, error) {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
		r.RemoteAddr = "203.0.113.9:1"
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		return guard.Caller(r)
	}
	for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer shop-key-012345678", "Bearer shop-key-0123456789x", "Basic shop-key-0123456789", "shop-key-0123456789"} {
		_, err := call(bad)
		require.ErrorIs(t, err, access.ErrNoKey, bad)
	}
	shop, err := call("Bearer shop-key-0123456789")
	require.NoError(t, err)
	require.Equal(t, "shop", shop.Name)
	require.True(t, shop.May("shop"))
	require.False(t, shop.May("club"))
	ops, err := call("bearer ops-key-0123456789")
	require.NoError(t, err)
	require.True(t, ops.May("club"))
}

func TestEachKeyHasItsOwnRate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	guard := access.New(access.Options{Rate: 1, Burst: 2, Now: func() time.Time { return now }, Keys: []access.Key{
		{Name: "a", Secret: secret.New("aaaaaaaaaaaaaaaa")}, {Name: "b", Secret: secret.New("bbbbbbbbbbbbbbbb")},
	}})
	call := func(key string) error {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		_, err := guard.Caller(r)
		return err
	}
	require.NoError(t, call("aaaaaaaaaaaaaaaa"))
	require.NoError(t, call("aaaaaaaaaaaaaaaa"))
	require.ErrorIs(t, call("aaaaaaaaaaaaaaaa"), access.ErrTooMany)
	require.NoError(t, call("bbbbbbbbbbbbbbbb"), "one caller must not use up the rate of another")
	now = now.Add(time.Second)
	require.NoError(t, call("aaaaaaaaaaaaaaaa"))
}
