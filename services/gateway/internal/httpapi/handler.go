// Package httpapi is the way in: GET and POST /wx/{account}, as WeChat calls them.
//
// Every request that is not taken gets one of two constant answers, so that a stranger learns nothing:
// 403 "refused" for what is wrong with the request, 503 "unavailable" for what is wrong with us. WeChat
// repeats a push after either.
package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/evidence"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
	"github.com/wxbus/wxbus/services/gateway/internal/meter"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

// Route is the path of both methods.
const (
	Route  = prefix + "{account}"
	prefix = "/wx/"
)

const (
	bodyRefused     = "refused"
	bodyUnavailable = "unavailable"
)

// Header values that every answer shares; net/http only reads them.
var (
	textPlain = []string{"text/plain; charset=utf-8"}
	noSniff   = []string{"nosniff"}
)

var serverSpan = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

// Outcomes of a request; metric labels. A refused one is counted by its reason too.
const (
	outcomeSuccess     = "success"
	outcomeReply       = "reply"
	outcomeUnavailable = "unavailable"
	outcomeBroken      = "broken" // held on purpose, or the client was gone
	outcomeRefused     = "refused"
	outcomeParked      = "parked"
	outcomeProbe       = "probe"
)

// Publisher stores events.
type Publisher interface {
	Publish(ctx context.Context, e *eventv1.InboundEvent) (intake.Stored, error)
}

// Parker keeps bodies that nobody can use.
type Parker interface {
	Park(ctx context.Context, account, reason string, body []byte) error
}

// Attempts tells the number of an attempt.
type Attempts interface {
	Number(ctx context.Context, at intake.Stored, arrived time.Time) (int, error)
}

// Desk answers the attempts that wait.
type Desk interface {
	Offered(ctx context.Context, a *reply.Attempt, w *reply.Wait) reply.Verdict
	ByRecord(ctx context.Context, a *reply.Attempt) reply.Verdict
	Hold(ctx context.Context, a *reply.Attempt, early bool) reply.Verdict
}

// Options of a Handler. All fields are required unless they say otherwise.
type Options struct {
	// Account returns an account that takes pushes; every error is a refusal.
	Account   func(name string) (*push.Account, error)
	Publisher Publisher
	Parker    Parker
	Attempts  Attempts
	Desk      Desk
	Registry  *reply.Registry
	Meter     *meter.Meter
	// Away tells whether a push that was spilled is not home yet.
	Away func(id string) bool
	// Book remembers what was seen of each account; Proxies and Lists tell where requests came from, and
	// whether WeChat says that it pushes from there. Nothing is refused because of an address.
	Book      *evidence.Book
	Proxies   evidence.Proxies
	Lists     *evidence.Lists
	Tracer    trace.Tracer
	Log       *slog.Logger
	Now       func() time.Time
	Partition func(account, openid string) uint32
	// Instance takes the offers.
	Instance string
	// Times returns the times of the attempts of an account.
	Times func(a *push.Account) reply.Times
	// MaxInFlight bounds the requests that are read, checked or stored at the same time.
	MaxInFlight int
	// MaxBody bounds a body, in bytes.
	MaxBody int
	// Tolerance refuses requests whose timestamp is further from our clock; zero only counts them.
	Tolerance time.Duration
	// ParkUndecryptable keeps bodies that were signed for us and that no key opens.
	ParkUndecryptable bool
}

// Handler serves WeChat's requests. It is safe for concurrent use.
type Handler struct {
	Options
	slots chan struct{} // of the attempts that wait without an offer
	mux   *http.ServeMux
	push  func(w http.ResponseWriter, r *http.Request, account string)
}

// New returns a handler.
func New(o Options, maxWaits int) *Handler {
	h := &Handler{Options: o, slots: make(chan struct{}, maxWaits), mux: http.NewServeMux()}
	h.push = h.serve("POST "+Route, h.receive)
	verify := h.serve("GET "+Route, h.verify)
	h.mux.HandleFunc("POST "+Route, func(w http.ResponseWriter, r *http.Request) { h.push(w, r, r.PathValue("account")) })
	h.mux.HandleFunc("GET "+Route, func(w http.ResponseWriter, r *http.Request) { verify(w, r, r.PathValue("account")) })
	return h
}

