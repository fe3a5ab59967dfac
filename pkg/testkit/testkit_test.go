package testkit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// recorder is a testing.TB that notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) FailNow()              { r.failed = true }

func TestGolden(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("testdata", 0o755))
	require.NoError(t, os.WriteFile(filepath.Join("testdata", "x.golden"), []byte("same\n"), 0o644))
	testkit.Golden(t, "x.golden", "same\n")
	testkit.Golden(t, "x.golden", []byte("same\n"))

	r := &recorder{TB: t}
	testkit.Golden(r, "x.golden", "other\n")
	require.True(t, r.failed, "a difference fails the test")
	r = &recorder{TB: t}
	testkit.Golden(r, "missing.golden", "x")
	require.True(t, r.failed, "a missing file fails the test")
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	start := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	c := testkit.NewClock(start)
	require.Equal(t, start, c.Now())
	require.Equal(t, start.Add(time.Minute), c.Advance(time.Minute))
	require.Equal(t, start.Add(time.Minute), c.Now())
	c.Set(start)
	require.Equal(t, start, c.Now())
}
