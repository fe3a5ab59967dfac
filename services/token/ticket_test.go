package token_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/services/token"
)

const jsapi = tokenv1.TicketKind_TICKET_KIND_JSAPI

func ticket(t testing.TB, s *token.Service, kind tokenv1.TicketKind, bad uint64) (*tokenv1.GetTicketResponse, error) {
	t.Helper()
	return s.Accounts().GetTicket(t.Context(), &tokenv1.GetTicketRequest{Account: "shop", Kind: kind, BadGeneration: bad})
}

func tokenStatus(t testing.TB, s *token.Service) *tokenv1.GetTokenStatusResponse {
	t.Helper()
	resp, err := s.Accounts().GetTokenStatus(t.Context(), &tokenv1.GetTokenStatusRequest{Account: "shop"})
	require.NoError(t, err)
	return resp
}

func TestTicketsAreKeptLikeTokens(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	first, err := ticket(t, a, jsapi, 0)
	require.NoError(t, err)
	require.Equal(t, "jsapi-ticket-1-of-the-account", first.GetTicket())
	require.EqualValues(t, 1, first.GetGeneration())
	require.Equal(t, (2 * time.Hour).Milliseconds(), first.GetValidForMs())
	card, err := ticket(t, a, tokenv1.TicketKind_TICKET_KIND_WX_CARD, 0)
	require.NoError(t, err)
	require.Equal(t, "wx_card-ticket-1-of-the-account", card.GetTicket())
	again, err := ticket(t, b, jsapi, 0)
	require.NoError(t, err)
	require.Equal(t, first.GetTicket(), again.GetTicket())
	require.Equal(t, 2, f.wechat.ticketCalls())

	_, err = ticket(t, a, jsapi, 1)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "WeChat gives the same one")
	f.clock.Advance(f.cfg.FailedBackoff)
	f.wechat.set(func(w *fakeWeChat) { w.ticket = 2 })
	second, err := ticket(t, a, jsapi, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, second.GetGeneration())

	_, err = ticket(t, a, tokenv1.TicketKind_TICKET_KIND_UNSPECIFIED, 0)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// TestTenThousandCallersWithADeadTicketMakeOneRefresh is the same promise as for tokens.
func TestTenThousandCallersWithADeadTicketMakeOneRefresh(t *testing.T) {
	f := setUp(t)
	replicas := []*token.Service{f.replica(t, "a"), f.replica(t, "b")}
	dead, err := ticket(t, replicas[0], jsapi, 0)
	require.NoError(t, err)
	f.wechat.set(func(w *fakeWeChat) { w.ticket, w.tickets = 2, 0 })
	const callers = 10_000
	begin := make(chan struct{})
	var mu sync.Mutex
	var done sync.WaitGroup
	got := map[string]int{}
	for i := range callers {
		done.Go(func() {
			<-begin
			fresh, err := ticket(t, replicas[i%2], jsapi, dead.GetGeneration())
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(fresh.GetTicket(), fresh.GetGeneration(), err)]++
		})
	}
	close(begin)
	done.Wait()
	require.Equal(t, map[string]int{fmt.Sprint("jsapi-ticket-2-of-the-account", 2, nil): callers}, got)
	require.Equal(t, 1, f.wechat.ticketCalls())
}

func TestATicketWhoseTokenIsDeadTakesANewToken(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	get(t, s)
	f.clock.Advance(10 * time.Minute)
	f.wechat.set(func(w *fakeWeChat) { w.replace() })
	got, err := ticket(t, s, jsapi, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.GetGeneration())
	require.EqualValues(t, 2, get(t, s).GetGeneration())
}

func TestARefusedTicketIsExplainedAndNotHammered(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.set(func(w *fakeWeChat) { w.ticketCode = 48001 })
	for range 100 {
		_, err := ticket(t, s, jsapi, 0)
		require.Equal(t, fault.Refused, fault.KindOf(err))
		require.ErrorContains(t, err, "48001")
		require.ErrorContains(t, err, "permission")
		require.NotContains(t, err.Error(), "of-the-account")
	}
	require.Equal(t, 1, f.wechat.ticketCalls())
	require.Contains(t, tokenStatus(t, s).GetTickets()[0].GetStatus().GetLastError(), "48001")
}

