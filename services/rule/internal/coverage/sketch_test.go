package coverage

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFrequentPhrasesAreAlwaysFound compares the sketch with exact counts.
func TestFrequentPhrasesAreAlwaysFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSketch(nil)
		exact := map[string]int64{}
		now := time.Unix(1700000000, 0)
		total := rapid.IntRange(1, 3000).Draw(t, "total")
		kinds := rapid.IntRange(1, 1000).Draw(t, "kinds")
		seed := rapid.Uint64().Draw(t, "seed")
		for i := range total {
			seed = seed*6364136223846793005 + 1442695040888963407
			// The smaller the number the more frequent it is.
			key := fmt.Sprint(seed >> 33 % uint64(kinds) * (seed >> 20 % 100) / 100)
			exact[key]++
			s.add(key, key, now.Add(time.Duration(i)))
			if i%97 == 0 { // as if it had been written and read again
				s = newSketch(s.top())
			}
		}
		require.LessOrEqual(t, len(s.phrases), maxPhrases)
		for key, n := range exact {
			p := s.phrases[key]
			if p == nil {
				require.LessOrEqual(t, n, int64(total/maxPhrases), "%s is frequent", key)
				continue
			}
			require.GreaterOrEqual(t, p.Count, n)
			require.LessOrEqual(t, p.Count-p.Error, n)
		}
	})
}
