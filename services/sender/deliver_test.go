package sender_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender"
)

const (
	sent      = senderv1.SendState_SEND_STATE_SENT
	failed    = senderv1.SendState_SEND_STATE_FAILED
	ambiguous = senderv1.SendState_SEND_STATE_AMBIGUOUS
	parked    = senderv1.SendState_SEND_STATE_PARKED
)

func TestEveryClassOfErrorCode(t *testing.T) {
	for name, tc := range map[string]struct {
		answers  []answer
		want     senderv1.SendState
		calls    int
		reason   string
		window   string // reason of the quota afterwards
		outcomes string
	}{
		"success after system busy":       {[]answer{{errcode: -1}}, sent, 2, "", "", "transient ok"},
		"system busy for too long":        {[]answer{{errcode: -1}, {errcode: -1}, {errcode: -1}}, failed, 3, "3 times", "", "transient transient transient"},
		"40001 once":                      {[]answer{{errcode: 40001}}, sent, 2, "", "", "token ok"},
		"40014 once":                      {[]answer{{errcode: 40014}}, sent, 2, "", "", "token ok"},
		"42001 twice":                     {[]answer{{errcode: 42001}, {errcode: 42001}}, failed, 2, "another system", "", "token token"},
		"45011 quota of a minute":         {[]answer{{errcode: 45011}}, sent, 2, "", "", "rate ok"},
		"45015 window closed":             {[]answer{{errcode: 45015}}, failed, 1, "next action", "window closed: WeChat refused", "refused"},
		"45047 count used up":             {[]answer{{errcode: 45047}}, failed, 1, "next action", "window exhausted", "refused"},
		"43004 does not follow":           {[]answer{{errcode: 43004}}, failed, 1, "follow", "unsubscribed", "refused"},
		"43019 blacklisted":               {[]answer{{errcode: 43019}}, failed, 1, "blacklist", "window closed: WeChat refused", "refused"},
		"45002 too long":                  {[]answer{{errcode: 45002}}, failed, 1, "shorten", "", "refused"},
		"40007 media id":                  {[]answer{{errcode: 40007}}, failed, 1, "upload the media again", "", "refused"},
		"40008 message type":              {[]answer{{errcode: 40008}}, failed, 1, "", "", "refused"},
		"48001 no API":                    {[]answer{{errcode: 48001}}, failed, 1, "no customer-service API", "no customer-service API", "refused"},
		"50007 frozen account":            {[]answer{{errcode: 50007}}, failed, 1, "", "", "refused"},
		"unknown code":                    {[]answer{{errcode: 99999, errmsg: "what rid: 5f3ded7d-22929d02-4ba1f5f6"}}, failed, 1, "99999", "", "refused"},
		"a proxy in between":              {[]answer{{status: 403, raw: "forbidden"}}, sent, 2, "", "", "transient ok"},
		"a proxy that asks to slow down":  {[]answer{{status: 429, raw: "slow down"}}, sent, 2, "", "", "rate ok"},
		"502 may have been sent":          {[]answer{{status: 502, raw: "bad gateway"}}, ambiguous, 1, "may have", "", "unknown"},
		"an answer that is cut off":       {[]answer{{raw: `{"errcode":0,`}}, ambiguous, 1, "may have", "", "unknown"},
		"an answer that is no JSON":       {[]answer{{raw: "<html>"}}, ambiguous, 1, "may have", "", "unknown"},
		"a connection that is reset":      {[]answer{{reset: true}}, ambiguous, 1, "may have", "", "unknown"},
		"an API that never answers":       {[]answer{{hang: true}}, ambiguous, 1, "may have", "", "unknown"},
		"success without an error code":   {[]answer{{raw: "{}"}}, sent, 1, "", "", "ok"},
		"busy, then a token, then a rate": {[]answer{{errcode: -1}, {errcode: 40001}, {errcode: 45011}}, sent, 4, "", "", "transient token rate ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			if tc.answers[0].hang {
				f.cfg.CallTimeout = time.Second
			}
			s := f.replica(t, "a")
			f.wechat.once(tc.answers...)
			resp := send(t, s, f.request("fan-1", "k1", "hello"))
			rec := ends(t, s, "shop", resp.GetId(), tc.want)
			f.idle(t)
			require.Len(t, f.wechat.seen(), tc.calls)
			require.EqualValues(t, tc.calls, rec.GetAttempts())
			require.Contains(t, rec.GetReason(), tc.reason)
			require.Contains(t, quota(t, s, "shop", "fan-1").GetReason(), tc.window)
			settled, attempts := settledOf(f.facts(t, 1), resp.GetId())
			require.Equal(t, tc.want, settled.GetState())
			require.Equal(t, rec.GetErrcode(), settled.GetErrcode())
			var outcomes []string
			for i, a := range attempts {
				require.EqualValues(t, i+1, a.GetAttempt())
				outcomes = append(outcomes, a.GetOutcome())
			}
			require.Equal(t, tc.outcomes, strings.Join(outcomes, " "))
			if tc.window == "" {
				want := int32(4)
				if tc.want == failed {
					want = 5
				}
				require.Equal(t, want, quota(t, s, "shop", "fan-1").GetRemaining(), "WeChat counts what it took, and perhaps what nobody knows")
			}
		})
	}
}

