package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Requeue gives a dead letter to its service once more and deletes it. The original message is published
// to its subject under a new id ("<id>:requeue:<n>") with the header Wxbus-Replay, so that other
// readers of the stream pass it by.
//
// On a stream that keeps one message for each subject the original may be outdated: there the record as
// it is now is announced again, unless it changes meanwhile, in which case its readers see it anyway.
//
// NotFound when the dead letter or its record is gone. When only the deletion fails, the error says so
// and a second Requeue within the dedupe window does no harm.
func (l *DeadLetters) Requeue(ctx context.Context, seq uint64) (Ack, error) {
	d, err := l.Get(ctx, seq)
	if err != nil {
		return Ack{}, err
	}
	if d.Subject == "" || d.Stream == "" || d.Service == "" {
		return Ack{}, fault.Errorf(fault.Permanent, "dead letter %d does not say where it came from", seq)
	}
	m := Msg{Subject: d.Subject, ID: requeueID(d), Data: d.Data, Header: requeueHeader(d), ExpectStream: d.Stream}
	stream, err := l.stream(ctx, d.Stream)
	if err != nil {
		return Ack{}, err
	}
	if stream.CachedInfo().Config.MaxMsgsPerSubject == 1 {
		if err := refresh(ctx, stream, &m); err != nil {
			return Ack{}, err
		}
	}
	ack, err := l.conn.Publish(ctx, m)
	if err != nil && !errors.Is(err, ErrWrongSequence) {
		return Ack{}, err
	}
	if err := l.Delete(ctx, seq); err != nil && fault.KindOf(err) != fault.NotFound {
		return ack, fault.Errorf(fault.KindOf(err), "requeued as %d, but: %w", ack.Seq, err)
	}
	return ack, nil
}

// refresh replaces the message by the present record of its subject.
func refresh(ctx context.Context, stream jetstream.Stream, m *Msg) error {
	now, err := stream.GetLastMsgForSubject(ctx, m.Subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fault.Errorf(fault.NotFound, "the record of the dead letter does not exist any more")
	}
	if err != nil {
		return fault.Errorf(fault.Unavailable, "read the record of the dead letter: %w", err)
	}
	m.Data, m.ExpectLastSubjectSeq = now.Data, &now.Sequence
	return nil
}

// requeueID counts the requeues of a message, so that each one passes the dedupe window.
func requeueID(d DeadLetter) string {
	id := d.Header.Get(jetstream.MsgIDHeader)
	if id == "" {
		id = deadLetterID(d.Stream, d.StreamSeq, d.Service)
	}
	n := 1
	if i := strings.LastIndex(id, requeueMarker); i >= 0 {
		if before, err := strconv.Atoi(id[i+len(requeueMarker):]); err == nil {
			id, n = id[:i], before+1
		}
	}
	return id + requeueMarker + strconv.Itoa(n)
}

// requeueHeader drops what was for the server: an old expectation or id must not apply again.
func requeueHeader(d DeadLetter) nats.Header {
	h := nats.Header{HeaderReplay: {d.Service}}
	for key, values := range d.Header {
		if !strings.HasPrefix(key, "Nats-") && key != HeaderReplay {
			h[key] = values
		}
	}
	return h
}
