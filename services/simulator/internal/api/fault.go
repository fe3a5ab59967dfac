package api

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// pause waits, and fails when the client left or the simulator stops.
func (s *Server) pause(r *http.Request, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	return s.deps.Clock.Sleep(r.Context(), d)
}

// strike carries the call out or not, as the fault says, and spoils the answer. Whatever the client cannot know
// goes into the ledger with what really happened.
func (s *Server) strike(w http.ResponseWriter, c *call, ep endpoint, hit faults.API, start time.Time) {
	var a answer
	if hit.When == faults.After {
		a = c.answer(ep)
	}
	if hit.Kind == faults.ErrCode {
		a = c.answer(endpoint{open: true, run: func(*call) (any, error) { return nil, code(hit.ErrCode) }})
	} else {
		s.deps.Ledger.Ambiguous(c.ambiguous(hit, a))
	}
	s.deps.Ledger.Called(c.name(), c.path, a.errCode, hit.Kind, s.deps.Clock.Now().Sub(start))
	switch hit.Kind {
	case faults.ErrCode:
		s.write(w, a)
	case faults.Hang:
		select {
		case <-c.r.Context().Done():
		case <-s.closing:
		}
		panic(http.ErrAbortHandler)
	case faults.Reset:
		reset(w)
	case faults.HTTP:
		s.write(w, answer{status: hit.Status, contentType: "text/html", body: []byte("<html><body>" + http.StatusText(hit.Status) + "</body></html>")})
	case faults.NonJSON:
		s.write(w, answer{status: http.StatusOK, contentType: "text/html", body: []byte("<html><body>busy</body></html>")})
	case faults.Truncate:
		s.truncate(w, a)
	}
}

func (c *call) ambiguous(hit faults.API, a answer) ledger.Ambiguous {
	var b struct {
		ToUser json.RawMessage `json:"touser"`
		Text   struct {
			Content string `json:"content"`
		} `json:"text"`
	}
	_ = json.Unmarshal(c.body, &b) // a body that is not JSON names nobody
	var openID string
	_ = json.Unmarshal(b.ToUser, &openID) // lists of recipients are left out
	return ledger.Ambiguous{Account: c.name(), Path: c.path, OpenID: openID, Fault: hit.Kind + " " + hit.When, Text: b.Text.Content,
		Accepted: hit.When == faults.After && a.errCode == 0, ErrCode: a.errCode}
}

// truncate announces the whole answer and breaks off in its middle.
func (s *Server) truncate(w http.ResponseWriter, a answer) {
	body := a.body
	if len(body) == 0 {
		body = encode(done)
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush() // the abort below is seen either way
	panic(http.ErrAbortHandler)
}

// reset makes the client see a connection reset instead of an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is a plain end, which is close enough
	}
	_ = conn.Close()
}
