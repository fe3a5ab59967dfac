package control

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/load"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

func (s *Server) getFaults(*http.Request) (any, error) {
	return map[string]any{"rules": s.Faults.Status()}, nil
}

func (s *Server) setFaults(r *http.Request) (any, error) {
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return nil, badRequest(err)
	}
	script, err := faults.Parse(data)
	if err != nil {
		return nil, badRequest(err)
	}
	if err := s.Faults.Set(script); err != nil {
		return nil, badRequest(err)
	}
	return s.getFaults(r)
}

func (s *Server) clearFaults(r *http.Request) (any, error) {
	if err := s.Faults.Set(faults.Script{}); err != nil {
		return nil, err
	}
	return s.getFaults(r)
}

func (s *Server) getClock(*http.Request) (any, error) {
	return map[string]any{"now": s.Clock.Now(), "virtual": s.Clock.IsVirtual()}, nil
}

// advance moves the simulated time forward, for windows, tokens and media that expire.
func (s *Server) advance(r *http.Request) (any, error) {
	var body struct {
		Advance faults.Duration `json:"advance"`
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	if body.Advance <= 0 {
		return nil, problem{http.StatusBadRequest, "advance: must be above zero"}
	}
	s.Clock.Advance(time.Duration(body.Advance))
	return s.getClock(r)
}

const maxStoredBody = 16 << 20

// addStored takes the list of what the bus stored, in as many parts as needed; the last one says complete.
func (s *Server) addStored(r *http.Request) (any, error) {
	var set report.StoredSet
	if err := decode(r, maxStoredBody, &set); err != nil {
		return nil, err
	}
	n, err := s.Stored.Add(set, s.Clock.Now())
	if err != nil {
		return nil, badRequest(err)
	}
	return map[string]int{"stored": n}, nil
}

func (s *Server) build(r *http.Request) report.Report {
	return report.Build(r.Context(), s.Ledger, s.Stored.Reader())
}

func (s *Server) report(r *http.Request) (any, error) { return s.build(r), nil }

func (s *Server) reportText(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, s.build(r).Text()) //nolint:gosec // plain text with nosniff; the client is gone when this fails
}

func (s *Server) reportPage(w http.ResponseWriter, r *http.Request) {
	page, err := s.build(r).HTML()
	if err != nil {
		http.Error(w, "the report page cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(page) //nolint:gosec // html/template escaped it; the client is gone when this fails
}

func (s *Server) reset(*http.Request) (any, error) {
	s.Reset()
	return done{true}, nil
}

func (s *Server) startLoad(r *http.Request) (any, error) {
	var plan load.Plan
	if err := decode(r, maxBody, &plan); err != nil {
		return nil, err
	}
	err := s.Runs.Start(plan)
	switch {
	case errors.Is(err, load.ErrRunning):
		return nil, problem{http.StatusConflict, err.Error()}
	case errors.Is(err, load.ErrClosed):
		return nil, problem{http.StatusServiceUnavailable, err.Error()}
	case err != nil:
		return nil, badRequest(err)
	}
	return done{true}, nil
}

func (s *Server) loadStatus(*http.Request) (any, error) {
	p, running := s.Runs.Status()
	return map[string]any{"running": running, "progress": p}, nil
}

func (s *Server) stopLoad(*http.Request) (any, error) { return done{s.Runs.Stop()}, nil }

const maxRules = 1_000_000

// rules writes the rules that answer numbered pushes: ?count= and optionally ?account=.
func (s *Server) rules(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("count"))
	if err != nil || n < 1 || n > maxRules {
		http.Error(w, "count: must be 1 to "+strconv.Itoa(maxRules), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = load.WriteRules(w, n, r.URL.Query().Get("account"), s.Ask, s.Reply) // the client is gone when this fails
}

// media serves the pictures and sounds of both sides, never as something that a browser would run.
func (s *Server) media(w http.ResponseWriter, r *http.Request) {
	x, ok := s.API.Media(r.PathValue("id"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", x.ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(x.Data)) // with ranges, so that films can be entered in their middle
}
