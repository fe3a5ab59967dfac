package rest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/rule/internal/rest"
)

// TestLongWorkRestsAgainAndAgain ends only because the work rests.
func TestLongWorkRestsAgainAndAgain(t *testing.T) {
	r := rest.New()
	for r.Count() < 3 {
		r.Step()
	}
	before := r.Count()
	for begin := time.Now(); time.Since(begin) < 5*time.Millisecond; {
	}
	r.Long()
	require.Equal(t, before+1, r.Count(), "after a long step at once")
}

func TestNobodyRestsWithoutNeed(t *testing.T) {
	var never *rest.Rest
	for range 1000 {
		never.Step()
		never.Long()
	}
	require.Zero(t, never.Count())
}
