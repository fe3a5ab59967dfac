package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/wechat"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/evidence"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

// skewCounted is how far a timestamp may be from our clock before it is counted.
const skewCounted = 5 * time.Minute

// receive takes a push: read, check, store, answer. Admission ends when the push is stored; waiting for
// a reply has its own bound.
func (h *Handler) receive(req *request) {
	buf, err := h.readBody(req)
	defer buf.release()
	if err != nil {
		h.refuse(req, bodyReason(err))
		return
	}
	p, err := req.account.Open(req.query, buf.bytes)
	if err != nil {
		h.notOpened(req, buf.bytes, err)
		return
	}
	if !h.timely(req) {
		h.refuse(req, push.ReasonTimestamp)
		return
	}
	h.count(req, p)
	if p.Probe {
		h.success(req, outcomeProbe)
		return
	}
	wait := h.openWait(p)
	if wait != nil {
		defer wait.End()
	}
	stored, err := h.store(req, p, wait)
	if err != nil {
		h.notStored(req, p, err)
		return
	}
	h.leave(req)
	switch {
	case wait == nil:
	case stored.Duplicate: // the stored event names another attempt: go by the record
		wait.End()
		wait = nil
	default:
		wait.Confirm(!stored.Spilled)
	}
	h.reply(req, p, stored, wait)
}

// openWait registers the attempt for an offer before the push is stored, because an offer can be faster
// than the acknowledgement. It returns nil when nobody shall offer.
func (h *Handler) openWait(p *push.Push) *reply.Wait {
	if !p.AcceptsPassive || p.Account.Reply != account.ReplyPassive {
		return nil
	}
	wait, ok := h.Registry.Open(p.ID)
	if !ok {
		return nil // the event says so, and the reply goes another way
	}
	return wait
}

func (h *Handler) store(req *request, p *push.Push, wait *reply.Wait) (intake.Stored, error) {
	arrival := push.Arrival{Received: req.arrived, Partition: h.Partition(p.Account.Name, p.OpenID)}
	if wait != nil {
		arrival.Deadline, arrival.Instance = req.arrived.Add(h.Times(p.Account).Deadline), h.Instance
	}
	return h.Publisher.Publish(req.ctx, p.Event(arrival))
}

// notOpened answers a body that was not understood. Only what WeChat itself sent is worth keeping.
func (h *Handler) notOpened(req *request, body []byte, err error) {
	failed, ok := errors.AsType[*push.Error](err)
	if ok && !failed.Authentic {
		h.remember(req, body, failed.Reason)
	}
	switch {
	case !ok:
		h.refuse(req, push.ReasonFormat)
	case failed.Authentic:
		h.park(req, failed.Reason, failed.Body)
	case failed.Signed && h.ParkUndecryptable:
		h.park(req, failed.Reason, body)
	default:
		h.refuse(req, failed.Reason)
	}
}

// park keeps a body as a dead letter and then says success: WeChat would only send the same again, and
// show the fan a fault in the end.
func (h *Handler) park(req *request, reason push.Reason, body []byte) {
	if err := h.Parker.Park(req.ctx, req.account.Name, string(reason), body); err != nil {
		h.Log.WarnContext(req.ctx, "push not parked", logkey.Account, req.account.Name, logkey.Reason, string(reason), logkey.Error, err)
		h.unavailable(req, "park")
		return
	}
	h.Meter.Parked(req.ctx, string(reason))
	h.success(req, outcomeParked)
}

// notStored answers a push that no stream acknowledged. It is never a success.
func (h *Handler) notStored(req *request, p *push.Push, err error) {
	if errors.Is(err, bus.ErrTooLarge) {
		h.park(req, push.ReasonTooLarge, p.Body())
		return
	}
	h.Log.WarnContext(req.ctx, "push not stored", logkey.Account, p.Account.Name, logkey.EventID, p.ID,
		logkey.ErrorKind, fault.KindOf(err).String(), logkey.Error, err)
	h.unavailable(req, Cause(err))
}

// Cause returns a metric label for why a stream did not take a push.
func Cause(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.label
		}
	}
	return "error"
}

