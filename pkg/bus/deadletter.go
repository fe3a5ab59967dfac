package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// The headers of a dead letter.
const (
	headerReason     = "Wxbus-Dlq-Reason"
	headerKind       = "Wxbus-Dlq-Kind"
	headerService    = "Wxbus-Dlq-Service"
	headerSubject    = "Wxbus-Dlq-Subject"
	headerStream     = "Wxbus-Dlq-Stream"
	headerSeq        = "Wxbus-Dlq-Seq"
	headerDeliveries = "Wxbus-Dlq-Deliveries"
	headerCauses     = "Wxbus-Dlq-Causes"
	headerStack      = "Wxbus-Dlq-Stack"
	prefixOriginal   = "Wxbus-Original-"
)

const (
	maxReason       = 512
	maxCauses       = 2048
	causeSeparator  = " <- "
	requeueMarker   = ":requeue:"
	deadLetterLimit = 5 * time.Second
)

// deadLetter stores d with the reason of its failure on DLQ.
func (c *Consumer) deadLetter(ctx context.Context, d *Delivery, cause error) error {
	subject, err := topology.SubjectDeadLetter(c.cfg.Service, d.Stream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadLetterLimit)
	defer cancel()
	_, err = c.conn.Publish(ctx, Msg{
		Subject: subject, ID: deadLetterID(d.Stream, d.Seq, c.cfg.Service), Data: d.Data,
		Header: deadLetterHeader(c.cfg.Service, d, cause), ExpectStream: topology.StreamDeadLetters,
	})
	return err
}

func deadLetterID(stream string, seq uint64, service string) string {
	return fmt.Sprintf("dlq:%s:%d:%s", stream, seq, service)
}

func deadLetterHeader(service string, d *Delivery, cause error) nats.Header {
	h := nats.Header{
		headerReason:     {oneLine(cause.Error(), maxReason)},
		headerKind:       {fault.KindOf(cause).String()},
		headerService:    {service},
		headerSubject:    {d.Subject},
		headerStream:     {d.Stream},
		headerSeq:        {strconv.FormatUint(d.Seq, 10)},
		headerDeliveries: {strconv.FormatUint(d.NumDelivered, 10)},
		headerCauses:     {oneLine(strings.Join(causes(cause), causeSeparator), maxCauses)},
	}
	if p, ok := errors.AsType[*panicError](cause); ok {
		h[headerStack] = []string{oneLine(string(p.stack), maxStack)}
	}
	for key, values := range d.Header {
		if key != pinHeader {
			h[prefixOriginal+key] = values
		}
	}
	return h
}

// causes returns the distinct texts of the errors in the chain of err, the outermost first.
func causes(err error) []string {
	var out []string
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); len(out) == 0 || out[len(out)-1] != text {
			out = append(out, text)
		}
	}
	return out
}

// oneLine makes a text fit for a header.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// DeadLetter is a message that a service could not handle.
type DeadLetter struct {
	// Seq is its sequence among the dead letters; At is when it got there.
	Seq uint64
	At  time.Time
	// Service that could not handle it.
	Service string
	// Subject, Stream and StreamSeq say where it came from.
	Subject, Stream string
	StreamSeq       uint64
	// Deliveries it had.
	Deliveries uint64
	// Reason and Kind of the last failure, and the chain of its causes, the outermost first.
	Reason, Kind string
	Causes       []string
	// Stack is set when a handler panicked.
	Stack string
	// Header is the original one. Data is the original message; List leaves it out.
	Header nats.Header
	Data   []byte
}

// DeadLetterFilter selects dead letters; the zero value selects all.
type DeadLetterFilter struct {
	// Service and Stream that they come from.
	Service, Stream string
	// After is the Seq of the last one seen, for the next page.
	After uint64
}

func (f DeadLetterFilter) subject() (string, error) {
	service, stream := f.Service, f.Stream
	for _, token := range []*string{&service, &stream} {
		if *token == "" {
			*token = "*"
		} else if err := topology.CheckToken("filter", *token); err != nil {
			return "", err
		}
	}
	return topology.FilterDeadLetters(service, stream), nil
}

