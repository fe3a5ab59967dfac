package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

const (
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
	if err := w.admit(ctx, j); err != nil {
		return err
	}
	if err := w.inOrder(ctx, j); err != nil {
		return err
	}
	pass, err := w.Gates.Enter(ctx, w.key(j), j.m.GetLane())
	if err != nil {
		return w.held(ctx, j, err)
	}
	defer pass.Leave(pace.Unknown)
	token, err := w.API.Token(ctx, j.account.Name)
	if err != nil {
		return w.noToken(ctx, j, err)
	}
	body, err := endpoint.Body(j.m, j.rec.Rec.GetStep(), j.rec.Rec.GetPartsSent())
	if err != nil {
		return w.refuse(ctx, j, 0, "content cannot be sent: "+fault.KindOf(err).String())
	}
	client, err := w.API.Client(j.account.Name)
	if err != nil {
		return err
	}
	if err := w.change(ctx, j, sendstate.Call{Worker: w.cfg.Instance, Resend: resend}); err != nil {
		return err
	}
	o := w.call(ctx, j, client, token, body)
	pass.Leave(o.health)
	if o.action == newMedia {
		o = w.forgotten(ctx, j, o)
	}
	j.called, j.recipient = o.began, o.recipient
	if err := w.conclude(ctx, j, o); err != nil || sendstate.Final(j.rec.Rec.GetState()) {
		return err
	}
	if j.rec.Rec.GetState() == sendstate.Accepted {
		return errAgain
	}
	return w.before(ctx, j, token, o)
}

func (w *Worker) key(j *job) pace.Key {
	return pace.Key{Account: j.account.Name, Endpoint: j.endpoint().Token}
}

// admit judges a step whose turn came after Send had returned, one that waited or a fallback, as Send judges the others: it
// holds a message of the window, and sends nothing to a fan who has left.
func (w *Worker) admit(ctx context.Context, j *job) error {
	rec := j.rec.Rec
	if j.endpoint().Follower && !j.takesWindow() {
		return w.stays(ctx, j)
	}
	if !j.takesWindow() || (rec.GetStep() == 0 && j.m.GetNotBeforeUnixMs() == 0) {
		return nil
	}
	if !j.account.AllowsKf() {
		return w.refuse(ctx, j, 0, ReasonNoAPI)
	}
	verdict, err := w.Windows.Reserve(ctx, j.fan(), nil, Reservations(j.m, rec)...)
	if err != nil || verdict == grants.Open {
		return err
	}
	return w.refuse(ctx, j, 0, verdict.String())
}

// stays refuses a message for a fan who has left since Send looked.
func (w *Worker) stays(ctx context.Context, j *job) error {
	waited := j.rec.Rec.GetStep() > 0 || j.m.GetNotBeforeUnixMs() != 0 || j.m.GetReturned()
	if !waited || j.rec.Rec.GetUncertain() {
		return nil
	}
	gone, err := w.Windows.Left(ctx, j.fan())
	if err != nil || !gone {
		return err
	}
	return w.refuse(ctx, j, 0, grants.Unsubscribed.String())
}

// ReasonNoAPI is why an account without the customer-service API sends nothing by it.
const ReasonNoAPI = "the account has no customer-service API"

// Reservations names what the step of a message holds of the window.
func Reservations(m *senderv1.OutboundMessage, rec *senderv1.SendRecord) []string {
	parts := 1
	if rec.GetStep() == 0 {
		parts = max(1, len(m.GetTextParts()))
	}
	ids := make([]string, parts)
	for part := range ids {
		ids[part] = sendstate.ReservationID(m.GetId(), rec.GetStep(), uint32(part))
	}
	return ids
}

// refuse ends a step that WeChat was not asked about: the next one follows, or the end. It asks for another look
// at the record when it succeeded.
func (w *Worker) refuse(ctx context.Context, j *job, errcode int32, reason string) error {
	c := w.ended(j, errcode, reason, true)
	if err := w.change(ctx, j, c); err != nil {
		return err
	}
	if err := w.fell(ctx, j, c, false); err != nil {
		return err
	}
	return errAgain
}

