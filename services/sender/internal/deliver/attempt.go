package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

const (
	spanName = "POST /cgi-bin/message/custom/send"
	// noTokenPause holds an account back while nobody can tell its token, refusedPause one whose
	// credentials WeChat refuses.
	noTokenPause = 3 * time.Second
	refusedPause = 30 * time.Second
	// adminPause is how long an administrator gets to confirm.
	adminPause = 10 * time.Minute
	// firstPause doubles with every try while WeChat cannot be reached.
	firstPause = time.Second
	maxPause   = 20 * time.Second
	// writeTime bounds storing and publishing an outcome; it is longer than the election of a leader.
	writeTime = 30 * time.Second
)

// china is the zone of WeChat's quotas. It has no daylight saving time.
var china = time.FixedZone("Asia/Shanghai", 8*60*60)

// attempt makes one call, or finds that none may be made now. resend allows it for a message that may
// have been sent.
func (w *Worker) attempt(ctx context.Context, j *job, resend bool) error {
	if end, err := w.obsolete(ctx, j, resend); end != nil || err != nil {
		if err == nil {
			err = w.change(ctx, j, end)
		}
		return err
	}
	if time.Since(j.began) > w.cfg.HandTime {
		return fault.New(fault.Retryable, "the message waited long enough in memory")
	}
	pass, err := w.Gates.Enter(ctx, w.key(j), j.m.GetLane())
	if err != nil {
		return w.held(ctx, j, err)
	}
	defer pass.Leave(pace.Unknown)
	token, err := w.token(ctx, j.account.Name)
	if err != nil {
		return w.noToken(ctx, j, err)
	}
	body, err := content.KfMessage(j.m.GetContent(), j.m.GetOpenid(), j.m.GetKfAccount())
	if err != nil {
		return w.change(ctx, j, sendstate.Reject{Reason: "content cannot be sent: " + fault.KindOf(err).String()})
	}
	client, err := w.clients.Get(j.account.Name)
	if err != nil {
		return err
	}
	if err := w.change(ctx, j, sendstate.Call{Worker: w.cfg.Instance, Resend: resend}); err != nil {
		return err
	}
	o := w.call(ctx, j, client, token, body)
	pass.Leave(o.health)
	j.called, j.recipient = o.began, o.recipient
	if err := w.conclude(ctx, j, o); err != nil || sendstate.Final(j.rec.Rec.GetState()) {
		return err
	}
	return w.before(ctx, j, token, o)
}

func (w *Worker) key(j *job) pace.Key { return pace.Key{Account: j.account.Name, Endpoint: Endpoint} }

// obsolete returns the change that ends a message which must not be sent any more, or nil.
func (w *Worker) obsolete(ctx context.Context, j *job, resend bool) (sendstate.Change, error) {
	if w.Now().Sub(time.UnixMilli(j.m.GetAcceptedUnixMs())) > w.cfg.MaxAge {
		if resend {
			return sendstate.Lose{Reason: "waited too long after a call whose outcome nobody knows"}, nil
		}
		return sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: "waited too long: " + j.rec.Rec.GetReason()}, nil
	}
	if j.account.Disabled {
		return w.disabled(j, resend), nil
	}
	if j.rec.Rec.GetAttempts() > 0 {
		return nil, nil
	}
	newer, err := w.Owners.Newer(ctx, j.account.Name, j.m.GetOpenid(), j.m.GetOwnerEpoch())
	if err != nil || !newer {
		return nil, err
	}
	return sendstate.Refuse{Reason: "somebody else talks to the fan by now"}, nil
}

// disabled returns the change that ends a message of an account that was disabled meanwhile.
func (w *Worker) disabled(j *job, resend bool) sendstate.Change {
	reason := j.account.WhyDisabled()
	switch {
	case resend:
		return sendstate.Lose{Reason: reason + ", after a call whose outcome nobody knows"}
	case j.rec.Rec.GetAttempts() > 0:
		return sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: reason}
	default:
		return sendstate.Refuse{Reason: reason}
	}
}

// held handles a gate that does not open: a long pause parks the message, one without an end for this
// message refuses it, and a full line gives it back.
func (w *Worker) held(ctx context.Context, j *job, err error) error {
	paused, ok := errors.AsType[*pace.PausedError](err)
	if !ok {
		return fmt.Errorf("wait for a turn: %w", err)
	}
	p := paused.Pause
	if p.Refuse {
		return w.change(ctx, j, sendstate.Reject{Errcode: p.Errcode, Reason: p.Reason})
	}
	if j.rec.Rec.GetState() != sendstate.Parked || j.rec.Rec.GetNotBeforeUnixMs() != p.Until.UnixMilli() {
		if err := w.change(ctx, j, sendstate.Park{Errcode: p.Errcode, Reason: p.Reason, Until: p.Until}); err != nil {
			return err
		}
	}
	return fault.After(p.Until.Sub(w.Now()), err)
}

// token returns a token that WeChat is not known to refuse. One that it does is reported, as often as it
// takes to get another.
func (w *Worker) token(ctx context.Context, account string) (tokens.Token, error) {
	token, err := w.Tokens.Current(ctx, account)
	if err != nil {
		return token, err
	}
	w.badMu.Lock()
	bad := w.bad[account]
	w.badMu.Unlock()
	if token.Generation != bad.generation {
		return token, nil
	}
	return w.Tokens.Bad(ctx, account, bad.generation, bad.errcode)
}