// DeadLetters reads and requeues dead letters. It is safe for concurrent use.
type DeadLetters struct{ conn *Conn }

// DeadLetters returns access to the dead letters of all services.
func (c *Conn) DeadLetters() *DeadLetters { return &DeadLetters{conn: c} }

// List returns up to limit dead letters, the oldest first, without their Data.
func (l *DeadLetters) List(ctx context.Context, f DeadLetterFilter, limit int) ([]DeadLetter, error) {
	subject, err := f.subject()
	if err != nil {
		return nil, err
	}
	stream, err := l.stream(ctx, topology.StreamDeadLetters)
	if err != nil {
		return nil, err
	}
	var out []DeadLetter
	for seq := f.After + 1; len(out) < limit; seq++ {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return out, fault.Errorf(fault.Unavailable, "read dead letters: %w", err)
		}
		seq = m.Sequence
		d := readDeadLetter(m)
		d.Data = nil
		out = append(out, d)
	}
	return out, nil
}

// Counts returns how many dead letters there are by service and stream.
func (l *DeadLetters) Counts(ctx context.Context) (map[string]map[string]uint64, error) {
	stream, err := l.stream(ctx, topology.StreamDeadLetters)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(topology.FilterDeadLetters("*", "*")))
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "count dead letters: %w", err)
	}
	out := make(map[string]map[string]uint64)
	for subject, n := range info.State.Subjects {
		service, name, ok := topology.ParseDeadLetter(subject)
		if !ok {
			continue
		}
		if out[service] == nil {
			out[service] = make(map[string]uint64)
		}
		out[service][name] = n
	}
	return out, nil
}

// Get returns one dead letter with its Data, or a NotFound fault.
func (l *DeadLetters) Get(ctx context.Context, seq uint64) (DeadLetter, error) {
	stream, err := l.stream(ctx, topology.StreamDeadLetters)
	if err != nil {
		return DeadLetter{}, err
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fault.Errorf(fault.NotFound, "dead letter %d does not exist", seq)
	}
	if err != nil {
		return DeadLetter{}, fault.Errorf(fault.Unavailable, "read dead letter %d: %w", seq, err)
	}
	return readDeadLetter(m), nil
}

// Delete removes one dead letter; NotFound when it is gone already.
func (l *DeadLetters) Delete(ctx context.Context, seq uint64) error {
	stream, err := l.stream(ctx, topology.StreamDeadLetters)
	if err != nil {
		return err
	}
	err = stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server words a missing message in several ways; look whether it is there.
	if _, missing := stream.GetMsg(ctx, seq); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return fault.Errorf(fault.NotFound, "dead letter %d does not exist", seq)
	}
	return fault.Errorf(fault.Unavailable, "delete dead letter %d: %w", seq, err)
}

func (l *DeadLetters) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := l.conn.js.Stream(ctx, name)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "look up stream %s: %w", name, err)
	}
	return stream, nil
}

func readDeadLetter(m *jetstream.RawStreamMsg) DeadLetter {
	h := m.Header
	d := DeadLetter{
		Seq: m.Sequence, At: m.Time, Service: h.Get(headerService), Subject: h.Get(headerSubject), Stream: h.Get(headerStream),
		Reason: h.Get(headerReason), Kind: h.Get(headerKind), Stack: h.Get(headerStack),
		Header: make(nats.Header), Data: m.Data,
	}
	// A header that is no number is not ours; zero says so.
	d.StreamSeq, _ = strconv.ParseUint(h.Get(headerSeq), 10, 64)
	d.Deliveries, _ = strconv.ParseUint(h.Get(headerDeliveries), 10, 64)
	if text := h.Get(headerCauses); text != "" {
		d.Causes = strings.Split(text, causeSeparator)
	}
	for key, values := range h {
		if original, ok := strings.CutPrefix(key, prefixOriginal); ok {
			d.Header[original] = values
		}
	}
	return d
}
