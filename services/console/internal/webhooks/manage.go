package webhooks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	maxName     = 64
	maxURL      = 2048
	maxWebhooks = 100
	// overlap is how long requests carry the signature of the secret before, too.
	overlap = 24 * time.Hour
)

// Wish is what a subscription shall be.
type Wish struct {
	Name, URL       string
	Kinds, Accounts []string
}

func (e *Engine) check(w *Wish) error {
	w.Name = strings.TrimSpace(w.Name)
	if n := utf8.RuneCountInString(w.Name); n == 0 || n > maxName {
		return fault.Errorf(fault.Invalid, "name: must have 1 to %d characters", maxName)
	}
	if len(w.URL) > maxURL {
		return fault.Errorf(fault.Invalid, "url: must have at most %d characters", maxURL)
	}
	if err := e.out.CheckURL(w.URL); err != nil {
		return fault.Errorf(fault.Invalid, "url: %w", err)
	}
	for _, kind := range w.Kinds {
		if !IsKind(kind) {
			return fault.Errorf(fault.Invalid, "kinds: there is no kind %q", kind)
		}
	}
	slices.Sort(w.Kinds)
	slices.Sort(w.Accounts)
	w.Kinds, w.Accounts = slices.Compact(w.Kinds), slices.Compact(w.Accounts)
	return people.CheckAccounts(w.Accounts)
}

// Create adds a subscription to what happens from now on and returns its secret, which nobody can read again.
func (e *Engine) Create(ctx context.Context, w Wish, by string) (*store.Webhook, string, error) {
	if err := e.check(&w); err != nil {
		return nil, "", err
	}
	cursors := map[string]uint64{}
	for _, name := range streams {
		s, err := e.o.JetStream.Stream(ctx, name)
		if err != nil {
			return nil, "", fault.Errorf(fault.Unavailable, "look up %s: %w", name, err)
		}
		cursors[name] = s.CachedInfo().State.LastSeq
	}
	id, secret := "wh_"+strings.ToLower(rand.Text()[:16]), newSecret()
	hook := &store.Webhook{
		ID: id, Name: w.Name, URL: w.URL, Kinds: w.Kinds, Accounts: w.Accounts, CreatedBy: by, CreatedMS: e.o.Now().UnixMilli(),
		Secret: e.o.Sealer.Seal([]byte(secret), sealedFor(id)),
	}
	if err := e.o.Store.AddWebhook(ctx, hook, cursors, maxWebhooks); err != nil {
		return nil, "", err
	}
	audit.Changed(ctx, nil, Public(hook))
	return hook, secret, nil
}

func newSecret() string { return "whsec_" + rand.Text() + rand.Text() }

// change changes a subscription and writes down what it was.
func (e *Engine) change(ctx context.Context, id string, change func(*store.Webhook) error) (*store.Webhook, error) {
	before, after, err := e.o.Store.ChangeWebhook(ctx, id, change)
	if err != nil {
		return nil, err
	}
	audit.Changed(ctx, Public(before), Public(after))
	return after, nil
}

// Update changes what a subscription is.
func (e *Engine) Update(ctx context.Context, id string, revision int64, w Wish) (*store.Webhook, error) {
	if err := e.check(&w); err != nil {
		return nil, err
	}
	return e.change(ctx, id, func(h *store.Webhook) error {
		if h.Revision != revision {
			return store.ErrStale
		}
		h.Name, h.URL, h.Kinds, h.Accounts, h.OpenUntilMS = w.Name, w.URL, w.Kinds, w.Accounts, 0
		return nil
	})
}

// Pause holds deliveries back, or lets them go on.
func (e *Engine) Pause(ctx context.Context, id string, paused bool) (*store.Webhook, error) {
	return e.change(ctx, id, func(h *store.Webhook) error {
		h.Paused, h.OpenUntilMS = paused, 0
		return nil
	})
}

// Rotate makes a new secret. For a day requests carry the signatures of both.
func (e *Engine) Rotate(ctx context.Context, id string) (string, error) {
	secret := newSecret()
	_, err := e.change(ctx, id, func(h *store.Webhook) error {
		h.OldSecret, h.OldUntilMS = h.Secret, e.o.Now().Add(overlap).UnixMilli()
		h.Secret = e.o.Sealer.Seal([]byte(secret), sealedFor(id))
		return nil
	})
	return secret, err
}

// Delete removes a subscription.
func (e *Engine) Delete(ctx context.Context, id string) error {
	return e.o.Store.DeleteWebhook(ctx, id)
}

// Test sends one event now and tells what came back.
func (e *Engine) Test(ctx context.Context, id string) (*consolev1.TestWebhookResponse, error) {
	hook, err := e.o.Store.Webhook(ctx, id)
	if err != nil {
		return nil, err
	}
	now := e.o.Now()
	begin := time.Now()
	answer, failure := e.post(ctx, hook, &event{
		ID: "test-" + strings.ToLower(rand.Text()[:16]), Kind: KindTest, AtMS: now.UnixMilli(), Data: json.RawMessage(`{"text":"a test of wxbus"}`),
	})
	out := &consolev1.TestWebhookResponse{Status: int32(answer.Status), TookUs: time.Since(begin).Microseconds()}
	if failure != nil {
		out.Failure = failure.Error()
	}
	return out, nil
}

// Public is a subscription without its secrets.
func Public(w *store.Webhook) *consolev1.Webhook {
	return &consolev1.Webhook{
		Id: w.ID, Name: w.Name, Url: w.URL, Kinds: w.Kinds, Accounts: w.Accounts, Paused: w.Paused, CreatedBy: w.CreatedBy, CreatedUnixMs: w.CreatedMS,
		Revision: w.Revision, Pending: w.Pending, Dead: w.Dead, OpenUntilUnixMs: w.OpenUntilMS, LastSuccessUnixMs: w.LastSuccessMS, LastFailure: w.LastFailure,
	}
}
