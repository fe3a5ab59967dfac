// Package ledger keeps what became of every recipient of a campaign on the stream CAMPAIGN_LEDGER: one message
// for each chunk of the audience, changed by compare-and-set.
//
// Only the runner of the campaign writes it. It writes SUBMITTING before it hands a message over, so whoever takes
// over knows whose message may be on its way, and hands those over again under the same key.
package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// States by their short names.
const (
	Pending    = senderv1.RecipientState_RECIPIENT_STATE_PENDING
	Submitting = senderv1.RecipientState_RECIPIENT_STATE_SUBMITTING
	Queued     = senderv1.RecipientState_RECIPIENT_STATE_QUEUED
	Accepted   = senderv1.RecipientState_RECIPIENT_STATE_ACCEPTED
	Sent       = senderv1.RecipientState_RECIPIENT_STATE_SENT
	Failed     = senderv1.RecipientState_RECIPIENT_STATE_FAILED
	Refused    = senderv1.RecipientState_RECIPIENT_STATE_REFUSED
	Ambiguous  = senderv1.RecipientState_RECIPIENT_STATE_AMBIGUOUS
	Skipped    = senderv1.RecipientState_RECIPIENT_STATE_SKIPPED
)

// ErrStale is returned by Save when another runner has written the chunk since it was loaded.
var ErrStale = fault.New(fault.Conflict, "another replica has written the ledger")

// Final tells whether a recipient in this state has its result. An accepted one may still turn out failed.
func Final(s senderv1.RecipientState) bool {
	switch s {
	case Sent, Failed, Refused, Ambiguous, Skipped:
		return true
	default:
		return false
	}
}

// Open tells whether a recipient in this state still has to be handed over, or WeChat to be asked.
func Open(s senderv1.RecipientState) bool { return s == Pending || s == Submitting || s == Queued }

// Replayable tells whether a recipient in this state certainly did not get the message.
func Replayable(s senderv1.RecipientState) bool { return s == Failed || s == Refused }

// Chunk is a part of the ledger as of a revision. It belongs to one goroutine.
type Chunk struct {
	Number uint32
	// Epoch of the runner that wrote it; zero before it was written.
	Epoch    uint64
	revision uint64
	entries  []*senderv1.LedgerEntry
	reasons  []string
}

// Len returns the number of recipients.
func (c *Chunk) Len() int { return len(c.entries) }

// Revision returns the sequence of the chunk in the stream; zero before it was written.
func (c *Chunk) Revision() uint64 { return c.revision }

// Entry returns what became of a recipient. It must not be changed.
func (c *Chunk) Entry(i int) *senderv1.LedgerEntry { return c.entries[i] }

// Reason returns why, in a few words.
func (c *Chunk) Reason(i int) string {
	if at := c.entries[i].GetReason(); at > 0 && int(at) <= len(c.reasons) {
		return c.reasons[at-1]
	}
	return ""
}

// Set stores what became of a recipient. reason replaces that of the entry.
func (c *Chunk) Set(i int, entry *senderv1.LedgerEntry, reason string) {
	entry.Reason = 0
	if reason != "" {
		at := slices.Index(c.reasons, reason)
		if at < 0 {
			at, c.reasons = len(c.reasons), append(c.reasons, reason)
		}
		entry.Reason = uint32(at + 1)
	}
	c.entries[i] = entry
}

// New returns a chunk that was never written: everybody is pending.
func New(number uint32, size int) *Chunk {
	c := &Chunk{Number: number, entries: make([]*senderv1.LedgerEntry, size)}
	for i := range c.entries {
		c.entries[i] = &senderv1.LedgerEntry{State: Pending}
	}
	return c
}

// Store is the ledger of all campaigns. It is safe for concurrent use.
type Store struct {
	conn   *bus.Conn
	stream jetstream.Stream
}

// NewStore returns a store on the stream CAMPAIGN_LEDGER.
func NewStore(conn *bus.Conn, stream jetstream.Stream) *Store { return &Store{conn, stream} }

