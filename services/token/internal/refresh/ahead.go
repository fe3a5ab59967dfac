package refresh

import (
	"context"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// scan is how often the background loop looks at the tokens in memory.
const scan = time.Second

// sameEnd is how far apart two answers may put the end of one token: WeChat counts in seconds.
const sameEnd = time.Minute

// due is when an account's token is refreshed ahead of its end. It is drawn once for each token, so
// that replicas and accounts do not all come at the same moment.
type due struct {
	generation uint64
	expires    int64
	at         time.Time
}

// loop refreshes tokens before they expire. Only accounts that have a token are looked at: nobody asks
// for the others. Tickets are left alone: WeChat gives the same one until it expires.
func (r *Refresher) loop(ctx context.Context) {
	ticker := time.NewTicker(scan)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.refreshDue(ctx)
		}
	}
}

func (r *Refresher) refreshDue(ctx context.Context) {
	for name, seen := range r.Store.All() {
		if seen.Rec.GetToken().GetValue() == "" || !r.isDue(name, seen.Rec.GetToken()) {
			continue
		}
		it, err := r.item(name, Token)
		if err != nil {
			continue // a ticket, or an account that is not ours any more, or is disabled
		}
		f, mine, err := r.join(ctx, it, job{ahead: true})
		if err != nil || !mine {
			continue
		}
		r.take(ctx, name, f)
	}
}

// isDue tells whether to refresh now, and counts it against the bound of parallel refreshes.
func (r *Refresher) isDue(name string, t *tokenv1.AccessToken) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	d, ok := r.due[name]
	if !ok || d.generation != t.GetGeneration() || t.GetExpiresUnixMs()-d.expires > sameEnd.Milliseconds() {
		early := r.cfg.Ahead
		if r.cfg.Jitter > 0 {
			// Later than Ahead, never earlier: WeChat renews a stable token in its last minutes only.
			early -= time.Duration(r.Rand.Int64N(int64(r.cfg.Jitter)))
		}
		d = due{t.GetGeneration(), t.GetExpiresUnixMs(), time.UnixMilli(t.GetExpiresUnixMs()).Add(-early)}
		r.due[name] = d
	}
	if now.Before(d.at) || r.ahead >= r.cfg.Parallel {
		return false
	}
	// The next try, should this one bring nothing newer.
	d.at = now.Add(r.cfg.FailedBackoff + r.cfg.Ahead/20)
	r.due[name] = d
	return true
}

// take waits for a flight in the background.
func (r *Refresher) take(ctx context.Context, name string, f *flight) {
	r.mu.Lock()
	r.ahead++
	r.mu.Unlock()
	r.wg.Go(func() {
		<-f.done
		r.mu.Lock()
		r.ahead--
		r.mu.Unlock()
		if f.err != nil {
			r.Log.WarnContext(ctx, "token not refreshed ahead of its end",
				logkey.Account, name, logkey.ErrorKind, fault.KindOf(f.err).String(), logkey.Error, f.err)
		}
	})
}
