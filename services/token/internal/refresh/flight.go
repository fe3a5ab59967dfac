package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/store"
)

const (
	// behind is how long memory may take to show a write of another replica.
	behind = 200 * time.Millisecond
	// budgetBackoff is short although the budget returns much later: the system that took our token
	// away usually leaves another one, which the normal mode finds.
	budgetBackoff = 5 * time.Second
	// outsideDetail is what an operator can do about another system that refreshes.
	outsideDetail = "another system refreshes tokens with this AppSecret: find it, and let it use stable_token or this service"
)

// fly does the job or finds that another replica did. It waits for a lease that somebody holds; when
// nothing happened for as long as a lease lasts, whatever the clocks say, it takes over.
func (r *Refresher) fly(ctx context.Context, it item, j job) (*tokenv1.TokenRecord, error) {
	if it.kind != Token {
		// Before the lease: a token may take as long as a lease lasts.
		if _, err := r.Get(ctx, it.Name, Token); err != nil {
			return nil, err
		}
	}
	dead := store.Record{}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("refresh %s of account %s: %w", it.what(), it.Name, context.Cause(ctx)))
		}
		cur, err := r.Store.Load(ctx, it.key())
		if err != nil {
			return nil, err
		}
		if r.done(j, cur.Rec) {
			return cur.Rec, nil
		}
		if wait := record.Leased(cur.Rec, r.cfg.Instance, r.Now()); wait > 0 && cur.Revision != dead.Revision {
			if !r.Store.Wait(ctx, it.key(), cur.Revision, min(wait, r.cfg.Lease)) {
				dead = cur
			}
			continue
		}
		leased, err := r.Store.Put(ctx, it.key(), record.Lease(cur.Rec, r.cfg.Instance, r.Now(), r.cfg.Lease), cur.Revision)
		if errors.Is(err, store.ErrChanged) {
			r.Store.Wait(ctx, it.key(), cur.Revision, behind)
			continue
		}
		if err != nil {
			return nil, err
		}
		rec, err := r.refresh(ctx, it, j, leased)
		if errors.Is(err, record.ErrLost) || errors.Is(err, store.ErrChanged) {
			r.Log.WarnContext(ctx, "late token refresh dropped", logkey.Account, it.Name, "what", it.what())
			continue
		}
		return rec, err
	}
}

// done is good after the bucket was read. A generation that is not known to the bucket was lost with
// it: then the current token is the answer.
func (r *Refresher) done(j job, rec *tokenv1.TokenRecord) bool {
	if j.bad > rec.GetToken().GetGeneration() {
		j.bad = 0
	}
	return r.good(j, rec)
}

// refresh asks WeChat and stores the answer. cur holds our lease.
func (r *Refresher) refresh(ctx context.Context, it item, j job, cur store.Record) (*tokenv1.TokenRecord, error) {
	base := cur.Rec.GetToken().GetGeneration()
	reported := base > 0 && j.bad == base
	fetched, err := r.fetch(ctx, it, false)
	if err != nil {
		return nil, r.fail(ctx, it, cur, err)
	}
	same := fetched.Value == cur.Rec.GetToken().GetValue()
	if reported && same {
		if cur, err = r.spend(ctx, it, cur); err != nil {
			return nil, err
		}
		if fetched, err = r.fetch(ctx, it, true); err != nil {
			return nil, r.fail(ctx, it, cur, err)
		}
	}
	next, err := record.Refresh(cur.Rec, r.cfg.Instance, base, fetched, r.Now())
	if err != nil {
		return nil, err
	}
	if it.kind == Token && reported && r.outside(cur.Rec, same) {
		next = record.Outside(next, r.evidence(cur.Rec, j, same))
		next = record.Raise(next, record.Trouble{
			Kind: tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_OUTSIDE_REFRESH, Errcode: j.errcode, Detail: outsideDetail,
		}, r.Now())
		r.warn(ctx, it, next)
	}
	return r.save(ctx, it, next, cur)
}

// spend enters a forced refresh into the budget, or tells when the budget allows one.
func (r *Refresher) spend(ctx context.Context, it item, cur store.Record) (store.Record, error) {
	now := r.Now()
	if it.kind != Token || it.TokenAPI == account.TokenAPIToken {
		err := fault.Errorf(fault.Unavailable, "WeChat answered with the very %s that it refuses", it.what())
		return cur, r.fail(ctx, it, cur, &DeniedError{Err: err, Backoff: r.cfg.FailedBackoff})
	}
	if at := record.ForceAt(cur.Rec, r.cfg.Budget, now); at.After(now) {
		wait := at.Sub(now)
		err := fault.Errorf(fault.Exhausted, "WeChat refuses the current token and the budget of forced refreshes is used up until %s",
			at.UTC().Format(time.RFC3339))
		err = fault.Wrap(fault.Exhausted, fault.After(wait, err))
		denied := &DeniedError{Err: err, Backoff: min(wait, budgetBackoff)}
		if record.ForcedLeft(cur.Rec, r.cfg.Budget, now) == 0 {
			denied.Alarm = tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_FORCED_BUDGET
		}
		return cur, r.fail(ctx, it, cur, denied)
	}
	next := record.Lease(record.Force(cur.Rec, now), r.cfg.Instance, now, r.cfg.Lease)
	return r.Store.Put(ctx, it.key(), next, cur.Revision)
}