func TestADeadTokenIsReportedOnceAndReplaced(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.once(answer{errcode: 40001})
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	ends(t, s, "shop", resp.GetId(), sent)
	calls := f.wechat.seen()
	require.Equal(t, "access-token-1", calls[0].Token)
	require.Equal(t, "access-token-2", calls[1].Token)
	require.Equal(t, 1, f.tokens.reported())
}

// TestATokenThatIsKnownToBeBadIsNotUsed: while the token service cannot replace it, WeChat is left alone.
func TestATokenThatIsKnownToBeBadIsNotUsed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.answer(func(c call, _ int) answer {
		if c.Token == "access-token-1" {
			return answer{errcode: 40001}
		}
		return answer{}
	})
	f.tokens.set(nil)
	first := send(t, s, f.request("fan-0", "k0", "hello")) // learns token 1 and replaces it
	ends(t, s, "shop", first.GetId(), sent)
	f.wechat.answer(func(c call, _ int) answer {
		if c.Token == "access-token-2" {
			return answer{errcode: 40001}
		}
		return answer{}
	})
	f.tokens.set(fault.Status(fault.New(fault.Exhausted, "budget of forced refreshes")))
	var ids []string
	for i := range 5 {
		ids = append(ids, send(t, s, f.request(fmt.Sprint("fan-", i), fmt.Sprint("k-", i), "hello")).GetId())
	}
	require.Eventually(t, func() bool { return f.tokens.reported() >= 3 }, 30*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, len(f.wechat.seen()), 2+5, "at most those that were under way")
	f.tokens.set(nil)
	for _, id := range ids {
		rec := ends(t, s, "shop", id, sent)
		require.LessOrEqual(t, rec.GetAttempts(), uint32(2))
	}
}

func TestAnAccountWithoutATokenWaits(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.tokens.set(fault.Status(fault.New(fault.Unavailable, "WeChat does not answer")))
	s := f.replica(t, "a")
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	require.Eventually(t, func() bool { return strings.Contains(f.tel.Log.String(), "no access token") }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, senderv1.SendState_SEND_STATE_QUEUED, state(t, s, "shop", resp.GetId()).GetState())
	f.tokens.set(nil)
	rec := ends(t, s, "shop", resp.GetId(), sent)
	require.EqualValues(t, 1, rec.GetAttempts())
}

func TestAnAccountWithoutTheAPIIsMarked(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s, other := f.replica(t, "a"), f.replica(t, "b")
	f.wechat.once(answer{errcode: 48001})
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	ends(t, s, "shop", resp.GetId(), failed)
	for _, replica := range []*sender.Service{s, other} {
		require.Eventually(t, func() bool {
			return strings.Contains(quota(t, replica, "shop", "fan-2").GetReason(), "no customer-service API")
		}, 30*time.Second, 5*time.Millisecond)
		_, err := replica.Send(t.Context(), f.request("fan-2", "k2", "hello"))
		require.ErrorContains(t, err, "no customer-service API")
	}
	require.Len(t, f.wechat.seen(), 1)
	f.clock.advance(f.cfg.NoAPIPause + time.Second)
	again := send(t, s, f.request("fan-2", "k3", "hello"))
	ends(t, s, "shop", again.GetId(), sent)
}

func TestAWeChatThatCannotBeReachedIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	f.base = "http://" + address
	s := f.replica(t, "a")
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	require.Eventually(t, func() bool { return state(t, s, "shop", resp.GetId()).GetAttempts() >= 2 }, 30*time.Second, 10*time.Millisecond)
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	back := httptest.NewUnstartedServer(f.wechat.Config.Handler)
	require.NoError(t, back.Listener.Close())
	back.Listener = listener
	back.Start()
	defer back.Close()
	ends(t, s, "shop", resp.GetId(), sent)
	require.Len(t, f.wechat.seen(), 1)
}

