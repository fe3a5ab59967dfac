package bus

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// Hearing listens to core NATS until Close.
type Hearing struct {
	conn *Conn
	subs []*nats.Subscription
	deaf func()
	once sync.Once
}

// Hear calls h with what is published on the subjects, on several goroutines. It listens on every connection, so that
// one which hangs makes nobody deaf: a message comes once on each of them, and the later ones may be late. deaf is
// called when something may have been missed: no connection was left, or h was too slow.
func (c *Conn) Hear(subjects []string, h func(*nats.Msg), deaf func()) (*Hearing, error) {
	r := &Hearing{conn: c, deaf: deaf}
	c.mu.Lock()
	c.hearings[r] = struct{}{}
	c.mu.Unlock()
	listening, errs := false, []error(nil)
	for _, l := range c.links {
		err := r.listen(l, subjects, h)
		listening = listening || err == nil
		errs = append(errs, err)
	}
	if !listening {
		return nil, errors.Join(errors.Join(errs...), r.Close())
	}
	return r, nil
}

// listen subscribes on one connection. One that is down subscribes when it is back.
func (r *Hearing) listen(l *link, subjects []string, h func(*nats.Msg)) error {
	for _, subject := range subjects {
		sub, err := l.nc.Subscribe(subject, h)
		if err != nil {
			return transportFault(err)
		}
		r.conn.mu.Lock()
		r.subs = append(r.subs, sub)
		r.conn.mu.Unlock()
	}
	if err := l.nc.FlushTimeout(connectTimeout); err != nil {
		return transportFault(err)
	}
	return nil
}

// Close stops listening. A call of h may still run.
func (r *Hearing) Close() error {
	var errs []error
	r.once.Do(func() {
		r.conn.mu.Lock()
		delete(r.conn.hearings, r)
		r.conn.mu.Unlock()
		for _, sub := range r.subs {
			if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
				errs = append(errs, transportFault(err))
			}
		}
	})
	return errors.Join(errs...)
}

// deafened tells those who listen that something may have been missed: by one subscription, or by all when sub is
// nil and no connection is up.
func (c *Conn) deafened(sub *nats.Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.hearings {
		if r.missed(sub) {
			r.deaf()
		}
	}
}

func (r *Hearing) missed(sub *nats.Subscription) bool {
	for _, s := range r.subs {
		if s == sub {
			return true
		}
	}
	if sub != nil {
		return false
	}
	for _, l := range r.conn.links {
		if l.nc.IsConnected() {
			return false
		}
	}
	return true
}
