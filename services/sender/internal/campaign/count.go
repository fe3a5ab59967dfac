package campaign

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/message"
)

// Reasons for which somebody would not get the message, beside the kinds of dropped lines.
const (
	NoWindow       = "no_window"
	WindowUsedUp   = "window_used_up"
	NotFollowing   = "not_following"
	NoAPI          = "no_api"
	InvalidContent = "invalid_content"
	OverBudget     = "over_budget"
)

var reasonTexts = map[string]string{
	NoWindow:                 "the window of the fan is closed: the last action is too old, or none is known",
	WindowUsedUp:             "every message of the fan's window is sent or on its way",
	NotFollowing:             "the fan does not follow the account",
	NoAPI:                    "the account may not use this API",
	InvalidContent:           "the message is wrong with the values of the recipient",
	OverBudget:               "more than today's budget: they would wait for the next days",
	audience.BadOpenID:       "not an openid",
	audience.Duplicate:       "the openid is there twice; the first line counts",
	audience.TooLong:         "the line is too long",
	audience.MissingVariable: "a variable of the message has no value",
	audience.Malformed:       "the line cannot be read",
}

const (
	// countChunks is how many chunks are looked at: a call has 30 s, and each recipient costs a look at the window.
	countChunks = 200
	countAtOnce = 32
	maxSample   = 5
	day         = 24 * time.Hour
)

// DryCount implements CampaignService.
func (c *Campaigns) DryCount(ctx context.Context, req *senderv1.DryCountRequest) (*senderv1.DryCountResponse, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	if req.GetRate() < 0 || math.IsNaN(req.GetRate()) {
		return nil, fault.New(fault.Invalid, "rate: must not be negative")
	}
	rec, err := p.records.Get(ctx, req.GetAccount(), req.GetId())
	if err != nil {
		return nil, err
	}
	if rec.GetAudience() == nil {
		return nil, fault.New(fault.Refused, "the campaign has no audience yet")
	}
	count, err := c.count(ctx, p, rec, req.GetRate())
	if err != nil {
		return nil, err
	}
	next, err := p.records.Change(ctx, req.GetAccount(), req.GetId(), campaignstate.Count{Revision: rec.GetAudience().GetRevision(), Count: count})
	if err != nil {
		return nil, notAllowed(rec, err)
	}
	return &senderv1.DryCountResponse{Campaign: next.Rec}, nil
}

func (c *Campaigns) count(ctx context.Context, p *parts, rec *senderv1.CampaignRecord, rate float64) (*senderv1.CampaignCount, error) {
	found := tally{}
	a := rec.GetAudience()
	if err := p.audience.Verify(ctx, rec.GetAccount(), rec.GetId(), a); err != nil {
		return nil, err
	}
	every, counted := stride(a.GetChunks()), uint32(0)
	for n := uint32(0); n < a.GetChunks(); n += every {
		recipients, err := p.audience.Chunk(ctx, rec.GetAccount(), rec.GetId(), a.GetRevision(), n)
		if err != nil {
			return nil, err
		}
		if err := c.reach(ctx, p, rec, recipients, found); err != nil {
			return nil, err
		}
		counted += uint32(len(recipients))
	}
	found.scale(counted, a.GetRecipients())
	for _, drop := range a.GetDrops() {
		found.add(drop.GetKind(), drop.GetLines(), "")
	}
	count := &senderv1.CampaignCount{
		CountedUnixMs: c.deps.Now().UnixMilli(), Recipients: a.GetRecipients(), Reachable: found.number(""), BudgetLeft: -1, Days: 1,
	}
	if every > 1 {
		count.Warnings = append(count.Warnings, fmt.Sprintf("the audience is large: %d recipients of all its parts were asked for, the rest is reckoned", counted))
	}
	if err := c.budget(ctx, p, rec, count, found); err != nil {
		return nil, err
	}
	count.Unreachable = found.reasons()
	count.Rate = p.sender.Rate(rec.GetAccount(), rec.GetMessage())
	if rate > 0 {
		count.Rate = min(count.Rate, rate)
	}
	count.DurationMs = durationOf(count.GetReachable(), count.GetRate())
	return count, nil
}

