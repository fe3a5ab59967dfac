package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

const (
	delivered     = gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED
	undeliverable = gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE
)

func TestPassiveReplyInEveryModeAndFormat(t *testing.T) {
	r := newRig(t)
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		_, err := r.offer(ctx, e, say("echo: "+e.GetText().GetContent()))
		return err
	})
	for i, mode := range []account.Mode{account.ModeSecure, account.ModeCompatible, account.ModePlaintext} {
		for j, format := range []wechat.Format{wechat.XML, wechat.JSON} {
			t.Run(string(mode)+" "+format.String(), func(t *testing.T) {
				g := r.gateway(t, patient(), shop(func(a *account.Account) {
					a.Mode, a.AllowInsecure, a.Reply = mode, true, account.ReplyPassive
				}))
				query, body := valid.seal(t, mode, format, message{format: format, id: fmt.Sprint(10*i + j + 1), content: "在吗"}.body())
				got := g.post(t.Context(), query, body)
				require.Equal(t, format.ContentType(), got.contentType)
				require.Less(t, got.took, patient().PassiveDeadline)
				if mode == account.ModePlaintext {
					require.Equal(t, "echo: 在吗", textOf(t, []byte(got.body)))
					return
				}
				require.NotContains(t, got.body, "echo", "the reply is sealed")
				require.Equal(t, "echo: 在吗", requireText(t, got, key))
			})
		}
	}
}

func TestReplyIsSealedWithTheKeyThatOpenedThePush(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(func(a *account.Account) {
		a.Reply, a.PreviousEncodingAESKey = account.ReplyPassive, secret.New(previousKey)
	}))
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		_, err := r.offer(ctx, e, say("hello"))
		return err
	})
	old := valid
	old.key = previousKey
	query, body := old.seal(t, account.ModeSecure, wechat.XML, message{id: "1", content: "x"}.body())
	require.Equal(t, "hello", requireText(t, g.post(t.Context(), query, body), previousKey))
}

func TestOfferIsAnsweredAfterTheBytesWereWritten(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	require.Equal(t, g.Instance(), e.GetGatewayInstance())
	require.WithinDuration(t, time.UnixMilli(e.GetReceivedUnixMs()).Add(patient().PassiveDeadline), time.UnixMilli(e.GetPassiveDeadlineUnixMs()), time.Millisecond)

	res, err := r.offer(t.Context(), e, say("hello"))
	require.NoError(t, err)
	require.Equal(t, delivered, res.GetOutcome())
	require.Equal(t, "hello", requireText(t, <-answer, key))

	res, err = r.offer(t.Context(), e, say("something else"))
	require.NoError(t, err)
	require.Equal(t, delivered, res.GetOutcome(), "asked again, it says what happened")
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_offers_total", "outcome=delivered"))
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_waiting") == 0 }, 30*time.Second, time.Millisecond)
}

func TestDeadlineWithoutAnOffer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, quick(), shop(passiveShop))
	got := g.push(t, message{id: "1", content: "x"})
	requireSuccess(t, got)
	require.GreaterOrEqual(t, got.took, quick().PassiveDeadline)

	e := r.nextEvent(t)
	for range 2 {
		res, err := r.offer(t.Context(), e, say("too late"))
		require.NoError(t, err)
		require.Equal(t, undeliverable, res.GetOutcome())
		require.Equal(t, "nobody waits here", res.GetReason())
	}
}

func TestOfferPastItsOwnDeadlineIsNotWritten(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(passiveShop))
	answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	res, err := r.offerUntil(t.Context(), e, say("hello"), time.Now().Add(-time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, undeliverable, res.GetOutcome())
	requireSuccess(t, <-answer)
}

func TestClientGoneBeforeTheOffer(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	ctx, hangUp := context.WithCancel(t.Context())
	answer := g.begin(ctx, t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_waiting") == 1 }, 30*time.Second, time.Millisecond)
	hangUp()
	require.Error(t, (<-answer).err)
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_waiting") == 0 }, 30*time.Second, time.Millisecond)
	res, err := r.offer(t.Context(), e, say("hello"))
	require.NoError(t, err)
	require.Equal(t, undeliverable, res.GetOutcome())
}

func TestDismissalEndsTheWaitAtOnce(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		if _, err := r.store.Create(ctx, decide(e, rulev1.Route_ROUTE_NONE, nil)); err != nil {
			return err
		}
		_, err := r.offer(ctx, e, nil)
		return err
	})
	got := g.push(t, message{id: "1", content: "x"})
	requireSuccess(t, got)
	require.Less(t, got.took, patient().PassiveDeadline/2)
}

