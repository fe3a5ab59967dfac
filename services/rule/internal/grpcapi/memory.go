package grpcapi

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
)

// maxOpenID bounds the openid of a request; WeChat's have 28 characters.
const maxOpenID = 128

// GetFanMemory returns what rules know about a fan.
func (s *Server) GetFanMemory(ctx context.Context, req *rulev1.GetFanMemoryRequest) (*rulev1.GetFanMemoryResponse, error) {
	fans, err := s.memoryOf(req)
	if err != nil {
		return nil, err
	}
	return fans.Memory(ctx, req.GetAccount(), req.GetOpenid())
}

// EraseFanMemory erases what rules know about a fan.
func (s *Server) EraseFanMemory(ctx context.Context, req *rulev1.EraseFanMemoryRequest) (*rulev1.EraseFanMemoryResponse, error) {
	fans, err := s.memoryOf(req)
	if err != nil {
		return nil, err
	}
	items, err := fans.Erase(ctx, req.GetAccount(), req.GetOpenid())
	return &rulev1.EraseFanMemoryResponse{Items: items}, err
}

// memoryOf checks which fan is meant. An account that is not served any more may still have fans to erase, so it need
// not be known.
func (s *Server) memoryOf(req interface {
	GetAccount() string
	GetOpenid() string
}) (*fan.Store, error) {
	switch {
	case req.GetAccount() == "":
		return nil, fault.New(fault.Invalid, "account: is required")
	case req.GetOpenid() == "" || len(req.GetOpenid()) > maxOpenID:
		return nil, fault.Errorf(fault.Invalid, "openid: must have 1 to %d characters", maxOpenID)
	}
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	return b.fans, nil
}
