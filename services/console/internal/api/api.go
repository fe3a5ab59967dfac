// Package api is the JSON API of the console, for its page and for business systems.
package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/rpc"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// MaxBody is the largest request body in bytes, where a path does not say otherwise: one message with the longest menu or article.
const MaxBody = 64 << 10

// Status tells how the system is doing. The answer is shared and must not be changed.
type Status interface {
	Get(ctx context.Context) *consolev1.GetStatusResponse
}

// Options of the API. Every field is required.
type Options struct {
	Accounts      *account.Directory
	Guard         *access.Guard
	Sender        senderv1.SenderServiceClient
	Conversations agentroutingv1.ConversationServiceClient
	Campaigns     senderv1.CampaignServiceClient
	Letters       *rpc.DeadLetters
	Webhooks      *rpc.Webhooks
	// Begin notes that a write is about to be made and returns the attempt; Record notes its end.
	Begin  func(ctx context.Context, e *store.Entry) (attempt string)
	Record func(ctx context.Context, e *store.Entry)
	// Read notes that fans or what they said were read, once in a while for each.
	Read   func(ctx context.Context, e *store.Entry)
	Status Status
	Log    *slog.Logger
	Now    func() time.Time
	// Timeout bounds the calls that one request makes.
	Timeout time.Duration
}

type api struct{ Options }

// Register adds every path below /api/ to the mux.
func Register(mux *http.ServeMux, o Options) {
	a := &api{o}
	for _, r := range a.routes() {
		a.handle(mux, r)
	}
	mux.HandleFunc("GET /api/openapi.json", a.document)
	mux.HandleFunc("GET /api/docs", a.docs)
	a.serveAt(mux, "/api/", route{handle: func(context.Context, *call) (any, error) { return nil, notFound("no such path or method") }})
}

// call is one request after the checks that all paths share.
type call struct {
	*http.Request
	caller  *access.Caller
	account string
	// attempt names the entry before the change.
	attempt string
	header  http.Header   // of the answer
	status  int           // of a successful answer
	request proto.Message // what a service was asked, for the audit log
	// shows are the accounts whose fans the answer lists, for the audit log; an empty name for all.
	shows []string
}

// anyScope marks a path that every caller may ask for.
const anyScope = ""

type handler func(ctx context.Context, c *call) (any, error)

// handle wraps h with what every path needs: caller, rate, account, bounds, errors and one log line
// for everything that changes something.
func (a *api) handle(mux *http.ServeMux, r route) { a.serveAt(mux, r.method+" "+prefix+r.path, r) }

func (a *api) serveAt(mux *http.ServeMux, pattern string, line route) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		begin := a.Now()
		w.Header().Set("Cache-Control", "no-store")
		c := &call{Request: r, header: w.Header(), status: max(line.status, http.StatusOK)}
		body, err := a.serve(r.Context(), w, c, line)
		if err == nil {
			writeJSON(w, c.status, body)
		} else {
			p := problemOf(err)
			c.status = p.Status
			writeProblem(w, p)
		}
		a.note(r.Context(), c, begin, err)
	})
}

func (a *api) serve(ctx context.Context, w http.ResponseWriter, c *call, line route) (any, error) {
	var err error
	if c.caller, err = a.Guard.Caller(c.Request); err != nil {
		return nil, err
	}
	if line.scope != anyScope && !c.caller.HasScope(line.scope) {
		return nil, &problem{Status: http.StatusForbidden, Code: "forbidden", Message: "the key lacks the scope " + line.scope}
	}
	if c.account = c.PathValue("account"); c.account != "" {
		// The same answer for an account that is not there and one that is not theirs.
		if _, ok := a.Accounts.Get(c.account); !ok || !c.caller.May(c.account) {
			return nil, notFound("no such account")
		}
	}
	if openid := c.PathValue("openid"); len(openid) > maxOpenID {
		return nil, invalid("openid", "must have at most 128 bytes")
	}
	limit := int64(MaxBody)
	if line.maxBody > 0 {
		limit = line.maxBody
	}
	c.Body = http.MaxBytesReader(w, c.Body, limit)
	if line.timeout > a.Timeout {
		// A large file takes longer than the server waits for the body of other requests; one that cannot do it keeps its own limit.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(line.timeout))
	}
	ctx, cancel := context.WithTimeout(ctx, max(a.Timeout, line.timeout))
	defer cancel()
	if c.Method != http.MethodGet {
		c.attempt = a.Begin(context.WithoutCancel(ctx), a.entry(ctx, c))
	}
	return line.handle(ctx, c)
}

// note writes the one line of a request that changes something, and of every failure of ours.
func (a *api) note(ctx context.Context, c *call, begin time.Time, err error) {
	level := slog.LevelInfo
	attrs := []any{logkey.Method, c.Method, logkey.Route, c.Pattern, logkey.Code, c.status, logkey.Took, a.Now().Sub(begin)}
	switch {
	case c.status >= http.StatusInternalServerError:
		level = slog.LevelWarn
		p := problemOf(err)
		attrs = append(attrs, logkey.Outcome, p.Code, logkey.Error, errorText(p))
	case c.Method == http.MethodGet:
		a.noteShown(ctx, c, err)
		return
	case err != nil:
		attrs = append(attrs, logkey.Outcome, problemOf(err).Code)
	default:
		attrs = append(attrs, logkey.Outcome, "ok")
	}
	if c.caller != nil {
		attrs = append(attrs, "caller", c.caller.Name, logkey.Account, c.account)
	}
	a.Log.Log(ctx, level, "api call", attrs...)
	a.record(ctx, c, err)
}

// record writes the audit entry of a write.
func (a *api) record(ctx context.Context, c *call, err error) {
	if c.Method == http.MethodGet || c.caller == nil {
		return
	}
	e := a.entry(ctx, c)
	e.Attempt = c.attempt
	if err != nil {
		e.Outcome = problemOf(err).Code
	}
	if c.request != nil {
		e.RequestDigest = audit.Digest(c.request)
	}
	a.Record(ctx, e)
}

// noteShown writes the entries of a read that lists fans.
func (a *api) noteShown(ctx context.Context, c *call, err error) {
	if err != nil || c.caller == nil {
		return
	}
	for _, account := range c.shows {
		e := a.entry(ctx, c)
		e.Account = account
		a.Read(ctx, e)
	}
}

// entry is what the log says of a call.
func (a *api) entry(ctx context.Context, c *call) *store.Entry {
	e := &store.Entry{Actor: c.caller.Actor(), Action: c.Pattern, Account: c.account, Target: c.PathValue("id"), Outcome: "ok", Address: c.caller.Address}
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		e.TraceID = sc.TraceID().String()
	}
	return e
}

func errorText(p *problem) string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return p.Message
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone; there is nobody to tell
}

// protoJSON writes the names of the .proto files, and every field, so that a reader need not know
// which values are defaults.
var protoJSON = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}

// message is a protobuf message as a part of an answer.
type message struct{ proto.Message }

// MarshalJSON makes encoding/json write it, which also escapes < and > of what fans wrote.
func (m message) MarshalJSON() ([]byte, error) { return protoJSON.Marshal(m.Message) }

func messages[T proto.Message](list []T) []message {
	out := make([]message, 0, len(list))
	for _, m := range list {
		out = append(out, message{m})
	}
	return out
}
