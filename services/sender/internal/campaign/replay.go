package campaign

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/failure"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

const maxErrcodes = 100

// CountReplay implements CampaignService.
func (c *Campaigns) CountReplay(ctx context.Context, req *senderv1.CountReplayRequest) (*senderv1.CountReplayResponse, error) {
	p, rec, err := c.replayable(ctx, req.GetAccount(), req.GetId(), req.GetErrcodes())
	if err != nil {
		return nil, err
	}
	chosen, err := c.choose(ctx, p, rec, req.GetErrcodes())
	if err != nil {
		return nil, err
	}
	resp := &senderv1.CountReplayResponse{
		Count: chosen.count, Groups: failure.Groups(chosen.groups), Ambiguous: chosen.ambiguous, BudgetLeft: -1,
		DurationMs: durationOf(chosen.count, c.rate(p, rec)),
	}
	left, daily, err := p.sender.BudgetLeft(ctx, rec.GetAccount(), rec.GetMessage())
	if err != nil {
		return nil, err
	}
	if daily > 0 {
		resp.BudgetLeft = left
	}
	return resp, nil
}

// ReplayFailures implements CampaignService.
func (c *Campaigns) ReplayFailures(ctx context.Context, req *senderv1.ReplayFailuresRequest) (*senderv1.ReplayFailuresResponse, error) {
	p, rec, err := c.replayable(ctx, req.GetAccount(), req.GetId(), req.GetErrcodes())
	if err != nil {
		return nil, err
	}
	if err := checkText("actor", req.GetActor(), maxActor); err != nil {
		return nil, err
	}
	chosen, err := c.choose(ctx, p, rec, req.GetErrcodes())
	if err != nil {
		return nil, err
	}
	if chosen.count != req.GetExpectedCount() {
		return nil, fault.Errorf(fault.Conflict, "expected_count: %d recipients would be sent to, not %d; count again", chosen.count, req.GetExpectedCount())
	}
	if chosen.count == 0 {
		return nil, fault.New(fault.Refused, "nobody failed with these errcodes")
	}
	name := newSelection()
	if err := p.ledger.SaveReplay(ctx, rec.GetAccount(), rec.GetId(), name, chosen.selection); err != nil {
		return nil, err
	}
	next, err := p.records.Change(ctx, rec.GetAccount(), rec.GetId(), campaignstate.Replay{
		By: campaignstate.By{Actor: req.GetActor(), Reason: "failures are sent to once more"},
		Replay: &senderv1.CampaignReplay{
			Round: uint32(len(rec.GetReplays()) + 1), Errcodes: req.GetErrcodes(), Recipients: chosen.count,
			RequestedUnixMs: c.deps.Now().UnixMilli(), Actor: req.GetActor(), Selection: name,
		},
	})
	if err != nil {
		return nil, notAllowed(rec, err)
	}
	return &senderv1.ReplayFailuresResponse{Campaign: next.Rec, Count: chosen.count}, nil
}

func newSelection() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// replayable returns a campaign whose failures may be replayed now.
func (c *Campaigns) replayable(ctx context.Context, account, id string, errcodes []int32) (*parts, *senderv1.CampaignRecord, error) {
	p, err := c.running()
	if err != nil {
		return nil, nil, err
	}
	if len(errcodes) == 0 || len(errcodes) > maxErrcodes {
		return nil, nil, fault.Errorf(fault.Invalid, "errcodes: must be 1 to %d", maxErrcodes)
	}
	rec, err := p.records.Get(ctx, account, id)
	if err != nil {
		return nil, nil, err
	}
	if rec.GetStartedUnixMs() == 0 || rec.GetCancelled() {
		return nil, nil, notAllowed(rec, campaignstate.ErrNotAllowed)
	}
	return p, rec, nil
}

// choice is exactly who would be replayed.
type choice struct {
	selection *senderv1.ReplaySelection
	count     uint32
	ambiguous uint32
	groups    map[failure.Key]uint32
}

// choose reads the ledger. The code zero stands for those that we refused, and for failures without a code.
func (c *Campaigns) choose(ctx context.Context, p *parts, rec *senderv1.CampaignRecord, errcodes []int32) (choice, error) {
	out := choice{selection: &senderv1.ReplaySelection{}, groups: map[failure.Key]uint32{}}
	for n := range rec.GetAudience().GetChunks() {
		chunk, err := p.ledger.Load(ctx, rec.GetAccount(), rec.GetId(), n, audience.SizeOf(rec.GetAudience(), n))
		if err != nil {
			return choice{}, err
		}
		selected := &senderv1.SelectedChunk{Chunk: n}
		for i := range chunk.Len() {
			e := chunk.Entry(i)
			if e.GetState() == ledger.Ambiguous {
				out.ambiguous++
			}
			if ledger.Replayable(e.GetState()) && slices.Contains(errcodes, e.GetErrcode()) {
				selected.Recipients = append(selected.Recipients, uint32(i))
				out.groups[failure.Key{State: e.GetState(), Errcode: e.GetErrcode()}]++
				out.count++
			}
		}
		if len(selected.GetRecipients()) > 0 {
			out.selection.Chunks = append(out.selection.Chunks, selected)
		}
	}
	return out, nil
}

// rate is how many messages a second the campaign sends at most.
func (c *Campaigns) rate(p *parts, rec *senderv1.CampaignRecord) float64 {
	rate := p.sender.Rate(rec.GetAccount(), rec.GetMessage())
	if own := rec.GetPlan().GetRate(); own > 0 {
		rate = min(rate, own)
	}
	return rate
}
