package httpx_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/httpx"
)

// start serves h on a free port until the test ends. Clients have all the time that the test does not take from them.
func start(t *testing.T, o httpx.Options) *httpx.Server {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.ReadHeaderTimeout == 0 {
		o.ReadHeaderTimeout = time.Minute
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = time.Minute
	}
	s := httpx.NewServer(o)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
	})
	return s
}

// client has connections of its own, so that none is left over.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func TestServesOnTheRealAddress(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := httpx.NewServer(httpx.Options{Direct: direct, Name: "gateway http", Addr: "127.0.0.1:0", Handler: text("hi")})
		require.Equal(t, "gateway http", s.Name())
		require.Equal(t, "127.0.0.1:0", s.Addr())
		require.NoError(t, s.Stop(t.Context()), "stop without start")
		s = start(t, httpx.Options{Direct: direct, Handler: text("hi")})
		status, body := get(t, client(t), "http://"+s.Addr())
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "hi", body)
	})
}

func TestAddressInUse(t *testing.T) {
	s := start(t, httpx.Options{Handler: text("")})
	other := httpx.NewServer(httpx.Options{Addr: s.Addr()})
	require.ErrorContains(t, other.Start(t.Context()), "listen on "+s.Addr())
	require.NoError(t, other.Stop(t.Context()))
	require.ErrorContains(t, s.Start(t.Context()), "started before")
}

func TestStopWaitsForRequestsInFlight(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			if r.Context().Err() != nil {
				w.WriteHeader(http.StatusTeapot)
			}
		})})
		c, got := client(t), make(chan int, 1)
		go func() {
			status, _ := get(t, c, "http://"+s.Addr())
			got <- status
		}()
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context()) }()
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", s.Addr())
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		}, 30*time.Second, time.Millisecond, "new connections are refused at once")
		select {
		case err := <-stopped:
			t.Fatalf("stopped before the request was done: %v", err)
		default:
		}
		close(release)
		require.Equal(t, http.StatusOK, <-got)
		require.NoError(t, <-stopped)
		require.NoError(t, s.Stop(t.Context()), "twice is fine")
	})
}

func TestStopCutsRequestsAtTheDeadline(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered, cut := make(chan struct{}), make(chan struct{})
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(cut)
		})})
		done := make(chan error, 1)
		c := client(t)
		go func() {
			resp, err := c.Get("http://" + s.Addr())
			if err == nil {
				_ = resp.Body.Close()
			}
			done <- err
		}()
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
		<-cut
		<-done
	})
}

// The signal that ends the process must not end requests: only Stop may.
func TestRequestsOutliveTheContextOfStart(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		s := httpx.NewServer(httpx.Options{Direct: direct, Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, r.Context().Value(key{}), r.Context().Err())
		})})
		require.NoError(t, s.Start(ctx))
		cancel()
		_, body := get(t, client(t), "http://"+s.Addr())
		require.Equal(t, "value<nil>", body)
		require.NoError(t, s.Stop(t.Context()))
	})
}

func TestBrokenListenerIsReported(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: text("")})
		require.NoError(t, httpx.BreakListener(s))
		require.ErrorContains(t, <-s.Failed(), "serve 127.0.0.1:0")
	})
}

func TestSlowAndLargeClientsAreCutOff(t *testing.T) {
	reads := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
	for name, tt := range map[string]struct {
		opts       httpx.Options
		send, want string
	}{
		"header that never ends": {httpx.Options{ReadHeaderTimeout: 50 * time.Millisecond}, "GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"body that never ends": {httpx.Options{ReadTimeout: 50 * time.Millisecond},
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200"},
		"header that is too big": {httpx.Options{MaxHeaderBytes: 4096},
			"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", "HTTP/1.1 431"},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, direct bool) {
				tt.opts.Handler, tt.opts.Direct = reads, direct
				d := dial(t, start(t, tt.opts))
				_, _ = io.WriteString(d, tt.send) // the first one may come too late
				line, err := d.in.ReadString('\n')
				if tt.want == "" {
					require.Error(t, err)
					require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "still open")
					return
				}
				require.Contains(t, line, tt.want)
			})
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: text("hi"), MaxConns: 1})
		first, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		ask(t, first)

		second, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err, "it waits in the kernel's queue")
		defer func() { _ = second.Close() }()
		_, err = io.WriteString(second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, second.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err = second.Read(make([]byte, 1))
		require.ErrorContains(t, err, "timeout", "no answer while the first is open")

		require.NoError(t, first.Close())
		require.NoError(t, second.SetReadDeadline(time.Now().Add(patience)))
		line, err := bufio.NewReader(second).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "200 OK")
	})
}

func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200 OK")
}

// Stop must not hang when all connection slots are taken.
func TestStopWithAllConnectionsTaken(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: text("hi"), MaxConns: 1})
		conn, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		ask(t, conn)
		require.NoError(t, s.Stop(t.Context()))
	})
}

func TestStopEndsStreamsThatWatchIt(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered := make(chan struct{})
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-httpx.Stopping(r.Context())
			_, _ = io.WriteString(w, "bye")
		})})
		c, got := client(t), make(chan string, 1)
		go func() {
			_, body := get(t, c, "http://"+s.Addr())
			got <- body
		}()
		<-entered
		require.NoError(t, s.Stop(t.Context()))
		require.Equal(t, "bye", <-got)
		require.Nil(t, httpx.Stopping(t.Context()))
	})
}