// TestAHangingAPIIsLeftAlone: no more calls than the bulkhead at once, and none while the breaker is open.
func TestAHangingAPIIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.CallTimeout = 4 * time.Second // the call of the other account is answered in time
	f.cfg.Pace.InFlight, f.cfg.Pace.BreakerFailures, f.cfg.Pace.BreakerOpen = 3, 5, time.Hour
	s := f.replica(t, "a")
	f.wechat.answer(func(call, int) answer { return answer{hang: true} })
	for i := range 30 {
		send(t, s, f.request(fmt.Sprint("fan-", i), fmt.Sprint("k", i), "hello"))
	}
	require.Eventually(t, func() bool { return strings.Contains(f.metrics(t), `state="open"`) }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { now, _ := f.calls.read(); return now == 0 }, 30*time.Second, 10*time.Millisecond)
	calls := len(f.wechat.seen())
	require.LessOrEqual(t, calls, 8, "five failures open the breaker, at most three calls are under way then")
	_, most := f.calls.read()
	require.LessOrEqual(t, most, 3)
	other := f.request("fan-1", "k", "hello")
	other.Account = "other"
	f.wechat.answer(nil)
	resp := send(t, s, other)
	ends(t, s, "other", resp.GetId(), sent)
	require.Len(t, f.wechat.seen(), calls+1, "other accounts are not affected")
}

func (f *fixture) metrics(t testing.TB) string {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(f.tel.Registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

// TestAUsedUpQuotaParksTheAccountUntilMidnight: no call more, in no replica and not after a restart,
// and the order of a fan's messages is kept.
func TestAUsedUpQuotaParksTheAccountUntilMidnight(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.Pace.Hold = time.Second
	shanghai := time.FixedZone("Asia/Shanghai", 8*60*60)
	now := f.clock.Now().In(shanghai)
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, shanghai)
	f.clock.freeze(midnight.Add(-2 * time.Second))
	a := f.replica(t, "a")
	b := f.replica(t, "b")
	f.wechat.answer(func(call, int) answer { return answer{errcode: 45009} })

	var ids []string
	for i := range 3 {
		ids = append(ids, send(t, a, f.request("fan-1", fmt.Sprint("one-", i), fmt.Sprint("message ", i))).GetId())
	}
	rec := ends(t, a, "shop", ids[0], parked)
	require.Equal(t, midnight.UnixMilli(), rec.GetNotBeforeUnixMs())
	require.EqualValues(t, 45009, rec.GetErrcode())
	for i := range 20 { // other fans, in every partition, through both replicas
		s := []*sender.Service{a, b}[i%2]
		ids = append(ids, send(t, s, f.request(fmt.Sprint("fan-", i+2), fmt.Sprint("two-", i), "hello")).GetId())
	}
	stopNow(t, a)
	c := f.replica(t, "c")
	require.Eventually(t, func() bool {
		n := 0
		for _, id := range ids[3:] {
			if state(t, c, "shop", id).GetState() == parked {
				n++
			}
		}
		return n >= 15
	}, 30*time.Second, 10*time.Millisecond)
	require.Len(t, f.wechat.of(customSend), 1, "one replica learned it, all know it")

	f.wechat.answer(nil)
	f.clock.freeze(midnight)
	for _, id := range ids {
		ends(t, c, "shop", id, sent)
	}
	require.Equal(t, []string{"message 0", "message 0", "message 1", "message 2"}, f.wechat.texts("fan-1"))
	require.Len(t, f.wechat.of(customSend), 1+len(ids))
}

// TestAShorterPauseAfterAUsedUpQuota: where somebody clears quotas, nobody waits for midnight.
func TestAShorterPauseAfterAUsedUpQuota(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.QuotaPause = 300 * time.Millisecond
	s := f.replica(t, "a")
	f.wechat.once(answer{errcode: 45009})
	id := send(t, s, f.request("fan-1", "one", "hello")).GetId()
	require.EqualValues(t, 2, ends(t, s, "shop", id, sent).GetAttempts())
	require.Equal(t, []string{"hello", "hello"}, f.wechat.texts("fan-1"))
}

func stopNow(t testing.TB, s *sender.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

// TestAMessageWhoseCallNobodyFinishedIsAmbiguous: the worker died between the call and the record.
func TestAMessageWhoseCallNobodyFinishedIsAmbiguous(t *testing.T) {
	for account, want := range map[string]struct {
		state senderv1.SendState
		calls int
	}{"shop": {ambiguous, 0}, "again": {sent, 1}} {
		t.Run(account, func(t *testing.T) {
			f := setUp(t)
			m := f.orphan(t, account)
			s := f.replica(t, "b")
			rec := ends(t, s, account, m.GetId(), want.state)
			f.idle(t)
			require.Len(t, f.wechat.seen(), want.calls)
			settled, attempts := settledOf(f.facts(t, 1), m.GetId())
			require.Equal(t, want.state, settled.GetState())
			require.Equal(t, "unknown", attempts[0].GetOutcome())
			require.EqualValues(t, 1+want.calls, rec.GetAttempts())
			if want.state == ambiguous {
				require.Contains(t, f.metrics(t), `wxbus_sender_ambiguous_total{account="shop"} 1`)
			}
		})
	}
}

// orphan leaves what a worker leaves that is killed during a call.
func (f *fixture) orphan(t *testing.T, account string) *senderv1.OutboundMessage {
	t.Helper()
	now := f.clock.Now().UnixMilli()
	m := &senderv1.OutboundMessage{
		Id: sendID(account, "k1"), Account: account, Openid: "fan-1", Lane: senderv1.Lane_LANE_RULE, Content: text("hello"),
		AcceptedUnixMs: now, Partition: f.env.Topology.Partition(account, "fan-1"),
	}
	value, err := proto.Marshal(&senderv1.SendRecord{
		Id: m.Id, State: senderv1.SendState_SEND_STATE_CALLING, Attempts: 1, Worker: "a", Openid: "fan-1",
		AcceptedUnixMs: now, UpdatedUnixMs: f.clock.Now().Add(-time.Minute).UnixMilli(),
	})
	require.NoError(t, err)
	_, err = f.bucket(t, topology.BucketSends).Create(t.Context(), account+"."+m.Id, value)
	require.NoError(t, err)
	subject, err := topology.SubjectOutbound(m.Lane, account, m.Partition, m.Openid)
	require.NoError(t, err)
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	_, err = f.env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: m.Id, Data: data})
	require.NoError(t, err)
	return m
}

