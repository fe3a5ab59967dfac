package grpcapi

import (
	"context"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// ListWaiting returns the fans who wait, the longest waiting first.
func (s *Conversations) ListWaiting(ctx context.Context, in *agentroutingv1.ListWaitingRequest) (*agentroutingv1.ListWaitingResponse, error) {
	f := store.Filter{Account: in.GetAccount(), Group: in.GetQueue(), States: []domain.State{domain.Waiting, domain.Offered}}
	rows, total, err := s.records(ctx, f, store.LongestWaiting, in.GetLimit())
	return &agentroutingv1.ListWaitingResponse{Waiting: rows, Total: int32(total)}, err
}

// ListServing returns the fans whom agents talk to, the one with the oldest activity first.
func (s *Conversations) ListServing(ctx context.Context, in *agentroutingv1.ListServingRequest) (*agentroutingv1.ListServingResponse, error) {
	f := store.Filter{Account: in.GetAccount(), Agent: in.GetAgent(), States: []domain.State{domain.Active, domain.OnHold}}
	rows, total, err := s.records(ctx, f, store.OldestActivity, in.GetLimit())
	return &agentroutingv1.ListServingResponse{Serving: rows, Total: int32(total)}, err
}

// records returns conversations in the form of the first version. It stops before the answer grows too large.
func (s *Conversations) records(ctx context.Context, f store.Filter, order store.Order, limit int32) ([]*agentroutingv1.OwnerRecord, int, error) {
	n, err := pageSize("limit", limit, 100, 500)
	if err != nil {
		return nil, 0, err
	}
	views, total, err := s.views(ctx, f, order, 0, n)
	if err != nil {
		return nil, 0, err
	}
	var out []*agentroutingv1.OwnerRecord
	size := 0
	for _, v := range views {
		rec, err := s.desk.RecordOf(ctx, v)
		if err != nil {
			return nil, 0, err
		}
		if size += proto.Size(rec); size > maxAnswer {
			break
		}
		out = append(out, rec)
	}
	return out, total, nil
}

// GetOwner tells who may talk to a fan.
func (s *Conversations) GetOwner(ctx context.Context, in *agentroutingv1.GetOwnerRequest) (*agentroutingv1.GetOwnerResponse, error) {
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	rec, err := s.desk.Record(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.GetOwnerResponse{Record: rec}, nil
}
