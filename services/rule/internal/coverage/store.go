package coverage

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
)

// Kept is how long counts are kept.
const Kept = 30 * 24 * time.Hour

// cursor is how far decisions are counted.
type cursor struct {
	stream   int64 // when the stream was made, Unix milliseconds: sequences of another one mean nothing
	sequence uint64
}

// errLost means that another process counts now.
var errLost = fault.New(fault.Conflict, "another process counts")

// take makes a process the one that counts, for a while, unless another one is.
func take(ctx context.Context, db *sqldb.DB, holder string, now time.Time, lease time.Duration) (cursor, error) {
	n, err := db.Exec(ctx, "UPDATE coverage_cursor SET holder = ?, until_ms = ? WHERE id = 1 AND (holder = ? OR until_ms < ?)",
		holder, now.Add(lease).UnixMilli(), holder, now.UnixMilli())
	if err != nil {
		return cursor{}, err
	}
	if n == 0 {
		return cursor{}, errLost
	}
	var c cursor
	err = db.Row(ctx, "SELECT stream_ms, sequence FROM coverage_cursor WHERE id = 1", nil, &c.stream, &c.sequence)
	return c, err
}

// release lets another process count at once.
func release(ctx context.Context, db *sqldb.DB, holder string) error {
	_, err := db.Exec(ctx, "UPDATE coverage_cursor SET holder = '', until_ms = 0 WHERE id = 1 AND holder = ?", holder)
	return err
}

// advance is what one write of counts says about the cursor.
type advance struct {
	holder    string
	from, to  cursor
	countedMs int64
	until     time.Time
}

