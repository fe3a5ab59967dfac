//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	idleTime  = 20 * time.Second
	idleEvery = time.Second
)

// memoryRows reads the resident memory of an idle all-in-one process, and what is left of it after load.
func memoryRows(t *testing.T) []Row {
	s := startEmbedded(t, false)
	pid := s.Gateways[0].PID()
	idle := highest(t, pid)
	s.runLoad(t, *duration)
	after := highest(t, pid)
	const limit = 150
	return []Row{
		{What: "memory of wxbus up, idle", Budget: "≤ 150 MB", Limit: limit, Value: idle, Measured: fmt.Sprintf("%.0f MB resident", idle)},
		{What: "the same, idle again after load", Measured: fmt.Sprintf("%.0f MB after %d pushes", after, int(duration.Seconds())*replyRate)},
	}
}

// highest returns the largest resident memory of a process within idleTime, in MB.
func highest(t *testing.T, pid int) float64 {
	t.Helper()
	end := time.After(idleTime)
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	most := resident(t, pid)
	for {
		select {
		case <-tick.C:
			most = max(most, resident(t, pid))
		case <-end:
			return most
		}
	}
}

func resident(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	for line := range bytes.Lines(b) {
		if value, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			require.NoError(t, err)
			return kb * 1024 / 1e6
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
