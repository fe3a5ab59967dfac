// Package evidence remembers what an instance saw of each account, for the doctor: how many pushes came,
// why others were refused, and from where. It keeps counts, times and addresses in bounded memory;
// nothing of a body, and no fan.
package evidence

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// maxOutside bounds the addresses outside of WeChat's list that are told apart, for each account.
	maxOutside = 16
	// maxExplained bounds how many refusals of an account are explained in a second.
	maxExplained = 20
)

// Book is safe for concurrent use.
type Book struct {
	dir      *account.Directory
	instance string
	started  time.Time
	now      func() time.Time
	stop     func()

	mu    sync.Mutex // guards pages
	pages map[string]*page
}

// page is what is known of one account.
type page struct {
	mu        sync.Mutex // guards everything below
	taken     uint64
	lastTaken time.Time
	verified  uint64
	previous  uint64
	lastPrev  time.Time
	refused   map[gatewayv1.Mismatch]*gatewayv1.RefusedRequests
	outside   map[netip.Addr]*gatewayv1.OutsideAddress
	second    int64 // in which explained was counted
	explained int
}

// New returns a book for the accounts of a directory. Close ends it.
func New(dir *account.Directory, instance string, now func() time.Time) *Book {
	b := &Book{dir: dir, instance: instance, started: now(), now: now, pages: map[string]*page{}}
	b.stop = dir.Watch(func(c account.Change) {
		if c.After == nil {
			b.drop(c.Name)
		}
	})
	return b
}

// Close ends following the directory.
func (b *Book) Close() { b.stop() }

func (b *Book) drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pages, name)
}

func (b *Book) page(name string) *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.pages[name]
	if !ok {
		p = &page{refused: map[gatewayv1.Mismatch]*gatewayv1.RefusedRequests{}, outside: map[netip.Addr]*gatewayv1.OutsideAddress{}}
		b.pages[name] = p
	}
	return p
}

// Taken counts a genuine push. previous tells that it needed a previous credential.
func (b *Book) Taken(name string, previous bool) {
	p, now := b.page(name), b.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	p.lastTaken = now
	if previous {
		p.previous++
		p.lastPrev = now
	}
}

// Verified counts a verification of the URL.
func (b *Book) Verified(name string) {
	p := b.page(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verified++
}

// Outside counts a genuine push from an address that WeChat's list does not have.
func (b *Book) Outside(name string, from netip.Addr) {
	p, now := b.page(name), b.now().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.outside[from]
	if !ok {
		p.makeRoom()
		o = &gatewayv1.OutsideAddress{Address: from.String()}
		p.outside[from] = o
	}
	o.Count++
	o.LastUnixMs = now
}

// makeRoom forgets the address that was quiet for the longest time.
func (p *page) makeRoom() {
	if len(p.outside) < maxOutside {
		return
	}
	var oldest netip.Addr
	for a, o := range p.outside {
		if !oldest.IsValid() || o.LastUnixMs < p.outside[oldest].LastUnixMs {
			oldest = a
		}
	}
	delete(p.outside, oldest)
}

// Refusal is a request that was not taken.
type Refusal struct {
	Fields     []string // names of the query parameters
	From       netip.Addr
	FromWeChat bool // From is in WeChat's list
}

// Refused counts a refused request. explain tells what it shows; it is not asked when too many come, as they
// do from a stranger.
func (b *Book) Refused(name string, r Refusal, explain func() gatewayv1.Mismatch) {
	p, now := b.page(name), b.now()
	mismatch := gatewayv1.Mismatch_MISMATCH_UNSPECIFIED
	if p.mayExplain(now) {
		mismatch = explain()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.refused[mismatch]
	if !ok {
		one = &gatewayv1.RefusedRequests{Mismatch: mismatch}
		p.refused[mismatch] = one
	}
	one.Count++
	one.LastUnixMs, one.QueryFields, one.FromWechat = now.UnixMilli(), r.Fields, r.FromWeChat
	one.Address = ""
	if r.From.IsValid() {
		one.Address = r.From.String()
	}
}

func (p *page) mayExplain(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if second := now.Unix(); second != p.second {
		p.second, p.explained = second, 0
	}
	p.explained++
	return p.explained <= maxExplained
}

// Respond answers a request of the doctor.
func (b *Book) Respond(_ context.Context, m *nats.Msg) ([]byte, error) {
	req := &gatewayv1.CollectEvidenceRequest{}
	if err := proto.Unmarshal(m.Data, req); err != nil {
		return nil, fault.Errorf(fault.Invalid, "decode request for evidence: %w", err)
	}
	return proto.Marshal(b.Collect(req.GetAccount()))
}

// Collect returns what is known of an account.
func (b *Book) Collect(name string) *gatewayv1.CollectEvidenceResponse {
	out := &gatewayv1.CollectEvidenceResponse{Instance: b.instance, StartedUnixMs: b.started.UnixMilli()}
	b.mu.Lock()
	p, ok := b.pages[name]
	b.mu.Unlock()
	if !ok {
		return out
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Taken, out.LastTakenUnixMs = p.taken, unixMilli(p.lastTaken)
	out.Verified, out.Previous, out.LastPreviousUnixMs = p.verified, p.previous, unixMilli(p.lastPrev)
	for _, r := range p.refused {
		out.Refused = append(out.Refused, proto.CloneOf(r))
	}
	for _, o := range p.outside {
		out.Outside = append(out.Outside, proto.CloneOf(o))
	}
	slices.SortFunc(out.Refused, func(x, y *gatewayv1.RefusedRequests) int { return int(y.LastUnixMs - x.LastUnixMs) })
	slices.SortFunc(out.Outside, func(x, y *gatewayv1.OutsideAddress) int { return int(y.LastUnixMs - x.LastUnixMs) })
	return out
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
