package pusher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// run is one push under way.
type run struct {
	*Pusher
	wire    *codec.Wire
	id      uint64
	push    *ledger.Push
	account string
	openID  string
	kind    ledger.Kind
	sealed  codec.Sealed
	expect  codec.Expect
	sent    atomic.Uint64 // attempts begun, for the choice of replicas
}

// all tries until an attempt is settled, at most cfg.Attempts times; copies go out together at the first time.
func (r *run) all(ctx context.Context, copies int) {
	settled, usable, again := false, false, false
	for try := 1; try <= r.cfg.Attempts && ctx.Err() == nil && (!settled || again); try++ {
		hit := r.deps.Faults.Push(r.account, r.kind.Name(), try)
		if r.deps.Clock.Sleep(ctx, hit.Delay) != nil {
			break
		}
		ends := r.wave(ctx, max(copies, hit.Copies, 1), hit)
		copies = 1
		again = hit.RetryAnswered && !settled
		for _, end := range ends {
			settled = settled || settles(end.Outcome)
			usable = usable || (settles(end.Outcome) && end.Outcome != ledger.OutcomeMalformed)
		}
		quick := !slices.ContainsFunc(ends, func(a ledger.Attempt) bool { return a.Outcome == ledger.OutcomeTimeout })
		if !settled && quick && r.deps.Clock.Sleep(ctx, r.cfg.RetryPause) != nil {
			break
		}
	}
	r.deps.Ledger.Finish(r.push, !usable && ctx.Err() == nil)
}

const detailSent = "the connection was cut after the request was sent"

// settles tells whether WeChat goes on with the answer and does not try again.
func settles(outcome string) bool {
	switch outcome {
	case ledger.OutcomeSuccess, ledger.OutcomeReply, ledger.OutcomeTransfer, ledger.OutcomeMalformed:
		return true
	}
	return false
}

// wave makes attempts at the same time, each on the next replica.
func (r *run) wave(ctx context.Context, copies int, hit faults.Push) []ledger.Attempt {
	ends := make([]ledger.Attempt, copies)
	if copies == 1 {
		ends[0] = r.attempt(ctx, hit)
		return ends
	}
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() { ends[i] = r.attempt(ctx, hit) })
	}
	wg.Wait()
	return ends
}

// attempt makes one try and tells the ledger how it ended.
func (r *run) attempt(ctx context.Context, hit faults.Push) ledger.Attempt {
	replica := r.replica(r.sent.Add(1) - 1)
	number := r.deps.Ledger.StartAttempt(r.push, replica)
	end := ledger.Attempt{Number: number}
	body := r.try(ctx, replica, &end, hit)
	var answer *codec.Answer
	if end.Outcome == "" {
		answer = r.read(body, &end)
	}
	r.deps.Ledger.EndAttempt(r.push, end, answer)
	return end
}

// read interprets the body of a 2xx answer.
func (r *run) read(body []byte, end *ledger.Attempt) *codec.Answer {
	answer, err := r.wire.ParseAnswer(body, r.expect)
	var problem *codec.AnswerError
	if errors.As(err, &problem) {
		end.Outcome, end.Detail = ledger.OutcomeMalformed, problem.Detail
		r.deps.Ledger.Malformed(r.push, end.Number, problem)
		return nil
	}
	switch answer.Kind {
	case codec.AnswerReply:
		end.Outcome = ledger.OutcomeReply
	case codec.AnswerTransfer:
		end.Outcome = ledger.OutcomeTransfer
	default:
		end.Outcome = ledger.OutcomeSuccess
	}
	return &answer
}

// try sends the push and returns the body of a 2xx answer. Without one it fills in the outcome.
func (r *run) try(ctx context.Context, replica string, end *ledger.Attempt, hit faults.Push) []byte {
	actx, cancel := r.deps.Clock.WithTimeout(ctx, r.cfg.AttemptTimeout)
	defer cancel()
	var dropped atomic.Bool
	drop := func() { dropped.Store(true); cancel() }
	resp, err := r.client.Do(r.request(actx, replica, end.Number, hit, drop))
	if err != nil {
		r.failed(ctx, actx, end, err, dropped.Load())
		return nil
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	if hit.Drop == faults.Sent {             // an answer can be here before the transport reports that the request is written
		drop()
		end.Outcome, end.Detail = ledger.OutcomeDropped, detailSent
		return nil
	}
	end.Status = resp.StatusCode
	if hit.Drop == faults.Answered {
		drop()
		end.Outcome, end.Detail = ledger.OutcomeDropped, "the answer was on its way when the connection was cut"
		return nil
	}
	if resp.StatusCode/100 != 2 {
		_, _ = io.CopyN(io.Discard, resp.Body, codec.MaxAnswerBytes) // keeps the connection; the body means nothing
		end.Outcome = ledger.OutcomeStatus
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, codec.MaxAnswerBytes+1))
	if err != nil {
		r.failed(ctx, actx, end, err, dropped.Load())
		return nil
	}
	return body
}

func (r *run) request(ctx context.Context, replica string, number int, hit faults.Push, drop func()) *http.Request {
	if hit.Drop == faults.Sent {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { drop() }})
	}
	timestamp := strconv.FormatInt(r.deps.Clock.Now().Unix(), 10)
	nonce := strconv.FormatUint(r.deps.Dice.Uint64("nonce", r.id, uint64(number))%1e10, 10)
	query := r.wire.Query(r.sealed, r.openID, timestamp, nonce)
	var body io.Reader = strings.NewReader(string(r.sealed.Body))
	if hit.Slow > 0 {
		body = &slowBody{ctx: ctx, clock: r.deps.Clock, rest: r.sealed.Body, pause: hit.Slow / slowParts, part: len(r.sealed.Body)/slowParts + 1}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callbackURL(replica, r.account)+"?"+query.Encode(), body)
	if err != nil {
		panic(err) // New checked the target
	}
	req.ContentLength = int64(len(r.sealed.Body))
	req.Header.Set("Content-Type", r.sealed.ContentType)
	req.Header.Set("User-Agent", "Mozilla/4.0")
	return req
}

func callbackURL(target, account string) string {
	return strings.TrimSuffix(target, "/") + "/wx/" + url.PathEscape(account)
}

// failed names the reason why an attempt has no answer. Errors of the client carry the URL with its signature; it is left out.
func (r *run) failed(ctx, actx context.Context, end *ledger.Attempt, err error, dropped bool) {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	switch {
	case dropped:
		end.Outcome, end.Detail = ledger.OutcomeDropped, detailSent
	case ctx.Err() != nil:
		end.Outcome = ledger.OutcomeStopped
	case errors.Is(context.Cause(actx), context.DeadlineExceeded):
		end.Outcome = ledger.OutcomeTimeout
	default:
		end.Outcome, end.Detail = ledger.OutcomeFailed, fmt.Sprintf("%.200s", err)
	}
}

// replica chooses the target of the n-th attempt; the next attempt goes to another one.
func (r *run) replica(n uint64) string {
	targets := *r.targets.Load()
	first := r.id
	if r.cfg.RandomReplica {
		first = r.deps.Dice.Uint64("replica", r.id)
	}
	return targets[(first+n)%uint64(len(targets))]
}

const slowParts = 10

// slowBody sends a body in parts with pauses between them.
type slowBody struct {
	ctx   context.Context
	clock *clock.Clock
	rest  []byte
	pause time.Duration
	part  int
}

func (s *slowBody) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	if err := s.clock.Sleep(s.ctx, s.pause); err != nil {
		return 0, err
	}
	n := copy(b, s.rest[:min(s.part, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}
