package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	batchSize  = 64
	parallel   = 8  // requests of one subscription at once
	dueSize    = 32 // retries in one round
	breakAfter = 5  // failures in a row
	maxFailure = 200
)

// worker serves one subscription as long as the process holds its lease.
type worker struct {
	e        *Engine
	id       string
	readers  map[string]*reader
	filters  string // what the readers were made for
	failures int    // in a row
	breaks   int    // in a row
}

// run serves the subscription until it is gone, paused, or leased to somebody else.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		busy, goOn, err := w.round(ctx)
		if err != nil && ctx.Err() == nil {
			w.e.o.Log.WarnContext(ctx, "events out: a round failed", "webhook", w.id, logkey.Error, err)
		}
		if !goOn {
			return
		}
		if busy && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.e.o.Poll):
		}
	}
}

// round renews the lease and sends what is due and what is new. It tells whether there was anything to do, and whether
// to go on.
func (w *worker) round(ctx context.Context) (busy, goOn bool, err error) {
	now := w.e.o.Now()
	leased, err := w.e.o.Store.LeaseWebhook(ctx, w.id, w.e.o.Instance, now.UnixMilli(), now.Add(lease).UnixMilli())
	if err != nil || !leased {
		return false, false, err
	}
	hook, err := w.e.o.Store.Webhook(ctx, w.id)
	if err != nil {
		return false, fault.KindOf(err) != fault.NotFound, err
	}
	if hook.Paused {
		return false, false, nil
	}
	if hook.OpenUntilMS > now.UnixMilli() {
		return false, true, nil
	}
	limit := batchSize
	if hook.OpenUntilMS > 0 {
		limit = 1 // after a break one event tells whether the endpoint is back
	}
	due, err := w.due(ctx, hook, min(limit, dueSize))
	if err != nil {
		return false, true, err
	}
	if w.failures > 0 && limit == 1 && due > 0 {
		return true, true, nil
	}
	fresh, err := w.fresh(ctx, hook, limit)
	return due+fresh > 0, true, err
}

// due tries deliveries again whose time has come.
func (w *worker) due(ctx context.Context, hook *store.Webhook, limit int) (int, error) {
	waiting, err := w.e.o.Store.DueDeliveries(ctx, hook.ID, w.e.o.Now().UnixMilli(), limit)
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	var jobs []*job
	for _, d := range waiting {
		m, kept, err := stored(ctx, w.e.o.JetStream, d.Stream, d.Seq)
		if err != nil {
			return 0, err
		}
		j := &job{delivery: d, known: true}
		if ev, ok := read(m); kept && ok {
			j.event = ev
		}
		jobs = append(jobs, j)
	}
	return len(jobs), w.send(ctx, hook, jobs, store.Progress{Webhook: hook.ID})
}

// fresh sends what the streams hold after the cursors.
func (w *worker) fresh(ctx context.Context, hook *store.Webhook, limit int) (int, error) {
	cursors, err := w.e.o.Store.Cursors(ctx, hook.ID)
	if err != nil {
		return 0, err
	}
	w.follow(hook)
	n := 0
	for _, stream := range streams {
		found, err := w.readers[stream].batch(ctx, cursors[stream], limit)
		if err != nil {
			return n, err
		}
		if len(found) == 0 {
			continue
		}
		var jobs []*job
		for _, m := range found {
			if ev, ok := read(m); ok && wants(hook, ev) {
				jobs = append(jobs, &job{event: ev, delivery: &store.Delivery{
					ID: hook.ID + "." + ev.ID, Webhook: hook.ID, Stream: stream, Seq: m.seq, Kind: ev.Kind, Account: ev.Account, CreatedMS: w.e.o.Now().UnixMilli(),
				}})
			}
		}
		p := store.Progress{Webhook: hook.ID, Stream: stream, Seq: found[len(found)-1].seq}
		if err := w.send(ctx, hook, jobs, p); err != nil {
			return n, err
		}
		n += len(found)
		if w.failures >= breakAfter {
			break
		}
	}
	return n, nil
}

func wants(hook *store.Webhook, ev *event) bool {
	return (len(hook.Kinds) == 0 || slices.Contains(hook.Kinds, ev.Kind)) &&
		(slices.Contains(hook.Accounts, everyAccount) || slices.Contains(hook.Accounts, ev.Account))
}

// follow makes readers for the accounts of the subscription.
func (w *worker) follow(hook *store.Webhook) {
	want := fmt.Sprint(hook.Accounts)
	if w.readers != nil && w.filters == want {
		return
	}
	w.readers, w.filters = map[string]*reader{}, want
	for _, stream := range streams {
		r := &reader{js: w.e.o.JetStream, stream: stream}
		if !slices.Contains(hook.Accounts, everyAccount) {
			for _, a := range hook.Accounts {
				r.filters = append(r.filters, topology.FilterAccount(stream, a))
			}
		}
		w.readers[stream] = r
	}
}

// job is one event to send. event is nil when the stream does not keep it any more.
type job struct {
	event    *event
	delivery *store.Delivery
	known    bool // the delivery is stored
	tried    bool
	done     bool
}

