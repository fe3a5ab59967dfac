package evidence_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/services/gateway/internal/evidence"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestOnlyTrustedProxiesSayWhereARequestCameFrom(t *testing.T) {
	trusted := evidence.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	for name, tc := range map[string]struct {
		proxies         evidence.Proxies
		remote, forward string
		want            string
	}{
		"no proxy":                     {nil, "203.0.113.9:1", "", "203.0.113.9"},
		"a header without a proxy":     {nil, "203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		"a header of a stranger":       {trusted, "203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		"one proxy":                    {trusted, "10.1.1.1:1", "203.0.113.9", "203.0.113.9"},
		"two proxies":                  {trusted, "10.1.1.1:1", "203.0.113.9, 192.0.2.1", "203.0.113.9"},
		"what the client wrote itself": {trusted, "10.1.1.1:1", "198.51.100.1, 203.0.113.9", "203.0.113.9"},
		"garbage before":               {trusted, "10.1.1.1:1", "unknown, 203.0.113.9", "203.0.113.9"},
		"garbage at the end":           {trusted, "10.1.1.1:1", "203.0.113.9, unknown", "10.1.1.1"},
		"nothing written":              {trusted, "10.1.1.1:1", "", "10.1.1.1"},
		"only proxies":                 {trusted, "10.1.1.1:1", "10.2.2.2", "10.2.2.2"},
		"IPv6":                         {trusted, "[2001:db8::1]:1", "", "2001:db8::1"},
		"IPv4 in IPv6":                 {trusted, "[::ffff:10.1.1.1]:1", "::ffff:203.0.113.9", "203.0.113.9"},
		"no address":                   {trusted, "pipe", "203.0.113.9", "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tc.remote, Header: http.Header{}}
			if tc.forward != "" {
				r.Header.Set("X-Forwarded-For", tc.forward)
			}
			require.Equal(t, tc.want, tc.proxies.Origin(r).String())
		})
	}
}

// FuzzOrigin: whatever a client writes, the answer is the connection's address or one that a trusted proxy passed on.
func FuzzOrigin(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.1", "10.1.1.1:1")
	f.Add(",,,,", "203.0.113.9:2")
	trusted := evidence.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, forwarded, remote string) {
		got := trusted.Origin(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}})
		at, err := netip.ParseAddrPort(remote)
		if err != nil {
			require.False(t, got.IsValid())
			return
		}
		if from := at.Addr().Unmap(); !trusted[0].Contains(from) {
			require.Equal(t, from, got, "a stranger's header counts for nothing")
		}
	})
}

func newBook(t *testing.T) (*evidence.Book, *account.Directory, *testkit.Clock) {
	t.Helper()
	dir, err := account.NewDirectory(nil)
	require.NoError(t, err)
	clock := testkit.NewClock(time.UnixMilli(1_700_000_000_000))
	b := evidence.New(dir, "gw1", clock.Now)
	t.Cleanup(b.Close)
	return b, dir, clock
}

func TestMemoryIsBounded(t *testing.T) {
	b, _, clock := newBook(t)
	for i := range 1000 {
		clock.Advance(time.Millisecond)
		b.Outside("shop", netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}))
	}
	got := b.Collect("shop").GetOutside()
	require.Len(t, got, 16)
	require.Equal(t, "203.0.3.231", got[0].GetAddress(), "the latest first")
	require.Empty(t, b.Collect("nobody").GetOutside())
}

func TestAFloodIsNotExplained(t *testing.T) {
	b, _, clock := newBook(t)
	asked := 0
	flood := func() {
		for range 1000 {
			b.Refused("shop", evidence.Refusal{}, func() gatewayv1.Mismatch { asked++; return gatewayv1.Mismatch_MISMATCH_TOKEN })
		}
	}
	flood()
	require.Equal(t, 20, asked)
	clock.Advance(time.Second)
	flood()
	require.Equal(t, 40, asked)
	counts := map[gatewayv1.Mismatch]uint64{}
	for _, r := range b.Collect("shop").GetRefused() {
		counts[r.GetMismatch()] = r.GetCount()
	}
	require.Equal(t, map[gatewayv1.Mismatch]uint64{gatewayv1.Mismatch_MISMATCH_TOKEN: 40, gatewayv1.Mismatch_MISMATCH_UNSPECIFIED: 1960}, counts)
}

func TestWhatIsKnownOfAnAccountGoesWithIt(t *testing.T) {
	b, dir, _ := newBook(t)
	a := account.Account{
		Name: "club", AppID: "wx0000000000000002", Revision: 1,
		Token: secret.New("token"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
	}
	require.NoError(t, dir.Apply(account.Update{Name: a.Name, Account: &a}))
	b.Taken("club", true)
	b.Verified("club")
	got := b.Collect("club")
	require.EqualValues(t, 1, got.GetTaken())
	require.EqualValues(t, 1, got.GetPrevious())
	require.EqualValues(t, 1, got.GetVerified())
	require.NoError(t, dir.Apply(account.Update{Name: a.Name}))
	require.Zero(t, b.Collect("club").GetTaken(), fmt.Sprint(b.Collect("club")))
}
