// Package audience freezes the recipients of a campaign on the stream CAMPAIGN_AUDIENCE and reads them back.
//
// An audience is written in chunks of 500 recipients under a revision of its own, with a hash over all of
// it, and becomes that of the campaign when its record names the revision. Nothing changes a chunk afterwards.
// Its order is not that of the list: every beginning of it is a sample (see shuffle).
package audience

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// chunkSize is how many recipients a chunk of a new audience has.
	chunkSize = 500
	// maxValues bounds the values of a recipient together, in bytes, so that a chunk fits one message.
	maxValues = 1000
	spillAt   = 4 << 20
)

// ErrTooMany is returned for more recipients than are allowed.
var ErrTooMany = fault.New(fault.Exhausted, "audience: too many recipients")

// errNotFrozen is returned when nothing in the file can be used, or strictness forbids the rest; the report says why.
var errNotFrozen = errors.New("not frozen")

// Store is safe for concurrent use.
type Store struct {
	conn   *bus.Conn
	stream jetstream.Stream
	most   int
	now    func() time.Time
	// spillAt is how many bytes of recipients are held before they are put aside on the stream.
	spillAt int
}

// New returns a store on the stream CAMPAIGN_AUDIENCE. most bounds the recipients of one audience.
func New(conn *bus.Conn, stream jetstream.Stream, most int, now func() time.Time) *Store {
	return &Store{conn: conn, stream: stream, most: most, now: now, spillAt: spillAt}
}

// Campaign names the campaign whose audience is frozen, and the variables that its message needs.
type Campaign struct {
	Account, ID string
	Variables   []string
	// Strict freezes nothing when any line cannot be used.
	Strict bool
}

// FreezeCSV freezes the recipients of a CSV file. The audience is nil when it was not frozen: the report says why.
func (s *Store) FreezeCSV(ctx context.Context, c Campaign, in io.Reader) (*senderv1.CampaignAudience, *Report, error) {
	report := newReport()
	t, err := newTable(in, c.Variables, report)
	if errors.Is(err, errHeader) {
		return nil, report, nil
	}
	if err != nil {
		return nil, report, err
	}
	return s.freeze(ctx, c, "csv", report, t.row)
}

// FreezeList freezes a list of openids, for a message without variables.
func (s *Store) FreezeList(ctx context.Context, c Campaign, source string, openids func() ([]string, error)) (*senderv1.CampaignAudience, *Report, error) {
	report := newReport()
	if len(c.Variables) > 0 {
		for _, name := range c.Variables {
			report.add(1, MissingVariable, "", fmt.Sprintf("no value for {{%s}}: upload a CSV file", name))
		}
		return nil, report, nil
	}
	var page []string
	line := uint32(0)
	next := func() (row, error) {
		for len(page) == 0 {
			var err error
			if page, err = openids(); err != nil {
				return row{}, err
			}
		}
		line++
		r := row{line: line, openid: page[0]}
		page = page[1:]
		return r, nil
	}
	return s.freeze(ctx, c, source, report, next)
}

// freeze writes what next returns until io.EOF, shuffled. What was written is taken back when it does not become an audience.
func (s *Store) freeze(ctx context.Context, c Campaign, source string, report *Report, next func() (row, error)) (*senderv1.CampaignAudience, *Report, error) {
	f := &freezer{writer: newWriter(s, c), shuffle: newShuffle(s, c), hash: sha256.New(), report: report}
	err := f.all(ctx, next)
	last := context.WithoutCancel(ctx)
	if err = errors.Join(err, f.shuffle.drop(last)); err == nil {
		return &senderv1.CampaignAudience{
			Revision: f.revision, Source: source, Recipients: report.accepted, Chunks: f.chunks, Sha256: f.hash.Sum(nil),
			Variables: c.Variables, FrozenUnixMs: s.now().UnixMilli(), Dropped: report.dropped(), ChunkSize: chunkSize, Drops: report.drops(),
		}, report, nil
	}
	err = errors.Join(err, f.drop(last))
	if errors.Is(err, errNotFrozen) {
		return nil, report, nil
	}
	return nil, report, err
}

