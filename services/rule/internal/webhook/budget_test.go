package webhook

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABudgetAllowsAShareOfTheCalls(t *testing.T) {
	b := newBudget()
	allowed := 0
	for range 1000 {
		b.called()
		if b.repeat() {
			allowed++
		}
	}
	require.InDelta(t, 110, allowed, 2)
}
