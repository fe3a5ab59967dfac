package reply_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

// wire is a connection whose writes end as the test says. A real one cannot be made to fail halfway.
type wire struct {
	result reply.Written
	writes atomic.Int32
}

func (w *wire) Write([]byte, string, time.Time) reply.Written {
	w.writes.Add(1)
	return w.result
}

type counter struct{ offers, unsettled atomic.Int32 }

func (c *counter) Offered(context.Context, gatewayv1.OfferOutcome) { c.offers.Add(1) }
func (c *counter) Unsettled(context.Context)                       { c.unsettled.Add(1) }

type bench struct {
	env      *bustest.Env
	store    *decision.Store
	registry *reply.Registry
	desk     *reply.Desk
	counter  counter
	push     *push.Push
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{env: bustest.Start(t), registry: reply.NewRegistry(10, 10, time.Now)}
	b.store = decision.NewStore(b.env.Conn, b.env.Topology)
	b.desk = reply.NewDesk(reply.Deps{
		Registry: b.registry, Decisions: b.store, Observer: &b.counter, Log: slog.New(slog.DiscardHandler), Now: time.Now, Instance: "gw",
	})
	a := account.Account{Name: "shop", AppID: "wx1", Token: secret.New("PushToken"), Mode: account.ModePlaintext, AllowInsecure: true}
	opened, err := push.NewAccount(a, push.Options{})
	require.NoError(t, err)
	body := "<xml><ToUserName>gh_1</ToUserName><FromUserName>o_fan</FromUserName><CreateTime>1700000000</CreateTime><MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId></xml>"
	b.push, err = opened.Open(wechat.Query{Timestamp: "1", Nonce: "n", Signature: wechat.Sign("PushToken", "1", "n")}, []byte(body))
	require.NoError(t, err)
	return b
}

func (b *bench) attempt(result reply.Written) (*reply.Attempt, *wire) {
	w := &wire{result: result}
	times := reply.Times{Deadline: 10 * time.Second, End: 12 * time.Second, Hold: 15 * time.Second}
	return &reply.Attempt{Push: b.push, Arrived: time.Now(), Times: times, Client: w}, w
}

func (b *bench) create(t *testing.T) {
	_, err := b.store.Create(t.Context(), &rulev1.DecisionMade{
		Id: b.push.ID, Account: "shop", Openid: "o_fan", Route: rulev1.Route_ROUTE_PASSIVE, KfAllowed: true,
		PassiveUntilUnixMs: time.Now().Add(time.Minute).UnixMilli(), Replies: []*eventv1.Content{hello()},
	})
	require.NoError(t, err)
}

func (b *bench) claims(t *testing.T) []*rulev1.Claim {
	rec, _, err := b.store.Get(t.Context(), "shop", "o_fan", b.push.ID)
	require.NoError(t, err)
	return rec.GetClaims()
}

func TestOwnClaimIsSettledByWhatWasWritten(t *testing.T) {
	tests := []struct {
		written reply.Written
		verdict reply.Verdict
		claim   rulev1.ClaimState
	}{
		{reply.WroteAll, reply.Replied, rulev1.ClaimState_CLAIM_STATE_DELIVERED},
		{reply.WroteNothing, reply.Break, rulev1.ClaimState_CLAIM_STATE_RELEASED},
		{reply.WroteUnknown, reply.Break, rulev1.ClaimState_CLAIM_STATE_PENDING},
	}
	for _, tc := range tests {
		t.Run(fmt.Sprint(tc.claim), func(t *testing.T) {
			b := newBench(t)
			b.create(t)
			a, w := b.attempt(tc.written)
			require.Equal(t, tc.verdict, b.desk.ByRecord(t.Context(), a))
			require.Equal(t, int32(1), w.writes.Load())
			claims := b.claims(t)
			require.Len(t, claims, 1)
			require.Equal(t, tc.claim, claims[0].GetState())
			require.Equal(t, a.Arrived.Add(a.Times.Deadline).UnixMilli(), claims[0].GetUntilUnixMs())
		})
	}
}

