// Package door is the one way into the system for browsers and business systems: the methods of every service
// by Connect, Connect with JSON and gRPC-web. The console's own services are called directly, those of others
// through their gRPC connection, by descriptor. What package policy says is enforced here, for both alike, before
// a request is read and after it is decoded; every write is audited.
package door

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/httpx"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/policy"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	// maxRequest and maxOpen bound a request in bytes: with and without a log-in. A rule file has up to 32 MiB.
	maxRequest = 33 << 20
	maxOpen    = 16 << 10
	// Timeout bounds a call that is not a stream.
	timeout = 30 * time.Second
)

// Recorder keeps audit entries.
type Recorder interface {
	// Record keeps an entry and waits a moment until it is stored; Queue does not wait.
	Record(ctx context.Context, e *store.Entry)
	Queue(ctx context.Context, e *store.Entry)
	// Begin keeps the entry of what is about to be changed and returns the attempt, which the entry about the end has too.
	Begin(ctx context.Context, e *store.Entry) (attempt string)
}

// Options of a Door. Every field is required.
type Options struct {
	Guard *access.Guard
	Audit Recorder
	Log   *slog.Logger
	Now   func() time.Time
	// Backends are the connections to services, by the package of their protos, for example wxbus.rule.v1.
	Backends map[string]grpc.ClientConnInterface
}

// Door serves methods. Own adds the console's services before it is used; after that it is safe for concurrent use.
type Door struct {
	o        Options
	handlers map[string]http.Handler // by package.Service/Method or by package.Service
	errors   *connect.ErrorWriter
	reads    reads
}

// New returns a door to every method of the backends that the policy knows.
func New(o Options) (*Door, error) {
	d := &Door{o: o, handlers: map[string]http.Handler{}, errors: connect.NewErrorWriter(), reads: reads{now: o.Now, last: map[read]time.Time{}}}
	for pkg, conn := range o.Backends {
		found := false
		protoregistry.GlobalFiles.RangeFilesByPackage(protoreflect.FullName(pkg), func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				found = true
				d.forwardService(f.Services().Get(i), conn)
			}
			return true
		})
		if !found {
			return nil, errors.New("door: no service is linked in for " + pkg)
		}
	}
	return d, nil
}

func (d *Door) forwardService(s protoreflect.ServiceDescriptor, conn grpc.ClientConnInterface) {
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		name := string(s.FullName()) + "/" + string(m.Name())
		if a, ok := policy.Of(name); ok && !a.Hidden {
			d.handlers[name] = d.forward(m, name, conn)
		}
	}
}

// Own adds a service of the console: what the generated New…Handler returned for HandlerOptions.
func (d *Door) Own(path string, h http.Handler) { d.handlers[strings.Trim(path, "/")] = h }

// HandlerOptions are what every handler needs to stand behind the door.
func (d *Door) HandlerOptions() []connect.HandlerOption {
	return []connect.HandlerOption{connect.WithInterceptors(&gate{d}), connect.WithReadMaxBytes(maxRequest)}
}

// call is what the door knows of a request.
type call struct {
	method string
	access policy.Access
	caller *access.Caller // nil for an open method without a log-in
	// attempt names the entry before the change; empty when nothing was begun.
	attempt string
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// ServeHTTP serves /package.Service/Method; the prefix of the API is stripped by the caller.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/")
	w.Header().Set("Cache-Control", "no-store")
	a, known := policy.Of(method)
	service, _, _ := strings.Cut(method, "/")
	h := d.handlers[method]
	if h == nil {
		h = d.handlers[service]
	}
	if !known || a.Hidden || h == nil {
		d.refuse(w, r, method, &refusal{code: connect.CodeUnimplemented, text: "there is no such method"})
		return
	}
	caller, err := d.admit(r, a)
	if err != nil {
		d.refuse(w, r, method, err)
		d.noteRefusal(r.Context(), method, a, caller, err)
		return
	}
	limit := int64(maxRequest)
	if caller == nil {
		limit = maxOpen
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	ctx := login.WithBrowser(r.Context(), d.o.Guard.Browser(r))
	ctx = context.WithValue(ctx, callKey{}, &call{method: method, access: a, caller: caller})
	if caller != nil {
		ctx = access.With(ctx, caller)
	}
	h.ServeHTTP(w, r.WithContext(ctx))
}

// refuse answers in the protocol of the request; a request of none of them gets JSON.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, method string, err error) {
	if !d.errors.IsSupported(r) {
		r = r.Clone(r.Context())
		r.Method = http.MethodPost
		r.Header.Set("Content-Type", "application/json")
	}
	_ = d.errors.Write(w, r, d.Error(r.Context(), method, err)) // the caller has gone; there is nobody to tell
}

// admit finds out who calls and whether they may, from the headers alone. It returns the caller together with the
// refusal when there is one.
func (d *Door) admit(r *http.Request, a policy.Access) (*access.Caller, error) {
	caller, err := d.o.Guard.Visitor(r, !a.Quiet)
	if a.Open {
		if err != nil && !errors.Is(err, login.ErrNoSession) && !errors.Is(err, access.ErrNoKey) {
			return nil, err
		}
		return caller, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case caller.Kind == access.APIKey && a.Scope == "":
		return caller, denied("keys cannot call this method")
	case caller.Kind == access.APIKey && !caller.HasScope(a.Scope):
		return caller, denied("the key lacks the scope " + a.Scope)
	case caller.Kind == access.Person && !a.May(caller.Roles):
		return caller, denied("your roles do not allow this")
	case caller.MustChangePassword() && !a.FirstSteps:
		return caller, denied("set a new password first")
	case a.Global && !caller.All():
		return caller, denied("this is about all accounts, and you have only some")
	}
	return caller, nil
}

