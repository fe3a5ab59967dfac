// Package direct serves the requests that make up nearly all traffic of a busy port without net/http: POSTs in the
// plainest form, with a small body of a stated length. They cost a third of what they cost in net/http. A connection
// on which anything else arrives, down to an unusual header, goes to net/http with every byte that was read: who
// sends something malformed, hostile or merely rare meets net/http and nothing of this package (ADR 0062).
package direct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options of a Listener. Zero durations mean none.
type Options struct {
	// Handler serves the requests. It must not keep the request, its header or the writer when it has returned.
	Handler http.Handler
	Log     *slog.Logger

	ReadHeaderTimeout time.Duration // for the first request of a connection
	ReadTimeout       time.Duration // for the body
	WriteTimeout      time.Duration
	IdleTimeout       time.Duration // between requests; may end an eighth earlier
}

// Listener serves what it can on the connections of another listener, and yields those on which something else
// arrived, for net/http. It is safe for concurrent use.
type Listener struct {
	Options
	inner net.Listener
	base  context.Context // the parent of the contexts of all requests, as BaseContext of net/http

	others   chan net.Conn
	failed   chan error
	draining chan struct{}
	closed   chan struct{}
	drain    sync.Once
	close    sync.Once
	running  sync.WaitGroup // the acceptor and the connections

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

var _ net.Listener = (*Listener)(nil)

// Listen begins to accept connections. The contexts of requests are children of base. Close ends it.
func Listen(base context.Context, inner net.Listener, o Options) *Listener {
	l := &Listener{
		Options: o, inner: inner, base: base,
		others: make(chan net.Conn), failed: make(chan error), draining: make(chan struct{}), closed: make(chan struct{}),
		conns: make(map[*conn]struct{}),
	}
	l.running.Go(l.accept)
	return l
}

const longestPause = time.Second // after an error that passes, such as too many open files

func (l *Listener) accept() {
	pause := time.Duration(0)
	for {
		nc, err := l.inner.Accept()
		if err == nil {
			pause = 0
			if c := l.add(nc); c != nil {
				l.running.Go(c.serve)
			}
			continue
		}
		if passing, ok := errors.AsType[net.Error](err); ok && passing.Temporary() { //nolint:staticcheck // net/http goes by it too
			pause = min(max(2*pause, 5*time.Millisecond), longestPause)
			if l.sleep(pause) {
				continue
			}
		}
		if !l.isDraining() {
			select {
			case l.failed <- err:
			case <-l.closed:
			case <-l.draining:
			}
		}
		return
	}
}

// sleep reports false when the listener ends first.
func (l *Listener) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.draining:
	case <-l.closed:
	}
	return false
}

// Accept returns the next connection that is not for this package, with what was read of it.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.others:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// handOver gives a connection to Accept. After Close nobody takes it.
func (l *Listener) handOver(nc net.Conn) {
	select {
	case l.others <- nc:
	case <-l.closed:
		_ = nc.Close()
	}
}

// Addr is that of the other listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Drain refuses new connections, closes those that are idle, and waits for the requests in flight until ctx ends.
// Until Close, Accept still yields what is left for net/http.
func (l *Listener) Drain(ctx context.Context) error {
	l.drain.Do(func() { close(l.draining) })
	_ = l.inner.Close() // a second time it only says so
	l.each((*conn).closeIdle)
	ended := make(chan struct{})
	go func() {
		l.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("requests in flight: %w", ctx.Err())
	}
}

// Close refuses new connections and ends Accept. Connections go on until Drain or Cut.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	err := l.inner.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Cut closes every connection, whatever is in flight.
func (l *Listener) Cut() {
	l.each(func(c *conn) { _ = c.Close() })
}

func (l *Listener) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}

func (l *Listener) each(f func(*conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		f(c)
	}
}

// add makes a conn of a connection; nil when the listener is draining.
func (l *Listener) add(nc net.Conn) *conn {
	c := newConn(l, nc)
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	if l.isDraining() {
		c.end()
		return nil
	}
	return c
}

func (l *Listener) forget(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}