func TestAPageIsSignedAsTheBrowserHasIt(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	sign := func(page string) (*tokenv1.SignJSAPIResponse, error) {
		return s.Accounts().SignJSAPI(t.Context(), &tokenv1.SignJSAPIRequest{Account: "shop", Url: page})
	}
	resp, err := sign("https://shop.example.com/券?id=1&x=%E5%88%B8#/home")
	require.NoError(t, err)
	require.Equal(t, "wx0000000000000001", resp.GetAppid())
	require.Equal(t, "https://shop.example.com/券?id=1&x=%E5%88%B8", resp.GetUrl())
	require.Equal(t, f.clock.Now().Unix(), resp.GetTimestamp())
	require.Len(t, resp.GetNonceStr(), 16)
	require.Equal(t, wechat.SignJSSDK("jsapi-ticket-1-of-the-account", resp.GetNonceStr(), strconv.FormatInt(resp.GetTimestamp(), 10), resp.GetUrl()), resp.GetSignature())
	again, err := sign("https://shop.example.com/")
	require.NoError(t, err)
	require.NotEqual(t, resp.GetNonceStr(), again.GetNonceStr())
	require.Equal(t, 1, f.wechat.ticketCalls())

	for _, wrong := range []string{"", "shop.example.com", "javascript:alert(1)", "/page"} {
		_, err := sign(wrong)
		require.Equal(t, fault.Invalid, fault.KindOf(err), wrong)
	}
}

func TestTheStateOfATokenCanBeSeenWithoutIt(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	before := tokenStatus(t, s)
	require.Zero(t, before.GetToken().GetGeneration())
	require.EqualValues(t, 20, before.GetForcedLeft())
	require.Nil(t, before.GetNextForcedAt())

	fetched := f.clock.Now()
	get(t, s)
	f.clock.Advance(20 * time.Second)
	f.wechat.set(func(w *fakeWeChat) { w.replace() }) // another system
	_, err := bad(t, s, 1)
	require.NoError(t, err)
	died := f.clock.Now()
	f.clock.Advance(time.Minute)
	_, err = bad(t, s, 2) // WeChat keeps giving the same: forced
	require.NoError(t, err)
	_, err = ticket(t, s, jsapi, 0)
	require.NoError(t, err)

	st := tokenStatus(t, s)
	require.EqualValues(t, 3, st.GetToken().GetGeneration())
	require.EqualValues(t, 3, st.GetToken().GetRefreshesToday())
	require.Equal(t, f.clock.Now().UnixMilli(), st.GetToken().GetFetchedAt().AsTime().UnixMilli())
	require.Equal(t, f.clock.Now().Add(2*time.Hour).UnixMilli(), st.GetToken().GetExpiresAt().AsTime().UnixMilli())
	require.EqualValues(t, 19, st.GetForcedLeft())
	require.EqualValues(t, 20, st.GetForcedLimit())
	require.Equal(t, f.clock.Now().Add(30*time.Second).UnixMilli(), st.GetNextForcedAt().AsTime().UnixMilli())
	require.Len(t, st.GetTickets(), 1)
	require.Equal(t, jsapi, st.GetTickets()[0].GetKind())

	require.True(t, st.GetOutsideAlarm())
	require.EqualValues(t, 1, st.GetOutsideRefreshes())
	evidence := st.GetOutside()[0]
	require.EqualValues(t, 1, evidence.GetGeneration())
	require.Equal(t, fetched.UnixMilli(), evidence.GetFetchedAt().AsTime().UnixMilli())
	require.Equal(t, died.UnixMilli(), evidence.GetDiedAt().AsTime().UnixMilli())
	require.Equal(t, 2*time.Hour-20*time.Second, evidence.GetRemaining().AsDuration())
	require.EqualValues(t, 40001, evidence.GetErrcode())
	require.True(t, evidence.GetReplaced())
	require.NotContains(t, st.String(), "of-the-account")

	f.clock.Advance(24 * time.Hour)
	require.False(t, tokenStatus(t, s).GetOutsideAlarm(), "a day later it is history")
	_, err = s.Accounts().GetTokenStatus(t.Context(), &tokenv1.GetTokenStatusRequest{Account: "nobody"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestCallbackIPsAreFetchedOnceAndKept(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	ask := func(s *token.Service, fresh bool) *tokenv1.GetCallbackIPsResponse {
		resp, err := s.Accounts().GetCallbackIPs(t.Context(), &tokenv1.GetCallbackIPsRequest{Account: "shop", Refresh: fresh})
		require.NoError(t, err)
		return resp
	}
	require.Equal(t, []string{"203.0.113.0/24", "198.51.100.7/32"}, ask(a, false).GetPrefixes())
	require.Eventually(t, func() bool { return tokenStatus(t, b).GetCallbackIpsFetchedAt() != nil }, 30*time.Second, time.Millisecond)
	ask(b, false)
	f.wechat.set(func(w *fakeWeChat) { require.Equal(t, 1, w.ipCalls); w.ips = []string{"192.0.2.1"} })
	require.Equal(t, []string{"192.0.2.1/32"}, ask(b, true).GetPrefixes())
}