// freezer makes one audience of the rows that it reads.
type freezer struct {
	*writer
	shuffle *shuffle
	hash    hash.Hash
	report  *Report
	chunk   []*senderv1.AudienceRecipient
	last    *senderv1.AudienceRecipient
}

func (f *freezer) all(ctx context.Context, next func() (row, error)) error {
	if err := f.gather(ctx, next); err != nil {
		return err
	}
	if f.campaign.Strict && int(f.report.lines) > f.shuffle.count {
		return errNotFrozen
	}
	err := f.shuffle.each(ctx, func(r *senderv1.AudienceRecipient) error { return f.accept(ctx, r) })
	if err != nil {
		return err
	}
	if f.report.accepted == 0 || (f.campaign.Strict && f.report.dropped() > 0) {
		return errNotFrozen
	}
	return f.flush(ctx)
}

// gather reads all rows. Who is there twice shows only when they are in order, so for as long a list may be longer.
func (f *freezer) gather(ctx context.Context, next func() (row, error)) error {
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.report.lines++
		if !f.check(r) {
			continue
		}
		if f.shuffle.count >= 2*f.store.most {
			return ErrTooMany
		}
		if err := f.shuffle.add(ctx, r); err != nil {
			return err
		}
	}
}

// check reports what is wrong with a recipient.
func (f *freezer) check(r row) bool {
	size := 0
	for i, v := range r.values {
		size += len(v)
		if v == "" && r.kind == "" {
			r.kind, r.text = MissingVariable, fmt.Sprintf("no value for {{%s}}", f.campaign.Variables[i])
		}
	}
	switch {
	case r.kind != "":
	case !plain(r.openid):
		r.kind, r.text = BadOpenID, "an openid has 1 to 64 letters, digits, - and _"
	case size > maxValues:
		r.kind, r.text = TooLong, fmt.Sprintf("the values have %d bytes, at most %d are allowed", size, maxValues)
	default:
		return true
	}
	f.report.add(r.line, r.kind, r.openid, r.text)
	return false
}

// accept takes the next recipient of the order, if it is not the last one once more.
func (f *freezer) accept(ctx context.Context, r *senderv1.AudienceRecipient) error {
	if f.last != nil && f.last.GetOpenid() == r.GetOpenid() {
		f.report.add(r.GetLine(), Duplicate, r.GetOpenid(), fmt.Sprintf("the same openid as in line %d", f.last.GetLine()))
		return nil
	}
	if int(f.report.accepted) >= f.store.most {
		return ErrTooMany
	}
	f.report.accepted++
	f.last = r
	f.chunk = append(f.chunk, r)
	for _, part := range append([]string{r.GetOpenid()}, r.GetValues()...) {
		writePart(f.hash, part)
	}
	if len(f.chunk) < chunkSize {
		return nil
	}
	return f.flush(ctx)
}

func (f *freezer) flush(ctx context.Context) error {
	if len(f.chunk) == 0 {
		return nil
	}
	err := f.write(ctx, f.chunk)
	f.chunk = f.chunk[:0]
	return err
}

// plain tells whether an openid looks like WeChat's: then it is its own token in subjects.
func plain(openid string) bool { return openid != "" && topology.OpenIDToken(openid) == openid }

// appendPart appends a part with its length, so that no two lists of parts look the same.
func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

func writePart(h hash.Hash, part string) {
	_, _ = h.Write(appendPart(nil, part)) // a hash never fails
}

func newRevision() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// writer writes chunks under a revision of its own.
type writer struct {
	store    *Store
	campaign Campaign
	revision string
	chunks   uint32
}

func newWriter(s *Store, c Campaign) *writer {
	return &writer{store: s, campaign: c, revision: newRevision()}
}

