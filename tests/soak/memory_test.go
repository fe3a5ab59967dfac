package soak

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

var profiles = flag.String("profiles", "", "folder for heap profiles of the campaign's process")

// account is where the memory of a process is, in MB, and what it took to keep it there.
type account struct {
	resident, anonymous, file float64 // by the kernel; file are pages of mapped files and of the program

	inUse, next, free, stacks float64 // by Go: the heap in use, at which it is collected next, kept for later, stacks

	cpu, collections float64 // seconds and number since the process began
}

func (a account) String() string {
	return fmt.Sprintf("%.0f MB resident: %.0f anonymous, %.0f of files; Go: heap in use %.0f, collected at %.0f, idle and not returned %.0f, stacks %.0f; %.1f s of CPU, %.0f collections",
		a.resident, a.anonymous, a.file, a.inUse, a.next, a.free, a.stacks, a.cpu, a.collections)
}

// profile writes a heap profile of the process of the sender, when it was asked for. The profile is of the time after a collection.
func (c *campaignRun) profile(t *testing.T, moment string) {
	t.Helper()
	if *profiles == "" {
		return
	}
	require.NoError(t, os.MkdirAll(*profiles, 0o750))
	before := c.account(t)
	text := c.admin(t, "/debug/pprof/heap?gc=1")
	require.NoError(t, os.WriteFile(filepath.Join(*profiles, moment+".pb.gz"), text, 0o600))
	t.Logf("%s: %s; after a collection %s", moment, before, c.account(t))
}

// account asks kernel and process where the memory is.
func (c *campaignRun) account(t *testing.T) account {
	t.Helper()
	a, kernel := account{}, c.kernel(t)
	a.resident, a.anonymous, a.file = kernel["VmRSS:"], kernel["RssAnon:"], kernel["RssFile:"]
	golang := numbers(t, bytes.NewReader(c.admin(t, "/metrics")), 1)
	const mega = 1 << 20
	a.inUse, a.next = golang["go_memstats_heap_inuse_bytes"]/mega, golang["go_memstats_next_gc_bytes"]/mega
	a.free = (golang["go_memstats_heap_idle_bytes"] - golang["go_memstats_heap_released_bytes"]) / mega
	a.stacks = golang["go_memstats_stack_inuse_bytes"] / mega
	a.cpu, a.collections = golang["process_cpu_seconds_total"], golang["go_gc_duration_seconds_count"]
	return a
}

// kernel is what the kernel says about the memory of the process, in MB.
func (c *campaignRun) kernel(t *testing.T) map[string]float64 {
	t.Helper()
	status, err := os.Open("/proc/" + strconv.Itoa(c.process().PID()) + "/status")
	require.NoError(t, err)
	defer status.Close()
	return numbers(t, status, 1.0/1024)
}

// numbers reads lines of a name and a number.
func numbers(t *testing.T, r io.Reader, unit float64) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseFloat(fields[1], 64); err == nil {
			out[fields[0]] = n * unit
		}
	}
	require.NoError(t, lines.Err())
	return out
}

func (c *campaignRun) process() *stack.Process { return c.Services["sender"][0] }

// admin reads from the operators' port of the process of the sender.
func (c *campaignRun) admin(t *testing.T, path string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.process().Admin+path, nil)
	require.NoError(t, err)
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, text)
	return text
}
