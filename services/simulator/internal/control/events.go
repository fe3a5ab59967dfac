package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

const (
	eventPause = 50 * time.Millisecond // joins what happens in short order
	keepAlive  = 15 * time.Second
)

// events streams the screens of the fans given as ?fan=account/openid (repeated) and the traffic log as server-sent events:
// "entry", "line", and after each change "state". A client that comes back with Last-Event-ID misses nothing that is still kept.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	st := &stream{s: s, w: w}
	for _, f := range r.URL.Query()["fan"] {
		account, openID, _ := strings.Cut(f, "/")
		if len(st.fans) < maxStreamFans {
			st.fans = append(st.fans, fanKey{account, openID})
		}
	}
	st.last, _ = strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // without one from the beginning
	st.endWith(r)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	for {
		changed := s.Ledger.Changed()
		if !st.send() || control.Flush() != nil {
			return
		}
		if !st.wait(r, changed) {
			return
		}
	}
}

const maxStreamFans = 8

type fanKey struct{ account, openID string }

type stream struct {
	s    *Server
	w    http.ResponseWriter
	fans []fanKey
	last uint64
}

// endWith makes the stream end when the server shuts down: it would hold up the shutdown otherwise.
func (st *stream) endWith(r *http.Request) {
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		st.s.hook.Do(func() { server.RegisterOnShutdown(st.s.Close) })
	}
}

func (st *stream) wait(r *http.Request, changed <-chan struct{}) bool {
	alive := time.NewTimer(keepAlive)
	defer alive.Stop()
	select {
	case <-changed:
	case <-alive.C:
	case <-st.s.draining:
		return false
	case <-r.Context().Done():
		return false
	}
	pause := time.NewTimer(eventPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// message is what a line of the stream carries.
type message struct {
	seq  uint64
	name string
	data any
}

type entryView struct {
	Account string       `json:"account"`
	OpenID  string       `json:"openid"`
	Entry   ledger.Entry `json:"entry"`
}

// send writes what is new, in the order of its numbers, and reports whether the client still listens.
func (st *stream) send() bool {
	var out []message
	for _, line := range st.s.Ledger.Lines(st.last, shownLines, func(ledger.Line) bool { return true }) {
		out = append(out, message{line.Seq, "line", line})
	}
	view := state{Now: st.s.Clock.Now(), Summary: st.s.Ledger.Summary(), Fans: []ledger.FanView{}}
	for _, k := range st.fans {
		for _, e := range st.s.Ledger.Entries(k.account, k.openID, st.last) {
			out = append(out, message{e.Seq, "entry", entryView{k.account, k.openID, e}})
		}
		if f, ok := st.s.Ledger.Fan(k.account, k.openID); ok {
			f.Timeline, f.Replies = nil, nil
			view.Fans = append(view.Fans, f)
		}
	}
	slices.SortFunc(out, func(a, b message) int { return cmp.Compare(a.seq, b.seq) })
	for _, m := range out {
		if !st.event(m) {
			return false
		}
		st.last = m.seq
	}
	return st.event(message{st.last, "state", view})
}

// state is what the page shows around the screens.
type state struct {
	Now     time.Time        `json:"now"`
	Fans    []ledger.FanView `json:"fans"`
	Summary ledger.Summary   `json:"summary"`
}

func (st *stream) event(m message) bool {
	data, err := json.Marshal(m.data)
	if err != nil {
		return false
	}
	_, err = fmt.Fprintf(st.w, "id: %d\nevent: %s\ndata: %s\n\n", m.seq, m.name, data)
	return err == nil
}
