package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	lookEvery   = time.Second // while there is something to learn
	idleLooks   = 5           // looks that are left out while there is not
	lookTimeout = 2 * time.Second
)

// Lookout keeps an Away true. It hears, as every gateway does, what any gateway sends to the spill stream and what
// the mover says is home; what it missed it learns from the server. It is a lifecycle component.
type Lookout struct {
	away *Away
	conn *bus.Conn
	log  *slog.Logger

	mu      sync.Mutex // guards the fields below
	hearing *bus.Hearing
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewLookout returns a lookout.
func NewLookout(conn *bus.Conn, away *Away, log *slog.Logger) *Lookout {
	return &Lookout{away: away, conn: conn, log: log}
}

// Name returns "lookout".
func (l *Lookout) Name() string { return "lookout" }

// Start returns when it hears everything from now on, and the server has told what happened before. When that does
// not answer within ten seconds, the gateway begins blind.
func (l *Lookout) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hearing != nil {
		return fault.New(fault.Internal, "lookout: started twice")
	}
	l.away.Blind()
	hearing, err := l.conn.Hear([]string{topology.FilterSpill(), topology.SubjectHome()}, l.hear, l.away.Blind)
	if err != nil {
		return fmt.Errorf("hear what is spilled: %w", err)
	}
	l.hearing = hearing
	answered := l.lookAtStart(ctx)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel, l.done = cancel, make(chan struct{})
	go l.run(life, answered, l.done)
	return nil
}

// lookAtStart looks until there is an answer, as long as somebody who is blind waits for one.
func (l *Lookout) lookAtStart(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, blindPatience)
	defer cancel()
	for {
		if l.look(ctx, false) {
			return true
		}
		if !pause(ctx, slow) {
			return false
		}
	}
}

// Stop ends it and waits for it.
func (l *Lookout) Stop(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hearing == nil {
		return nil
	}
	l.cancel()
	<-l.done
	return l.hearing.Close()
}

// Home tells every gateway that a push is on the home stream. Who does not hear it learns it from the server.
func (l *Lookout) Home(id string) {
	l.away.Home(id)
	if err := l.conn.NC().Publish(topology.SubjectHome(), []byte(id)); err != nil {
		l.log.Debug("notice not sent", logkey.EventID, id, logkey.Error, err)
	}
}

func (l *Lookout) hear(m *nats.Msg) {
	if m.Subject == topology.SubjectHome() {
		l.away.Home(string(m.Data))
		return
	}
	l.away.Leave(m.Subject, m.Header.Get(jetstream.MsgIDHeader))
}

func (l *Lookout) run(life context.Context, answered bool, done chan struct{}) {
	defer close(done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for idle := 0; ; idle++ {
		select {
		case <-life.Done():
			return
		case <-ticker.C:
		}
		if answered && !l.away.Busy() && idle < idleLooks {
			continue
		}
		idle = 0
		answered = l.look(life, !answered)
	}
}

// look asks the server what of the spill stream is home. It reports whether there was an answer. Whom the server did
// not answer before, what the other gateways sent may not have reached either: something was missed then.
func (l *Lookout) look(ctx context.Context, missed bool) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s, err := l.ask(ctx)
	if err != nil {
		l.log.DebugContext(ctx, "the state of the spill stream is not known", logkey.Error, err)
		return false
	}
	s.missed = missed
	l.away.learn(s)
	return true
}

// ask reads the last message of the stream before what the mover has done: what the mover has not got then is
// certainly counted.
func (l *Lookout) ask(ctx context.Context) (spillState, error) {
	s := spillState{asked: time.Now()}
	stream, err := l.conn.JS().Stream(ctx, topology.StreamSpill)
	if err != nil {
		return s, fmt.Errorf("ask for the spill stream: %w", err)
	}
	mover, err := stream.Consumer(ctx, topology.DurableSpillMover)
	if err != nil {
		return s, fmt.Errorf("ask for the mover: %w", err)
	}
	info := mover.CachedInfo()
	s.last, s.floor = stream.CachedInfo().State.LastSeq, info.AckFloor.Stream
	s.waiting = info.NumPending + uint64(max(info.NumAckPending, 0))
	return s, nil
}
