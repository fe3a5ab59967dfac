package bus

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Lanes returns how many lanes a running consumer keeps, and Held how many messages.
func (c *Consumer) Lanes() (lanes, held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.partitions {
		p.mu.Lock()
		lanes += len(p.lanes)
		held += p.held
		p.mu.Unlock()
	}
	return lanes, held
}

// StepNames returns the names of the steps around a handler, outermost first.
func (c *Consumer) StepNames() []string {
	var names []string
	for _, s := range c.around() {
		if s.reason == "" {
			panic("step " + s.name + " has no reason")
		}
		names = append(names, s.name)
	}
	return names
}

// Answering returns kv as Conn.JS gives it.
func Answering(kv jetstream.KeyValue) jetstream.KeyValue { return answeringBucket{kv} }

// DecodeAck is the reader of answers to a publish.
var DecodeAck = decodeAck

// FormatParent writes a traceparent.
var FormatParent = formatParent

// Servers returns the names of the servers that c is connected to.
func (c *Conn) Servers() []string {
	var names []string
	for _, l := range c.links {
		names = append(names, l.nc.ConnectedServerName())
	}
	return names
}

// Avoid makes c believe that its connection i just let a publish time out.
func (c *Conn) Avoid(i int) { c.links[i].timedOut.Store(time.Now().UnixNano()) }

// Picks returns which connections the next n publishes would use.
func (c *Conn) Picks(n int) map[int]int {
	out := make(map[int]int)
	for range n {
		out[slices.Index(c.links, c.pick())]++
	}
	return out
}

// Deny makes c hear that the server denied a subject.
func (c *Conn) Deny() { c.asyncError(nil, nats.ErrPermissionViolation) }
