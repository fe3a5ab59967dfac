package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Entry is one line of the audit log. Seq, Previous and Hash are set when it is stored.
type Entry struct {
	Seq           int64
	AtMS          int64
	Actor         string
	Action        string
	Account       string
	Target        string
	Outcome       string
	RequestDigest string
	BeforeHash    string
	AfterHash     string
	Address       string
	TraceID       string
	Previous      string
	Hash          string
	// Attempt is the same for the entry before a change and the one after it.
	Attempt string
}

// Attempted is the outcome of the entry before a change.
const Attempted = "attempted"

const entryColumns = "seq, at_ms, actor, action, account, target, outcome, request_digest, before_hash, after_hash, address, trace_id, previous, hash, attempt"

func (e *Entry) fields() []any {
	return []any{&e.Seq, &e.AtMS, &e.Actor, &e.Action, &e.Account, &e.Target, &e.Outcome, &e.RequestDigest, &e.BeforeHash, &e.AfterHash,
		&e.Address, &e.TraceID, &e.Previous, &e.Hash, &e.Attempt}
}

// sum is the hash of an entry: of every field with its length, the hash of the entry before included, so
// that no two entries have the same bytes.
func (e *Entry) sum() string {
	h := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	number(e.Seq)
	number(e.AtMS)
	texts := []string{e.Actor, e.Action, e.Account, e.Target, e.Outcome, e.RequestDigest, e.BeforeHash, e.AfterHash, e.Address, e.TraceID, e.Previous}
	if e.Attempt != "" { // entries from before attempts were kept have the hash that they had
		texts = append(texts, e.Attempt)
	}
	for _, text := range texts {
		number(int64(len(text)))
		h.Write([]byte(text))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// AppendAudit adds entries to the end of the chain, all or none.
func (s *Store) AppendAudit(ctx context.Context, entries []*Entry) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var seq int64
		var hash string
		if err := tx.Row(ctx, "SELECT seq, hash FROM audit_head WHERE id = 1"+tx.ForUpdate(), nil, &seq, &hash); err != nil {
			return err
		}
		for _, e := range entries {
			seq++
			e.Seq, e.Previous = seq, hash
			e.Hash = e.sum()
			hash = e.Hash
			_, err := tx.Exec(ctx, "INSERT INTO audit ("+entryColumns+") VALUES ("+sqldb.In(15)+")", e.Seq, e.AtMS, e.Actor, e.Action, e.Account, e.Target,
				e.Outcome, e.RequestDigest, e.BeforeHash, e.AfterHash, e.Address, e.TraceID, e.Previous, e.Hash, e.Attempt)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "UPDATE audit_head SET seq = ?, hash = ? WHERE id = 1", seq, hash)
		return err
	})
}

// AuditFilter selects entries; zero values select all. Action matches its beginning.
type AuditFilter struct {
	BeforeSeq    int64
	Actor        string
	Action       string
	Account      string
	FromMS, ToMS int64
	RefusedOnly  bool
	// OpenOnly selects attempts of which no end is known.
	OpenOnly bool
	Limit    int
}

// ended tells that an entry is the attempt of a change whose end is known.
const ended = "outcome = '" + Attempted + "' AND EXISTS (SELECT 1 FROM audit o WHERE o.attempt = audit.attempt AND o.seq > audit.seq)"

// Audit returns entries, newest first. An attempt is one of them only while its end is not known.
func (s *Store) Audit(ctx context.Context, f AuditFilter) ([]*Entry, error) {
	db, err := s.get()
	if err != nil {
		return nil, err
	}
	var where []string
	var args []any
	add := func(set bool, condition string, values ...any) {
		if set {
			where, args = append(where, condition), append(args, values...)
		}
	}
	add(f.BeforeSeq > 0, "seq < ?", f.BeforeSeq)
	add(f.Actor != "", "actor = ?", f.Actor)
	add(f.Action != "", "substr(action, 1, ?) = ?", len(f.Action), f.Action)
	add(f.Account != "", "account = ?", f.Account)
	add(f.FromMS > 0, "at_ms >= ?", f.FromMS)
	add(f.ToMS > 0, "at_ms <= ?", f.ToMS)
	add(f.RefusedOnly, "outcome NOT IN ('ok', '"+Attempted+"')")
	add(f.OpenOnly, "outcome = '"+Attempted+"'")
	add(true, "NOT ("+ended+")")
	query := "SELECT " + entryColumns + " FROM audit"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	var out []*Entry
	err = db.Each(ctx, query+" ORDER BY seq DESC LIMIT ?", append(args, f.Limit), func(row sqldb.Scanner) error {
		e := &Entry{}
		out = append(out, e)
		return row.Scan(e.fields()...)
	})
	return out, err
}

// Chain is what a walk over the audit log found.
type Chain struct {
	First, Last int64
	// Broken is the first entry that does not fit; zero when all do.
	Broken int64
	Head   string
}

// errBroken ends the walk.
var errBroken = errors.New("the chain is broken")

// CheckAudit walks the chain from the oldest kept entry to the newest.
func (s *Store) CheckAudit(ctx context.Context) (Chain, error) {
	var c Chain
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c = Chain{}
		var head int64
		// The lock keeps writers out, so that the end does not move away.
		if err := tx.Row(ctx, "SELECT seq, hash FROM audit_head WHERE id = 1"+tx.ForUpdate(), nil, &head, &c.Head); err != nil {
			return err
		}
		last := ""
		err := tx.Each(ctx, "SELECT "+entryColumns+" FROM audit ORDER BY seq", nil, func(row sqldb.Scanner) error {
			e := &Entry{}
			if err := row.Scan(e.fields()...); err != nil {
				return err
			}
			if c.First == 0 {
				c.First, c.Last, last = e.Seq, e.Seq-1, e.Previous
			}
			if e.Seq != c.Last+1 || e.Previous != last || e.Hash != e.sum() {
				c.Broken = e.Seq
				return errBroken
			}
			c.Last, last = e.Seq, e.Hash
			return nil
		})
		switch {
		case errors.Is(err, errBroken):
			return nil
		case err != nil:
			return err
		case c.Last != head && head > 0, head > 0 && last != c.Head:
			c.Broken = c.Last + 1 // the newest entries are gone
		}
		return nil
	})
	return c, err
}

// PruneAudit removes entries that are older than beforeMS, but never the newest one.
func (s *Store) PruneAudit(ctx context.Context, beforeMS int64) (int64, error) {
	db, err := s.get()
	if err != nil {
		return 0, err
	}
	// Everything before the first entry that is young enough: entries stay a chain whatever their times are.
	n, err := db.Exec(ctx, `DELETE FROM audit WHERE seq < COALESCE((SELECT MIN(seq) FROM audit WHERE at_ms >= ?), (SELECT MAX(seq) FROM audit))`, beforeMS)
	if err != nil {
		return 0, fault.Wrap(fault.KindOf(err), err)
	}
	return n, nil
}