var causes = []struct {
	err   error
	label string
}{
	{bus.ErrStreamFull, "stream_full"}, {bus.ErrTimeout, "timeout"}, {bus.ErrNoStream, "no_stream"},
	{bus.ErrDisconnected, "disconnected"}, {bus.ErrDuplicateInProcess, "in_process"}, {bus.ErrThrottled, "throttled"},
	{intake.ErrAway, "away"}, {intake.ErrBlind, "blind"}, {bus.ErrUnavailable, "unavailable"}, {context.DeadlineExceeded, "timeout"},
}

// reply answers a stored push in the way of its account.
func (h *Handler) reply(req *request, p *push.Push, stored intake.Stored, wait *reply.Wait) {
	if !p.AcceptsPassive || p.Account.Reply == account.ReplyAck || p.Account.Reply == account.ReplyPassive && wait == nil && !stored.Duplicate {
		h.success(req, outcomeSuccess)
		return
	}
	if wait == nil { // waits without an offer are bounded here
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		default:
			h.unavailable(req, "waits")
			return
		}
	}
	attempt := &reply.Attempt{
		Push: p, Arrived: req.arrived, Times: h.Times(p.Account),
		Client: &client{req: req, now: h.Now},
	}
	if stored.Spilled {
		attempt.Undecided = func() bool { return h.Away(p.ID) }
	}
	switch h.waitFor(req, attempt, stored, wait) {
	case reply.Success:
		h.success(req, outcomeSuccess)
	case reply.Refuse:
		h.unavailable(req, "decision")
	case reply.Break:
		h.breakOff(req)
	case reply.Replied:
	}
}

// waitFor chooses the way in which the attempt waits.
func (h *Handler) waitFor(req *request, a *reply.Attempt, stored intake.Stored, wait *reply.Wait) reply.Verdict {
	p := a.Push
	switch {
	case wait != nil:
		return h.Desk.Offered(req.ctx, a, wait)
	case p.Account.Reply == account.ReplyPassive:
		return h.Desk.ByRecord(req.ctx, a)
	}
	number, err := h.Attempts.Number(req.ctx, stored, req.arrived)
	if err != nil {
		h.Log.WarnContext(req.ctx, "attempt number not readable", logkey.EventID, p.ID, logkey.Error, err)
	}
	if number < decision.Attempts { // also when it is not known: an answer too early cannot be taken back
		return h.Desk.Hold(req.ctx, a, p.Account.StretchAnswerEarly)
	}
	return h.Desk.ByRecord(req.ctx, a)
}

// count records what an operator wants to know about a genuine push.
func (h *Handler) count(req *request, p *push.Push) {
	if !p.Known {
		h.Meter.UnknownType(req.ctx, p.Account.Name)
	}
	if p.PreviousCredential {
		h.Meter.PreviousCredential(req.ctx, p.Account.Name)
	}
	name := p.Account.Name
	h.Book.Taken(name, p.PreviousCredential)
	from := h.Proxies.Origin(req.r)
	if inside, known := h.Lists.Look(name, from); known && !inside && from.IsValid() {
		h.Meter.Outside(req.ctx, name)
		h.Book.Outside(name, from)
	}
}

// remember keeps why a request was refused, for the doctor.
func (h *Handler) remember(req *request, body []byte, reason push.Reason) {
	name, from := req.account.Name, h.Proxies.Origin(req.r)
	inside, _ := h.Lists.Look(name, from)
	refusal := evidence.Refusal{Fields: wechat.QueryFields(req.r.URL.RawQuery), From: from, FromWeChat: inside}
	h.Book.Refused(name, refusal, func() gatewayv1.Mismatch { return req.account.Explain(req.query, body, reason) })
}

// timely counts a timestamp far from our clock, and refuses it when a tolerance is set. It is called only
// for genuine requests: before that the timestamp is anybody's.
func (h *Handler) timely(req *request) bool {
	seconds, err := strconv.ParseInt(req.query.Timestamp, 10, 64)
	if err != nil {
		return h.Tolerance == 0
	}
	skew := req.arrived.Sub(time.Unix(seconds, 0)).Abs()
	if skew > skewCounted {
		h.Meter.Skewed(req.ctx)
		h.Log.LogAttrs(req.ctx, slog.LevelDebug, "timestamp far from our clock", slog.Duration("skew", skew))
	}
	return h.Tolerance == 0 || skew <= h.Tolerance
}

func bodyReason(err error) push.Reason {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return push.ReasonTooLarge
	}
	return reasonBody
}
