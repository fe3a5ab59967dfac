// Package link puts a TCP proxy between two processes of a test, so that the test can break the network
// between exactly these two: cut it, refuse connections, drop one direction, or reset what is connected.
package link

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Way is a direction on a Link.
type Way int

// The directions, seen from who connects.
const (
	There Way = iota // what the one who connects sends
	Back             // what it receives
	ways
)

const dialTimeout = 2 * time.Second

// Link forwards connections to the first of its targets that accepts one, beginning with another one each
// time, as a Service of Kubernetes does. It is safe for concurrent use and ends with its test.
type Link struct {
	addr    *net.TCPAddr
	targets []string
	running sync.WaitGroup

	mu       sync.Mutex
	listener *net.TCPListener // nil while connections are refused
	next     int
	cut      bool
	gates    [ways]chan struct{} // closed when the direction is open again; nil while it is open
	conns    map[*connection]bool
	done     bool
}

// connection is one forwarded connection, by the end of who connected.
type connection struct {
	near   *net.TCPConn
	closed chan struct{} // when it is reset
	once   sync.Once
}

// New returns a Link to the targets. It listens on a port of its own from now on.
func New(t testing.TB, targets ...string) *Link {
	t.Helper()
	return At(t, 0, targets...)
}

// At is New on a port of the caller's: one that nobody takes while the Link refuses, as testkit.FreePorts chooses.
func At(t testing.TB, port int, targets ...string) *Link {
	t.Helper()
	l := &Link{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, targets: targets, conns: map[*connection]bool{}}
	l.Accept(t)
	t.Cleanup(l.close)
	return l
}

// Accept listens, also after Refuse.
func (l *Link) Accept(t testing.TB) {
	t.Helper()
	listener, err := net.ListenTCP("tcp", l.addr)
	require.NoError(t, err)
	l.addr = listener.Addr().(*net.TCPAddr)
	l.mu.Lock()
	l.listener = listener
	l.mu.Unlock()
	l.running.Go(func() { l.accept(listener) })
}

// Addr returns host and port to connect to.
func (l *Link) Addr() string { return l.addr.String() }

// Drop lets what is sent in these directions get stuck, as when packets are lost: connections stay, new ones
// can be made, and nothing arrives. Without directions it drops both.
func (l *Link) Drop(directions ...Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range ways {
		if l.gates[w] == nil && (len(directions) == 0 || slices.Contains(directions, w)) {
			l.gates[w] = make(chan struct{})
		}
	}
}

// Cut resets every connection, and new ones as soon as they are made.
func (l *Link) Cut() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	l.Reset()
}

// Refuse ends the listening, so that nobody can connect until Accept, and resets every connection. It returns how
// many there were. Unlike after Cut, who connects knows that nothing was sent.
func (l *Link) Refuse() (reset int) {
	l.stop()
	return l.Reset()
}

// stop closes the listener, once.
func (l *Link) stop() {
	l.mu.Lock()
	listener := l.listener
	l.listener = nil
	l.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
}

// Reset resets every connection; new ones work. It returns how many there were.
func (l *Link) Reset() (reset int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.reset()
	}
	return len(l.conns)
}

// Heal ends Drop and Cut. What got stuck arrives now, late.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for w, gate := range l.gates {
		if gate != nil {
			close(gate)
			l.gates[w] = nil
		}
	}
}

func (l *Link) close() {
	l.mu.Lock()
	l.done = true
	l.mu.Unlock()
	l.stop()
	l.Reset()
	l.running.Wait()
}

func (l *Link) accept(listener *net.TCPListener) {
	for {
		near, err := listener.AcceptTCP()
		if err != nil {
			return // closed
		}
		l.running.Go(func() { l.forward(near) })
	}
}

func (l *Link) forward(near *net.TCPConn) {
	c := &connection{near: near, closed: make(chan struct{})}
	defer near.Close()
	if !l.add(c) {
		c.reset()
		return
	}
	defer l.remove(c)
	far := l.dial(c)
	if far == nil {
		c.reset()
		return
	}
	ended := make(chan struct{})
	var ends, pumps sync.WaitGroup
	ends.Go(func() { c.watch(far, ended) })
	pumps.Go(func() { l.pump(c, far, near, There) })
	pumps.Go(func() { l.pump(c, near, far, Back) })
	pumps.Wait()
	close(ended)
	ends.Wait()
}

// watch closes the far end when the connection is reset or over.
func (c *connection) watch(far *net.TCPConn, ended <-chan struct{}) {
	select {
	case <-c.closed:
		_ = far.SetLinger(0)
	case <-ended:
	}
	_ = far.Close()
}

// add registers a connection, unless none is wanted now.
func (l *Link) add(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.done || l.listener == nil {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Link) remove(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// dial connects to a target; nil when none accepts or the connection was reset meanwhile.
func (l *Link) dial(c *connection) *net.TCPConn {
	l.mu.Lock()
	first := l.next
	l.next++
	l.mu.Unlock()
	for i := range l.targets {
		select {
		case <-c.closed:
			return nil
		default:
		}
		far, err := net.DialTimeout("tcp", l.targets[(first+i)%len(l.targets)], dialTimeout)
		if err == nil {
			return far.(*net.TCPConn)
		}
	}
	return nil
}

// pump forwards one direction until its end, which it hands on. While the direction is dropped the other
// end does not learn of it.
func (l *Link) pump(c *connection, to, from *net.TCPConn, way Way) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !l.pass(c, way) {
			return
		}
		if n > 0 {
			if _, failed := to.Write(buf[:n]); failed != nil {
				c.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // gone already when this fails
			return
		case err != nil:
			c.reset()
			return
		}
	}
}

// pass waits until the direction is open; false when the connection was reset meanwhile.
func (l *Link) pass(c *connection, way Way) bool {
	for {
		l.mu.Lock()
		gate := l.gates[way]
		l.mu.Unlock()
		if gate == nil {
			return true
		}
		select {
		case <-gate:
		case <-c.closed:
			return false
		}
	}
}

// reset makes both ends see a reset instead of an orderly end.
func (c *connection) reset() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.near.SetLinger(0) // without it the close is a plain end, which is close enough
		_ = c.near.Close()
	})
}
