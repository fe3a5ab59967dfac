package fan

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Tokens counts what chat models used in a day (UTC), over all replicas: a counter for each provider in the bucket
// dialogs. It is safe for concurrent use.
type Tokens struct {
	store *Store
	now   func() time.Time

	mu   sync.Mutex // guards the fields below
	day  string
	used map[string]int64 // as of the last call of this process
}

// NewTokens returns a counter that works once the store has started.
func NewTokens(store *Store, now func() time.Time) *Tokens {
	return &Tokens{store: store, now: now, used: map[string]int64{}}
}

// Used returns the tokens that a provider used today, as far as this process knows: it learns of other replicas with
// each call of its own, so a budget may be exceeded by what is under way at the same time.
func (t *Tokens) Used(provider string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	return t.used[provider]
}

// turn begins a new day. t.mu is held.
func (t *Tokens) turn() string {
	if day := t.now().UTC().Format("20060102"); day != t.day {
		t.day, t.used = day, map[string]int64{}
	}
	return t.day
}

// Use adds tokens. When the bucket cannot be written, only this process knows of them.
func (t *Tokens) Use(ctx context.Context, provider string, tokens int64) {
	t.mu.Lock()
	day := t.turn()
	t.used[provider] += tokens
	t.mu.Unlock()
	if tokens <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var total int64
	_, err := bus.UpdateKVBytes(ctx, t.store.dialogs, prefixTokens+topology.OpenIDToken(provider)+"."+day, func(data []byte, _ bool) ([]byte, error) {
		before, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			before = 0 // none yet
		}
		total = before + tokens
		return strconv.AppendInt(nil, total, 10), nil
	})
	if err != nil {
		t.store.log.WarnContext(ctx, "tokens of a chat model are not counted", "provider", provider, logkey.Error, err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.day == day {
		t.used[provider] = max(t.used[provider], total)
	}
}
