package feed

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go/jetstream"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Watch is what one client wants.
type Watch struct {
	// After is the position of the client; nil begins at the present.
	After *uint64
	// Accounts whose facts the client wants; every account that it may see when empty.
	Accounts []string
	// Sees tells whether the client may see an account.
	Sees func(account string) bool
	// Alive is asked with every heartbeat; its error ends the watch.
	Alive func(ctx context.Context) error
	// Send gives one message to the client. It may block.
	Send func(*consolev1.WatchResponse) error
}

// errLost and errSlow are how a watch ends for the client's sake.
var (
	errLost = connect.NewError(connect.CodeOutOfRange, errors.New("after_seq: facts after it are no longer kept; load everything and begin at the present"))
	errSlow = fault.New(fault.Conflict, "the client reads too slowly; connect again with the newest seq")
)

// session is a watch under way.
type session struct {
	hub  *Hub
	want Watch
	sent uint64
	n    int64
}

// Watch gives facts to a client until ctx ends, Send fails, or the client is too slow.
func (h *Hub) Watch(ctx context.Context, w Watch) error {
	s := &session{hub: h, want: w}
	c, position, err := h.join(s.wants)
	if err != nil {
		return err
	}
	defer h.leave(c)
	s.sent = position
	if w.After != nil {
		if err := s.replay(ctx, *w.After, position); err != nil {
			return err
		}
	}
	if err := s.send(&consolev1.WatchResponse{Item: &consolev1.WatchResponse_CaughtUp{CaughtUp: &consolev1.CaughtUp{Replayed: s.n}}}); err != nil {
		return err
	}
	return s.live(ctx, c)
}

func (s *session) wants(account string) bool {
	if !s.want.Sees(account) {
		return false
	}
	for _, a := range s.want.Accounts {
		if a == account {
			return true
		}
	}
	return len(s.want.Accounts) == 0
}

func (s *session) send(m *consolev1.WatchResponse) error {
	m.Seq, m.ServerUnixMs = s.sent, s.hub.o.Now().UnixMilli()
	return s.want.Send(m)
}

func (s *session) fact(f fact) error {
	s.sent = f.seq
	return s.send(&consolev1.WatchResponse{Item: &consolev1.WatchResponse_Event{Event: f.event}})
}

// replay gives what is stored after the client's position, up to the one where the hub takes over.
func (s *session) replay(ctx context.Context, after, position uint64) error {
	stream, err := s.hub.o.JetStream.Stream(ctx, topology.StreamConversations)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "look up the stream of the feed: %w", err)
	}
	state := stream.CachedInfo().State
	switch {
	case after > state.LastSeq: // another stream: a restored or a new one
		return errLost
	case state.FirstSeq > after+1 && state.LastSeq > after:
		return errLost
	case after >= position:
		s.sent = after // another replica was ahead of ours
		return nil
	}
	s.sent = after
	filters, err := s.filters()
	if err != nil {
		return err
	}
	if err := s.stored(ctx, after, position, filters); err != nil {
		return err
	}
	s.sent = position
	return nil
}

func (s *session) filters() ([]string, error) {
	var out []string
	for _, a := range s.want.Accounts {
		filter, err := topology.FilterConversations(a)
		if err != nil {
			return nil, err
		}
		out = append(out, filter)
	}
	return out, nil
}

func (s *session) stored(ctx context.Context, after, position uint64, filters []string) error {
	consumer, err := s.hub.o.JetStream.OrderedConsumer(ctx, topology.StreamConversations, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, FilterSubjects: filters,
	})
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read the stream of the feed: %w", err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read the stream of the feed: %w", err)
	}
	if info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read the stream of the feed: %w", err)
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	for {
		m, err := messages.Next()
		if err != nil {
			return fault.Errorf(fault.Unavailable, "read the stream of the feed: %w", errors.Join(err, ctx.Err()))
		}
		f, err := read(m)
		if err != nil {
			return fault.Errorf(fault.Unavailable, "read the stream of the feed: %w", err)
		}
		if f.seq > position {
			return nil
		}
		if f.event != nil && s.wants(f.event.GetAccount()) {
			s.n++
			if err := s.fact(f); err != nil {
				return err
			}
		}
		if meta, err := m.Metadata(); f.seq == position || err != nil || meta.NumPending == 0 {
			return nil
		}
	}
}

// live gives what the hub sees, and a heartbeat when that is nothing.
func (s *session) live(ctx context.Context, c *client) error {
	beat := time.NewTicker(s.hub.o.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f, ok := <-c.facts:
			if !ok {
				return errSlow
			}
			if f.seq <= s.sent {
				continue // given by the replay already
			}
			if err := s.fact(f); err != nil {
				return err
			}
			beat.Reset(s.hub.o.Heartbeat)
		case signal := <-c.signals:
			if err := s.send(&consolev1.WatchResponse{Item: &consolev1.WatchResponse_Signal{Signal: signal}}); err != nil {
				return err
			}
		case <-beat.C:
			if err := s.beat(ctx, c); err != nil {
				return err
			}
		}
	}
}

// beat also moves the position over what others see, so that a resume need not read that again.
func (s *session) beat(ctx context.Context, c *client) error {
	if err := s.want.Alive(ctx); err != nil {
		return err
	}
	if position, idle := s.hub.idle(c); idle {
		s.sent = max(s.sent, position)
	}
	return s.send(&consolev1.WatchResponse{Item: &consolev1.WatchResponse_Heartbeat{Heartbeat: &consolev1.Heartbeat{}}})
}
