package control

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
)

func textContent(s string) codec.Content { return codec.Content{Type: codec.TypeText, Text: s} }

type pushBody struct {
	pusher.Push
	Copies int  `json:"copies,omitempty"` // sent at once, each to another replica
	Async  bool `json:"async,omitempty"`  // answer at once, push in the background
}

// push makes one push. Without async it answers when the push is over.
func (s *Server) push(r *http.Request) (any, error) {
	var body pushBody
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	copies := max(body.Copies, 1)
	if !body.Async {
		result, err := s.Pusher.PushConcurrently(r.Context(), body.Push, copies)
		if err != nil {
			return nil, badRequest(err)
		}
		return result, nil
	}
	if err := s.Pusher.Check(body.Push); err != nil {
		return nil, badRequest(err)
	}
	started := s.Pusher.After(0, func(ctx context.Context) { //nolint:contextcheck // it goes on after the request
		_, _ = s.Pusher.PushConcurrently(ctx, body.Push, copies) // Check found what could be wrong; the fan's screen shows the rest
	})
	if !started {
		return nil, problem{http.StatusServiceUnavailable, "the simulator is not running, or too many pushes wait"}
	}
	return done{true}, nil
}

func (s *Server) kinds(*http.Request) (any, error) {
	m, e := pusher.Kinds()
	return map[string][]string{"messages": m, "events": e}, nil
}

const (
	listedPushes = 1000
	pagedPushes  = 5000
)

// pushes returns the newest pushes with their attempts, or with ?after= the first ones above that id, so that a
// reader gets every push that is kept page by page.
func (s *Server) pushes(r *http.Request) (any, error) {
	all := s.Ledger.Pushes()
	text := r.URL.Query().Get("after")
	if text == "" {
		return all[max(0, len(all)-listedPushes):], nil
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, problem{http.StatusBadRequest, "after: must be the id of a push, or 0"}
	}
	from, _ := slices.BinarySearchFunc(all, after+1, func(p ledger.Push, id uint64) int { return cmp.Compare(p.ID, id) })
	return all[from:min(from+pagedPushes, len(all))], nil
}

// shownLines is what a page shows of the log.
const shownLines = 200

// log returns the newest lines, of everybody or of one account, of every name or of one.
func (s *Server) log(r *http.Request) (any, error) {
	q, most := r.URL.Query(), shownLines
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, problem{http.StatusBadRequest, "limit: must be a number of lines"}
		}
		most = n
	}
	account, name := q.Get("account"), q.Get("name")
	return s.Ledger.Lines(0, most, func(l ledger.Line) bool {
		return (account == "" || l.Account == account) && (name == "" || l.Name == name)
	}), nil
}
