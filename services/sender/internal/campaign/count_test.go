package campaign

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEveryPartOfASmallAudienceIsCounted(t *testing.T) {
	require.EqualValues(t, 1, stride(0))
	require.EqualValues(t, 1, stride(200))
	require.EqualValues(t, 2, stride(201))
	require.EqualValues(t, 10, stride(2000))
}

func TestAReckonedCountStillAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		found, counted := tally{}, uint32(0)
		for _, reason := range []string{"", NoWindow, NotFollowing} {
			if n := rapid.Uint32Range(0, 100_000).Draw(t, reason); n > 0 {
				found.add(reason, n, "")
				counted += n
			}
		}
		all := rapid.Uint32Range(counted, 10_000_000).Draw(t, "all")
		found.scale(counted, all)
		sum := uint32(0)
		for _, r := range found {
			sum += r.GetRecipients()
		}
		if counted > 0 {
			require.Equal(t, all, sum)
		}
	})
}