// ended returns the change for a step that came to nothing.
func (w *Worker) ended(j *job, errcode int32, reason string, refused bool) sendstate.Change {
	rec := j.rec.Rec
	if next := endpoint.Content(j.m, rec.GetStep()+1); next != nil && rec.GetPartsSent() == 0 && j.m.GetMass() == nil {
		return sendstate.Fall{Errcode: errcode, Reason: reason, Refused: refused, To: endpoint.Of(next, j.account.Kind).ID}
	}
	if rec.GetPartsSent() > 0 {
		reason = fmt.Sprintf("%s; the fan has %d of %d parts", reason, rec.GetPartsSent(), rec.GetParts())
	}
	if refused && rec.GetState() != sendstate.Calling && rec.GetAttempts() == 0 {
		return sendstate.Refuse{Reason: reason}
	}
	return sendstate.Reject{Errcode: errcode, Reason: reason}
}

// fell gives back what the step before held of the window.
func (w *Worker) fell(ctx context.Context, j *job, c sendstate.Change, recipient bool) error {
	if _, ok := c.(sendstate.Fall); !ok {
		return nil
	}
	j.busy, j.held, j.tokenRetried, j.mediaRetried = 0, 0, false, false
	steps := j.rec.Rec.GetSteps()
	if len(steps) == 0 || steps[len(steps)-1].GetEndpoint() != endpoint.CustomSend.ID {
		return nil
	}
	return w.Windows.Fall(ctx, j.fan(), j.rec.Rec, recipient, j.called)
}

// obsolete returns the change that ends a message which must not be sent any more, or nil.
func (w *Worker) obsolete(ctx context.Context, j *job, resend bool) (sendstate.Change, error) {
	if a, ok := w.Accounts.Get(j.account.Name); ok {
		j.account = a // it may have changed while the message waited
	}
	if end := w.late(j); end != "" {
		if resend || j.rec.Rec.GetUncertain() {
			return sendstate.Lose{Reason: end + ", after a call whose outcome nobody knows"}, nil
		}
		if why := j.rec.Rec.GetReason(); why != "" {
			end += ": " + why
		}
		return sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: end}, nil
	}
	if j.rec.Rec.GetUncertain() && j.endpoint().RepeatFor > 0 && !w.repeatable(j) {
		return sendstate.Lose{Reason: "no usable answer until a repetition would be another message"}, nil
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
	case resend || j.rec.Rec.GetUncertain():
		return sendstate.Lose{Reason: reason + ", after a call whose outcome nobody knows"}
	case j.rec.Rec.GetAttempts() > 0:
		return sendstate.Reject{Errcode: j.rec.Rec.GetErrcode(), Reason: reason}
	default:
		return sendstate.Refuse{Reason: reason}
	}
}

// late says why a message is worth nothing any more, or "".
func (w *Worker) late(j *job) string {
	now, accepted := w.Now(), time.UnixMilli(j.m.GetAcceptedUnixMs())
	from := accepted
	if own := time.UnixMilli(j.m.GetNotBeforeUnixMs()); own.After(from) {
		from = own
	}
	worth := j.endpoint().Worth
	switch {
	case j.m.GetExpiresUnixMs() != 0 && now.UnixMilli() > j.m.GetExpiresUnixMs():
		return "expired"
	case now.Sub(from) > w.cfg.MaxAge:
		return "waited too long"
	case worth > 0 && now.Sub(from) > worth:
		return "too late to be shown"
	}
	return ""
}

// held handles a gate that does not open: a long pause and a full line park the message, a pause without an end for this
// message refuses it.
func (w *Worker) held(ctx context.Context, j *job, err error) error {
	if errors.Is(err, pace.ErrBusy) {
		return w.noRoom(ctx, j)
	}
	paused, ok := errors.AsType[*pace.PausedError](err)
	if !ok {
		return fmt.Errorf("wait for a turn: %w", err)
	}
	p := paused.Pause
	if p.Refuse {
		return w.refuse(ctx, j, p.Errcode, p.Reason)
	}
	return w.park(ctx, j, sendstate.Park{Errcode: p.Errcode, Reason: p.Reason, Until: p.Until})
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
	e := j.endpoint()
	ctx, span := w.Tracer.Start(ctx, "POST "+e.Path, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", "POST"),
		attribute.String("url.template", e.Path),
		attribute.String("wxbus.account", j.account.Name),
		attribute.Int("wxbus.attempt", int(j.rec.Rec.GetAttempts())),
	))
	defer span.End()
	// The end of the delivery must not cut the call: that would make its outcome unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.CallTimeout)
	defer cancel()
	began, start := w.Now(), time.Now()
	msgID, err := api.Send(ctx, client, e, token, body)
	o := judge(err)
	o.msgID = msgID
	if o.recipient && e.ID != endpoint.CustomSend.ID {
		o.recipient = false // it says nothing about the window
	}
	o.began, o.took = began, time.Since(start)
	span.SetAttributes(attribute.String("wxbus.outcome", o.word), attribute.Int("wxbus.errcode", int(o.errcode)))
	if o.action != accept {
		span.SetStatus(codes.Error, o.class)
	}
	w.Observer.Called(ctx, j.account.Name, e.Token, o.class, o.took)
	return o
}