func (d *Door) noteRefusal(ctx context.Context, method string, a policy.Access, caller *access.Caller, err error) {
	if a.Read || caller == nil || errors.Is(err, access.ErrTooMany) {
		return // strangers could fill the log
	}
	code, _ := codeOf(err)
	d.o.Audit.Record(ctx, &store.Entry{
		Actor: caller.Actor(), Action: method, Outcome: code.String(), Address: caller.Address, TraceID: traceID(ctx),
	})
}

func traceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// Enter applies the policy of a method that reads to a request that is no call, because a browser reads what it names by address. When the
// caller may not it answers and returns false. Otherwise the context says to services who acts, and ends when the server begins to stop;
// end must be called when the answer is written.
func (d *Door) Enter(w http.ResponseWriter, r *http.Request, method string, request proto.Message) (context.Context, func(), bool) {
	a, known := policy.Of(method)
	if !known || a.Hidden {
		d.Fail(w, r, method, &refusal{code: connect.CodeUnimplemented, text: "there is no such method"})
		return nil, nil, false
	}
	caller, err := d.admit(r, a)
	c := &call{method: method, access: a, caller: caller}
	if err == nil {
		err = c.check(request)
	}
	if err != nil {
		d.Fail(w, r, method, err)
		return nil, nil, false
	}
	d.audited(context.WithoutCancel(r.Context()), c, request, nil, nil)
	httpx.Lasts(r.Context())
	ctx, end := untilStop(actAs(access.With(r.Context(), caller)))
	return ctx, func() { end() }, true
}

// Fail answers a request of Enter with an error.
func (d *Door) Fail(w http.ResponseWriter, r *http.Request, method string, err error) {
	w.Header().Set("Cache-Control", "no-store")
	d.refuse(w, r, method, err)
}

// check applies the policy to a decoded request. It may fill fields in.
func (c *call) check(m proto.Message) error {
	r := m.ProtoReflect()
	if err := c.checkSelf(r); err != nil {
		return err
	}
	if c.access.Account == "" || c.caller == nil || c.caller.All() {
		return nil
	}
	own := c.caller.Accounts()
	if len(own) == 1 && !c.access.Filters {
		fill(r, c.access.Account, own[0])
	}
	accounts := values(r, c.access.Account)
	if len(accounts) == 0 {
		return fault.Errorf(fault.Invalid, "%s: name at least one account", c.access.Account)
	}
	for _, name := range accounts {
		switch {
		case name == "" && c.access.Filters:
		case name == "":
			return fault.Errorf(fault.Invalid, "%s: name one of your accounts", c.access.Account)
		case name == access.EveryAccount, !c.caller.May(name):
			// The same answer for an account that is not there and one that is not theirs.
			return fault.Errorf(fault.NotFound, "%s: no such account", c.access.Account)
		}
	}
	return nil
}

// checkSelf makes sure that people act as themselves. A key acts in nobody's name but may name an agent where its
// scope allows the method at all.
func (c *call) checkSelf(r protoreflect.Message) error {
	if c.access.Self == "" || c.caller == nil {
		return nil
	}
	given := values(r, c.access.Self)[0]
	switch {
	case given == "" && c.caller.Kind == access.APIKey && c.access.Self == "agent":
	case given == "":
		fill(r, c.access.Self, c.caller.Actor())
	case c.caller.Kind == access.Person && given != c.caller.Name && !c.access.Excepted(c.caller.Roles):
		return deniedField(c.access.Self, "you act as yourself")
	}
	return nil
}

// begin writes down that a change is about to be made. Log-ins are written down at their end only: strangers could fill the log.
func (d *Door) begin(ctx context.Context, c *call, request proto.Message) {
	if c.access.Read || c.access.Open {
		return
	}
	e := entryOf(c, request)
	e.TraceID, e.RequestDigest = traceID(ctx), audit.Digest(request)
	c.attempt = d.o.Audit.Begin(context.WithoutCancel(ctx), e)
}

// audited writes the entry of a call that is over: of every write, and of reads that the policy wants to be known.
func (d *Door) audited(ctx context.Context, c *call, request proto.Message, change *audit.Change, err error) {
	e := entryOf(c, request)
	e.TraceID = traceID(ctx)
	if c.access.Read {
		if err == nil && c.access.Logged && c.caller != nil {
			d.Read(ctx, e)
		}
		return
	}
	if err != nil {
		code, _ := codeOf(err)
		e.Outcome = code.String()
		if c.access.Open && code == connect.CodeResourceExhausted {
			return // strangers could fill the log
		}
	}
	if request != nil {
		e.RequestDigest = audit.Digest(request)
	}
	e.BeforeHash, e.AfterHash = change.Hashes()
	e.Attempt = c.attempt
	d.o.Audit.Record(ctx, e)
}

// untilStop ends a stream when the server begins to stop; it returns what to call at the end of the stream, which
// tells whether that was the reason.
func untilStop(ctx context.Context) (context.Context, func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	stopping := httpx.Stopping(ctx)
	stopped, done := false, make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-stopping:
			stopped = true
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() bool {
		cancel()
		<-done
		return stopped
	}
}
