package stack

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clockVariable is the environment of a program that buildClocks made: how far its clock is off.
const clockVariable = "WXBUS_TEST_CLOCK_OFFSET"

// The one line of the standard library that is another in programs with a wrong clock, and the file beside it.
const (
	rightClock = "\tsec, nsec, mono := runtimeNow()\n"
	wrongClock = rightClock + "\tsec += testClockOffset\n"
	clockFile  = `package time

import "syscall"

var testClockOffset = func() int64 {
	text, _ := syscall.Getenv("` + clockVariable + `")
	d, err := ParseDuration(text)
	if err != nil {
		panic("` + clockVariable + `: " + err.Error())
	}
	return int64(d / Second)
}()
`
)

// buildClocks builds services with a wall clock that the environment puts off, and returns their folder. Go reads the
// clock from the kernel without asking anybody, so nothing outside a process can change it; a switch in the services
// would be one that somebody finds in production, and would miss whatever reads the clock on its own. So the compiler
// gets a standard library in which time.Now adds an offset. What measures how long something takes is not affected,
// as with a clock that is wrong.
func buildClocks(t testing.TB, services ...string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), rightClock), "time.Now of this version of Go looks different")
	replace := map[string]string{}
	for name, text := range map[string]string{
		filepath.Join(library, "time.go"):         strings.Replace(string(source), rightClock, wrongClock, 1),
		filepath.Join(library, "wxbus_offset.go"): clockFile,
	} {
		file := filepath.Join(dir, filepath.Base(name))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		replace[name] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	args := []string{"build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", dir + string(filepath.Separator)}
	for _, s := range services {
		args = append(args, "./services/"+s+"/cmd/"+s)
	}
	build := exec.CommandContext(t.Context(), "go", args...)
	build.Dir = filepath.Join("..", "..") // tests run in a folder below tests
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// servicesOf returns the services of processes, each once.
func servicesOf(processes map[string]time.Duration) []string {
	services := map[string]bool{}
	for name := range processes {
		services[name[:strings.LastIndex(name, "-")]] = true
	}
	return slices.Sorted(maps.Keys(services))
}
