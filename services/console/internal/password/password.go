// Package password turns passwords into argon2id hashes and checks them.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Lengths of a password in characters. Nothing but its length is asked for.
const (
	MinLength = 10
	MaxLength = 256
)

// Params are the cost of a hash. A stored hash carries its own, so they may change.
type Params struct {
	MemoryKiB uint32
	Passes    uint32
	Threads   uint8
}

// Default is what OWASP recommends for argon2id with little memory.
var Default = Params{MemoryKiB: 19 << 10, Passes: 2, Threads: 1}

const (
	saltSize = 16
	hashSize = 32
)

// Hasher hashes and checks passwords, a few at once, so that log-ins cannot use up the memory. It is safe
// for concurrent use.
type Hasher struct {
	params Params
	slots  chan struct{}
	dummy  string
}

// New returns a hasher that works on at most parallel passwords at once.
func New(p Params, parallel int) *Hasher {
	h := &Hasher{params: p, slots: make(chan struct{}, parallel)}
	h.dummy = h.hash(rand.Text())
	return h
}

// Check says what is wrong with a new password, as an Invalid fault without a field.
func Check(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return fault.New(fault.Invalid, "must be valid UTF-8")
	case n < MinLength:
		return fault.Errorf(fault.Invalid, "must have at least %d characters", MinLength)
	case n > MaxLength:
		return fault.Errorf(fault.Invalid, "must have at most %d characters", MaxLength)
	}
	return nil
}

// Generate returns a password of 130 bits that people can type.
func Generate() string {
	text := strings.ToLower(rand.Text())
	var groups []string
	for len(text) > 5 {
		groups, text = append(groups, text[:5]), text[5:]
	}
	return strings.Join(append(groups, text), "-")
}

// Hash returns the hash of a password in the usual form "$argon2id$v=19$m=…,t=…,p=…$salt$hash".
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	return h.hash(password), nil
}

func (h *Hasher) hash(password string) string {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // crypto/rand.Read never fails
	p := h.params
	sum := argon2.IDKey([]byte(password), salt, p.Passes, p.MemoryKiB, p.Threads, hashSize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Passes, p.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// Verify tells whether a password has a hash. For an empty hash, which no password has, it does the same
// work as for a real one, so that the time does not tell who exists.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	known := encoded != ""
	if !known {
		encoded = h.dummy
	}
	p, salt, want, err := decode(encoded)
	if err != nil {
		return false, err
	}
	if utf8.RuneCountInString(password) > MaxLength {
		password = ""
	}
	got := argon2.IDKey([]byte(password), salt, p.Passes, p.MemoryKiB, p.Threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Errorf(fault.Unavailable, "wait to check a password: %w", ctx.Err())
	}
}

func (h *Hasher) leave() { <-h.slots }

// Limits of what a stored hash may ask for: a damaged row must not use up the memory.
const (
	maxMemoryKiB = 1 << 20
	maxPasses    = 64
)

func decode(encoded string) (p Params, salt, hash []byte, err error) {
	damaged := fault.New(fault.Internal, "a stored password hash is damaged")
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, damaged
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Passes, &p.Threads); err != nil {
		return p, nil, nil, damaged
	}
	if p.MemoryKiB == 0 || p.MemoryKiB > maxMemoryKiB || p.Passes == 0 || p.Passes > maxPasses || p.Threads == 0 {
		return p, nil, nil, damaged
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(hash) != hashSize {
		return p, nil, nil, damaged
	}
	return p, salt, hash, nil
}
