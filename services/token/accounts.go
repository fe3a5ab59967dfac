package token

import (
	"context"

	"google.golang.org/grpc/metadata"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/token/internal/accounts"
)

// actorKey is the metadata that says who changes an account, and maxActor bounds it.
const (
	actorKey = "wxbus-actor"
	maxActor = 128
)

// accountServer implements AccountService.
type accountServer struct {
	tokenv1.UnimplementedAccountServiceServer
	s *Service
}

var _ tokenv1.AccountServiceServer = (*accountServer)(nil)

// actor returns who asks: it is written into the record of what is changed.
func actor(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, who := range md.Get(actorKey) {
		if who != "" {
			return who[:min(len(who), maxActor)]
		}
	}
	return "unknown"
}

// change runs one change by the actor of ctx.
func change[T any](ctx context.Context, a *accountServer, do func(store *accounts.Store, actor string) (T, error)) (T, error) {
	p, err := a.s.running()
	if err != nil {
		var none T
		return none, err
	}
	return do(p.accounts, actor(ctx))
}

// CreateAccount implements AccountService.
func (a *accountServer) CreateAccount(ctx context.Context, req *tokenv1.CreateAccountRequest) (*tokenv1.CreateAccountResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.Create(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.CreateAccountResponse{Account: account}, nil
}

// GetAccount implements AccountService.
func (a *accountServer) GetAccount(ctx context.Context, req *tokenv1.GetAccountRequest) (*tokenv1.GetAccountResponse, error) {
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	account, err := p.accounts.Get(ctx, req.GetAccount())
	if err != nil {
		return nil, err
	}
	return &tokenv1.GetAccountResponse{Account: account}, nil
}

// ListAccounts implements AccountService.
func (a *accountServer) ListAccounts(_ context.Context, req *tokenv1.ListAccountsRequest) (*tokenv1.ListAccountsResponse, error) {
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	return p.accounts.List(req), nil
}

// UpdateAccount implements AccountService.
func (a *accountServer) UpdateAccount(ctx context.Context, req *tokenv1.UpdateAccountRequest) (*tokenv1.UpdateAccountResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.Update(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.UpdateAccountResponse{Account: account}, nil
}

// DisableAccount implements AccountService.
func (a *accountServer) DisableAccount(ctx context.Context, req *tokenv1.DisableAccountRequest) (*tokenv1.DisableAccountResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.Disable(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.DisableAccountResponse{Account: account}, nil
}

// EnableAccount implements AccountService.
func (a *accountServer) EnableAccount(ctx context.Context, req *tokenv1.EnableAccountRequest) (*tokenv1.EnableAccountResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.Enable(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.EnableAccountResponse{Account: account}, nil
}

// DeleteAccount implements AccountService.
func (a *accountServer) DeleteAccount(ctx context.Context, req *tokenv1.DeleteAccountRequest) (*tokenv1.DeleteAccountResponse, error) {
	return change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.DeleteAccountResponse, error) {
		if err := s.Delete(ctx, who, req); err != nil {
			return nil, err
		}
		return &tokenv1.DeleteAccountResponse{}, nil
	})
}

// RotateCallbackKeys implements AccountService.
func (a *accountServer) RotateCallbackKeys(ctx context.Context, req *tokenv1.RotateCallbackKeysRequest) (*tokenv1.RotateCallbackKeysResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.Rotate(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.RotateCallbackKeysResponse{Account: account}, nil
}

// SetAppSecret implements AccountService.
func (a *accountServer) SetAppSecret(ctx context.Context, req *tokenv1.SetAppSecretRequest) (*tokenv1.SetAppSecretResponse, error) {
	account, err := change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.Account, error) { return s.SetAppSecret(ctx, who, req) })
	if err != nil {
		return nil, err
	}
	return &tokenv1.SetAppSecretResponse{Account: account}, nil
}

// ResealAccounts implements AccountService.
func (a *accountServer) ResealAccounts(ctx context.Context, _ *tokenv1.ResealAccountsRequest) (*tokenv1.ResealAccountsResponse, error) {
	return change(ctx, a, func(s *accounts.Store, who string) (*tokenv1.ResealAccountsResponse, error) {
		return s.Reseal(ctx, who)
	})
}

// DoctorAccount implements AccountService.
func (a *accountServer) DoctorAccount(ctx context.Context, req *tokenv1.DoctorAccountRequest) (*tokenv1.DoctorAccountResponse, error) {
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	account, ok := a.s.deps.Accounts.Get(req.GetAccount())
	if !ok {
		return nil, fault.Errorf(fault.NotFound, "account %q is not known", req.GetAccount())
	}
	return &tokenv1.DoctorAccountResponse{Checks: p.doctor.Examine(ctx, account)}, nil
}
