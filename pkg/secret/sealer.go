package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/wxbus/wxbus/pkg/fault"
)

// KeySize is the size of a master key in bytes (AES-256).
const KeySize = 32

const (
	keyIDSize = 4
	nonceSize = 12
	tagSize   = 16
)

// ErrUnknownKey is returned by Open for a box that none of the keys sealed.
var ErrUnknownKey = fault.New(fault.Permanent, "sealed with an unknown key")

// ErrForged is returned by Open for a box that was changed, cut, or sealed with other associated data.
var ErrForged = fault.New(fault.Permanent, "sealed data is damaged or does not belong here")

// Sealer encrypts and authenticates small values at rest with AES-256-GCM.
//
// A box is key id (first 4 bytes of the key's SHA-256) | nonce (12 random bytes) | ciphertext and
// tag. The key id lets several keys be known at once: the first one seals, all of them open, so a key
// is rotated by putting the new one first and sealing again at leisure. Random nonces bound one key to
// 2^32 boxes, far above the number of credentials and tokens that are stored.
//
// A Sealer is safe for concurrent use when its reader is; crypto/rand is.
type Sealer struct {
	keys   []sealKey
	random io.Reader
}

type sealKey struct {
	id    [keyIDSize]byte
	aead  cipher.AEAD
	print []byte // key of fingerprints
}

// NewSealer returns a Sealer. Each key has 32 bytes; at least one is needed and the first one seals.
func NewSealer(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no master key")
	}
	s := &Sealer{random: rand.Reader}
	for i, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("master key %d: must have %d bytes", i, KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("master key %d: %w", i, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("master key %d: %w", i, err)
		}
		s.keys = append(s.keys, sealKey{id: keyID(key), aead: aead, print: mac(key, "wxbus fingerprint")})
	}
	return s, nil
}

// SealerFrom returns a Sealer for keys as they stand in the configuration, see ParseKey. Empty
// values after the first are skipped, so an optional previous key can be passed as it is.
func SealerFrom(master Value, previous ...Value) (*Sealer, error) {
	key, err := ParseKey(master)
	if err != nil {
		return nil, err
	}
	keys := [][]byte{key}
	for _, v := range previous {
		if v.IsZero() {
			continue
		}
		if key, err = ParseKey(v); err != nil {
			return nil, fmt.Errorf("previous key: %w", err)
		}
		keys = append(keys, key)
	}
	return NewSealer(keys...)
}

// WithRand returns a copy that takes nonces from r instead of crypto/rand. It is for tests: a nonce
// that repeats under one key breaks the encryption.
func (s *Sealer) WithRand(r io.Reader) *Sealer {
	return &Sealer{keys: s.keys, random: r}
}

// Seal returns a new box with plain inside. Open needs the same aad (associated data), which is
// not stored; bind a box to its place with it, for example the bucket and key. Seal panics when the
// reader of WithRand runs dry; crypto/rand never does.
func (s *Sealer) Seal(plain, aad []byte) []byte {
	key := s.keys[0]
	box := make([]byte, keyIDSize+nonceSize, keyIDSize+nonceSize+len(plain)+tagSize)
	copy(box, key.id[:])
	nonce := box[keyIDSize:]
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		panic(fmt.Sprintf("secret: read nonce: %v", err))
	}
	return key.aead.Seal(box, nonce, plain, aad)
}

// Open returns what Seal put into the box. It fails with ErrUnknownKey or ErrForged.
func (s *Sealer) Open(box, aad []byte) ([]byte, error) {
	if len(box) < keyIDSize+nonceSize+tagSize {
		return nil, ErrForged
	}
	id, nonce, sealed := box[:keyIDSize], box[keyIDSize:keyIDSize+nonceSize], box[keyIDSize+nonceSize:]
	known := false
	for _, key := range s.keys {
		if !bytes.Equal(id, key.id[:]) {
			continue
		}
		known = true
		if plain, err := key.aead.Open(nil, nonce, sealed, aad); err == nil {
			return plain, nil
		}
	}
	if !known {
		return nil, ErrUnknownKey
	}
	return nil, ErrForged
}

// Current reports whether the box was sealed with the key that seals now; a box that was not
// should be sealed again before the old key is removed.
func (s *Sealer) Current(box []byte) bool {
	return len(box) >= keyIDSize && bytes.Equal(box[:keyIDSize], s.keys[0].id[:])
}

// Fingerprint returns 8 hex digits that are equal for equal secrets under one master key, and tell
// nothing about the secret to who has no key; "" for an empty one.
func (s *Sealer) Fingerprint(v Value) string {
	if v.IsZero() {
		return ""
	}
	return hex.EncodeToString(mac(s.keys[0].print, v.Reveal())[:4])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func keyID(key []byte) (id [keyIDSize]byte) {
	sum := sha256.Sum256(key)
	copy(id[:], sum[:])
	return id
}

// ParseKey decodes a master key: 32 bytes as 64 hex digits or as base64 (standard or URL alphabet,
// padded or not). Errors never contain the key.
func ParseKey(v Value) ([]byte, error) {
	text := v.Reveal()
	if text == "" {
		return nil, errors.New("must be set")
	}
	if len(text) == hex.EncodedLen(KeySize) {
		if key, err := hex.DecodeString(text); err == nil {
			return key, nil
		}
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := enc.DecodeString(text); err == nil && len(key) == KeySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("must be %d bytes as base64 or %d hex digits", KeySize, hex.EncodedLen(KeySize))
}
