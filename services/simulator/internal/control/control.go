// Package control is the simulator's own HTTP API under /sim/v1: pushes, fans, faults, load, time and the report.
// It has no log-in: it belongs on a loopback address. Browsers of other origins are refused.
package control

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/load"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

// Deps are the parts that the API controls.
type Deps struct {
	Clock  *clock.Clock
	Dice   clock.Dice
	Ledger *ledger.Ledger
	API    *api.Server
	Pusher *pusher.Pusher
	Faults *faults.Engine
	Runs   *load.Runs
	Stored *report.List
	Ask    ledger.Pattern
	Reply  ledger.Pattern
	Reset  func()
}

// Server is the http.Handler of /sim/v1. It is safe for concurrent use.
type Server struct {
	Deps
	handler  http.Handler
	draining chan struct{} // closed when the HTTP server shuts down, which ends the event streams
	drain    sync.Once
	hook     sync.Once
}

// New returns the control API.
func New(d Deps) *Server {
	s := &Server{Deps: d, draining: make(chan struct{})}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /sim/v1/accounts":                         s.accounts,
		"POST /sim/v1/accounts/{account}/invalidate":   s.invalidate,
		"POST /sim/v1/accounts/{account}/verify":       s.verify,
		"PUT /sim/v1/accounts/{account}/limit":         s.limit,
		"PUT /sim/v1/accounts/{account}/keys":          s.keys,
		"POST /sim/v1/accounts/{account}/media":        s.addMedia,
		"POST /sim/v1/accounts/{account}/native":       s.native,
		"GET /sim/v1/accounts/{account}/fans":          s.fans,
		"POST /sim/v1/accounts/{account}/fans":         s.addFan,
		"GET /sim/v1/accounts/{account}/fans/{openid}": s.fan,
		"PUT /sim/v1/accounts/{account}/fans/{openid}": s.editFan,
		"POST /sim/v1/push":                            s.push,
		"GET /sim/v1/kinds":                            s.kinds,
		"GET /sim/v1/faults":                           s.getFaults,
		"PUT /sim/v1/faults":                           s.setFaults,
		"DELETE /sim/v1/faults":                        s.clearFaults,
		"GET /sim/v1/clock":                            s.getClock,
		"POST /sim/v1/clock":                           s.advance,
		"GET /sim/v1/pushes":                           s.pushes,
		"GET /sim/v1/log":                              s.log,
		"POST /sim/v1/stored":                          s.addStored,
		"GET /sim/v1/report":                           s.report,
		"POST /sim/v1/reset":                           s.reset,
		"POST /sim/v1/load":                            s.startLoad,
		"GET /sim/v1/load":                             s.loadStatus,
		"DELETE /sim/v1/load":                          s.stopLoad,
	} {
		mux.HandleFunc(pattern, respond(h))
	}
	mux.HandleFunc("GET /sim/v1/events", s.events)
	mux.HandleFunc("GET /sim/v1/media/{id}", s.media)
	mux.HandleFunc("GET /sim/v1/report.html", s.reportPage)
	mux.HandleFunc("GET /sim/v1/report.txt", s.reportText)
	mux.HandleFunc("GET /sim/v1/rules.yaml", s.rules)
	s.handler = http.NewCrossOriginProtection().Handler(mux)
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends the event streams. It may be called twice.
func (s *Server) Close() { s.drain.Do(func() { close(s.draining) }) }

const maxBody = 1 << 20

// problem is an error with an HTTP status.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

func badRequest(err error) error { return problem{http.StatusBadRequest, err.Error()} }

var errNotFound = problem{http.StatusNotFound, "not found"}

// respond turns a result into JSON and an error into a status and {"error": …}.
func respond(h func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := h(r)
		status := http.StatusOK
		if err != nil {
			status = http.StatusInternalServerError
			var p problem
			if errors.As(err, &p) {
				status = p.status
			}
			v = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // the client is gone when this fails
	}
}

// decode reads a JSON body of at most limit bytes, strictly.
func decode(r *http.Request, limit int64, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, limit))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return problem{http.StatusBadRequest, "the body has more than one JSON value"}
	}
	return nil
}

type done struct {
	OK bool `json:"ok"`
}

// account returns the account of the path.
func (s *Server) account(r *http.Request) (string, error) {
	name := r.PathValue("account")
	if _, ok := s.Ledger.Account(name); !ok {
		return "", errNotFound
	}
	return name, nil
}
