// Package sendid names the messages to fans: whoever knows how a message was asked for knows its id in the facts of the sender.
package sendid

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Of returns the id of a send: 32 hex characters from account and idempotency key.
func Of(account, key string) string {
	h := sha256.New()
	for _, part := range []string{account, key} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part))) // so that no two pairs look the same
		_, _ = h.Write(size[:])                                // a hash never fails
		_, _ = h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ReplyKey is the idempotency key of the n-th reply, from 0, to an event.
func ReplyKey(event string, n int) string { return event + ":" + strconv.Itoa(n) }
