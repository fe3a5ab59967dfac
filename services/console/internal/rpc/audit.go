package rpc

import (
	"context"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/store"
)

// Audit is the AuditService.
type Audit struct{ Store *store.Store }

var _ consolev1connect.AuditServiceHandler = (*Audit)(nil)

// limitOf returns the number of rows that a request asks for.
func limitOf(asked int32, usual, most int) (int, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked < 0 || int(asked) > most:
		return 0, fault.Errorf(fault.Invalid, "limit: must be 1 to %d", most)
	}
	return int(asked), nil
}

// ListAudit lists entries, newest first.
func (s *Audit) ListAudit(ctx context.Context, req *connect.Request[consolev1.ListAuditRequest]) (*connect.Response[consolev1.ListAuditResponse], error) {
	m := req.Msg
	limit, err := limitOf(m.GetLimit(), 100, 500)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Audit(ctx, store.AuditFilter{
		BeforeSeq: m.GetBeforeSeq(), Actor: m.GetActor(), Action: m.GetAction(), Account: m.GetAccount(),
		FromMS: m.GetFromUnixMs(), ToMS: m.GetToUnixMs(), RefusedOnly: m.GetRefusedOnly(), OpenOnly: m.GetOpenOnly(), Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListAuditResponse{More: len(found) > limit}
	for _, e := range found[:min(len(found), limit)] {
		out.Entries = append(out.Entries, &consolev1.AuditEntry{
			Seq: e.Seq, AtUnixMs: e.AtMS, Actor: e.Actor, Action: e.Action, Account: e.Account, Target: e.Target, Outcome: e.Outcome,
			RequestDigest: e.RequestDigest, BeforeHash: e.BeforeHash, AfterHash: e.AfterHash, Address: e.Address, TraceId: e.TraceID, Hash: e.Hash, Attempt: e.Attempt,
		})
	}
	return connect.NewResponse(out), nil
}

// CheckAudit walks the chain.
func (s *Audit) CheckAudit(ctx context.Context, _ *connect.Request[consolev1.CheckAuditRequest]) (*connect.Response[consolev1.CheckAuditResponse], error) {
	c, err := s.Store.CheckAudit(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.CheckAuditResponse{
		Intact: c.Broken == 0, FirstSeq: c.First, LastSeq: c.Last, BrokenSeq: c.Broken, HeadHash: c.Head,
	}), nil
}