// conclude stores the outcome first, so that a crash leaves as little doubt as possible, and publishes
// the fact. It does not end with the delivery: the message may be with WeChat.
func (w *Worker) conclude(ctx context.Context, j *job, o outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	pause, paused := w.pauseFor(o)
	key, attempted := w.key(j), j.attempted(o.word, o.errcode)
	attempted.Took = o.took
	if paused {
		w.Gates.Pause(key, pause)
	}
	c := w.next(j, o, pause)
	if c != nil {
		if err := w.change(ctx, j, c); err != nil {
			return err
		}
	}
	if paused {
		w.Pauses.Set(ctx, key, pause)
	}
	if err := w.report(ctx, j, attempted); err != nil {
		return err
	}
	return w.fell(ctx, j, c, o.recipient)
}

// pauseFor returns how long the account must leave the endpoint alone.
func (w *Worker) pauseFor(o outcome) (pace.Pause, bool) {
	p := pace.Pause{Errcode: o.errcode, Reason: o.reason}
	now := w.Now()
	switch o.action {
	case waitRate:
		p.Until = now.Add(w.cfg.RatePause + w.jitter(w.cfg.RatePause/10))
	case waitQuota:
		p.Until = w.renewal(now)
	case waitAdmin:
		p.Until = now.Add(adminPause)
	case noAPI:
		p.Until, p.Refuse = now.Add(w.cfg.NoAPIPause), true
	default:
		return pace.Pause{}, false
	}
	return p, true
}

// renewal returns when an API whose quota of a day is used up is tried again.
func (w *Worker) renewal(now time.Time) time.Time {
	reset := budget.Reset(now)
	if w.cfg.QuotaPause > 0 && now.Add(w.cfg.QuotaPause).Before(reset) {
		return now.Add(w.cfg.QuotaPause)
	}
	return reset
}

// next returns the change of state that follows from the outcome; nil leaves the message in CALLING, to be called
// again under its id.
func (w *Worker) next(j *job, o outcome, p pace.Pause) sendstate.Change {
	switch o.action {
	case accept:
		if rec := j.rec.Rec; rec.GetStep() == 0 && rec.GetPartsSent()+1 < rec.GetParts() {
			return sendstate.Part{}
		}
		return sendstate.Accept{MsgID: o.msgID, Await: o.msgID != "" && j.endpoint().Family != ""}
	case lose:
		if w.repeatable(j) {
			return nil
		}
		return sendstate.Lose{Reason: o.reason}
	case waitQuota:
		return sendstate.Park{Errcode: o.errcode, Reason: o.reason, Until: p.Until}
	case busy:
		if j.busy >= len(w.cfg.BusyPauses) {
			return w.ended(j, o.errcode, fmt.Sprintf("%s, %d times", o.reason, j.busy+1), false)
		}
	case newToken:
		if j.tokenRetried {
			return sendstate.Reject{Errcode: o.errcode, Reason: "WeChat refuses a new access token too: another system may refresh with this AppSecret"}
		}
	case reject, noAPI:
		return w.ended(j, o.errcode, o.reason, false)
	default:
	}
	return sendstate.Hold{Errcode: o.errcode, Reason: o.reason}
}

// before waits for what the next attempt needs.
func (w *Worker) before(ctx context.Context, j *job, token tokens.Token, o outcome) error {
	switch o.action {
	case newToken:
		j.tokenRetried = true
		w.API.Refused(j.account.Name, token, o.errcode)
	case busy:
		pause := w.cfg.BusyPauses[j.busy]
		j.busy++
		if err := sleep(ctx, pause+w.jitter(pause/5)); err != nil {
			return err
		}
	case again, lose:
		pause := min(firstPause<<min(j.held, 10), maxPause)
		j.held++
		if err := sleep(ctx, pause/2+w.jitter(pause/2)); err != nil {
			return err
		}
	case waitQuota:
		until := time.UnixMilli(j.rec.Rec.GetNotBeforeUnixMs())
		if err := w.Quotas.Learn(ctx, j.account, j.endpoint()); err != nil {
			w.Log.WarnContext(ctx, "quota not asked for", logkey.Account, j.account.Name, logkey.Error, err)
		}
		return w.park(ctx, j, sendstate.Park{Errcode: o.errcode, Reason: o.reason, Until: until})
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
