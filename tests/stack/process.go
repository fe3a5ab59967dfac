// Package stack starts wxbus as real processes for tests: all services in one, or each on its own
// over a NATS of three, with the simulator as WeChat.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/testkit"
)

// Process is one child process. It is killed when the test ends.
type Process struct {
	Name  string
	Admin string // host:port of the port for operators; empty when there is none

	health string // path there that answers 200 when it is ready; default /readyz
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	once   sync.Once
	err    error
}

// startProcess runs a binary of bin/ and collects its output in a log file below dir.
func startProcess(t testing.TB, dir, name, binary string, args, env []string) *Process {
	t.Helper()
	p := &Process{Name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start(), "start %s", name)
	go func() {
		p.err = p.cmd.Wait()
		_ = out.Close()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", name, tail(p.log, 40))
		}
	})
	return p
}

// Kill ends the process with SIGKILL and waits.
func (p *Process) Kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() })
	<-p.exited
}

// Signal sends a signal, for example SIGSTOP.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Ended tells whether the process is gone and its log is complete.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Terminate asks the process to stop in order and waits; it fails when that takes longer than limit
// or ends with another exit code than 0.
func (p *Process) Terminate(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(limit):
		return fmt.Errorf("%s did not stop within %s", p.Name, limit)
	}
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the last lines of the output.
func (p *Process) Log(lines int) string { return tail(p.log, lines) }

// Running tells whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// WaitReady waits until /readyz answers 200, or /healthz of a NATS server.
func (p *Process) WaitReady(t testing.TB, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	last := "no answer"
	for {
		ok, detail := p.Ready(ctx)
		if ok {
			return
		}
		if detail != "" {
			last = detail
		}
		select {
		case <-p.exited:
			t.Fatalf("%s ended before it was ready: %v\n%s", p.Name, p.err, tail(p.log, 40))
		case <-ctx.Done():
			t.Fatalf("%s is not ready after %s: %s\n%s", p.Name, limit, last, tail(p.log, 40))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ready asks once whether the process is ready; detail is the status that it answered with.
func (p *Process) Ready(ctx context.Context) (ok bool, detail string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+cmp.Or(p.health, "/readyz"), nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // bounded by ctx
	if err != nil {
		return false, ""
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK, resp.Status
}

// FreePort returns a loopback port that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	ports, err := testkit.FreePorts(1)
	require.NoError(t, err)
	return ports[0]
}

func tail(name string, lines int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	start := len(b)
	for n := 0; start > 0 && n <= lines; {
		start--
		if b[start] == '\n' {
			n++
		}
	}
	return string(b[start:])
}
