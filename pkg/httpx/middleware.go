package httpx

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Middleware wraps a handler.
type Middleware func(http.Handler) http.Handler

// Chain applies middleware so that the first one sees a request first.
func Chain(h http.Handler, ms ...Middleware) http.Handler {
	for i := len(ms) - 1; i >= 0; i-- {
		h = ms[i](h)
	}
	return h
}

// PagePolicy is the content security policy of our pages: everything from our own origin, images
// also from data and blob URLs and WeChat's picture hosts, never inside a frame. Styles may be inline because
// component libraries make them at run time.
const PagePolicy = "default-src 'self'; " +
	"img-src 'self' data: blob: https://*.qpic.cn https://*.qlogo.cn; " +
	"media-src 'self' data: blob:; " +
	"style-src 'self' 'unsafe-inline'; " +
	"connect-src 'self'; font-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// SecurityHeaders sets the headers that keep a browser from being turned against our users. An
// empty policy means PagePolicy. A handler may still overwrite them for its own answer.
func SecurityHeaders(policy string) Middleware {
	if policy == "" {
		policy = PagePolicy
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("X-Frame-Options", "DENY") // for browsers that ignore frame-ancestors
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
			next.ServeHTTP(w, r)
		})
	}
}

// Recover answers 500 when a handler panics, and logs the panic once with the id that the client
// sees. http.ErrAbortHandler passes: it is the way to break a connection on purpose.
func Recover(log *slog.Logger) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := &recorder{ResponseWriter: w}
			defer func() {
				if p := recover(); p != nil {
					answerPanic(log, rec, r, p)
				}
			}()
			next.ServeHTTP(rec, r)
		})
	}
}

func answerPanic(log *slog.Logger, rec *recorder, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	id := fault.NewErrorID()
	log.ErrorContext(r.Context(), "handler panicked", logkey.ErrorID, id, logkey.Error, p,
		logkey.Method, r.Method, logkey.Route, r.Pattern, logkey.Stack, string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	http.Error(rec, "internal error "+id, http.StatusInternalServerError)
}

type lastsKey struct{}

// Lasts says that the request of ctx is meant to take long, a feed or a film, so that LogUnusual does not call that unusual.
func Lasts(ctx context.Context) {
	if lasts, ok := ctx.Value(lastsKey{}).(*atomic.Bool); ok {
		lasts.Store(true)
	}
}

// LogUnusual logs requests that end with a status of 500 or more, or take longer than slow without Lasts; the
// others are counted by metrics and not worth a line. It logs the route, never the path or the query:
// they hold openids and signatures. A slow of 0 logs failures only.
func LogUnusual(log *slog.Logger, slow time.Duration) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec, begin, lasts := &recorder{ResponseWriter: w}, time.Now(), new(atomic.Bool)
			inner := r.WithContext(context.WithValue(r.Context(), lastsKey{}, lasts))
			next.ServeHTTP(rec, inner)
			r.Pattern = inner.Pattern // who is outside names the request by it
			took, status := time.Since(begin), max(rec.status, http.StatusOK)
			if status < http.StatusInternalServerError && (slow <= 0 || took < slow || lasts.Load()) {
				return
			}
			log.WarnContext(r.Context(), "unusual request", logkey.Method, r.Method, logkey.Route, r.Pattern,
				logkey.Code, status, logkey.Took, took, "bytes", rec.bytes)
		})
	}
}

// recorder remembers the status. Unwrap lets http.ResponseController reach Flush and deadlines.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK { // 1xx are not the answer
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Flush supports libraries that ask for http.Flusher instead of http.ResponseController.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }
