package httpx_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

// bothWays runs a test with and without the direct way.
func bothWays(t *testing.T, test func(t *testing.T, direct bool)) {
	t.Run("net/http", func(t *testing.T) { test(t, false) })
	t.Run("direct", func(t *testing.T) { test(t, true) })
}

// plain is a request in the plain form.
func plain(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// dialed is a client that writes its own bytes.
type dialed struct {
	net.Conn
	in *bufio.Reader
}

const patience = 30 * time.Second

func dial(t *testing.T, s *httpx.Server) *dialed {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &dialed{conn, bufio.NewReader(conn)}
}

func (d *dialed) send(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(d, text)
	require.NoError(t, err)
}

// answered reads one answer.
func (d *dialed) answered(t *testing.T) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(d.in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

func (d *dialed) requireClosed(t *testing.T) {
	t.Helper()
	_, err := io.Copy(io.Discard, d.in)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "still open")
}

// echo answers with what it saw.
func echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %s %s %d %x %v", r.Method, r.URL, r.Host, r.Header.Get("Content-Type"), r.ContentLength, sha256.Sum256(body), r.RemoteAddr != "")
	})
}

func TestBothWaysAnswerAlike(t *testing.T) {
	type seen struct {
		status             int
		body, kind, length string
		closed             bool
	}
	ask := func(t *testing.T, direct bool, request string) seen {
		s := start(t, httpx.Options{Handler: echo(), Direct: direct})
		d := dial(t, s)
		d.send(t, request)
		resp, body := d.answered(t)
		require.Equal(t, resp.StatusCode == http.StatusOK, resp.Header.Get("Date") != "")
		return seen{resp.StatusCode, body, resp.Header.Get("Content-Type"), resp.Header.Get("Content-Length"), resp.Close}
	}
	for name, request := range map[string]string{
		"plain":               plain("/a?b=c", "hello"),
		"64 KB":               plain("/a", strings.Repeat("x", 64<<10)),
		"more":                plain("/a", strings.Repeat("x", 64<<10+1)),
		"GET":                 "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
		"chunks":              "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"chunks and a length": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"two lengths":         "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"no host":             "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0":            "POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
		"close":               "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"a folded line":       "POST /a HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
		"nonsense":            "\x16\x03\x01\x00\xee\r\n\r\n",
		"many fields":         "POST /a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: "+strings.Repeat("b", 200)+"\r\n", 40) + "Content-Length: 5\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, ask(t, false, request), ask(t, true, request)) })
	}
}

func TestAConnectionIsUsedAgainWhateverComes(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Handler: echo(), Direct: direct})
		d := dial(t, s)
		for i := range 5 {
			d.send(t, plain("/"+strconv.Itoa(i), "hello"))
			_, body := d.answered(t)
			require.Contains(t, body, fmt.Sprintf("POST /%d x text/plain 5 %x true", i, sha256.Sum256([]byte("hello"))))
		}
		d.send(t, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n")
		_, body := d.answered(t)
		require.Contains(t, body, "GET /last")
		d.send(t, plain("/again", "hello"))
		_, body = d.answered(t)
		require.Contains(t, body, "POST /again")
	})
}

func TestRequestsThatComeTogetherAreAnsweredInOrder(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Handler: echo(), Direct: direct})
		d := dial(t, s)
		const n = 100
		var all strings.Builder
		for i := range n {
			all.WriteString(plain("/"+strconv.Itoa(i), strings.Repeat("x", 10*i+1)))
		}
		d.send(t, all.String())
		for i := range n {
			_, body := d.answered(t)
			require.Contains(t, body, fmt.Sprintf("POST /%d x text/plain %d ", i, 10*i+1))
		}
	})
}

func TestARequestMayComeInPieces(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Handler: echo(), Direct: direct})
		d := dial(t, s)
		for _, c := range []byte(plain("/a", "hello")) {
			d.send(t, string(c))
		}
		_, body := d.answered(t)
		require.Contains(t, body, fmt.Sprintf("POST /a x text/plain 5 %x", sha256.Sum256([]byte("hello"))))
	})
}

func TestTheBodyIsReadWhenTheHandlerWantsIt(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		called := make(chan struct{}, 2)
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called <- struct{}{}
			b, err := io.ReadAll(r.Body)
			_, _ = fmt.Fprint(w, len(b), err)
		})})
		d := dial(t, s)
		head, body, _ := strings.Cut(plain("/a", strings.Repeat("x", 5000)), "\r\n\r\n")
		d.send(t, head+"\r\n\r\n")
		<-called
		d.send(t, body[:1])
		d.send(t, body[1:])
		_, got := d.answered(t)
		require.Equal(t, "5000 <nil>", got)
	})
}

func TestWhatTheHandlerLeavesIsSkipped(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, r.URL.Path)
		})})
		d := dial(t, s)
		for _, path := range []string{"/first", "/second"} {
			d.send(t, plain(path, strings.Repeat("x", 60_000)))
			resp, body := d.answered(t)
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
			require.Equal(t, path, body)
		}
	})
}

func TestABodyThatEndsTooEarly(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		failed := make(chan error, 1)
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			failed <- err
		})})
		d := dial(t, s)
		d.send(t, strings.TrimSuffix(plain("/a", "hello"), "lo"))
		require.NoError(t, d.Conn.(*net.TCPConn).CloseWrite())
		require.ErrorIs(t, <-failed, io.ErrUnexpectedEOF)
		d.answered(t)
		d.requireClosed(t)
	})
}

func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: echo(), ReadTimeout: 20 * time.Millisecond})
		d := dial(t, s)
		d.send(t, strings.TrimSuffix(plain("/a", "hello"), "lo"))
		resp, _ := d.answered(t)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		d.requireClosed(t)
	})
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: echo(), ReadHeaderTimeout: 20 * time.Millisecond})
		dial(t, s).requireClosed(t)
		d := dial(t, s)
		_, _ = io.WriteString(d, "POST /a HT") // may come too late
		d.requireClosed(t)
		s = start(t, httpx.Options{Direct: direct, Handler: echo(), IdleTimeout: 20 * time.Millisecond})
		d = dial(t, s)
		d.send(t, plain("/a", "hello"))
		d.answered(t)
		d.requireClosed(t)
	})
}

func TestTheContextEndsWhenTheClientHangsUp(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered, gone := make(chan struct{}), make(chan error, 1)
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour) // before the body was read
			defer cancel()
			_, _ = io.Copy(io.Discard, r.Body)
			close(entered)
			<-ctx.Done()
			gone <- r.Context().Err()
		})})
		d := dial(t, s)
		d.send(t, plain("/a", "hello"))
		<-entered
		require.NoError(t, d.Close())
		require.ErrorIs(t, <-gone, context.Canceled)
	})
}

// A watched client may send its next request while the first one is answered.
func TestAWatchKeepsWhatItReads(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		release := make(chan struct{}, 10)
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			_, _ = fmt.Fprint(w, r.URL.Path, r.Context().Err())
		})})
		d := dial(t, s)
		d.send(t, plain("/0", "hello"))
		for i := range 10 {
			d.send(t, plain("/"+strconv.Itoa(i+1), "hello"))
			release <- struct{}{}
			_, body := d.answered(t)
			require.Equal(t, fmt.Sprintf("/%d<nil>", i), body)
		}
	})
}

func TestAHandlerMayBreakOff(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		tel := telemetrytest.New(t)
		s := start(t, httpx.Options{Direct: direct, Log: tel.Logger, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		})})
		d := dial(t, s)
		d.send(t, plain("/a", "hello"))
		d.requireClosed(t)
		require.NotContains(t, tel.Log.String(), "panic")
	})
}

func TestAPanicOfTheHandlerEndsItsConnectionOnly(t *testing.T) {
	tel := telemetrytest.New(t)
	s := start(t, httpx.Options{Direct: true, Log: tel.Logger, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic("for the test")
		}
		_, _ = io.WriteString(w, "good")
	})})
	d := dial(t, s)
	d.send(t, plain("/bad", "hello"))
	d.requireClosed(t)
	require.Contains(t, tel.Log.String(), "handler panicked")
	d = dial(t, s)
	d.send(t, plain("/a", "hello"))
	_, body := d.answered(t)
	require.Equal(t, "good", body)
}

func TestAnswersOfEveryKind(t *testing.T) {
	large := strings.Repeat("x", 200_000)
	for name, tc := range map[string]struct {
		handle func(w http.ResponseWriter)
		status int
		body   string
		again  bool // the connection can be used again, with the direct way
	}{
		"nothing":           {func(http.ResponseWriter) {}, 200, "", true},
		"a status":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, 503, "", true},
		"no content":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent); _, _ = io.WriteString(w, "x") }, 204, "", true},
		"the second status": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden); w.WriteHeader(http.StatusOK) }, 403, "", true},
		"pieces":            {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "a"); _, _ = w.Write([]byte("b")) }, 200, "ab", true},
		"large":             {func(w http.ResponseWriter) { _, _ = io.WriteString(w, large) }, 200, large, false},
		"large with a length": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			_, _ = io.WriteString(w, large)
		}, 200, large, true},
		"flushed": {func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "b")
		}, 200, "ab", false},
		"flushed with a length": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, 200, "ab", true},
		"longer than it says": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1")
			_, _ = io.WriteString(w, "a")
			if _, err := io.WriteString(w, "b"); !errors.Is(err, http.ErrContentLength) {
				panic(err)
			}
		}, 200, "a", false},
		"the end of it": {func(w http.ResponseWriter) { w.Header().Set("Connection", "close"); _, _ = io.WriteString(w, "a") }, 200, "a", false},
		"a header with a line break": {func(w http.ResponseWriter) {
			w.Header().Set("X-Sent", "a\r\nX-Forged: b")
			w.WriteHeader(http.StatusOK)
		}, 200, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, direct bool) {
				s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/again" {
						_, _ = io.WriteString(w, "again")
						return
					}
					tc.handle(w)
				})})
				d := dial(t, s)
				d.send(t, plain("/a", "hello"))
				resp, body := d.answered(t)
				require.Equal(t, tc.status, resp.StatusCode)
				require.Equal(t, tc.body, body)
				require.Empty(t, resp.Header.Get("X-Forged"))
				if direct && !tc.again {
					d.requireClosed(t)
					return
				}
				if tc.again {
					d.send(t, plain("/again", "hello"))
					_, body = d.answered(t)
					require.Equal(t, "again", body)
				}
			})
		})
	}
}

func TestAWriteDeadlineEndsAnAnswerThatNobodyReads(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		failed := make(chan error, 1)
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			control := http.NewResponseController(w)
			err := control.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			w.Header().Set("Content-Length", strconv.Itoa(1<<30))
			for chunk := make([]byte, 1<<20); err == nil; {
				_, err = w.Write(chunk)
			}
			failed <- err
		})})
		d := dial(t, s)
		d.send(t, plain("/a", "hello"))
		require.ErrorContains(t, <-failed, "timeout")
	})
}

func TestStopClosesIdleConnectionsAndFinishesTheOthers(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				close(entered)
				<-release
			}
			_, _ = io.WriteString(w, "done")
		})})
		resting, held := dial(t, s), dial(t, s)
		resting.send(t, plain("/a", "hello"))
		resting.answered(t)
		held.send(t, plain("/held", "hello"))
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context()) }()
		resting.requireClosed(t)
		close(release)
		resp, body := held.answered(t)
		require.Equal(t, "done", body)
		require.True(t, resp.Close)
		require.NoError(t, <-stopped)
		held.requireClosed(t)
	})
}

func TestStopCutsPlainRequestsAtTheDeadline(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		entered, cut := make(chan struct{}), make(chan struct{})
		s := start(t, httpx.Options{Direct: direct, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(cut)
		})})
		d := dial(t, s)
		d.send(t, plain("/a", "hello"))
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
		<-cut
	})
}

// Everything at once: plain and other requests on many connections while the server stops. Every answer is whole.
func TestManyClientsWhileTheServerStops(t *testing.T) {
	bothWays(t, func(t *testing.T, direct bool) {
		s := start(t, httpx.Options{Direct: direct, Handler: echo()})
		var clients sync.WaitGroup
		var some sync.WaitGroup
		wrong := make(chan string, 16)
		for i := range 16 {
			some.Add(1)
			clients.Go(func() {
				count := sync.OnceFunc(some.Done)
				defer count()
				conn, err := net.Dial("tcp", s.Addr())
				if err != nil {
					wrong <- err.Error()
					return
				}
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for n := 0; ; n++ {
					request := plain("/"+strconv.Itoa(n), strings.Repeat("x", n%5000+1))
					if i%4 == 3 && n%10 == 9 {
						request = strings.Replace(request, "Host", "Pragma: no-cache\r\nHost", 1)
					}
					if _, err := io.WriteString(conn, request); err != nil {
						return
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						return // closed before the request was there
					}
					body, err := io.ReadAll(resp.Body)
					if err != nil || !strings.HasPrefix(string(body), fmt.Sprintf("POST /%d ", n)) {
						wrong <- fmt.Sprintf("%s %v", body, err)
						return
					}
					if n == 20 {
						count()
					}
				}
			})
		}
		some.Wait()
		require.NoError(t, s.Stop(t.Context()))
		clients.Wait()
		close(wrong)
		require.Empty(t, wrong, "first: %s", <-wrong)
	})
}