// send tries jobs, lanes at the same time and each lane in order, and stores what became of them together with the
// cursor. When the endpoint fails too often in a row the rest is kept for later and a break begins.
func (w *worker) send(ctx context.Context, hook *store.Webhook, jobs []*job, p store.Progress) error {
	lanes := map[string][]*job{}
	for _, j := range jobs {
		lane := j.delivery.ID
		if j.event != nil && !j.known {
			lane = j.event.lane
		}
		lanes[lane] = append(lanes[lane], j)
	}
	var mu sync.Mutex // guards w.failures and p while lanes run
	var all sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, lane := range lanes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			for _, j := range lane {
				mu.Lock()
				stop := w.failures >= breakAfter
				mu.Unlock()
				if stop || ctx.Err() != nil {
					return
				}
				status, err := w.try(ctx, hook, j)
				mu.Lock()
				w.note(j, status, err, &p)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return ctx.Err() // nothing is stored: what was sent is sent again, which is what "at least once" means
	}
	return w.e.o.Store.SaveProgress(ctx, w.rest(jobs, p))
}

// errGone means that the stream does not keep the event any more.
var errGone = errors.New("the event is no longer kept")

func (w *worker) try(ctx context.Context, hook *store.Webhook, j *job) (int, error) {
	if j.event == nil {
		return 0, errGone
	}
	answer, err := w.e.post(ctx, hook, j.event)
	return answer.Status, err
}

// note writes down what became of one try.
func (w *worker) note(j *job, status int, err error, p *store.Progress) {
	now, d := w.e.o.Now(), j.delivery
	j.tried = true
	d.Attempts++
	d.Status, d.Failure = status, ""
	switch {
	case err == nil:
		j.done, w.failures, w.breaks = true, 0, 0
		d.State, d.EndedMS, p.SuccessMS = store.DeliveryDelivered, now.UnixMilli(), now.UnixMilli()
		return
	case errors.Is(err, errGone):
		d.State, d.Failure, d.EndedMS = store.DeliveryDead, err.Error(), now.UnixMilli()
		return
	case errors.Is(err, context.Canceled):
		j.tried = false
		d.Attempts--
		return
	}
	w.failures++
	d.Failure = err.Error()
	if len(d.Failure) > maxFailure {
		d.Failure = d.Failure[:maxFailure]
	}
	p.Failure = d.Failure
	d.State, d.NextMS = store.DeliveryPending, now.Add(backoff(d.Attempts)).UnixMilli()
	if d.Attempts >= w.e.o.MaxAttempts {
		d.State, d.EndedMS = store.DeliveryDead, now.UnixMilli()
	}
}

// rest completes what is stored: failures, retries that ended, and what a break kept from being tried.
func (w *worker) rest(jobs []*job, p store.Progress) store.Progress {
	now := w.e.o.Now()
	if w.failures >= breakAfter {
		w.breaks++
		p.OpenUntilMS = now.Add(pauseAfter(w.breaks)).UnixMilli()
		w.failures = breakAfter - 1 // one more failure after the break begins the next one
	}
	for _, j := range jobs {
		if !j.tried {
			j.delivery.State, j.delivery.NextMS = store.DeliveryPending, p.OpenUntilMS
		}
		if !j.done || j.known {
			p.Deliveries = append(p.Deliveries, j.delivery)
		}
	}
	return p
}

// backoff is the wait after so many tries: 10 s, 30 s, 90 s … 1 h.
func backoff(attempts int) time.Duration {
	d := 10 * time.Second
	for range attempts - 1 {
		if d *= 3; d >= time.Hour {
			return time.Hour
		}
	}
	return d
}

// pauseAfter is the length of the n-th break in a row: 30 s, 1 m … 10 m.
func pauseAfter(n int) time.Duration {
	d := 30 * time.Second
	for range n - 1 {
		if d *= 2; d >= 10*time.Minute {
			return 10 * time.Minute
		}
	}
	return d
}

// post sends one event. An answer other than 2xx is an error.
func (e *Engine) post(ctx context.Context, hook *store.Webhook, ev *event) (httpout.Answer, error) {
	body, err := json.Marshal(ev)
	if err != nil {
		return httpout.Answer{}, errors.New("the event cannot be written")
	}
	secrets, err := e.secrets(hook)
	if err != nil {
		return httpout.Answer{}, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	httpout.Sign(h, ev.ID, e.o.Now(), body, secrets...)
	answer, err := e.out.Post(ctx, hook.URL, h, body)
	if err == nil && (answer.Status < 200 || answer.Status > 299) {
		err = fmt.Errorf("status %d", answer.Status)
	}
	return answer, err
}

// secrets are what a request is signed with: for a day after a rotation also the one before.
func (e *Engine) secrets(hook *store.Webhook) ([]secret.Value, error) {
	open := func(box []byte) (secret.Value, error) {
		b, err := e.o.Sealer.Open(box, sealedFor(hook.ID))
		if err != nil {
			return secret.Value{}, errors.New("the secret of the subscription cannot be read")
		}
		return secret.New(string(b)), nil
	}
	now, err := open(hook.Secret)
	if err != nil {
		return nil, err
	}
	out := []secret.Value{now}
	if len(hook.OldSecret) > 0 && hook.OldUntilMS > e.o.Now().UnixMilli() {
		old, err := open(hook.OldSecret)
		if err != nil {
			return nil, err
		}
		out = append(out, old)
	}
	return out, nil
}
