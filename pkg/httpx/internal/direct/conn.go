package direct

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// maxHead is how much is read at once, and so how large a head may be.
const maxHead = 4 << 10

// States of a connection, for Drain.
const (
	busy int32 = iota // has a request, a part of one, or is so fresh that its first one may be on the way
	idle
	closed
)

var headEnd = []byte("\r\n\r\n")

// conn is one connection. All but what mu guards belongs to its goroutine, which is also that of the handler.
type conn struct {
	net.Conn
	l        *Listener
	state    atomic.Int32
	cancel   context.CancelFunc
	deadline time.Time // for reading, as it was set last

	buf      [maxHead]byte
	from, to int // of buf: received, and not used yet

	parser  parser
	arrived time.Time // the request
	left    int64     // of the body
	timed   bool      // the deadline is that of the request
	broken  bool      // nothing more can be read
	handed  bool      // the connection belongs to net/http
	answer  answer

	mu       sync.Mutex // guards the fields below
	serving  bool
	whole    bool          // the body was read
	wanted   bool          // somebody waits for the client to go
	watching chan struct{} // closed when the watch has ended; nil without one
	ahead    int           // bytes that the watch has read into buf
}

func newConn(l *Listener, nc net.Conn) *conn {
	c := &conn{Conn: nc, l: l}
	ctx, cancel := context.WithCancel(l.base)
	c.cancel = cancel
	blank := http.Request{
		Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: body{c}, RemoteAddr: nc.RemoteAddr().String(),
	}
	c.parser.init(blank.WithContext(clientContext{ctx, c}))
	c.answer.init(c)
	return c
}

// serve answers one request after the other until the client is gone or sends something else.
func (c *conn) serve() {
	defer c.end()
	for {
		length := bytes.Index(c.buf[:c.to], headEnd)
		if length < 0 && c.to < len(c.buf) {
			if !c.wait() {
				return
			}
			length = bytes.Index(c.buf[:c.to], headEnd)
		}
		if length < 0 || !c.parser.parse(string(c.buf[:length+2])) {
			c.handOver()
			return
		}
		c.from = length + len(headEnd)
		if !c.handle() {
			return
		}
	}
}

// wait reads the head of the next request, or what comes of it at once. It reports false when nothing comes.
func (c *conn) wait() bool {
	begun := c.state.Load() == busy
	if begun {
		c.limitRead(time.Now(), c.l.ReadHeaderTimeout)
	} else {
		c.limitIdle(time.Now())
	}
	n, err := c.Read(c.buf[c.to:])
	if n == 0 || err != nil {
		return false
	}
	c.to += n
	return begun || c.state.CompareAndSwap(idle, busy)
}

// limitIdle gives the next request its time. Setting a deadline costs as much as parsing a head, so one that still has
// most of its time stays.
func (c *conn) limitIdle(now time.Time) {
	limit := c.l.IdleTimeout
	if left := c.deadline.Sub(now); limit > 0 && left <= limit && left > limit-limit/8 {
		return
	}
	c.limitRead(now, limit)
}

func (c *conn) limitRead(now time.Time, limit time.Duration) {
	at := time.Time{}
	if limit > 0 {
		at = now.Add(limit)
	}
	if at.Equal(c.deadline) {
		return
	}
	c.deadline = at
	_ = c.SetReadDeadline(at) // fails for a closed connection, as reading does
}

// handle has the request of the parser answered. It reports whether another one may follow.
func (c *conn) handle() bool {
	c.arrived, c.left, c.timed = time.Now(), c.parser.req.ContentLength, false
	if c.l.WriteTimeout > 0 {
		_ = c.SetWriteDeadline(c.arrived.Add(c.l.WriteTimeout))
	}
	c.mu.Lock()
	c.serving, c.whole = true, false
	c.mu.Unlock()
	c.answer.reset()
	if !c.call() || !c.answer.finish() || !c.skipBody() || c.l.isDraining() {
		return false
	}
	c.to = copy(c.buf[:], c.buf[c.from:c.to])
	c.from = 0
	if c.to > 0 {
		return true
	}
	c.state.Store(idle)
	return !c.l.isDraining() // Drain may have looked before the line above
}

