package audience

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	// bucketBits makes 64 buckets: a bucket of a million recipients is a few megabytes.
	bucketBits = 6
	// perRecipient is about what a recipient costs beside its text.
	perRecipient = 128
)

// shuffle brings recipients into an order that only the ids of campaign and recipient decide: the hash of both. Every
// beginning of the audience is a sample of it, and the same list gives the same order again. Memory is bounded:
// recipients are gathered in buckets by the first bits of their hash, and a large audience is put aside bucket by bucket.
type shuffle struct {
	w      *writer // of what is put aside; its revision is nobody's audience
	salt   []byte
	count  int
	held   int // bytes
	bucket [1 << bucketBits]struct {
		recipients []*senderv1.AudienceRecipient
		aside      []uint32 // chunks on the stream
	}
}

func newShuffle(s *Store, c Campaign) *shuffle {
	return &shuffle{w: newWriter(s, c), salt: appendPart(appendPart(nil, c.Account), c.ID)}
}

// rank is the place of a recipient in the order.
func (s *shuffle) rank(openid string) uint64 {
	sum := sha256.Sum256(appendPart(slices.Clip(s.salt), openid))
	return binary.BigEndian.Uint64(sum[:8])
}

func (s *shuffle) add(ctx context.Context, r row) error {
	b := &s.bucket[s.rank(r.openid)>>(64-bucketBits)]
	b.recipients = append(b.recipients, &senderv1.AudienceRecipient{Openid: r.openid, Values: r.values, Line: r.line})
	s.count++
	s.held += perRecipient + len(r.openid)
	for _, v := range r.values {
		s.held += len(v)
	}
	if s.held < s.w.store.spillAt {
		return nil
	}
	return s.spill(ctx)
}

// spill puts aside what is held.
func (s *shuffle) spill(ctx context.Context) error {
	for i := range s.bucket {
		b := &s.bucket[i]
		for part := range slices.Chunk(b.recipients, chunkSize) {
			b.aside = append(b.aside, s.w.chunks)
			if err := s.w.write(ctx, part); err != nil {
				return err
			}
		}
		b.recipients = nil
	}
	s.held = 0
	return nil
}

// each calls do for every recipient in the order. Somebody who was added more than once comes once for each time, the
// first line first.
func (s *shuffle) each(ctx context.Context, do func(*senderv1.AudienceRecipient) error) error {
	for i := range s.bucket {
		recipients, err := s.take(ctx, i)
		if err != nil {
			return err
		}
		for _, r := range s.sorted(recipients) {
			if err := do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// take returns the recipients of a bucket and lets go of them.
func (s *shuffle) take(ctx context.Context, i int) ([]*senderv1.AudienceRecipient, error) {
	b := &s.bucket[i]
	all := b.recipients
	b.recipients = nil
	for _, chunk := range b.aside {
		part, err := s.w.store.Chunk(ctx, s.w.campaign.Account, s.w.campaign.ID, s.w.revision, chunk)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

func (s *shuffle) sorted(recipients []*senderv1.AudienceRecipient) []*senderv1.AudienceRecipient {
	ranks := make(map[string]uint64, len(recipients))
	for _, r := range recipients {
		ranks[r.GetOpenid()] = s.rank(r.GetOpenid())
	}
	slices.SortFunc(recipients, func(a, b *senderv1.AudienceRecipient) int {
		return cmp.Or(
			cmp.Compare(ranks[a.GetOpenid()], ranks[b.GetOpenid()]),
			cmp.Compare(a.GetOpenid(), b.GetOpenid()),
			cmp.Compare(a.GetLine(), b.GetLine()),
		)
	})
	return recipients
}

// drop lets go of what was put aside.
func (s *shuffle) drop(ctx context.Context) error { return s.w.drop(ctx) }
