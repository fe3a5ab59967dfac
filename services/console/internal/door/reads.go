package door

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

const (
	// readAgain is how long the same person reads the same thing without a further entry: a page asks again and again.
	readAgain = 15 * time.Minute
	// maxReads bounds the reads that are remembered; beyond it all are written down anew.
	maxReads = 10_000
)

// reads remembers who has read what a short while ago.
type reads struct {
	now func() time.Time

	mu   sync.Mutex // guards last
	last map[read]time.Time
}

type read struct{ actor, account, what string }

// first tells whether a read is worth an entry, and remembers it.
func (r *reads) first(x read) bool {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, known := r.last[x]; known && now.Sub(at) < readAgain {
		return false
	}
	if len(r.last) >= maxReads {
		clear(r.last)
	}
	r.last[x] = now
	return true
}

// Read writes the entry of a read of a fan, a list of fans or what a fan said, once in a while for each. Nobody waits for it.
func (d *Door) Read(ctx context.Context, e *store.Entry) {
	if d.reads.first(read{e.Actor, e.Account, e.Action + " " + e.Target}) {
		d.o.Audit.Queue(ctx, e)
	}
}

// noteShown writes an entry for each fan whom an answer shows, where those are more than the fan of the request.
func (d *Door) noteShown(ctx context.Context, c *call, answer any) {
	m, ok := answer.(proto.Message)
	if !ok || c.access.Shows == "" || c.caller == nil {
		return
	}
	accounts, openIDs := values(m.ProtoReflect(), c.access.Shows+".account"), values(m.ProtoReflect(), c.access.Shows+".openid")
	for i, openID := range openIDs {
		e := entryOf(c, nil)
		e.Account, e.Target, e.TraceID = accounts[i], fanOf(accounts[i], openID), traceID(ctx)
		d.Read(ctx, e)
	}
}

// entryOf is what the log says of a call.
func entryOf(c *call, request proto.Message) *store.Entry {
	e := &store.Entry{Action: c.method, Outcome: "ok"}
	if c.caller != nil {
		e.Actor, e.Address = c.caller.Actor(), c.caller.Address
	}
	if request == nil {
		return e
	}
	r := request.ProtoReflect()
	if c.access.Account != "" {
		if all := values(r, c.access.Account); len(all) > 0 {
			e.Account = all[0]
		}
	}
	if c.access.Target != "" {
		e.Target = values(r, c.access.Target)[0]
	}
	if c.access.Fan != "" && e.Target == "" {
		e.Target = fanOf(e.Account, values(r, c.access.Fan)[0])
	}
	return e
}

// fanOf names a fan in the log without the openid: by the beginning of the hash that stands in the proof of an erasure too. Empty for none.
func fanOf(account, openID string) string {
	if openID == "" {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s", len(account), account, len(openID), openID))
	return "fan-" + hex.EncodeToString(sum[:8])
}
