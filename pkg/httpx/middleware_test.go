package httpx_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

func TestChainKeepsTheOrder(t *testing.T) {
	var order []string
	mark := func(name string) httpx.Middleware {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				next.ServeHTTP(w, r)
			})
		}
	}
	call(httpx.Chain(text(""), mark("a"), mark("b")), "GET", "/")
	require.Equal(t, []string{"a", "b"}, order)
}

func TestSecurityHeaders(t *testing.T) {
	w := call(httpx.SecurityHeaders("")(text("")), "GET", "/")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'self'")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.NotContains(t, w.Header().Get("Content-Security-Policy"), "script-src", "scripts fall back to our own origin")
	require.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe-eval")
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "DENY", w.Header().Get("X-Frame-Options"))
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))

	w = call(httpx.SecurityHeaders("default-src 'none'")(text("")), "GET", "/")
	require.Equal(t, "default-src 'none'", w.Header().Get("Content-Security-Policy"))
}

// line decodes the only line of a log.
func line(t *testing.T, log *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(log.Bytes(), &m), log.String())
	return m
}

func TestPanicBecomes500WithAnIDThatIsLogged(t *testing.T) {
	var log bytes.Buffer
	mux := http.NewServeMux()
	mux.HandleFunc("GET /x/{id}", func(http.ResponseWriter, *http.Request) { panic("secret detail") })
	w := call(httpx.Recover(slog.New(slog.NewJSONHandler(&log, nil)))(mux), "GET", "/x/openid")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "secret detail")
	m := line(t, &log)
	require.Contains(t, w.Body.String(), m["error_id"])
	require.Equal(t, "secret detail", m["error"])
	require.Equal(t, "GET /x/{id}", m["route"])
	require.Contains(t, m["stack"], "middleware_test.go")
	require.NotContains(t, log.String(), "/x/openid")
}

func TestPanicAfterTheFirstByteBreaksTheConnection(t *testing.T) {
	h := httpx.Recover(slog.New(slog.DiscardHandler))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("x")
	}))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { call(h, "GET", "/") })
}

func TestAbortPassesSilently(t *testing.T) {
	var log bytes.Buffer
	h := httpx.Recover(slog.New(slog.NewJSONHandler(&log, nil)))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { call(h, "GET", "/") })
	require.Empty(t, log.String())
}

func TestOnlyUnusualRequestsAreLogged(t *testing.T) {
	tests := map[string]struct {
		slow   time.Duration
		handle http.HandlerFunc
		logged bool
		code   float64
	}{
		"fine":             {time.Minute, func(http.ResponseWriter, *http.Request) {}, false, 0},
		"client's mistake": {time.Minute, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, false, 0},
		"failure":          {time.Minute, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, true, 503},
		"slow":             {1, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, true, 200},
		"slow and meant so": {1, func(w http.ResponseWriter, r *http.Request) {
			httpx.Lasts(r.Context())
			_, _ = io.WriteString(w, "x")
		}, false, 0},
		"meant so, but a failure": {1, func(w http.ResponseWriter, r *http.Request) {
			httpx.Lasts(r.Context())
			w.WriteHeader(http.StatusBadGateway)
		}, true, 502},
		"slow is ignored": {0, func(http.ResponseWriter, *http.Request) {}, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			mux := http.NewServeMux()
			mux.HandleFunc("GET /wx/{account}", tt.handle)
			call(httpx.LogUnusual(slog.New(slog.NewJSONHandler(&log, nil)), tt.slow)(mux), "GET", "/wx/shop?openid=canary")
			if !tt.logged {
				require.Empty(t, log.String())
				return
			}
			m := line(t, &log)
			require.Equal(t, tt.code, m["code"])
			require.Equal(t, "GET /wx/{account}", m["route"])
			require.NotContains(t, log.String(), "canary")
		})
	}
}

