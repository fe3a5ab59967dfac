package runner

import (
	"context"
	"time"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/failure"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// keepPages is how many chunks stay in memory beside those that are being worked on.
const keepPages = 16

// book is the ledger as the runner has it in mind: sums over all recipients, a few numbers for each chunk, and
// the chunks that are being worked on.
type book struct {
	ledger   Ledger
	audience *senderv1.CampaignAudience
	chunks   []chunkSum
	pages    map[uint32]*page

	states    [ledger.Accepted + 1]uint32
	failures  map[failure.Key]uint32
	confirmed uint32
	judged    judgement
}

// chunkSum counts the recipients of a chunk that are not done, as of a revision of the chunk.
type chunkSum struct {
	pending, submitting, queued, accepted uint16
	revision                              uint64
}

// page is a chunk in memory.
type page struct {
	*ledger.Chunk
	dirty bool
	// recipients are read when they are needed first.
	recipients []*senderv1.AudienceRecipient
	used       time.Time
}

// judgement counts the results of recipients in a range.
type judgement struct {
	from, to          uint32
	results, failures uint32
}

func (j *judgement) add(number uint32, state senderv1.RecipientState, n int32) {
	if number < j.from || number >= j.to {
		return
	}
	switch state {
	case ledger.Failed, ledger.Ambiguous:
		j.failures = uint32(int32(j.failures) + n)
		fallthrough
	case ledger.Sent, ledger.Accepted:
		j.results = uint32(int32(j.results) + n)
	default:
	}
}

func newBook(l Ledger, a *senderv1.CampaignAudience, from, to uint32) *book {
	return &book{
		ledger: l, audience: a, chunks: make([]chunkSum, a.GetChunks()), pages: map[uint32]*page{},
		failures: map[failure.Key]uint32{}, judged: judgement{from: from, to: to},
	}
}

// read goes through the whole ledger, as whoever takes over must. Only chunks with work on its way stay in memory.
func (b *book) read(ctx context.Context, now time.Time, each func(number uint32, e *senderv1.LedgerEntry)) error {
	for n := range uint32(len(b.chunks)) {
		c, err := b.ledger.Load(ctx, n, audience.SizeOf(b.audience, n))
		if err != nil {
			return err
		}
		for i := range c.Len() {
			b.count(b.number(n, i), c.Entry(i), 1)
			each(b.number(n, i), c.Entry(i))
		}
		b.chunks[n].revision = c.Revision()
		if b.chunks[n].queued > 0 || b.chunks[n].submitting > 0 {
			b.pages[n] = &page{Chunk: c, used: now}
		}
	}
	return nil
}

// page returns a chunk, from memory when it is there.
func (b *book) page(ctx context.Context, n uint32, now time.Time) (*page, error) {
	if p, ok := b.pages[n]; ok {
		p.used = now
		return p, nil
	}
	c, err := b.ledger.Load(ctx, n, audience.SizeOf(b.audience, n))
	if err != nil {
		return nil, err
	}
	if c.Revision() != b.chunks[n].revision {
		return nil, ledger.ErrStale // a predecessor wrote after we had read: the sums are wrong
	}
	p := &page{Chunk: c, used: now}
	b.pages[n] = p
	return p, nil
}

// set changes an entry of a page and every sum that it is part of.
func (b *book) set(p *page, i int, next *senderv1.LedgerEntry, reason string) {
	number := b.number(p.Number, i)
	b.count(number, p.Entry(i), -1)
	p.Set(i, next, reason)
	b.count(number, next, 1)
	p.dirty = true
}

func (b *book) count(number uint32, e *senderv1.LedgerEntry, n int32) {
	add := func(sum *uint32) { *sum = uint32(int32(*sum) + n) }
	add(&b.states[e.GetState()])
	b.judged.add(number, e.GetState(), n)
	if e.GetConfirmed() {
		add(&b.confirmed)
	}
	chunk, _ := audience.Place(b.audience, number)
	sum := &b.chunks[chunk]
	part := func(field *uint16) { *field = uint16(int32(*field) + n) }
	switch e.GetState() {
	case ledger.Pending:
		part(&sum.pending)
	case ledger.Submitting:
		part(&sum.submitting)
	case ledger.Queued:
		part(&sum.queued)
	case ledger.Accepted:
		part(&sum.accepted)
	case ledger.Failed, ledger.Refused, ledger.Ambiguous:
		key := failure.Key{State: e.GetState(), Errcode: e.GetErrcode()}
		b.failures[key] = uint32(int32(b.failures[key]) + n)
	default:
	}
}

func (b *book) number(chunk uint32, i int) uint32 { return audience.Number(b.audience, chunk, i) }

// judge starts the judgement of another range anew. The range must have no results yet.
func (b *book) judge(from, to uint32) { b.judged = judgement{from: from, to: to} }

// open is how many of the first recipients have no result.
func (b *book) open(limit uint32) uint32 {
	open := b.states[ledger.Pending] + b.states[ledger.Submitting] + b.states[ledger.Queued]
	beyond := b.audience.GetRecipients() - min(limit, b.audience.GetRecipients())
	return open - min(open, beyond) // everybody beyond the limit is pending
}

// next returns the first chunk with somebody to hand over among the first recipients.
func (b *book) next(limit uint32) (uint32, bool) {
	for n := range uint32(len(b.chunks)) {
		if b.number(n, 0) >= limit {
			break
		}
		sum := b.chunks[n]
		if sum.submitting > 0 || sum.pending > b.beyond(n, limit) {
			return n, true
		}
	}
	return 0, false
}

// beyond is how many recipients of a chunk are not among the first ones; all of them are pending.
func (b *book) beyond(n, limit uint32) uint16 {
	end := b.number(n, audience.SizeOf(b.audience, n))
	if end <= limit {
		return 0
	}
	return uint16(end - limit)
}

// flush stores what has changed and lets go of chunks that nothing is on its way for.
func (b *book) flush(ctx context.Context) error {
	for _, p := range b.pages {
		if p.dirty {
			if err := b.save(ctx, p); err != nil {
				return err
			}
		}
	}
	for len(b.pages) > keepPages {
		oldest, found := b.oldest()
		if !found {
			return nil
		}
		delete(b.pages, oldest)
	}
	return nil
}

func (b *book) oldest() (oldest uint32, found bool) {
	for n, p := range b.pages {
		if b.chunks[n].queued > 0 || b.chunks[n].submitting > 0 {
			continue
		}
		if !found || p.used.Before(b.pages[oldest].used) {
			oldest, found = n, true
		}
	}
	return oldest, found
}

func (b *book) save(ctx context.Context, p *page) error {
	if err := b.ledger.Save(ctx, p.Chunk); err != nil {
		return err
	}
	p.dirty = false
	b.chunks[p.Number].revision = p.Revision()
	return nil
}
