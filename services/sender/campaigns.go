package sender

import (
	"context"
	"errors"
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/campaign"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/intake"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

func newCampaigns(s *Service) *campaign.Campaigns {
	return campaign.New(s.cfg.Campaign, campaign.Deps{
		Accounts: s.deps.Accounts, Bus: s.deps.Bus, Sender: ours{s}, Tags: ours{s}, LostAfter: s.cfg.MaxAge + time.Hour,
		Tracer: s.deps.Tel.TracerProvider.Tracer(scope), Log: s.deps.Log, Now: s.deps.Now, Instance: s.deps.Instance,
	})
}

// ours is the service as its campaigns see it.
type ours struct{ s *Service }

var (
	_ campaign.Sender = ours{}
	_ campaign.Tags   = ours{}
)

// Send implements campaign.Sender. It is the one way past the check that nobody pretends to be a campaign.
func (o ours) Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	p, err := o.s.running()
	if err != nil {
		return nil, err
	}
	return p.intake.Send(ctx, req)
}

// Check implements campaign.Sender.
func (o ours) Check(req *senderv1.SendRequest) error {
	p, err := o.s.running()
	if err != nil {
		return err
	}
	return p.intake.Check(req)
}

// Lookup implements campaign.Sender.
func (o ours) Lookup(ctx context.Context, account, id string) (*senderv1.SendRecord, error) {
	p, err := o.s.running()
	if err != nil {
		return nil, err
	}
	rec, err := p.sends.Get(ctx, account, id)
	if errors.Is(err, sends.ErrNotFound) {
		return nil, nil
	}
	return rec.Rec, err
}

// ID implements campaign.Sender.
func (ours) ID(account, key string) string { return intake.SendID(account, key) }

// Reach implements campaign.Sender. What has another step to fall back to is judged by that.
func (o ours) Reach(ctx context.Context, account, openid string, m *senderv1.CampaignMessage) (string, error) {
	p, err := o.s.running()
	if err != nil {
		return "", err
	}
	a, ok := o.s.deps.Accounts.Get(account)
	if !ok || a.Disabled {
		return campaign.NoAPI, nil
	}
	first := ""
	for n, c := range append([]*eventv1.Content{m.GetContent()}, m.GetFallback()...) {
		reason, err := o.reach(ctx, p, a, openid, endpoint.Of(c, a.Kind))
		if err != nil || reason == "" || reason == campaign.NotFollowing {
			return reason, err
		}
		if n == 0 {
			first = reason
		}
	}
	return first, nil
}

func (o ours) reach(ctx context.Context, p *parts, a account.Account, openid string, e endpoint.Endpoint) (string, error) {
	custom := e.ID == endpoint.CustomSend.ID
	if custom && !a.AllowsKf() {
		return campaign.NoAPI, nil
	}
	if pause, paused := p.gates.Paused(pace.Key{Account: a.Name, Endpoint: e.Token}); paused && pause.Refuse {
		return campaign.NoAPI, nil
	}
	q, err := p.windows.Quota(ctx, windows.Fan{Account: a.Name, Kind: a.ProtoKind(), OpenID: openid})
	switch {
	case err != nil:
		return "", err
	case q.Verdict == grants.Unsubscribed && e.ID != endpoint.OneTime.ID:
		return campaign.NotFollowing, nil
	case !custom || q.Verdict == grants.Open:
		return "", nil
	case q.Verdict == grants.Exhausted:
		return campaign.WindowUsedUp, nil
	default:
		return campaign.NoWindow, nil
	}
}

// Held implements campaign.Sender. Messages that would be refused are handed over all the same: each gets its reason.
func (o ours) Held(account string, m *senderv1.CampaignMessage) (reason string, until time.Time, ok bool) {
	p, key, err := o.gate(account, m)
	if err != nil {
		return "", time.Time{}, false
	}
	pause, paused := p.gates.Paused(key)
	if !paused {
		pause, paused = p.gates.Spent(key, senderv1.Lane_LANE_CAMPAIGN)
	}
	return pause.Reason, pause.Until, paused && !pause.Refuse
}

// Rate implements campaign.Sender.
func (o ours) Rate(string, *senderv1.CampaignMessage) float64 { return o.s.cfg.Pace.Rate }

// BudgetLeft implements campaign.Sender.
func (o ours) BudgetLeft(ctx context.Context, account string, m *senderv1.CampaignMessage) (left, daily int64, err error) {
	p, err := o.s.running()
	if err != nil {
		return 0, 0, err
	}
	a, ok := o.s.deps.Accounts.Get(account)
	if !ok {
		return 0, 0, fault.Errorf(fault.NotFound, "account %q is not configured", account)
	}
	left, daily, err = p.standing.Left(ctx, a, endpoint.Of(m.GetContent(), a.Kind))
	if pause, paused := p.gates.Paused(pace.Key{Account: account, Endpoint: endpoint.Of(m.GetContent(), a.Kind).Token}); paused && wechat.Classify(int(pause.Errcode)) == wechat.ClassQuota {
		left = 0 // WeChat knows better
	}
	return left, daily, err
}

// gate names the gate of the API that the message goes by.
func (o ours) gate(account string, m *senderv1.CampaignMessage) (*parts, pace.Key, error) {
	p, err := o.s.running()
	if err != nil {
		return nil, pace.Key{}, err
	}
	a, ok := o.s.deps.Accounts.Get(account)
	if !ok {
		return nil, pace.Key{}, fault.Errorf(fault.NotFound, "account %q is not configured", account)
	}
	return p, pace.Key{Account: account, Endpoint: endpoint.Of(m.GetContent(), a.Kind).Token}, nil
}

// Fans implements campaign.Tags: one page of user/tag/get.
func (o ours) Fans(ctx context.Context, account string, tag int64, after string) (openids []string, next string, err error) {
	p, err := o.s.running()
	if err != nil {
		return nil, "", err
	}
	a, ok := o.s.deps.Accounts.Get(account)
	if !ok {
		return nil, "", fault.Errorf(fault.NotFound, "account %q is not configured", account)
	}
	err = p.calls.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		openids, next, err = c.TagFans(ctx, token, tag, after)
		return err
	})
	return openids, next, err
}
