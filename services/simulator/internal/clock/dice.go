package clock

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Dice gives repeatable randomness: the same seed, label and numbers always give the same value,
// whatever ran before and in which order. The zero value is the seed 0.
type Dice struct{ seed uint64 }

// NewDice returns the dice of a seed.
func NewDice(seed uint64) Dice { return Dice{seed: seed} }

// Bytes returns 32 bytes for a label and its numbers.
func (d Dice) Bytes(label string, n ...uint64) [32]byte {
	buf := make([]byte, 0, 16+len(label)+8*len(n))
	buf = binary.BigEndian.AppendUint64(buf, d.seed)
	buf = append(buf, label...)
	buf = append(buf, 0)
	for _, v := range n {
		buf = binary.BigEndian.AppendUint64(buf, v)
	}
	return sha256.Sum256(buf)
}

// Uint64 returns a number for a label and its numbers.
func (d Dice) Uint64(label string, n ...uint64) uint64 {
	b := d.Bytes(label, n...)
	return binary.BigEndian.Uint64(b[:8])
}

// Float returns a number in [0, 1).
func (d Dice) Float(label string, n ...uint64) float64 {
	return float64(d.Uint64(label, n...)>>11) / (1 << 53)
}

// Text returns length characters of [A-Za-z0-9_-].
func (d Dice) Text(length int, label string, n ...uint64) string {
	out := make([]byte, 0, length+48)
	for i := uint64(0); len(out) < length; i++ {
		b := d.Bytes(label, append([]uint64{i}, n...)...)
		out = base64.RawURLEncoding.AppendEncode(out, b[:])
	}
	return string(out[:length])
}
