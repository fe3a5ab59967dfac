package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	// keyPrefix lets people and scanners see what a leaked text is.
	keyPrefix = "wxk_"
	// keyFresh is how long a key is believed without asking the database: a revoked one works no longer.
	keyFresh = 2 * time.Second
	// keyStale is how long a known key is believed when the database does not answer.
	keyStale = 10 * time.Minute
	// maxKeys bounds what is remembered, unknown ids included.
	maxKeys = 4096
	// usedEvery is how exactly the last use is kept.
	usedEvery = time.Minute
)

// NewKey returns the id, the whole key and the hash to store of a new key: "wxk_<16>.<26>".
func NewKey() (id, key string, hash []byte) {
	id = keyPrefix + strings.ToLower(rand.Text()[:16])
	part := strings.ToLower(rand.Text())
	return id, id + "." + part, hashOfKey(part)
}

func hashOfKey(part string) []byte {
	sum := sha256.Sum256([]byte(part))
	return sum[:]
}

// keyring remembers stored keys for a moment, so that a busy caller does not ask the database each time.
type keyring struct {
	stored StoredKeys
	now    func() time.Time

	mu    sync.Mutex // guards known
	known map[string]knownKey
}

type knownKey struct {
	key  *store.Key // nil for an id that does not exist
	read time.Time
	used time.Time
}

func newKeyring(stored StoredKeys, now func() time.Time) *keyring {
	return &keyring{stored: stored, now: now, known: map[string]knownKey{}}
}

// find returns the key that a text is, or ErrNoKey.
func (k *keyring) find(ctx context.Context, text string) (*store.Key, error) {
	id, part, ok := strings.Cut(text, ".")
	if !ok || !strings.HasPrefix(id, keyPrefix) || len(text) > 128 || k.stored == nil {
		return nil, ErrNoKey
	}
	key, err := k.key(ctx, id)
	if err != nil {
		return nil, err
	}
	hash := make([]byte, sha256.Size) // an unknown id costs the same comparison
	if key != nil {
		hash = key.Hash
	}
	nowMS := k.now().UnixMilli()
	switch {
	case subtle.ConstantTimeCompare(hash, hashOfKey(part)) != 1, key == nil, key.RevokedMS != 0, key.ExpiresMS != 0 && key.ExpiresMS <= nowMS:
		return nil, ErrNoKey
	}
	k.noteUse(ctx, id)
	return key, nil
}

func (k *keyring) key(ctx context.Context, id string) (*store.Key, error) {
	k.mu.Lock()
	known, ok := k.known[id]
	k.mu.Unlock()
	now := k.now()
	if ok && now.Sub(known.read) < keyFresh && !now.Before(known.read) {
		return known.key, nil
	}
	key, err := k.stored.Key(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		// Sending goes on while the database is away, with what was known just before.
		if known.key != nil && now.Sub(known.read) < keyStale {
			return known.key, nil
		}
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxKeys {
		clear(k.known)
	}
	k.known[id] = knownKey{key: key, read: now, used: known.used}
	return key, nil
}

// noteUse stores the time of the last use about once a minute. Without it the key works as well.
func (k *keyring) noteUse(ctx context.Context, id string) {
	now := k.now()
	k.mu.Lock()
	known := k.known[id]
	due := now.Sub(known.used) >= usedEvery
	if due {
		known.used = now
		k.known[id] = known
	}
	k.mu.Unlock()
	if due {
		_ = k.stored.UseKey(ctx, id, now.UnixMilli())
	}
}
