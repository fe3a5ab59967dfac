package webhooks

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	maxKey      = 128
	maxWebhooks = 100
	// overlap is how long requests carry the signature of the secret before, too.
	overlap = 24 * time.Hour
)

// Wish is what a subscription shall be.
type Wish struct {
	Name, URL       string
	Kinds, Accounts []string
	// Key makes a repetition of Create by the same caller harmless. Without one, a repetition is what sends the same events
	// to the same address.
	Key string
}

// id is that of the subscription. It follows from the caller and the key, or from what is sent where, so that a repetition
// finds the first one, also when both come at once.
func (w Wish) id(by string) string {
	what := w.Key
	if what == "" {
		what = fmt.Sprintf("%q %q %q", w.URL, w.Kinds, w.Accounts)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(by), by, what))
	return "wh_" + hex.EncodeToString(sum[:12])
}

// made tells whether hook is what the wish asks for. Without a key the name, which is for people, may be another.
func (w Wish) made(hook *store.Webhook) bool {
	return (hook.Name == w.Name || w.Key == "") && hook.URL == w.URL && slices.Equal(hook.Kinds, w.Kinds) && slices.Equal(hook.Accounts, w.Accounts)
}

func (e *Engine) check(w *Wish) error {
	w.Name = strings.TrimSpace(w.Name)
	if n := utf8.RuneCountInString(w.Name); n == 0 || n > maxName {
		return fault.Errorf(fault.Invalid, "name: must have 1 to %d characters", maxName)
	}
	if len(w.Key) > maxKey {
		return fault.Errorf(fault.Invalid, "idempotency_key: must have at most %d characters", maxKey)
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

// Create adds a subscription to what happens from now on and returns its secret, which nobody can read again. Only a
// repetition of the call by the same caller gets it once more: its first answer may have been lost.
func (e *Engine) Create(ctx context.Context, w Wish, by string) (*store.Webhook, string, error) {
	if err := e.check(&w); err != nil {
		return nil, "", err
	}
	if w.Key != "" {
		return e.createOnce(ctx, w.id(by), w, by)
	}
	hook, err := e.alike(ctx, w, by)
	if err != nil {
		return nil, "", err
	}
	if hook != nil {
		return e.reveal(hook)
	}
	hook, secret, err := e.createOnce(ctx, w.id(by), w, by)
	if fault.KindOf(err) == fault.Conflict {
		// The one that had been made like this was changed since, and is not in the way of another.
		return e.create(ctx, "wh_"+strings.ToLower(rand.Text()[:16]), w, by)
	}
	return hook, secret, err
}

// alike returns the subscription of the caller that sends the same events to the same address, or nil.
func (e *Engine) alike(ctx context.Context, w Wish, by string) (*store.Webhook, error) {
	hooks, err := e.o.Store.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	for _, hook := range hooks {
		if hook.CreatedBy == by && w.made(hook) {
			return hook, nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// createOnce adds a subscription under an id, or returns the one that an earlier call made.
func (e *Engine) createOnce(ctx context.Context, id string, w Wish, by string) (*store.Webhook, string, error) {
	if hook, secret, err := e.repeated(ctx, id, w); fault.KindOf(err) != fault.NotFound {
		return hook, secret, err
	}
	hook, secret, err := e.create(ctx, id, w, by)
	if fault.KindOf(err) == fault.Conflict {
		return e.repeated(ctx, id, w) // the same call at the same time
	}
	return hook, secret, err
}

// repeated returns the subscription that an earlier call made under the same id.
func (e *Engine) repeated(ctx context.Context, id string, w Wish) (*store.Webhook, string, error) {
	hook, err := e.o.Store.Webhook(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if !w.made(hook) {
		return nil, "", fault.New(fault.Conflict, "idempotency_key: was used for a subscription that is another one now")
	}
	return e.reveal(hook)
}

// reveal opens the secret of a subscription.
func (e *Engine) reveal(hook *store.Webhook) (*store.Webhook, string, error) {
	secret, err := e.o.Sealer.Open(hook.Secret, sealedFor(hook.ID))
	if err != nil {
		return nil, "", fault.Errorf(fault.Internal, "open the secret of %s: %w", hook.ID, err)
	}
	return hook, string(secret), nil
}

func (e *Engine) create(ctx context.Context, id string, w Wish, by string) (*store.Webhook, string, error) {
	cursors := map[string]uint64{}
	for _, name := range streams {
		s, err := e.o.JetStream.Stream(ctx, name)
		if err != nil {
			return nil, "", fault.Errorf(fault.Unavailable, "look up %s: %w", name, err)
		}
		cursors[name] = s.CachedInfo().State.LastSeq
	}
	secret := newSecret()
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
