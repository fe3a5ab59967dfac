package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

const (
	waitFor = 60 * time.Second
	tick    = time.Millisecond
	delay   = 3 * time.Second
)

// faulty sends one kf message under a fault and returns the raw result.
func (w *world) faulty(ctx context.Context, script string) (status int, body string, err error) {
	w.t.Helper()
	token := w.token("wxshop")
	w.says("shop")
	s, err := faults.Parse([]byte(`{"rules":[` + script + `]}`))
	require.NoError(w.t, err)
	require.NoError(w.t, w.faults.Set(s))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.URL+"/cgi-bin/message/custom/send?access_token="+token, strings.NewReader(kfText))
	require.NoError(w.t, err)
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func (w *world) kfCount() uint64 { return w.ledger.Totals().Kf }

func TestFaultsOfTheAPI(t *testing.T) {
	tests := []struct {
		name     string
		script   string
		accepted bool
		check    func(t *testing.T, status int, body string, err error)
	}{
		{"reset before", `{"on":"api","kind":"reset"}`, false, func(t *testing.T, _ int, _ string, err error) {
			require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), "%v", err)
		}},
		{"reset after", `{"on":"api","kind":"reset","when":"after"}`, true, func(t *testing.T, _ int, _ string, err error) { require.Error(t, err) }},
		{"bad gateway", `{"on":"api","kind":"http"}`, false, func(t *testing.T, status int, _ string, err error) {
			require.NoError(t, err)
			require.Equal(t, 502, status)
		}},
		{"unavailable after the work", `{"on":"api","kind":"http","status":503,"when":"after"}`, true, func(t *testing.T, status int, _ string, _ error) { require.Equal(t, 503, status) }},
		{"truncated JSON", `{"on":"api","kind":"truncate"}`, true, func(t *testing.T, _ int, body string, err error) {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, `{"errcode":0,`, body)
		}},
		{"an HTML page", `{"on":"api","kind":"nonjson","when":"after"}`, true, func(t *testing.T, status int, body string, err error) {
			require.NoError(t, err)
			require.Equal(t, 200, status)
			require.Contains(t, body, "<html>")
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			status, body, err := w.faulty(t.Context(), tc.script)
			tc.check(t, status, body, err)
			require.Equal(t, tc.accepted, w.kfCount() == 1)
			totals := w.ledger.Totals()
			require.Len(t, totals.Ambiguous, 1, "what really happened is on record")
			got := totals.Ambiguous[0]
			require.Equal(t, ledger.Ambiguous{At: start, Account: "shop", Path: "/cgi-bin/message/custom/send", OpenID: fan, Fault: got.Fault, Accepted: tc.accepted, Text: "hello"}, got)
		})
	}
}

func TestAHangEndsWhenTheClientLeaves(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	w.token("wxshop")
	go func() {
		_, _, err := w.faulty(ctx, `{"on":"api","kind":"hang","when":"after","path":"/cgi-bin/message/custom/send"}`)
		done <- err
	}()
	require.Eventually(t, func() bool { return w.kfCount() == 1 }, waitFor, tick)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestAHangEndsWhenTheSimulatorStops(t *testing.T) {
	w := newWorld(t)
	done := make(chan error, 1)
	go func() {
		_, _, err := w.faulty(t.Context(), `{"on":"api","kind":"hang","path":"/cgi-bin/message/custom/send"}`)
		done <- err
	}()
	require.Eventually(t, func() bool { return w.ledger.Totals().AmbiguousCount == 1 }, waitFor, tick)
	w.api.Close()
	require.Error(t, <-done)
	require.Zero(t, w.kfCount())
}

func TestErrcodeBurstsAreNotAmbiguous(t *testing.T) {
	w := newWorld(t)
	_, body, err := w.faulty(t.Context(), `{"on":"api","kind":"errcode","errcode":-1,"count":1}`)
	require.NoError(t, err)
	require.Contains(t, body, `"errcode":-1`)
	require.Contains(t, body, "rid: ")
	require.Zero(t, w.kfCount())
	require.Zero(t, w.ledger.Totals().AmbiguousCount)
	require.Zero(t, w.post("/cgi-bin/message/custom/send", w.token("wxshop"), kfText).code(), "the burst is over")
}

func TestDelaysWaitOnTheSimulatorsClock(t *testing.T) {
	w := newWorld(t)
	done := make(chan string, 1)
	go func() {
		_, body, _ := w.faulty(t.Context(), `{"on":"api","kind":"delay","delay":"3s","path":"/cgi-bin/message/custom/send"}`)
		done <- body
	}()
	require.Eventually(t, func() bool { return w.clock.Waiters() == 1 }, waitFor, tick)
	require.Zero(t, w.kfCount())
	w.clock.Advance(delay)
	require.Contains(t, <-done, `"errcode":0`)
}
