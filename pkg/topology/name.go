package topology

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/wxbus/wxbus/pkg/fault"
)

// maxToken bounds a token of a subject. ADR-6 of NATS sets no limit; subjects are index entries in
// memory, so a stranger must not choose their size.
const maxToken = 128

// maxFanToken is WeChat's bound on an openid that we take as it is.
const maxFanToken = 64

// CheckToken returns an Invalid fault unless s may be one token of a subject and part of an ADR-6
// name: 1 to 128 printable ASCII characters without space, '.', '*', '>', '/', '\' and '$'.
// what names the token in the error text.
func CheckToken(what, s string) error {
	if s == "" {
		return fault.Errorf(fault.Invalid, "%s: must not be empty", what)
	}
	if len(s) > maxToken {
		return fault.Errorf(fault.Invalid, "%s: must have at most %d characters", what, maxToken)
	}
	if i := badByte(s); i >= 0 {
		return fault.Errorf(fault.Invalid, "%s: character %q at %d is not allowed in a subject", what, s[i], i)
	}
	return nil
}

func badByte(s string) int {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return i
		}
	}
	return -1
}

// tokenByte has true for the bytes that CheckToken allows, fanByte for those of a plain openid.
var tokenByte, fanByte = byteSets()

func byteSets() (token, fan [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		switch c {
		case '.', '*', '>', '/', '\\', '$':
		default:
			token[c] = true
		}
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			fan[c] = true
		}
	}
	return token, fan
}

// OpenIDToken returns the token that stands for a fan in a subject or key: the openid itself when it
// has 1 to 64 characters of [A-Za-z0-9_-], else "x-" and 32 hex characters of its SHA-256. The value
// of a message keeps the real openid. It never fails, because a push must not be lost over an odd name.
func OpenIDToken(openid string) string {
	if plainOpenID(openid) {
		return openid
	}
	sum := sha256.Sum256([]byte(openid))
	return "x-" + hex.EncodeToString(sum[:16])
}

func plainOpenID(openid string) bool {
	if openid == "" || len(openid) > maxFanToken {
		return false
	}
	for i := range len(openid) {
		if !fanByte[openid[i]] {
			return false
		}
	}
	return true
}

// FanKey returns the key of a fan in the buckets grants, owners and fans: "<account>.<openid token>".
func FanKey(account, openid string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	return account + "." + OpenIDToken(openid), nil
}

// JobKey returns the key "<account>.<family>.<msg_id>" of the bucket jobs. An id that cannot be a token is hashed, as an
// openid is.
func JobKey(account, family, msgID string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	return account + "." + family + "." + OpenIDToken(msgID), CheckToken("family", family)
}

// RecordKey returns the key "<account>.<id>", as used by the bucket sends.
func RecordKey(account, id string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	if err := CheckToken("id", id); err != nil {
		return "", err
	}
	return account + "." + id, nil
}

// PartitionOf returns fnv1a(account, 0, openid) modulo n. It takes the real openid, not its token.
// The zero byte keeps ("a", "bc") and ("ab", "c") apart. n must be positive.
func PartitionOf(account, openid string, n int) uint32 {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for i := range len(account) {
		h = (h ^ uint32(account[i])) * prime
	}
	h *= prime
	for i := range len(openid) {
		h = (h ^ uint32(openid[i])) * prime
	}
	return h % uint32(n)
}