// write adds counts and moves the cursor, both or neither. It fails with errLost when another process moved it.
func write(ctx context.Context, db *sqldb.DB, t *tally, a advance) error {
	return db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE coverage_cursor SET stream_ms = ?, sequence = ?, counted_ms = ?, until_ms = ?
WHERE id = 1 AND holder = ? AND stream_ms = ? AND sequence = ?`,
			a.to.stream, int64(a.to.sequence), a.countedMs, a.until.UnixMilli(), a.holder, a.from.stream, int64(a.from.sequence))
		if err != nil {
			return err
		}
		if n == 0 {
			return errLost
		}
		return t.write(ctx, tx)
	})
}

func (t *tally) write(ctx context.Context, tx *sqldb.Tx) error {
	for k, h := range t.hits {
		// CASE, because the engines name the larger of two values differently.
		_, err := tx.Exec(ctx, `INSERT INTO coverage_hits (hour, account, rule, hits, last_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (hour, account, rule) DO UPDATE SET hits = coverage_hits.hits + excluded.hits,
last_ms = CASE WHEN excluded.last_ms > coverage_hits.last_ms THEN excluded.last_ms ELSE coverage_hits.last_ms END`,
			k.hour, k.account, k.rule, h.n, h.last)
		if err != nil {
			return err
		}
	}
	for k, n := range t.totals {
		_, err := tx.Exec(ctx, `INSERT INTO coverage_totals (hour, account, matched, caught, missed, silent) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (hour, account) DO UPDATE SET matched = coverage_totals.matched + excluded.matched, caught = coverage_totals.caught + excluded.caught,
missed = coverage_totals.missed + excluded.missed, silent = coverage_totals.silent + excluded.silent`,
			k.hour, k.account, n.Matched, n.Caught, n.Missed, n.Silent)
		if err != nil {
			return err
		}
	}
	for k, texts := range t.phrases {
		if err := writePhrases(ctx, tx, k, texts); err != nil {
			return err
		}
	}
	return nil
}

// writePhrases adds texts to the phrases of a day.
func writePhrases(ctx context.Context, tx *sqldb.Tx, k dayKey, texts []text) error {
	known, err := phrases(ctx, tx.Querier, `SELECT account, phrase, sample, seen, too_many, last_ms FROM coverage_phrases
WHERE day = ? AND account = ?`, k.day, k.account)
	if err != nil {
		return err
	}
	s := newSketch(known)
	for _, t := range texts {
		s.add(t.key, t.sample, t.at)
	}
	for key := range s.evicted {
		if _, err := tx.Exec(ctx, "DELETE FROM coverage_phrases WHERE day = ? AND account = ? AND phrase = ?", k.day, k.account, key); err != nil {
			return err
		}
	}
	for key := range s.changed {
		p := s.phrases[key]
		_, err := tx.Exec(ctx, `INSERT INTO coverage_phrases (day, account, phrase, sample, seen, too_many, last_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, account, phrase) DO UPDATE SET seen = excluded.seen, too_many = excluded.too_many, last_ms = excluded.last_ms`,
			k.day, k.account, key, p.Text, p.Count, p.Error, p.Last.UnixMilli())
		if err != nil {
			return err
		}
	}
	return nil
}

func phrases(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]*Phrase, error) {
	var out []*Phrase
	err := q.Each(ctx, query, args, func(row sqldb.Scanner) error {
		var p Phrase
		var last int64
		err := row.Scan(&p.Account, &p.Key, &p.Text, &p.Count, &p.Error, &last)
		p.Last = time.UnixMilli(last).UTC()
		out = append(out, &p)
		return err
	})
	return out, err
}

// prune deletes what is older than Kept.
func prune(ctx context.Context, db *sqldb.DB, now time.Time) error {
	before := now.Add(-Kept).UnixMilli()
	for _, query := range []string{
		"DELETE FROM coverage_hits WHERE hour < ?", "DELETE FROM coverage_totals WHERE hour < ?", "DELETE FROM coverage_phrases WHERE day < ?",
	} {
		if _, err := db.Exec(ctx, query, before); err != nil {
			return err
		}
	}
	return nil
}

// Hits is what one rule did.
type Hits struct {
	Rule string
	Hits int64
	Last time.Time // zero for never within Kept
}

// Report is what the rules did in a window.
type Report struct {
	Totals
	Rules   []Hits    // of the window, most first; those without hits in it too
	Phrases []*Phrase // of the days that the window touches
	Counted time.Time // up to which decisions are counted
}

// Query says what to report.
type Query struct {
	Since   time.Time
	Account string // empty is every account
	Phrases int
}

// Read reports what the rules did.
func Read(ctx context.Context, db *sqldb.DB, q Query) (*Report, error) {
	r := &Report{}
	var counted int64
	if err := db.Row(ctx, "SELECT counted_ms FROM coverage_cursor WHERE id = 1", nil, &counted); err != nil {
		return nil, err
	}
	if counted > 0 {
		r.Counted = time.UnixMilli(counted).UTC()
	}
	var err error
	if r.Totals, err = ReadTotals(ctx, db, q); err != nil {
		return nil, err
	}
	if r.Rules, err = ReadHits(ctx, db, q, nil); err != nil {
		return nil, err
	}
	r.Phrases, err = phrases(ctx, db.Querier, `SELECT account, phrase, MAX(sample), SUM(seen), SUM(too_many), MAX(last_ms) FROM coverage_phrases
WHERE day >= ? AND (? = '' OR account = ?) GROUP BY account, phrase ORDER BY 4 DESC, 6 DESC, 2 LIMIT ?`, dayOf(q.Since), q.Account, q.Account, q.Phrases)
	return r, err
}

// ReadTotals sums the window up.
func ReadTotals(ctx context.Context, db *sqldb.DB, q Query) (Totals, error) {
	var t Totals
	err := db.Row(ctx, `SELECT COALESCE(SUM(matched), 0), COALESCE(SUM(caught), 0), COALESCE(SUM(missed), 0), COALESCE(SUM(silent), 0)
FROM coverage_totals WHERE hour >= ? AND (? = '' OR account = ?)`,
		[]any{hourOf(q.Since), q.Account, q.Account}, &t.Matched, &t.Caught, &t.Missed, &t.Silent)
	return t, err
}

// ReadHits returns the hits of rules, most first: of those with the given names, or of all.
func ReadHits(ctx context.Context, db *sqldb.DB, q Query, rules []string) ([]Hits, error) {
	query := `SELECT rule, SUM(CASE WHEN hour >= ? THEN hits ELSE 0 END), MAX(last_ms) FROM coverage_hits WHERE (? = '' OR account = ?)`
	args := []any{hourOf(q.Since), q.Account, q.Account}
	if rules != nil {
		query += " AND rule IN (" + sqldb.In(len(rules)) + ")"
		for _, rule := range rules {
			args = append(args, rule)
		}
	}
	var out []Hits
	err := db.Each(ctx, query+" GROUP BY rule ORDER BY 2 DESC, 1", args, func(row sqldb.Scanner) error {
		var h Hits
		var last int64
		err := row.Scan(&h.Rule, &h.Hits, &last)
		h.Last = time.UnixMilli(last).UTC()
		out = append(out, h)
		return err
	})
	return out, err
}

func hourOf(at time.Time) int64 { return at.UTC().Truncate(time.Hour).UnixMilli() }
