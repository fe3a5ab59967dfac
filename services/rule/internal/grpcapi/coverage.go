package grpcapi

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/coverage"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
)

const (
	defaultWindow  = 168 // hours
	maxWindow      = int32(coverage.Kept / time.Hour)
	defaultPhrases = 50
	maxPhrases     = 200
	maxCovered     = 1000
)

// window reads the window of a request.
func (s *Server) window(hours int32, account string) (coverage.Query, error) {
	if hours == 0 {
		hours = defaultWindow
	}
	if hours < 0 || hours > maxWindow {
		return coverage.Query{}, fault.Errorf(fault.Invalid, "hours: must be 1 to %d, counts are kept no longer", maxWindow)
	}
	return coverage.Query{Since: s.now().Add(-time.Duration(hours) * time.Hour), Account: account}, nil
}

// addHits adds to rules what the live ones of their names did, and returns the number of decisions.
func addHits(ctx context.Context, b *backend, q coverage.Query, items []*draft.Item, infos []*rulev1.RuleInfo) (int64, error) {
	db, err := b.tables.DB()
	if err != nil {
		return 0, err
	}
	totals, err := coverage.ReadTotals(ctx, db, q)
	if err != nil || len(items) == 0 {
		return totals.Decided(), err
	}
	names := make([]string, 0, len(items))
	at := map[string]*rulev1.RuleInfo{}
	for n, i := range items {
		if i.LiveName() != "" {
			names = append(names, i.LiveName())
			at[i.LiveName()] = infos[n]
		}
	}
	hits, err := coverage.ReadHits(ctx, db, q, names)
	for _, h := range hits {
		at[h.Rule].Hits, at[h.Rule].LastHitUnixMs = h.Hits, h.Last.UnixMilli()
	}
	return totals.Decided(), err
}

// GetCoverage tells what the rules did.
func (s *Server) GetCoverage(ctx context.Context, req *rulev1.GetCoverageRequest) (*rulev1.GetCoverageResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	db, err := b.tables.DB()
	if err != nil {
		return nil, err
	}
	q, err := s.window(req.GetHours(), req.GetAccount())
	if err != nil {
		return nil, err
	}
	if q.Phrases = int(req.GetPhrases()); q.Phrases == 0 {
		q.Phrases = defaultPhrases
	}
	if q.Phrases < 0 || q.Phrases > maxPhrases {
		return nil, fault.Errorf(fault.Invalid, "phrases: must be 1 to %d", maxPhrases)
	}
	report, err := coverage.Read(ctx, db, q)
	if err != nil {
		return nil, err
	}
	response := &rulev1.GetCoverageResponse{
		Decided: report.Decided(), Matched: report.Matched, Caught: report.Caught, Missed: report.Missed, Silent: report.Silent,
		FromUnixMs: q.Since.UnixMilli(), Rules: covered(report, b.live.Set().Names()),
	}
	if !report.Counted.IsZero() {
		response.CountedUnixMs = report.Counted.UnixMilli()
	}
	for _, p := range report.Phrases {
		response.Phrases = append(response.Phrases, &rulev1.Phrase{
			Text: p.Text, Count: p.Count, Error: p.Error, LastUnixMs: p.Last.UnixMilli(), Account: p.Account,
		})
	}
	return response, nil
}

// covered lists the rules that decided something, most hits first, and then the live rules that never did.
func covered(report *coverage.Report, live []string) []*rulev1.RuleCoverage {
	isLive := make(map[string]bool, len(live))
	for _, name := range live {
		isLive[name] = true
	}
	var out []*rulev1.RuleCoverage
	for _, h := range report.Rules {
		out = append(out, &rulev1.RuleCoverage{Rule: h.Rule, Hits: h.Hits, LastHitUnixMs: h.Last.UnixMilli(), Live: isLive[h.Rule]})
		delete(isLive, h.Rule)
	}
	for _, name := range live {
		if isLive[name] {
			out = append(out, &rulev1.RuleCoverage{Rule: name, Live: true})
		}
	}
	return out[:min(len(out), maxCovered)]
}