func TestOfferIsAnsweredByWhatWasWritten(t *testing.T) {
	tests := []struct {
		written reply.Written
		verdict reply.Verdict
		outcome gatewayv1.OfferOutcome
	}{
		{reply.WroteAll, reply.Replied, delivered},
		{reply.WroteNothing, reply.Break, undeliverable},
		{reply.WroteUnknown, reply.Break, unknown},
	}
	for _, tc := range tests {
		t.Run(tc.outcome.String(), func(t *testing.T) {
			b := newBench(t)
			w := open(t, b.registry, b.push.ID)
			defer w.End()
			outcome := offerIn(t, b.registry, b.push.ID, time.Now().Add(time.Minute))
			a, _ := b.attempt(tc.written)
			require.Equal(t, tc.verdict, b.desk.Offered(t.Context(), a, w))
			require.Equal(t, tc.outcome, <-outcome)
			require.Equal(t, int32(1), b.counter.offers.Load())
		})
	}
}

// TestClaimWithoutAnAnswerIsNeverWritten: the bus takes the claim and the answer is lost, or not even
// that. Nothing may be written, and WeChat must not hear success.
func TestClaimWithoutAnAnswerIsNeverWritten(t *testing.T) {
	b := newBench(t)
	b.create(t)
	require.NoError(t, b.env.JS.DeleteStream(t.Context(), "DECISIONS"))
	a, w := b.attempt(reply.WroteAll)
	a.Times.Deadline, a.Times.End = 300*time.Millisecond, 600*time.Millisecond
	require.Equal(t, reply.Refuse, b.desk.ByRecord(t.Context(), a))
	require.Zero(t, w.writes.Load())
}

func TestClientGoneWhileItWaits(t *testing.T) {
	b := newBench(t)
	ctx, hangUp := context.WithCancel(t.Context())
	a, w := b.attempt(reply.WroteAll)
	verdict := make(chan reply.Verdict, 1)
	go func() { verdict <- b.desk.ByRecord(ctx, a) }()
	hangUp()
	require.Equal(t, reply.Break, <-verdict)
	b.create(t)
	require.Empty(t, b.claims(t))
	require.Zero(t, w.writes.Load())
}

func TestAnAttemptWhosePushIsNotWhereItIsDecidedAboutEndsBeforeItsDeadline(t *testing.T) {
	for _, tc := range []struct {
		name      string
		undecided bool // still, when no decision would come in time any more
		verdict   reply.Verdict
		outcome   gatewayv1.OfferOutcome
	}{
		{"the push is away", true, reply.Success, undeliverable},
		{"the push came home", false, reply.Replied, delivered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			w := open(t, b.registry, b.push.ID)
			defer w.End()
			a, written := b.attempt(reply.WroteAll)
			a.Times = reply.Times{Deadline: 2 * time.Minute, End: 4 * time.Minute}
			var late atomic.Int64 // how much later than it is the desk believes that it is
			late.Store(int64(a.Times.Deadline - reply.LastDecision))
			b.desk.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
			asked := make(chan struct{})
			a.Undecided = func() bool {
				if !tc.undecided {
					late.Store(0) // so that there is time for the offer, however slow the test is
				}
				close(asked)
				return tc.undecided
			}
			verdict := make(chan reply.Verdict, 1)
			go func() { verdict <- b.desk.Offered(t.Context(), a, w) }()
			<-asked
			if tc.undecided {
				require.Equal(t, tc.verdict, <-verdict)
			}
			require.Equal(t, tc.outcome, <-offerIn(t, b.registry, b.push.ID, time.Now().Add(time.Minute)))
			if !tc.undecided {
				require.Equal(t, tc.verdict, <-verdict)
			}
			require.Equal(t, tc.verdict == reply.Replied, written.writes.Load() == 1)
		})
	}
}

// Another gateway's earlier attempt may have been decided about although this one's push was spilled.
func TestADoomedAttemptGoesByTheRecordThatIsThere(t *testing.T) {
	b := newBench(t)
	b.create(t)
	w := open(t, b.registry, b.push.ID)
	defer w.End()
	a, _ := b.attempt(reply.WroteAll)
	a.Arrived = time.Now().Add(reply.LastDecision - a.Times.Deadline)
	a.Undecided = func() bool { return true }
	require.Equal(t, reply.Refuse, b.desk.Offered(t.Context(), a, w), "the record is open: success would end what a retry can still bring")
}