func TestReplyThatCannotGoPassively(t *testing.T) {
	menu := &eventv1.Content{Body: &eventv1.Content_Menu{Menu: &eventv1.MenuContent{Head: "?"}}}
	for name, c := range map[string]*eventv1.Content{"a menu": menu, "a long text": say(strings.Repeat("长", 1000))} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := r.gateway(t, patient(), shop(passiveShop))
			answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
			res, err := r.offer(t.Context(), r.nextEvent(t), c)
			require.NoError(t, err)
			require.Equal(t, undeliverable, res.GetOutcome())
			require.Contains(t, res.GetReason(), "encode passive reply")
			requireSuccess(t, <-answer)
		})
	}
}

func TestMiniProgramGetsNoPassiveContent(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(func(a *account.Account) { a.Kind, a.Reply = account.KindMiniProgram, account.ReplyPassive }))
	answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
	res, err := r.offer(t.Context(), r.nextEvent(t), say("hello"))
	require.NoError(t, err)
	require.Equal(t, undeliverable, res.GetOutcome())
	requireSuccess(t, <-answer)
}

func TestEventsWithoutAnAnswerAreNotWaitedFor(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	raw := strings.Replace(message{id: "1", content: "x"}.body(), "[text]]></MsgType>", "[event]]></MsgType><Event>unsubscribe</Event>", 1)
	got := g.push(t, message{raw: raw})
	requireSuccess(t, got)
	require.Less(t, got.took, patient().PassiveDeadline)
	require.Empty(t, r.nextEvent(t).GetGatewayInstance())
}

func TestMalformedOffersAreRefused(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	subject, err := topology.SubjectOffer(g.Instance())
	require.NoError(t, err)
	_, err = r.env.Conn.Request(t.Context(), subject, []byte{0xff})
	require.ErrorContains(t, err, "decode offer")
	_, err = r.env.Conn.Request(t.Context(), subject, nil)
	require.ErrorContains(t, err, "event_id")
	_, err = r.offerUntil(t.Context(), &eventv1.InboundEvent{Id: "x", GatewayInstance: g.Instance()}, say("x"), time.UnixMilli(0))
	require.ErrorContains(t, err, "deadline_unix_ms")
}

func TestTooManyWaits(t *testing.T) {
	r := newRig(t)
	cfg := quick()
	cfg.MaxWaits = 1
	g := r.gateway(t, cfg, shop(passiveShop))
	first := g.begin(t.Context(), t, message{id: "1", content: "x"})
	r.nextEvent(t)
	require.Eventually(t, func() bool { return r.metric(t, "wxbus_gateway_waiting") == 1 }, 30*time.Second, time.Millisecond)
	got := g.push(t, message{id: "2", content: "x"})
	requireSuccess(t, got)
	require.Less(t, got.took, cfg.PassiveDeadline)
	for _, e := range r.events(t, topology.StreamInbound) {
		if e.GetMsgId() == "2" {
			require.Empty(t, e.GetGatewayInstance(), "the event says that nobody waits")
		}
	}
	requireSuccess(t, <-first)
}

func TestDrainServesTheAttemptsThatWait(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	answer := g.begin(t.Context(), t, message{id: "1", content: "x"})
	e := r.nextEvent(t)
	var wg sync.WaitGroup
	wg.Go(func() { // the composition root: first the listener, then the service
		if err := g.server.Stop(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := g.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	require.Eventually(t, func() bool {
		res, err := client.Get(g.url)
		if err == nil {
			_ = res.Body.Close()
		}
		return err != nil
	}, 30*time.Second, time.Millisecond, "no new connection")
	res, err := r.offer(t.Context(), e, say("before I go"))
	require.NoError(t, err)
	require.Equal(t, delivered, res.GetOutcome())
	require.Equal(t, "before I go", requireText(t, <-answer, key))
	wg.Wait()
	_, err = r.offer(t.Context(), e, say("nobody"))
	require.ErrorIs(t, err, bus.ErrNoResponders)
}

func TestInstanceHasANewNameAfterARestart(t *testing.T) {
	r := newRig(t)
	directory, err := account.NewDirectory([]account.Account{shop(nil)})
	require.NoError(t, err)
	names := map[string]bool{}
	for range 3 {
		s := r.serviceNamed(t, "pod-1", directory)
		names[s.Instance()] = true
		require.NoError(t, s.Stop(t.Context()))
	}
	require.Len(t, names, 3)
}

// requireRecord waits until a record satisfies a condition.
func (r *rig) requireRecord(t testing.TB, e *eventv1.InboundEvent, ok func(*rulev1.DecisionMade) bool) *rulev1.DecisionMade {
	t.Helper()
	var rec *rulev1.DecisionMade
	require.Eventually(t, func() bool {
		var err error
		rec, _, err = r.store.Get(t.Context(), e.GetAccount(), e.GetOpenid(), e.GetId())
		return err == nil && ok(rec)
	}, 30*time.Second, 2*time.Millisecond)
	return rec
}
