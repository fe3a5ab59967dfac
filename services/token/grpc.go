package token

import (
	"context"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/token/internal/refresh"
)

// GetToken implements TokenService.
func (s *Service) GetToken(ctx context.Context, req *tokenv1.GetTokenRequest) (*tokenv1.GetTokenResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	token, err := p.refresher.Get(ctx, req.GetAccount(), refresh.Token)
	if err != nil {
		return nil, err
	}
	return &tokenv1.GetTokenResponse{Token: token, ValidForMs: s.validFor(token)}, nil
}

// ReportBadToken implements TokenService.
func (s *Service) ReportBadToken(ctx context.Context, req *tokenv1.ReportBadTokenRequest) (*tokenv1.ReportBadTokenResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	token, err := p.refresher.Bad(ctx, req.GetAccount(), refresh.Token, req.GetGeneration(), req.GetErrcode())
	if err != nil {
		return nil, err
	}
	return &tokenv1.ReportBadTokenResponse{Token: token, ValidForMs: s.validFor(token)}, nil
}

func (s *Service) running() (*parts, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.parts == nil {
		return nil, fault.New(fault.Unavailable, "the token service is starting")
	}
	return s.parts, nil
}

func (s *Service) validFor(t *tokenv1.AccessToken) int64 {
	return t.GetExpiresUnixMs() - s.deps.Now().UnixMilli()
}