// noToken handles an account without a usable token: the message stays as it is, and the account's
// others wait with it instead of asking the token service in turn.
func (w *Worker) noToken(ctx context.Context, j *job, err error) error {
	if ctx.Err() != nil {
		return err
	}
	p := pace.Pause{Until: w.Now().Add(noTokenPause), Reason: "no access token: " + fault.KindOf(err).String()}
	if fault.Dispose(err) == fault.DeadLetter {
		p.Until = w.Now().Add(refusedPause)
	}
	w.Gates.Pause(w.key(j), p)
	w.Log.WarnContext(ctx, "no access token", logkey.Account, j.account.Name, logkey.Error, err)
	return errAgain
}

// call asks WeChat once.
func (w *Worker) call(ctx context.Context, j *job, client *wechat.Client, token tokens.Token, body []byte) outcome {
	ctx, span := w.Tracer.Start(ctx, spanName, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", "POST"),
		attribute.String("url.template", "/cgi-bin/message/custom/send"),
		attribute.String("wxbus.account", j.account.Name),
		attribute.Int("wxbus.attempt", int(j.rec.Rec.GetAttempts())),
	))
	defer span.End()
	// The end of the delivery must not cut the call: that would make its outcome unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.CallTimeout)
	defer cancel()
	began, start := w.Now(), time.Now()
	err := client.CustomSend(ctx, token.Value.Reveal(), body)
	o := judge(err)
	o.began, o.took = began, time.Since(start)
	span.SetAttributes(attribute.String("wxbus.outcome", o.word), attribute.Int("wxbus.errcode", int(o.errcode)))
	if o.action != accept {
		span.SetStatus(codes.Error, o.class)
	}
	w.Observer.Called(ctx, j.account.Name, o.class, o.took)
	return o
}

// conclude stores the outcome first, so that a crash leaves as little doubt as possible, and publishes
// the fact. It does not end with the delivery: the message may be with WeChat.
func (w *Worker) conclude(ctx context.Context, j *job, o outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	pause, paused := w.pauseFor(o)
	if paused {
		w.Gates.Pause(w.key(j), pause)
	}
	if err := w.change(ctx, j, w.next(j, o, pause)); err != nil {
		return err
	}
	if paused {
		w.Pauses.Set(ctx, w.key(j), pause)
	}
	return w.report(ctx, j, facts.Attempt{
		Number: j.rec.Rec.GetAttempts(), Errcode: o.errcode, Outcome: o.word, Took: o.took,
	})
}

// pauseFor returns how long the account must leave the endpoint alone.
func (w *Worker) pauseFor(o outcome) (pace.Pause, bool) {
	p := pace.Pause{Errcode: o.errcode, Reason: o.reason}
	now := w.Now()
	switch o.action {
	case waitRate:
		p.Until = now.Add(w.cfg.RatePause + w.jitter(w.cfg.RatePause/10))
	case waitQuota:
		p.Until = nextMidnight(now)
	case waitAdmin:
		p.Until = now.Add(adminPause)
	case noAPI:
		p.Until, p.Refuse = now.Add(w.cfg.NoAPIPause), true
	default:
		return pace.Pause{}, false
	}
	return p, true
}

// next returns the change of state that follows from the outcome.
func (w *Worker) next(j *job, o outcome, p pace.Pause) sendstate.Change {
	switch o.action {
	case accept:
		return sendstate.Accept{}
	case lose:
		return sendstate.Lose{Reason: o.reason}
	case waitQuota:
		return sendstate.Park{Errcode: o.errcode, Reason: o.reason, Until: p.Until}
	case busy:
		if j.busy >= len(w.cfg.BusyPauses) {
			return sendstate.Reject{Errcode: o.errcode, Reason: fmt.Sprintf("%s, %d times", o.reason, j.busy+1)}
		}
	case newToken:
		if j.tokenRetried {
			return sendstate.Reject{Errcode: o.errcode, Reason: "WeChat refuses a new access token too: another system may refresh with this AppSecret"}
		}
	case reject, noAPI:
		return sendstate.Reject{Errcode: o.errcode, Reason: o.reason}
	default:
	}
	return sendstate.Hold{Errcode: o.errcode, Reason: o.reason}
}

// before waits for what the next attempt needs.
func (w *Worker) before(ctx context.Context, j *job, token tokens.Token, o outcome) error {
	switch o.action {
	case newToken:
		j.tokenRetried = true
		w.badMu.Lock()
		w.bad[j.account.Name] = refused{token.Generation, o.errcode}
		w.badMu.Unlock()
	case busy:
		pause := w.cfg.BusyPauses[j.busy]
		j.busy++
		if err := sleep(ctx, pause+w.jitter(pause/5)); err != nil {
			return err
		}
	case again:
		pause := min(firstPause<<min(j.held, 10), maxPause)
		j.held++
		if err := sleep(ctx, pause/2+w.jitter(pause/2)); err != nil {
			return err
		}
	case waitQuota:
		until := time.UnixMilli(j.rec.Rec.GetNotBeforeUnixMs())
		return fault.After(until.Sub(w.Now()), fault.New(fault.Exhausted, o.reason))
	default: // the gate keeps the other pauses
	}
	return errAgain
}

func (w *Worker) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	w.random.Lock()
	defer w.random.Unlock()
	return time.Duration(w.Rand.Int64N(int64(most)))
}

// nextMidnight returns when WeChat renews the quotas of a day.
func nextMidnight(now time.Time) time.Time {
	local := now.In(china)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, china)
}
