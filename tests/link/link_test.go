package link_test

import (
	"bufio"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/tests/link"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// echo answers each line with the name of the server and the line, until the test ends.
func echo(t *testing.T, name string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					if _, err := c.Write([]byte(name + " " + lines.Text() + "\n")); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// client is one connection through a link.
type client struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, l *link.Link) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) say(text string) {
	c.t.Helper()
	_, err := c.Write([]byte(text + "\n"))
	require.NoError(c.t, err)
}

func (c *client) hear() string {
	c.t.Helper()
	text, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	return text[:len(text)-1]
}

// ends waits until the connection is over.
func (c *client) ends() {
	c.t.Helper()
	_, err := c.lines.ReadString('\n')
	require.Error(c.t, err)
	require.NotErrorIs(c.t, err, net.ErrClosed)
}

func TestALinkForwardsToItsTargetsInTurnAndLeavesOutTheDeadOne(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := dead.Addr().String()
	require.NoError(t, dead.Close())
	l := link.New(t, echo(t, "a"), gone, echo(t, "b"))
	heard := map[string]int{}
	for range 6 {
		c := dial(t, l)
		c.say("hi")
		heard[c.hear()]++
	}
	require.Equal(t, map[string]int{"a hi": 2, "b hi": 4}, heard)
}

func TestWhatWasDroppedArrivesAfterTheHeal(t *testing.T) {
	for name, way := range map[string][]link.Way{"both": nil, "there": {link.There}, "back": {link.Back}} {
		t.Run(name, func(t *testing.T) {
			l := link.New(t, echo(t, "a"))
			c := dial(t, l)
			c.say("before")
			require.Equal(t, "a before", c.hear())
			l.Drop(way...)
			c.say("stuck")
			other := dial(t, l) // can connect, and is stuck as well
			other.say("too")
			healed := make(chan time.Time, 1)
			timer := time.AfterFunc(20*time.Millisecond, func() {
				healed <- time.Now()
				l.Heal()
			})
			t.Cleanup(func() { timer.Stop() })
			require.Equal(t, "a stuck", c.hear())
			require.False(t, time.Now().Before(<-healed), "it was dropped until then")
			require.Equal(t, "a too", other.hear())
		})
	}
}

func TestAResetEndsConnectionsAndACutRefusesNewOnes(t *testing.T) {
	l := link.New(t, echo(t, "a"))
	c := dial(t, l)
	c.say("hi")
	c.hear()
	l.Reset()
	c.ends()
	c = dial(t, l)
	c.say("again")
	require.Equal(t, "a again", c.hear())
	l.Cut()
	c.ends()
	if refused, err := net.Dial("tcp", l.Addr()); err == nil { // the reset may come before or after that
		(&client{t, refused, bufio.NewReader(refused)}).ends()
		require.NoError(t, refused.Close())
	}
	l.Heal()
	c = dial(t, l)
	c.say("healed")
	require.Equal(t, "a healed", c.hear())
}

// TestARefusedConnectionWasNeverMade: who connects is told so by the system, and can be sure that nothing was sent.
func TestARefusedConnectionWasNeverMade(t *testing.T) {
	ports, err := testkit.FreePorts(1)
	require.NoError(t, err)
	l := link.At(t, ports[0], echo(t, "a"))
	c := dial(t, l)
	c.say("hi")
	c.hear()
	require.Equal(t, 1, l.Refuse())
	c.ends()
	_, err = net.Dial("tcp", l.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	l.Accept(t)
	c = dial(t, l)
	c.say("again")
	require.Equal(t, "a again", c.hear())
}

func TestAnEndIsHandedOn(t *testing.T) {
	l := link.New(t, echo(t, "a"))
	c := dial(t, l)
	c.say("last")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, "a last", c.hear())
	c.ends()
}

func TestALinkEndsWithItsTestAlsoWhileItDrops(t *testing.T) {
	target := echo(t, "a")
	t.Run("inner", func(t *testing.T) {
		l := link.New(t, target)
		c := dial(t, l)
		c.say("hi")
		c.hear()
		l.Drop()
		c.say("stuck")
	})
}
