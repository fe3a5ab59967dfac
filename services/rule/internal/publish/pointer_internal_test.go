package publish

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLargeSetsAreKeptInSmallerNumber(t *testing.T) {
	var p Pointer
	dropped := 0
	for i := range 30 {
		next, gone := p.with(Info{Version: fmt.Sprint(i), Bytes: 20 << 20})
		p, dropped = next, dropped+len(gone)
	}
	require.Len(t, p.Sets, 9)
	require.Equal(t, 21, dropped)
	p, _ = p.with(Info{Version: "huge", Bytes: 500 << 20})
	require.Len(t, p.Sets, 2, "the version before can always be rolled back to")
}
