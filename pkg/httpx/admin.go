package httpx

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// Admin returns the handler of the admin listener:
//
//	/livez    200 as long as the process can answer; depends on nothing else
//	/readyz   200 when traffic may be sent, else 503; JSON with every check
//	/healthz  the same as /readyz, for tools that expect that name
//	/metrics  Prometheus and OpenMetrics
//	/debug/pprof/  only with profiles
//
// It has no authentication: keep the listener inside the cluster.
func Admin(readiness *lifecycle.Readiness, registry prometheus.Gatherer, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, readyBody{Status: "ok"})
	})
	ready := readyHandler(readiness)
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /healthz", ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

type readyBody struct {
	Status string      `json:"status"` // ok or unavailable
	Checks []checkBody `json:"checks,omitempty"`
}

type checkBody struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func readyHandler(readiness *lifecycle.Readiness) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, status := readyBody{Status: "ok"}, http.StatusOK
		for _, res := range readiness.Report(r.Context()) {
			check := checkBody{Name: res.Name, OK: res.Err == nil}
			if res.Err != nil {
				check.Error = res.Err.Error()
				body.Status, status = "unavailable", http.StatusServiceUnavailable
			}
			body.Checks = append(body.Checks, check)
		}
		writeJSON(w, status, body)
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone when this fails
}
