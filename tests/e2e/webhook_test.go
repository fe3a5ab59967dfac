package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// webhook is a business system: a rule asks it, and it answers after a delay that is in the path.
type webhook struct{ *httptest.Server }

func newWebhook(t testing.TB) *webhook {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /after/{delay}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		delay, err := time.ParseDuration(r.PathValue("delay"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"replies": []map[string]any{{"text": "after " + delay.String()}}})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &webhook{srv}
}
