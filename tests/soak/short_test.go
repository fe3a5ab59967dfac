//go:build !soak

package soak

import (
	"testing"
	"time"
)

// TestShortSoak is the form for CI: the same faults, fewer pushes.
func TestShortSoak(t *testing.T) {
	run(t, size{pushes: 1500, rate: 150, fans: 100, rest: 60 * time.Second})
}
