package httpx_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

func call(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestReadiness(t *testing.T) {
	ready := lifecycle.NewReadiness()
	var natsErr error
	ready.Add("nats", func(context.Context) error { return natsErr })
	h := httpx.Admin(ready, prometheus.NewRegistry(), false)

	w := call(h, "GET", "/readyz")
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"status":"ok","checks":[{"name":"lifecycle","ok":true},{"name":"nats","ok":true}]}`, w.Body.String())
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))

	natsErr = errors.New("no connection")
	for _, path := range []string{"/readyz", "/healthz"} {
		w = call(h, "GET", path)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.JSONEq(t, `{"status":"unavailable","checks":[{"name":"lifecycle","ok":true},{"name":"nats","ok":false,"error":"no connection"}]}`, w.Body.String())
	}
	require.Equal(t, http.StatusOK, call(h, "GET", "/livez").Code, "liveness depends on nothing")

	ready.SetStopping()
	w = call(h, "GET", "/readyz")
	require.JSONEq(t, `{"status":"unavailable","checks":[{"name":"lifecycle","ok":false,"error":"stopping"}]}`, w.Body.String())
}

func TestMetricsEndpoint(t *testing.T) {
	h := httpx.Admin(lifecycle.NewReadiness(), telemetrytest.New(t).Registry, false)
	w := call(h, "GET", "/metrics")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "wxbus_build_info{")
}

func TestProfilesOnlyWhenAsked(t *testing.T) {
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap"} {
		require.Equal(t, http.StatusNotFound, call(httpx.Admin(lifecycle.NewReadiness(), prometheus.NewRegistry(), false), "GET", path).Code)
		require.Equal(t, http.StatusOK, call(httpx.Admin(lifecycle.NewReadiness(), prometheus.NewRegistry(), true), "GET", path).Code)
	}
	require.Equal(t, http.StatusMethodNotAllowed, call(httpx.Admin(lifecycle.NewReadiness(), prometheus.NewRegistry(), false), "POST", "/readyz").Code)
}