// call runs the handler. It reports false when the handler broke the connection off.
func (c *conn) call() (ok bool) {
	defer func() {
		c.endWatch()
		if ok {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
			c.l.Log.Error("handler panicked", logkey.Error, p, logkey.Stack, string(debug.Stack()))
		}
	}()
	c.l.Handler.ServeHTTP(&c.answer, c.parser.req)
	return true
}

// skipBody reads what the handler left of the body: it is bounded by maxBody and by the time for reading.
func (c *conn) skipBody() bool {
	if c.left > 0 && !c.broken {
		_, _ = io.Copy(io.Discard, body{c})
	}
	return c.left == 0 && !c.broken
}

// closeIdle closes the connection when it has no request.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(idle, closed) {
		_ = c.Close()
	}
}

// end closes the connection unless net/http has it.
func (c *conn) end() {
	c.cancel()
	c.l.forget(c)
	if !c.handed {
		_ = c.Close()
	}
}

func (c *conn) handOver() {
	c.handed = true
	c.limitRead(time.Time{}, 0)
	c.l.handOver(&begun{Conn: c.Conn, read: bytes.Clone(c.buf[:c.to])})
}

// begun is a connection of which something was read.
type begun struct {
	net.Conn
	read []byte
}

// Read returns what was read before, then what comes.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	if b.read = b.read[n:]; len(b.read) == 0 {
		b.read = nil
	}
	return n, nil
}

// body is that of the request.
type body struct{ c *conn }

// Close does nothing: what was not read is skipped after the answer.
func (body) Close() error { return nil }

// Read returns io.EOF together with the last byte.
func (b body) Read(p []byte) (int, error) {
	c := b.c
	switch {
	case c.left == 0:
		return 0, io.EOF
	case c.broken:
		return 0, io.ErrUnexpectedEOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := c.receive(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.left == 0 {
		c.bodyRead()
		return n, io.EOF
	}
	if err != nil {
		c.broken = true
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// receive returns what is there, or what comes within the time for the request.
func (c *conn) receive(p []byte) (int, error) {
	if c.from < c.to {
		n := copy(p, c.buf[c.from:c.to])
		c.from += n
		return n, nil
	}
	if !c.timed {
		c.timed = true
		c.limitRead(c.arrived, c.l.ReadTimeout)
	}
	return c.Read(p)
}

// clientContext is that of the requests of a connection. It ends when the connection or the server does, and, from
// the moment in which somebody asks for Done, when the client hangs up. Most requests are answered before
// anybody asks, and a watch costs as much as the rest of a request.
type clientContext struct {
	context.Context
	c *conn
}

// Done begins to watch the client.
func (x clientContext) Done() <-chan struct{} {
	x.c.watch()
	return x.Context.Done()
}

func (c *conn) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = c.serving
	c.beginWatch()
}

// bodyRead lets a watch begin that waited for the end of the body.
func (c *conn) bodyRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = true
	c.beginWatch()
}

// beginWatch reads ahead, which is the way to see that a client is gone. A client that has sent its next
// request already is not watched. c.mu is held.
func (c *conn) beginWatch() {
	if !c.wanted || !c.whole || c.watching != nil || c.from < c.to {
		return
	}
	done := make(chan struct{})
	c.watching, c.from, c.to = done, 0, 0
	c.limitRead(time.Time{}, 0)
	go func() {
		defer close(done)
		n, err := c.Read(c.buf[:1])
		c.ahead = n
		if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.cancel()
		}
	}()
}

var longAgo = time.Unix(1, 0)

// endWatch takes over what the watch has read.
func (c *conn) endWatch() {
	c.mu.Lock()
	done := c.watching
	c.serving, c.wanted, c.watching = false, false, nil
	c.mu.Unlock()
	if done == nil {
		return
	}
	_ = c.SetReadDeadline(longAgo)
	<-done
	c.deadline = longAgo
	c.from, c.to, c.ahead = 0, c.ahead, 0
}
