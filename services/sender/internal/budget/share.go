package budget

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// Reserve is the part of a day's calls, in per cent, that a lane leaves to more urgent ones. See ADR 0070.
type Reserve struct {
	Notify     int64            `yaml:"notify" desc:"per cent of a day's calls of an API that notifications leave to agents and rules"`
	Campaign   int64            `yaml:"campaign" desc:"per cent of a day's calls of an API that campaigns leave to agents, rules and notifications"`
	CampaignOf map[string]int64 `yaml:"campaign_of" desc:"the same for single accounts, by name"`
}

// DefaultReserve leaves a fifth of the day to people, rules and notifications.
func DefaultReserve() Reserve { return Reserve{Campaign: 20} }

// Validate reports every value that is out of range with its name.
func (r Reserve) Validate() error {
	var errs []error
	if r.Notify < 0 || r.Notify > 99 {
		errs = append(errs, errors.New("notify: must be 0 to 99"))
	}
	check := func(name string, v int64) {
		if v < r.Notify || v > 99 {
			errs = append(errs, fmt.Errorf("%s: must be at least notify and at most 99", name))
		}
	}
	check("campaign", r.Campaign)
	for _, account := range slices.Sorted(maps.Keys(r.CampaignOf)) {
		check("campaign_of."+account, r.CampaignOf[account])
	}
	return errors.Join(errs...)
}

// For returns what is reserved at an account.
func (r Reserve) For(account string) Reserve {
	if own, ok := r.CampaignOf[account]; ok {
		r.Campaign = own
	}
	return r
}

// Quota tells how many calls an API has a day when WeChat has told no number, zero for no limit, and what is reserved of them.
type Quota func(key pace.Key) (usual int64, r Reserve)

// Shares are how many calls of a day have been made when a lane stops.
type Shares struct{ Notify, Campaign int64 }

// shared are the lanes that may have a share.
var shared = []senderv1.Lane{senderv1.Lane_LANE_NOTIFY, senderv1.Lane_LANE_CAMPAIGN}

// NoShare is the share of a lane that has all of the day, or of a day without a limit.
const NoShare = math.MaxInt64

// SharesOf divides the calls of a day; limit zero is no limit.
func SharesOf(limit int64, r Reserve) Shares {
	share := func(reserve int64) int64 {
		if limit == 0 || reserve == 0 {
			return NoShare
		}
		return max(1, limit*(100-reserve)/100)
	}
	return Shares{Notify: share(r.Notify), Campaign: share(r.Campaign)}
}

func (b *Budgets) shares(key pace.Key, rec *senderv1.BudgetRecord) Shares {
	usual, reserve := b.quota(key)
	if rec.GetLimit() > 0 {
		usual = rec.GetLimit()
	}
	return SharesOf(usual, reserve)
}

// Of returns the share of a lane.
func (s Shares) Of(lane senderv1.Lane) int64 {
	switch lane {
	case senderv1.Lane_LANE_CAMPAIGN:
		return s.Campaign
	case senderv1.Lane_LANE_NOTIFY:
		return s.Notify
	default:
		return NoShare
	}
}

// Proto returns the shares of the lanes that have not all of the day.
func (s Shares) Proto() []*senderv1.LaneShare {
	var out []*senderv1.LaneShare
	for _, lane := range shared {
		if share := s.Of(lane); share != NoShare {
			out = append(out, &senderv1.LaneShare{Lane: lane, Limit: share})
		}
	}
	return out
}

// room is how many more calls a lane may make today.
func (s Shares) room(rec *senderv1.BudgetRecord, lane senderv1.Lane, now time.Time) int64 {
	return max(0, s.Of(lane)-used(rec, now))
}

// spent returns the lanes that may make no more calls. less is 1 while they may still make those of the lease that has filled
// their share exactly.
func (s Shares) spent(rec *senderv1.BudgetRecord, less int64, now time.Time) map[senderv1.Lane]pace.Pause {
	var out map[senderv1.Lane]pace.Pause
	for _, lane := range shared {
		if share := s.Of(lane); used(rec, now)-less >= share {
			if out == nil {
				out = map[senderv1.Lane]pace.Pause{}
			}
			out[lane] = pace.Pause{Until: Reset(now), Reason: fmt.Sprintf("the share of the day's calls is used up: those above %d are kept for more urgent messages", share)}
		}
	}
	return out
}

// used is how many calls were leased today.
func used(rec *senderv1.BudgetRecord, now time.Time) int64 {
	if rec.GetDay() != day(now) {
		return 0
	}
	return rec.GetUsed()
}