// Load returns a chunk of size recipients; one that was never written has everybody pending.
func (s *Store) Load(ctx context.Context, account, campaign string, number uint32, size int) (*Chunk, error) {
	subject, err := topology.SubjectLedger(account, campaign, number)
	if err != nil {
		return nil, err
	}
	msg, err := s.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return New(number, size), nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("read ledger: %w", err))
	}
	return Decode(msg.Data, msg.Sequence, number, size)
}

// Decode reads a chunk of size recipients as it was stored at a revision.
func Decode(data []byte, revision uint64, number uint32, size int) (*Chunk, error) {
	stored := &senderv1.LedgerChunk{}
	if err := proto.Unmarshal(data, stored); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode ledger: %w", err)
	}
	if len(stored.GetEntries()) != size {
		return nil, fault.Errorf(fault.Permanent, "ledger: chunk %d has %d entries, not %d", number, len(stored.GetEntries()), size)
	}
	return &Chunk{
		Number: number, Epoch: stored.GetEpoch(), revision: revision, entries: stored.GetEntries(), reasons: stored.GetReasons(),
	}, nil
}

// Save writes a chunk under the epoch of its runner. It fails with ErrStale when somebody has written it
// since it was loaded.
func (s *Store) Save(ctx context.Context, account, campaign string, c *Chunk, epoch uint64) error {
	subject, err := topology.SubjectLedger(account, campaign, c.Number)
	if err != nil {
		return err
	}
	data, err := c.Encode(epoch)
	if err != nil {
		return err
	}
	revision, err := s.write(ctx, subject, data, c.revision)
	if err != nil {
		return err
	}
	c.Saved(revision, epoch)
	return nil
}

// Encode returns the chunk as it is stored by the runner of epoch.
func (c *Chunk) Encode(epoch uint64) ([]byte, error) {
	data, err := proto.Marshal(&senderv1.LedgerChunk{Epoch: epoch, Entries: c.entries, Reasons: c.reasons})
	if err != nil {
		return nil, fmt.Errorf("encode ledger: %w", err)
	}
	return data, nil
}

// Saved says that the chunk is stored as revision.
func (c *Chunk) Saved(revision, epoch uint64) { c.revision, c.Epoch = revision, epoch }

// write publishes by compare-and-set. When an answer is lost the write may have been stored: then it is found again
// by its content.
func (s *Store) write(ctx context.Context, subject string, data []byte, last uint64) (uint64, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ack, err := s.conn.Publish(ctx, bus.Msg{Subject: subject, Data: data, ExpectLastSubjectSeq: &last, ExpectStream: topology.StreamCampaignLedger})
		switch {
		case err == nil:
			return ack.Seq, nil
		case errors.Is(err, bus.ErrWrongSequence):
			msg, getErr := s.stream.GetLastMsgForSubject(ctx, subject)
			switch {
			case getErr == nil && bytes.Equal(msg.Data, data):
				return msg.Sequence, nil
			case getErr == nil || errors.Is(getErr, jetstream.ErrMsgNotFound):
				return 0, ErrStale
			}
		case fault.Dispose(err) != fault.Retry || errors.Is(err, bus.ErrStreamFull):
			return 0, fmt.Errorf("write ledger: %w", err)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("write ledger: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(pause):
		}
	}
}

// SaveReplay stores who is replayed under a name that was never used.
func (s *Store) SaveReplay(ctx context.Context, account, campaign, name string, selection *senderv1.ReplaySelection) error {
	subject, err := topology.SubjectReplay(account, campaign, name)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(selection)
	if err != nil {
		return fmt.Errorf("encode replay: %w", err)
	}
	_, err = s.write(ctx, subject, data, 0)
	return err
}

// LoadReplay returns who is replayed.
func (s *Store) LoadReplay(ctx context.Context, account, campaign, name string) (*senderv1.ReplaySelection, error) {
	subject, err := topology.SubjectReplay(account, campaign, name)
	if err != nil {
		return nil, err
	}
	msg, err := s.stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("read replay: %w", err))
	}
	out := &senderv1.ReplaySelection{}
	if err := proto.Unmarshal(msg.Data, out); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode replay: %w", err)
	}
	return out, nil
}