// TestAKilledSenderNeverSendsTwice cuts a replica off the bus in the middle of a call. Another one takes
// over; the fan gets the message at most once.
func TestAKilledSenderNeverSendsTwice(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.cfg.CallTimeout = 300 * time.Millisecond
	a, conn := f.replicaOn(t, "a")
	reached := make(chan struct{})
	var once sync.Once
	f.wechat.answer(func(call, int) answer {
		once.Do(func() { close(reached) })
		return answer{hang: true}
	})
	resp := send(t, a, f.request("fan-1", "k1", "hello"))
	<-reached
	conn.NC().Close()
	b := f.replica(t, "b")
	ends(t, b, "shop", resp.GetId(), ambiguous)
	f.idle(t)
	require.Len(t, f.wechat.seen(), 1)
}

// TestAStoppedSenderFinishesItsCall: a deployment makes nothing ambiguous.
func TestAStoppedSenderFinishesItsCall(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	reached, release := make(chan struct{}), make(chan struct{})
	f.wechat.answer(func(_ call, nth int) answer {
		close(reached)
		<-release
		return answer{}
	})
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	<-reached
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		stopped <- s.Stop(ctx)
	}()
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	<-stopped
	require.Equal(t, sent, state(t, f.replica(t, "b"), "shop", resp.GetId()).GetState())
}

func TestTwoReplicasSendEverythingOnceAndInOrder(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	replicas := []*sender.Service{f.replica(t, "a"), f.replica(t, "b")}
	const fans, each = 20, 5
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(7, 7))
	f.wechat.answer(func(call, int) answer {
		mu.Lock()
		defer mu.Unlock()
		switch n := random.IntN(100); {
		case n < 8:
			return answer{errcode: -1}
		case n < 12:
			return answer{errcode: 40001}
		case n < 14:
			return answer{status: 403, raw: "proxy"}
		}
		return answer{}
	})
	var done sync.WaitGroup
	for fan := range fans {
		done.Go(func() {
			for i := range each {
				openid := fmt.Sprint("fan-", fan)
				send(t, replicas[(fan+i)%2], f.request(openid, fmt.Sprint(openid, "-", i), fmt.Sprint("message ", i)))
			}
		})
	}
	done.Wait()
	f.idle(t)
	facts := f.facts(t, fans*each)
	ends := map[senderv1.SendState]int{}
	for _, one := range facts {
		if one.settled != nil {
			ends[one.settled.GetState()]++
		}
	}
	require.Equal(t, fans*each, ends[sent]+ends[failed])
	for fan := range fans {
		got := f.wechat.texts(fmt.Sprint("fan-", fan))
		require.True(t, slices.IsSorted(got), "order of fan %d: %v", fan, got)
	}
}

