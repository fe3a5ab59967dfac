//go:build soak

package soak

import (
	"testing"
	"time"
)

// TestLongSoak is what docs/guarantees.md refers to.
func TestLongSoak(t *testing.T) {
	run(t, size{pushes: 20_000, rate: 500, fans: 500, rest: 10 * time.Minute})
}