func traced(t *testing.T, o httpx.TraceOptions, h http.HandlerFunc, req *http.Request) (*telemetrytest.Telemetry, tracetest.SpanStub) {
	t.Helper()
	tel := telemetrytest.New(t)
	o.Tracer, o.Meter = tel.TracerProvider, tel.MeterProvider
	mux := http.NewServeMux()
	mux.HandleFunc("POST /wx/{account}", h)
	func() {
		defer func() { _ = recover() }()
		httpx.Trace(o)(mux).ServeHTTP(httptest.NewRecorder(), req)
	}()
	require.Len(t, tel.Spans(), 1)
	return tel, tel.Spans()[0]
}

func push() *http.Request {
	return httptest.NewRequest(http.MethodPost, "/wx/shop?openid=canary&signature=canary", nil)
}

func TestSpanIsNamedByItsRouteAndHoldsNothingPersonal(t *testing.T) {
	var inside trace.SpanContext
	tel, span := traced(t, httpx.TraceOptions{}, func(_ http.ResponseWriter, r *http.Request) {
		inside = trace.SpanContextFromContext(r.Context())
	}, push())
	require.Equal(t, "POST /wx/{account}", span.Name)
	require.Equal(t, trace.SpanKindServer, span.SpanKind)
	require.Equal(t, span.SpanContext.SpanID(), inside.SpanID())
	attrs := map[string]string{}
	for _, kv := range span.Attributes {
		attrs[string(kv.Key)] = kv.Value.String()
	}
	require.Equal(t, map[string]string{
		"http.request.method": "POST", "http.route": "/wx/{account}", "http.response.status_code": "200",
	}, attrs)
	families, err := tel.Registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	require.Contains(t, names, "http_server_request_duration_seconds")
}

func TestSpanOfAFailureAndOfAPanic(t *testing.T) {
	_, span := traced(t, httpx.TraceOptions{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, push())
	require.Equal(t, codes.Error, span.Status.Code)
	_, span = traced(t, httpx.TraceOptions{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, push())
	for _, kv := range span.Attributes {
		require.NotEqual(t, "http.response.status_code", string(kv.Key), "nothing was answered")
	}
}

func TestInventedMethodsAndPathsAreOneSeries(t *testing.T) {
	tel := telemetrytest.New(t)
	h := httpx.Trace(httpx.TraceOptions{Tracer: tel.TracerProvider, Meter: tel.MeterProvider})(http.NewServeMux())
	for _, method := range []string{"BREW", "WHEN"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/"+method, nil))
	}
	require.Len(t, tel.Named("_OTHER unmatched"), 2)
}

func TestCallersTrace(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, public := range map[string]bool{"continued inside": false, "linked from strangers": true} {
		t.Run(name, func(t *testing.T) {
			req := push()
			req.Header.Set("traceparent", parent)
			_, span := traced(t, httpx.TraceOptions{Public: public}, func(http.ResponseWriter, *http.Request) {}, req)
			same := span.SpanContext.TraceID().String() == "0af7651916cd43dd8448eb211c80319c"
			require.Equal(t, !public, same)
			if public {
				require.Len(t, span.Links, 1)
				require.Equal(t, "b7ad6b7169203331", span.Links[0].SpanContext.SpanID().String())
			}
		})
	}
}

func TestSkippedRequestsAreNotTraced(t *testing.T) {
	tel := telemetrytest.New(t)
	h := httpx.Trace(httpx.TraceOptions{Tracer: tel.TracerProvider, Skip: func(*http.Request) bool { return true }})(text("x"))
	require.Equal(t, "x", call(h, "GET", "/").Body.String())
	require.Empty(t, tel.Spans())
}

// Streams need Flush through every layer.
func TestFlushReachesTheConnection(t *testing.T) {
	w := httptest.NewRecorder()
	h := httpx.Chain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		require.NoError(t, http.NewResponseController(w).Flush())
		w.(http.Flusher).Flush()
	}), httpx.Trace(httpx.TraceOptions{}), httpx.LogUnusual(slog.New(slog.DiscardHandler), 0), httpx.Recover(slog.New(slog.DiscardHandler)))
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.True(t, w.Flushed)
}