// TestAClusterSendsEverythingOnce: with three servers, where a read may be answered by one that is behind,
// callers that repeat themselves and two senders, every fan gets every message once.
func TestAClusterSendsEverythingOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take a while")
	}
	t.Parallel()
	f := setUp(t)
	f.env = bustest.Cluster(t, 3).Env
	replicas := []*sender.Service{f.replica(t, "a"), f.replica(t, "b")}
	const fans, each = 15, 4
	var done sync.WaitGroup
	for fan := range fans {
		done.Go(func() {
			openid := fmt.Sprint("fan-", fan)
			for i := range each {
				var twice sync.WaitGroup
				for r := range 2 {
					twice.Go(func() { f.insist(t, replicas[r], openid, i) })
				}
				twice.Wait()
			}
		})
	}
	done.Wait()
	f.idle(t)
	for fan := range fans {
		openid := fmt.Sprint("fan-", fan)
		require.Equal(t, []string{"message 0", "message 1", "message 2", "message 3"}, f.wechat.texts(openid))
		require.Eventually(t, func() bool { return quota(t, replicas[0], "shop", openid).GetRemaining() == 5-each },
			10*time.Second, 20*time.Millisecond, "%v", quota(t, replicas[0], "shop", openid))
	}
}

// insist calls until there is an answer, as callers do.
func (f *fixture) insist(t *testing.T, s *sender.Service, openid string, i int) {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if _, err = s.Send(t.Context(), f.request(openid, fmt.Sprint(openid, "-", i), fmt.Sprint("message ", i))); err == nil {
			return
		}
		if fault.Dispose(err) != fault.Retry {
			t.Error(err)
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Errorf("no answer after 30 s: %v", err)
}

func TestMessagesOfManyLanesAllArrive(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	lanes := []senderv1.Lane{
		senderv1.Lane_LANE_UNSPECIFIED, senderv1.Lane_LANE_AGENT, senderv1.Lane_LANE_RULE, senderv1.Lane_LANE_NOTIFY, senderv1.Lane_LANE_CAMPAIGN,
	}
	for _, lane := range lanes {
		req := f.request("fan-1", lane.String(), lane.String())
		req.Lane = lane
		send(t, s, req)
	}
	f.idle(t)
	require.Len(t, f.wechat.texts("fan-1"), len(lanes))
}

func TestWhatCannotBeDecodedIsADeadLetter(t *testing.T) {
	f := setUp(t)
	f.replica(t, "a")
	for i, data := range [][]byte{{0xff}, nil, marshal(t, &senderv1.OutboundMessage{Id: "x", Account: "gone", Openid: "o", Content: text("x")})} {
		subject, err := topology.SubjectOutbound(senderv1.Lane_LANE_RULE, "shop", 0, fmt.Sprint("fan-", i))
		require.NoError(t, err)
		_, err = f.env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: fmt.Sprint(i), Data: data})
		require.NoError(t, err)
	}
	f.idle(t)
	dead, err := f.env.JS.Stream(t.Context(), "DLQ")
	require.NoError(t, err)
	require.EqualValues(t, 3, dead.CachedInfo().State.Msgs)
	require.Empty(t, f.wechat.seen())
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	return data
}

func TestAMessageThatWaitedTooLongIsGivenUp(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.tokens.set(fault.Status(fault.New(fault.Unavailable, "no")))
	s := f.replica(t, "a")
	resp := send(t, s, f.request("fan-1", "k1", "hello"))
	require.Eventually(t, func() bool { return strings.Contains(f.tel.Log.String(), "no access token") }, 30*time.Second, 5*time.Millisecond)
	f.clock.advance(f.cfg.MaxAge)
	rec := ends(t, s, "shop", resp.GetId(), failed)
	require.Contains(t, rec.GetReason(), "waited too long")
	require.Empty(t, f.wechat.seen())
}

func TestConfigIsChecked(t *testing.T) {
	require.NoError(t, sender.DefaultConfig().Validate())
	cfg := sender.DefaultConfig()
	cfg.CallTimeout = 0
	cfg.BusyPauses = make([]time.Duration, 3)
	cfg.Pace.Rate = 0
	cfg.Grants.Official.Message.Messages = -1
	err := cfg.Validate()
	for _, want := range []string{"call_timeout:", "busy_pauses:", "busy_pauses[0]:", "pace.rate:", "grants.official.message.messages:"} {
		require.ErrorContains(t, err, want)
	}
	_, err = sender.New(cfg, sender.Deps{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