// stride returns which chunks are looked at: all, or every n-th of a large audience.
func stride(chunks uint32) uint32 { return max(1, (chunks+countChunks-1)/countChunks) }

func durationOf(n uint32, rate float64) int64 {
	if rate <= 0 {
		return 0
	}
	return int64(math.Ceil(float64(n) / rate * 1000))
}

// reach asks for every recipient of a chunk whether the message would reach them.
func (c *Campaigns) reach(ctx context.Context, p *parts, rec *senderv1.CampaignRecord, recipients []*senderv1.AudienceRecipient, found tally) error {
	reasons := make([]string, len(recipients))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(countAtOnce)
	for i, to := range recipients {
		group.Go(func() error {
			m := message.Fill(rec.GetMessage(), rec.GetAudience().GetVariables(), to.GetValues())
			if err := p.sender.Check(probe(rec.GetAccount(), to.GetOpenid(), m)); err != nil {
				reasons[i] = InvalidContent
				return nil //nolint:nilerr // it is counted as a reason
			}
			var err error
			reasons[i], err = p.sender.Reach(ctx, rec.GetAccount(), to.GetOpenid(), m)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("count: %w", err)
	}
	for i, to := range recipients {
		found.add(reasons[i], 1, to.GetOpenid())
	}
	return nil
}

// budget takes those out that today's budget has no room for.
func (c *Campaigns) budget(ctx context.Context, p *parts, rec *senderv1.CampaignRecord, count *senderv1.CampaignCount, found tally) error {
	left, daily, err := p.sender.BudgetLeft(ctx, rec.GetAccount(), rec.GetMessage())
	if err != nil || daily == 0 {
		return err
	}
	count.BudgetLeft = left
	over := int64(count.GetReachable()) - left
	if over <= 0 {
		return nil
	}
	found.add(OverBudget, uint32(over), "")
	count.Reachable -= uint32(over)
	count.Warnings = append(count.Warnings, fmt.Sprintf("today's budget has room for %d; the rest goes out after 00:00 in Shanghai", left))
	count.Days = uint32(1 + (over+daily-1)/daily)
	return nil
}

// tally counts recipients by reason; the empty one is reachable.
type tally map[string]*senderv1.CountedReason

func (t tally) add(reason string, n uint32, openid string) {
	r, ok := t[reason]
	if !ok {
		r = &senderv1.CountedReason{Reason: reason, Text: reasonTexts[reason]}
		t[reason] = r
	}
	r.Recipients += n
	if openid != "" && len(r.Sample) < maxSample {
		r.Sample = append(r.Sample, openid)
	}
}

// scale reckons from the recipients that were counted to all of them. The sum is all of them exactly.
func (t tally) scale(counted, all uint32) {
	if counted == all || counted == 0 {
		return
	}
	rest := all
	for reason, r := range t {
		if reason != "" {
			r.Recipients = uint32(uint64(r.Recipients) * uint64(all) / uint64(counted))
			rest -= r.Recipients
		}
	}
	if reachable, ok := t[""]; ok {
		reachable.Recipients = rest
	} else if rest > 0 {
		t[slices.MaxFunc(slices.Collect(maps.Keys(t)), func(a, b string) int {
			return cmp.Or(cmp.Compare(t[a].GetRecipients(), t[b].GetRecipients()), cmp.Compare(a, b))
		})].Recipients += rest
	}
}

func (t tally) number(reason string) uint32 { return t[reason].GetRecipients() }

func (t tally) reasons() []*senderv1.CountedReason {
	var out []*senderv1.CountedReason
	for reason, r := range t {
		if reason != "" && r.GetRecipients() > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *senderv1.CountedReason) int {
		return cmp.Or(cmp.Compare(b.GetRecipients(), a.GetRecipients()), cmp.Compare(a.GetReason(), b.GetReason()))
	})
	return out
}