func (w *writer) write(ctx context.Context, recipients []*senderv1.AudienceRecipient) error {
	subject, err := topology.SubjectAudience(w.campaign.Account, w.campaign.ID, w.revision, w.chunks)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(&senderv1.AudienceChunk{Recipients: recipients})
	if err != nil {
		return fmt.Errorf("encode audience: %w", err)
	}
	w.chunks++ // also when the answer is lost: then the chunk may be there
	if err := w.publish(ctx, subject, data); err != nil {
		return fmt.Errorf("store audience: %w", err)
	}
	return nil
}

// drop takes everything back that was written.
func (w *writer) drop(ctx context.Context) error {
	if w.chunks == 0 {
		return nil
	}
	return w.store.Drop(ctx, w.campaign.Account, w.campaign.ID, w.revision)
}

// publish repeats while the answer is lost: the subject must be empty, so nothing is stored twice, and the revision
// is ours alone, so an occupied subject is our own earlier try.
func (w *writer) publish(ctx context.Context, subject string, data []byte) error {
	empty := uint64(0)
	pause := 50 * time.Millisecond
	for {
		_, err := w.store.conn.Publish(ctx, bus.Msg{Subject: subject, Data: data, ExpectLastSubjectSeq: &empty, ExpectStream: topology.StreamAudience})
		if err == nil || errors.Is(err, bus.ErrWrongSequence) {
			return nil
		}
		if fault.Dispose(err) != fault.Retry || errors.Is(err, bus.ErrStreamFull) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// Drop takes an audience back that is nobody's any more.
func (s *Store) Drop(ctx context.Context, account, campaign, revision string) error {
	filter, err := topology.FilterAudience(account, campaign, revision)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(filter)); err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("drop audience: %w", err))
	}
	return nil
}

// Chunk returns one chunk of an audience. A chunk that is not there yet is on a server that is behind: Unavailable.
func (s *Store) Chunk(ctx context.Context, account, campaign, revision string, chunk uint32) ([]*senderv1.AudienceRecipient, error) {
	subject, err := topology.SubjectAudience(account, campaign, revision, chunk)
	if err != nil {
		return nil, err
	}
	msg, err := s.stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("read audience: %w", err))
	}
	out := &senderv1.AudienceChunk{}
	if err := proto.Unmarshal(msg.Data, out); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode audience: %w", err)
	}
	return out.GetRecipients(), nil
}

// SizeOf returns how many recipients a chunk of an audience has.
func SizeOf(a *senderv1.CampaignAudience, chunk uint32) int {
	return int(min(a.GetChunkSize(), a.GetRecipients()-min(a.GetRecipients(), Number(a, chunk, 0))))
}

// Number returns the number of a recipient in the audience, from 0.
func Number(a *senderv1.CampaignAudience, chunk uint32, i int) uint32 {
	return chunk*a.GetChunkSize() + uint32(i)
}

// Place is the inverse of Number.
func Place(a *senderv1.CampaignAudience, number uint32) (chunk uint32, i int) {
	return number / a.GetChunkSize(), int(number % a.GetChunkSize())
}

// Verify reads an audience and compares it with its hash.
func (s *Store) Verify(ctx context.Context, account, campaign string, a *senderv1.CampaignAudience) error {
	h := sha256.New()
	for chunk := range a.GetChunks() {
		recipients, err := s.Chunk(ctx, account, campaign, a.GetRevision(), chunk)
		if err != nil {
			return err
		}
		if len(recipients) != SizeOf(a, chunk) {
			return fault.Errorf(fault.Permanent, "audience: chunk %d has %d recipients, not %d", chunk, len(recipients), SizeOf(a, chunk))
		}
		for _, r := range recipients {
			writePart(h, r.GetOpenid())
			for _, v := range r.GetValues() {
				writePart(h, v)
			}
		}
	}
	if !slices.Equal(h.Sum(nil), a.GetSha256()) {
		return fault.New(fault.Permanent, "audience: it is not what was frozen")
	}
	return nil
}