// ServeHTTP serves one request. A push to a plain path needs no multiplexer to find its way.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account, ok := strings.CutPrefix(r.URL.Path, prefix)
	if ok && account != "" && r.Method == http.MethodPost && r.URL.RawPath == "" && !strings.ContainsAny(account, "/.") {
		h.push(w, r, account)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// request is one request on its way through the handler.
type request struct {
	w        http.ResponseWriter
	r        *http.Request
	ctx      context.Context // has the span; ends when the client is gone
	arrived  time.Time
	admitted bool
	name     string        // of the account, as the path has it
	account  *push.Account // nil before it is found
	query    wechat.Query
	outcome  string
	status   int
}

// serve admits a request, finds its account, and records what became of it. name is the pattern of the
// route, and of the span.
func (h *Handler) serve(name string, next func(*request)) func(w http.ResponseWriter, r *http.Request, account string) {
	return func(w http.ResponseWriter, r *http.Request, account string) {
		ctx, span := h.Tracer.Start(r.Context(), name, serverSpan...)
		req := &request{w: w, r: r, ctx: ctx, arrived: h.Now(), admitted: true, name: account}
		defer func() { h.finish(req, span) }()
		if h.Meter.Enter() > int64(h.MaxInFlight) {
			h.unavailable(req, "overload")
			return
		}
		if reason := h.find(req); reason != "" {
			h.refuse(req, reason)
			return
		}
		next(req)
	}
}

// find reads the address of a request; nothing of the body has been read yet.
func (h *Handler) find(req *request) push.Reason {
	var err error
	if req.account, err = h.Account(req.name); err != nil {
		req.account = nil
		return reasonAccount
	}
	if req.query, err = wechat.ParseQuery(req.r.URL.RawQuery); err != nil {
		return push.ReasonQuery
	}
	return ""
}

// Reasons of the transport, beside those of package push.
const (
	reasonAccount push.Reason = "account" // nobody of that name takes pushes
	reasonBody    push.Reason = "body"    // did not come, or not in time
)

// leave ends the admission of a request, once.
func (h *Handler) leave(req *request) {
	if req.admitted {
		req.admitted = false
		h.Meter.Leave()
	}
}

// finish counts the request and ends its span. It also runs when the connection is broken on purpose.
func (h *Handler) finish(req *request, span trace.Span) {
	h.leave(req)
	name := ""
	if req.account != nil {
		name = req.account.Name
	}
	h.Meter.Push(req.ctx, name, req.outcome, h.Now().Sub(req.arrived))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", req.r.Method), attribute.String("http.route", Route),
			attribute.Int("http.response.status_code", req.status),
			attribute.String("wxbus.account", name), attribute.String("wxbus.outcome", req.outcome))
		if req.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, req.outcome)
		}
	}
	span.End()
}

// verify answers the verification of the URL (protocol a.1): exactly the echostr, once it is genuine.
func (h *Handler) verify(req *request) {
	if req.query.EchoStr == "" || !req.account.VerifyURL(req.query) {
		h.remember(req, nil, push.ReasonSignature)
		h.refuse(req, push.ReasonSignature)
		return
	}
	if !h.timely(req) {
		h.refuse(req, push.ReasonTimestamp)
		return
	}
	h.Book.Verified(req.account.Name)
	req.answer(http.StatusOK, req.query.EchoStr, outcomeSuccess)
}

// refuse answers a request that is wrong, always with the same words.
func (h *Handler) refuse(req *request, reason push.Reason) {
	h.Meter.Refused(req.ctx, string(reason))
	req.answer(http.StatusForbidden, bodyRefused, outcomeRefused)
}

// unavailable answers a request that we cannot take now, always with the same words.
func (h *Handler) unavailable(req *request, reason string) {
	h.Meter.Refused(req.ctx, reason)
	req.answer(http.StatusServiceUnavailable, bodyUnavailable, outcomeUnavailable)
}

// success acknowledges the push.
func (h *Handler) success(req *request, outcome string) {
	req.answer(http.StatusOK, wechat.Ack, outcome)
}

// breakOff ends the connection without an answer.
func (h *Handler) breakOff(req *request) {
	req.outcome = outcomeBroken
	panic(http.ErrAbortHandler)
}

// answer writes a short answer. The client may be gone, which changes nothing.
func (req *request) answer(status int, body, outcome string) {
	req.status, req.outcome = status, outcome
	header := req.w.Header()
	header["Content-Type"], header["X-Content-Type-Options"] = textPlain, noSniff
	req.w.WriteHeader(status)
	_, _ = io.WriteString(req.w, body)
}
