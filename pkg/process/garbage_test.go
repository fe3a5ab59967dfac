package process

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGarbageIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing in use", 0, 100},
		{"little: as Go does", 10 << 20, 100},
		{"as much as the bound", 64 << 20, 100},
		{"twice the bound", 128 << 20, 50},
		{"four times", 256 << 20, 25},
		{"much: not below a quarter", 4 << 30, 25},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, garbagePercent(tt.live)) })
	}
}

func TestOnlyAProcessOfSeveralServicesBoundsItsGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	require.False(t, boundsGarbage(make([]Module, 1)))
	require.True(t, boundsGarbage(make([]Module, 2)))
	t.Setenv("GOGC", "100")
	require.False(t, boundsGarbage(make([]Module, 2)), "who sets GOGC decides")
}

func TestThePaceOfTheCollectorIsRestored(t *testing.T) {
	before := debug.SetGCPercent(90)
	defer debug.SetGCPercent(before)
	g := &garbage{}
	require.NoError(t, g.Stop(t.Context()), "it was not started")
	require.NoError(t, g.Start(t.Context()))
	require.NoError(t, g.Stop(t.Context()))
	require.NoError(t, g.Stop(t.Context()))
	require.Equal(t, 90, debug.SetGCPercent(90))
}
