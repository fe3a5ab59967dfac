// Package replay gives stored pushes to the rule service once more: those without a decision, because something went
// wrong when they came. A push that has a decision is never given again, so nobody is answered twice (ADR 0065).
package replay

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/decision"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// idSuffix makes the id of a replay from that of the push, always the same, so that a replay that is repeated at
// once is stored once.
const idSuffix = ":replay"

// Span selects stored pushes.
type Span struct {
	Account string
	// From and To bound the time at which a push was stored; a zero To means now.
	From, To time.Time
}

// Count is what a span holds.
type Count struct {
	// Events that were stored, each counted once.
	Events int64 `json:"events"`
	// Decided have a decision: they are never replayed.
	Decided int64 `json:"decided"`
	// Undecided have none: no rule asked for them, or something went wrong. They are what a replay gives again.
	Undecided int64 `json:"undecided"`
	// Replayed were given to the rule service by this run.
	Replayed int64 `json:"replayed"`
	// Repeated were given to it a moment ago already.
	Repeated int64 `json:"repeated"`
	// Unreadable could not be decoded.
	Unreadable int64 `json:"unreadable"`
}

// Options of a run.
type Options struct {
	Conn     *bus.Conn
	Topology *topology.Topology
	// Really gives the undecided pushes to the rule service; otherwise they are only counted.
	Really bool
	// Rate is the most replays in a second; it must be positive when Really is set.
	Rate float64
	// Progress is told now and then how many messages of how many were looked at; nil for nobody.
	Progress func(read, total int64)
}

// run is a run under way.
type run struct {
	Options
	span    Span
	records *decision.Store
	count   Count
	pause   *time.Ticker
}

// Run reads the pushes of a span in the order in which they came. It ends at the last one that was stored when it
// began. It returns the count so far also with an error; it may be repeated.
func Run(ctx context.Context, s Span, o Options) (Count, error) {
	if s.To.IsZero() {
		s.To = time.Now()
	}
	if !s.From.Before(s.To) {
		return Count{}, fault.New(fault.Invalid, "replay: from must be before to")
	}
	filter, err := topology.FilterInbound(s.Account)
	if err != nil {
		return Count{}, err
	}
	r := &run{Options: o, span: s, records: decision.NewStore(o.Conn, o.Topology)}
	if o.Really {
		if o.Rate <= 0 {
			return Count{}, fault.New(fault.Invalid, "replay: the rate must be more than 0")
		}
		r.pause = time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
		defer r.pause.Stop()
	}
	return r.count, r.read(ctx, filter)
}

func (r *run) read(ctx context.Context, filter string) error {
	js := r.Conn.JS()
	stream, err := js.Stream(ctx, topology.StreamInbound)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "open stream %s: %w", topology.StreamInbound, err)
	}
	last := stream.CachedInfo().State.LastSeq
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &r.span.From, FilterSubjects: []string{filter},
	})
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read stream %s: %w", topology.StreamInbound, err)
	}
	total := int64(consumer.CachedInfo().NumPending)
	if total == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read stream %s: %w", topology.StreamInbound, err)
	}
	defer messages.Stop()
	for read := int64(1); ; read++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fault.Errorf(fault.Unavailable, "read stream %s: %w", topology.StreamInbound, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fault.Wrap(fault.Permanent, err)
		}
		if meta.Timestamp.After(r.span.To) || meta.Sequence.Stream > last {
			return nil
		}
		if err := r.look(ctx, m); err != nil {
			return err
		}
		if r.Progress != nil && (read%100 == 0 || read == total) {
			r.Progress(read, total)
		}
		if meta.NumPending == 0 || meta.Sequence.Stream == last {
			return nil
		}
	}
}

// look counts one push and replays it when that is to be done.
func (r *run) look(ctx context.Context, m jetstream.Msg) error {
	if m.Headers().Get(bus.HeaderReplay) != "" {
		return nil // a copy of one that was counted
	}
	r.count.Events++
	ev := &eventv1.InboundEvent{}
	if proto.Unmarshal(m.Data(), ev) != nil || ev.GetId() == "" {
		r.count.Unreadable++
		return nil //nolint:nilerr // counted, and the run goes on
	}
	switch _, _, err := r.records.Get(ctx, ev.GetAccount(), ev.GetOpenid(), ev.GetId()); {
	case err == nil:
		r.count.Decided++
		return nil
	case !errors.Is(err, decision.ErrNotFound):
		return err
	}
	r.count.Undecided++
	if !r.Really {
		return nil
	}
	select {
	case <-r.pause.C:
	case <-ctx.Done():
		return fault.Errorf(fault.Unavailable, "replay: %w", ctx.Err())
	}
	ack, err := r.Conn.Publish(ctx, bus.Msg{
		Subject: m.Subject(), ID: ev.GetId() + idSuffix, Data: m.Data(), Header: header(m.Headers()), ExpectStream: topology.StreamInbound,
	})
	switch {
	case err != nil:
		return err
	case ack.Duplicate:
		r.count.Repeated++
	default:
		r.count.Replayed++
	}
	return nil
}

// header is for the rule service only; what was for the server is dropped.
func header(h nats.Header) nats.Header {
	out := nats.Header{bus.HeaderReplay: {topology.ServiceRule}}
	for key, values := range h {
		if !strings.HasPrefix(key, "Nats-") {
			out[key] = values
		}
	}
	return out
}
