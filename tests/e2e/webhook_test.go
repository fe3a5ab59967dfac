package e2e

import (
	"encoding/json"
	"fmt"
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
	mux.HandleFunc("POST /vars", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"vars":{"price":9.9}}`))
	})
	// A chat model that answers with the number of messages that it was told.
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Messages []json.RawMessage `json:"messages"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Authorization") != "Bearer chat-key" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(w, `{"choices":[{"message":{"content":"听到 %d 条"}}],"usage":{"total_tokens":7}}`, len(body.Messages))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &webhook{srv}
}
