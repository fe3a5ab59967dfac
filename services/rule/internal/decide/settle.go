package decide

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

const (
	// offerGrace is how much longer than the gateway's own deadline its answer is waited for.
	offerGrace = 500 * time.Millisecond
	// tellTimeout bounds the word to a gateway that it may answer success.
	tellTimeout = 500 * time.Millisecond
	// maxOffers of one handler: a second one finds out what became of the first.
	maxOffers = 2
	// rereadEvery is the pace when the record cannot be waited for.
	rereadEvery = 500 * time.Millisecond
)

// run follows the record until the first reply is settled, then sends the rest.
func (w *work) run(ctx context.Context) error {
	if err := w.tell(ctx); err != nil {
		return err
	}
	for {
		switch {
		case w.rec.GetRoute() == rulev1.Route_ROUTE_AMBIGUOUS && w.acct.Ambiguous == account.AmbiguousResend && !w.resent():
			if err := w.resend(ctx); err != nil {
				return err
			}
			continue
		case decision.Final(w.rec.GetRoute()), decision.AnswerFor(w.rec, w.Now()) == decision.Serve:
			return w.finish(ctx)
		}
		if w.mayOffer() {
			if err := w.offer(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.await(ctx); err != nil {
			return err
		}
	}
}

// claim returns the claim of the gateway that held the connection of the first attempt.
func (w *work) claim() *rulev1.Claim {
	for _, c := range w.rec.GetClaims() {
		if c.GetServer() == w.ev.GetGatewayInstance() {
			return c
		}
	}
	return nil
}

// mayOffer tells whether the gateway is to be asked: once by whoever has the claim open, and once more
// when the answer did not come. It remembers what it did for as long as attempts live.
func (w *work) mayOffer() bool {
	return w.claim().GetState() == rulev1.ClaimState_CLAIM_STATE_PENDING && w.offered < maxOffers && w.alive()
}

func (w *work) alive() bool { return w.Now().UnixMilli() < w.rec.GetPassiveUntilUnixMs() }

// offer hands the reply to the gateway and settles its claim by the answer.
func (w *work) offer(ctx context.Context) error {
	server := w.claim().GetServer()
	first := w.creator && w.offered == 0
	w.offered++
	if !first {
		// From now on an offer that finds nobody proves nothing about the earlier one.
		if ok, err := w.change(ctx, decision.Share{Server: server}); err != nil || !ok {
			return err
		}
	}
	outcome, err := w.sendOffer(ctx, w.rec.GetReplies()[0], time.UnixMilli(w.claim().GetUntilUnixMs()).Add(offerGrace))
	if ctx.Err() != nil {
		return fault.Errorf(fault.Retryable, "offer reply: %w", ctx.Err())
	}
	nobody := errors.Is(err, bus.ErrNoResponders)
	switch {
	case outcome == gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED:
		_, err = w.change(ctx, decision.Deliver{Server: server})
		return err
	case outcome == gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE:
		return w.release(ctx, server)
	case nobody && first:
		// Nobody can have written: a retry of WeChat may still be served.
		_, err = w.change(ctx, decision.Abandon{Server: server})
		return err
	case nobody, err == nil:
		w.offered = maxOffers // asking again brings neither the process nor the outcome back
	}
	return nil // the claim stays open: somebody may have written
}

// release settles a claim under which nothing was written. The sender gets the reply if it may;
// otherwise a retry of WeChat may still be served.
func (w *work) release(ctx context.Context, server string) error {
	ok, err := w.change(ctx, decision.Release{Server: server})
	if err != nil || !ok || !sendable(w.rec) {
		return err
	}
	_, err = w.change(ctx, decision.MoveToAsync{Reason: "the gateway could not deliver it"})
	return err
}

func sendable(rec *rulev1.DecisionMade) bool {
	return rec.GetRoute() == rulev1.Route_ROUTE_PASSIVE && rec.GetKfAllowed()
}

// sendOffer sends an offer and returns its outcome, or the error of the request. Without content it tells
// the gateway that it may answer success.
func (w *work) sendOffer(ctx context.Context, content *eventv1.Content, until time.Time) (gatewayv1.OfferOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, max(until.Sub(w.Now()), offerGrace))
	defer cancel()
	subject, err := topology.SubjectOffer(w.ev.GetGatewayInstance())
	if err != nil {
		return 0, err
	}
	data, err := proto.Marshal(&gatewayv1.OfferReplyRequest{
		EventId: w.ev.GetId(), Account: w.ev.GetAccount(), Content: content, DeadlineUnixMs: w.ev.GetPassiveDeadlineUnixMs(),
	})
	if err != nil {
		return 0, fault.Errorf(fault.Internal, "encode offer: %w", err)
	}
	answer, err := w.Bus.Request(ctx, subject, data)
	var response gatewayv1.OfferReplyResponse
	if err == nil {
		err = proto.Unmarshal(answer.Data, &response)
	}
	w.metrics.offered(ctx, response.GetOutcome(), err, content == nil)
	return response.GetOutcome(), err
}

// tell lets a gateway that waits answer success at once when no passive reply will come. If the word is
// lost, the gateway reads the record at its deadline.
func (w *work) tell(ctx context.Context) error {
	deadline := time.UnixMilli(w.ev.GetPassiveDeadlineUnixMs())
	if !decision.Final(w.rec.GetRoute()) || !gatewayWaits(w.ev) || !w.Now().Before(deadline) {
		return nil
	}
	_, _ = w.sendOffer(ctx, nil, w.Now().Add(tellTimeout))
	if ctx.Err() != nil {
		return fault.Errorf(fault.Retryable, "tell gateway: %w", ctx.Err())
	}
	return nil
}

// await returns when the record has changed, or closes it when no attempt of WeChat is left.
func (w *work) await(ctx context.Context) error {
	if !w.alive() {
		return w.close(ctx)
	}
	left := time.UnixMilli(w.rec.GetPassiveUntilUnixMs()).Sub(w.Now())
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	defer context.AfterFunc(w.Life, cancel)() //nolint:contextcheck // Life is not the caller's: it ends when the process stops
	rec, seq, err := w.Records.AwaitAfter(waiting, w.ev.GetAccount(), w.ev.GetOpenid(), w.ev.GetId(), w.seq)
	switch {
	case err == nil:
		w.rec, w.seq = rec, seq
		return nil
	case ctx.Err() != nil:
		return fault.Errorf(fault.Retryable, "wait for an attempt of WeChat: %w", ctx.Err())
	case w.Life.Err() != nil:
		return fault.Errorf(fault.Retryable, "wait for an attempt of WeChat: %w", errStopping)
	case waiting.Err() != nil:
		return nil
	}
	// Too many wait already, or the connection is down.
	if err := w.sleep(ctx, min(left, rereadEvery)); err != nil {
		return err
	}
	return w.read(ctx)
}

// sleep waits, unless the process stops: then it fails with Retryable.
func (w *work) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.Life.Done():
		return fault.Wrap(fault.Retryable, errStopping)
	case <-ctx.Done():
		return fault.Wrap(fault.Retryable, ctx.Err())
	}
}

// close ends a record that no attempt of WeChat can serve any more.
func (w *work) close(ctx context.Context) error {
	for _, c := range []decision.Command{
		decision.MoveToAsync{Reason: "no attempt of WeChat took it"},
		decision.Refuse{Reason: "no attempt of WeChat took it, and no other way is allowed"},
		decision.MarkAmbiguous{Reason: "a gateway claimed it and nobody knows the outcome"},
	} {
		if ok, err := w.change(ctx, c); err != nil || ok {
			return err
		}
	}
	return nil // delivered in between: the record in hand says so
}

// resent tells whether an ambiguous reply cannot be sent again.
func (w *work) resent() bool {
	return !w.rec.GetKfAllowed() || len(w.rec.GetReplies()) == 0 || w.rec.GetReplies()[0].GetNativeTransfer() != nil
}

func (w *work) resend(ctx context.Context) error {
	_, err := w.change(ctx, decision.Resend{Reason: "ambiguous, sent again by the policy of the account"})
	return err
}
