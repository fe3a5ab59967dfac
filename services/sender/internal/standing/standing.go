// Package standing tells how an account stands: what it has used of WeChat's quotas, how long that will last, what holds
// it back, and what waits.
package standing

import (
	"context"
	"fmt"
	"time"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
	"github.com/wxbus/wxbus/services/sender/internal/budget"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// askEvery is how old WeChat's own count may be before it is asked for again.
const askEvery = 15 * time.Minute

// Deps of a Standing.
type Deps struct {
	Bus     *bus.Conn
	Budgets *budget.Budgets
	Gates   *pace.Gates
	Later   *later.Later
	API     *api.API
	Quota   budget.Quota
	Rate    float64
	Now     func() time.Time
}

// Standing is safe for concurrent use.
type Standing struct{ Deps }

// New returns a Standing.
func New(d Deps) *Standing { return &Standing{d} }

// Of returns how the account stands.
func (s *Standing) Of(ctx context.Context, a account.Account) (*senderv1.GetSendingStatusResponse, error) {
	resp := &senderv1.GetSendingStatusResponse{ResetsUnixMs: budget.Reset(s.Now()).UnixMilli()}
	for _, e := range endpoint.ForKind(a.Kind) {
		status, err := s.endpoint(ctx, a, e)
		if err != nil {
			return nil, err
		}
		resp.Endpoints = append(resp.Endpoints, status)
	}
	var err error
	resp.Lanes, err = s.lanes(ctx, a)
	return resp, err
}

func (s *Standing) endpoint(ctx context.Context, a account.Account, e endpoint.Endpoint) (*senderv1.EndpointStatus, error) {
	key := pace.Key{Account: a.Name, Endpoint: e.Token}
	usual, reserve := s.Quota(key)
	use, err := s.Budgets.Use(ctx, key, usual)
	if err != nil {
		return nil, err
	}
	if use.Used > 0 && s.Now().Sub(time.UnixMilli(use.AskedUnixMs)) > askEvery {
		// WeChat's number is better than ours, which is an answer too.
		if s.Learn(ctx, a, e) == nil {
			if use, err = s.Budgets.Use(ctx, key, usual); err != nil {
				return nil, err
			}
		}
	}
	state := s.Gates.State(key)
	out := &senderv1.EndpointStatus{
		Endpoint: e.ID, Path: e.Path, Used: use.Used, Limit: use.Limit, LimitFromWechat: use.Limit > 0, Rate: use.Rate, RateLimit: s.Rate,
		Breaker: state.Breaker, InFlight: uint32(state.InFlight),
	}
	if use.Limit == 0 {
		out.Limit = usual
	}
	out.Shares = budget.SharesOf(out.GetLimit(), reserve).Proto()
	if !use.Exhausted.IsZero() {
		out.ExhaustedUnixMs = use.Exhausted.UnixMilli()
	}
	if p := state.Pause; p.Until.After(s.Now()) {
		out.PausedUntilUnixMs, out.PauseErrcode, out.PauseReason, out.PauseRefuses = p.Until.UnixMilli(), p.Errcode, p.Reason, p.Refuse
	}
	return out, nil
}

// Left returns how many calls of an API campaigns may still make today, and how many on a whole day; a day without a limit has
// zero.
func (s *Standing) Left(ctx context.Context, a account.Account, e endpoint.Endpoint) (left, daily int64, err error) {
	key := pace.Key{Account: a.Name, Endpoint: e.Token}
	usual, reserve := s.Quota(key)
	use, err := s.Budgets.Use(ctx, key, usual)
	if err != nil {
		return 0, 0, err
	}
	if daily = use.Limit; daily == 0 {
		daily = usual
	}
	daily = min(daily, budget.SharesOf(daily, reserve).Campaign)
	return max(0, daily-use.Used), daily, nil
}

// Learn asks WeChat for its own count of the calls of an API.
func (s *Standing) Learn(ctx context.Context, a account.Account, e endpoint.Endpoint) error {
	var q wechat.Quota
	err := s.API.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		q, err = c.QuotaGet(ctx, token, e.Path)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask for quota: %w", err)
	}
	return s.Budgets.Learn(ctx, pace.Key{Account: a.Name, Endpoint: e.Token}, q.DailyLimit, q.Used)
}

func (s *Standing) lanes(ctx context.Context, a account.Account) ([]*senderv1.LaneStatus, error) {
	waiting, err := s.Later.Waiting(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	var out []*senderv1.LaneStatus
	for lane := senderv1.Lane_LANE_AGENT; lane <= senderv1.Lane_LANE_CAMPAIGN; lane++ {
		filter, err := topology.FilterOutbound(lane, a.Name)
		if err != nil {
			return nil, err
		}
		subjects, err := later.Subjects(ctx, s.Bus.JS(), topology.StreamOutbound, filter)
		if err != nil {
			return nil, err
		}
		status := &senderv1.LaneStatus{Lane: lane, Parked: waiting[later.Parked][lane], Later: waiting[later.OwnTime][lane]}
		for _, n := range subjects {
			status.Backlog += n
		}
		out = append(out, status)
	}
	return out, nil
}