func (r *Refresher) fetch(ctx context.Context, it item, force bool) (record.Fetched, error) {
	mode := "normal"
	if force {
		mode = "forced"
	}
	answer, err := r.ask(ctx, it, force)
	if err != nil {
		r.Observer.Refreshed(ctx, it.Name, it.kind, mode, fault.KindOf(err).String())
		return record.Fetched{}, err
	}
	r.Observer.Refreshed(ctx, it.Name, it.kind, mode, "ok")
	return record.Fetched{Value: answer.Value, Expires: answer.Expires, Forced: force}, nil
}

// ask makes the call to WeChat; a ticket is asked for again, once, when its token is refused.
func (r *Refresher) ask(ctx context.Context, it item, force bool) (answer Answer, err error) {
	once := func(ctx context.Context, token string) error {
		ctx, cancel := context.WithTimeout(ctx, r.cfg.UpstreamTimeout)
		defer cancel()
		if it.kind == Token {
			answer, err = r.Upstream.Fetch(ctx, it.Account, force)
		} else {
			answer, err = r.Upstream.FetchTicket(ctx, it.Account, it.kind, token)
		}
		return err
	}
	if it.kind == Token {
		return answer, once(ctx, "")
	}
	return answer, r.Call(ctx, it.Name, once)
}

// fail gives the lease back, so that another replica need not wait for its end, and returns err.
func (r *Refresher) fail(ctx context.Context, it item, cur store.Record, err error) error {
	next, lost := record.Fail(cur.Rec, r.cfg.Instance, cur.Rec.GetToken().GetGeneration(), err.Error())
	if trouble, ok := r.trouble(cur.Rec, err); ok && lost == nil && it.kind == Token {
		next = record.Raise(next, trouble, r.Now())
	}
	if lost == nil {
		_, lost = r.Store.Put(ctx, it.key(), next, cur.Revision)
	}
	if lost != nil {
		r.Log.DebugContext(ctx, "token lease not given back", logkey.Account, it.Name, logkey.Error, lost)
	}
	return err
}

// trouble returns what a person has to put right about a failed refresh.
func (r *Refresher) trouble(rec *tokenv1.TokenRecord, err error) (record.Trouble, bool) {
	denied, ok := errors.AsType[*DeniedError](err)
	if !ok || denied.Alarm == tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_UNSPECIFIED {
		return record.Trouble{}, false
	}
	t := record.Trouble{Kind: denied.Alarm, Errcode: denied.Errcode, Detail: denied.Error()}
	if denied.Seen.IsValid() {
		t.Address = denied.Seen.String()
	}
	if t.Kind == tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_FORCED_BUDGET {
		t.ForcedAt = record.ForceAt(rec, r.cfg.Budget, r.Now())
	}
	return t, true
}

// save stores a refreshed token. It is kept trying while the bus is away, because the token that it
// replaces may be dead.
func (r *Refresher) save(ctx context.Context, it item, next *tokenv1.TokenRecord, cur store.Record) (*tokenv1.TokenRecord, error) {
	for {
		saved, err := r.Store.Put(ctx, it.key(), next, cur.Revision)
		switch {
		case err == nil:
			return saved.Rec, nil
		case errors.Is(err, store.ErrChanged):
			// A write of ours that timed out may have been stored after all.
			now, loadErr := r.Store.Load(ctx, it.key())
			if loadErr == nil && now.Rec.GetToken().GetValue() == next.GetToken().GetValue() {
				return now.Rec, nil
			}
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(behind):
		}
	}
}

// outside tells whether the refused token shows that another system refreshes with the same AppSecret:
// it was fetched a moment ago, or WeChat has another one although ours had long to live.
func (r *Refresher) outside(rec *tokenv1.TokenRecord, same bool) bool {
	now := r.Now()
	age := now.Sub(time.UnixMilli(rec.GetRefreshedUnixMs()))
	replaced := !same && record.Remaining(rec, now) > r.cfg.Ahead
	return age < r.cfg.Fresh || replaced
}

// evidence is what shows that another system refreshes.
func (r *Refresher) evidence(rec *tokenv1.TokenRecord, j job, same bool) *tokenv1.OutsideEvidence {
	now := r.Now()
	return &tokenv1.OutsideEvidence{
		Generation: j.bad, FetchedUnixMs: rec.GetRefreshedUnixMs(), DiedUnixMs: now.UnixMilli(),
		RemainingMs: max(0, record.Remaining(rec, now)).Milliseconds(), Errcode: j.errcode, Replaced: !same,
	}
}

func (r *Refresher) warn(ctx context.Context, it item, next *tokenv1.TokenRecord) {
	e := next.GetOutside()[0]
	r.Observer.Outside(ctx, it.Name)
	r.Log.WarnContext(ctx, "another system refreshes this AppSecret",
		logkey.Account, it.Name, logkey.Generation, e.GetGeneration(), logkey.Errcode, e.GetErrcode(),
		"age", time.Duration(e.GetDiedUnixMs()-e.GetFetchedUnixMs())*time.Millisecond,
		"remaining", time.Duration(e.GetRemainingMs())*time.Millisecond,
		"replaced", e.GetReplaced(), "outside_refreshes", next.GetOutsideRefreshes())
}
