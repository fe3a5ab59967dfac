package grpcapi

import (
	"context"
	"errors"
	"strings"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/platform"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Kf implements KfService: WeChat's own desk.
type Kf struct {
	agentroutingv1.UnimplementedKfServiceServer

	platform *platform.Platform
	check    checker
}

// NewKf returns a server.
func NewKf(p *platform.Platform, accounts *account.Directory) *Kf {
	return &Kf{platform: p, check: checker{accounts}}
}

func checkKf(kf string) error {
	if prefix, suffix, ok := strings.Cut(kf, "@"); !ok || prefix == "" || suffix == "" || len(kf) > maxKey {
		return fault.New(fault.Invalid, "kf_account: must be prefix@account")
	}
	return nil
}

// ListKfAccounts returns the accounts of the native desk.
func (s *Kf) ListKfAccounts(ctx context.Context, in *agentroutingv1.ListKfAccountsRequest) (*agentroutingv1.ListKfAccountsResponse, error) {
	if err := s.check.account(in.GetAccount()); err != nil {
		return nil, err
	}
	found, err := s.platform.KfAccounts(ctx, in.GetAccount())
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListKfAccountsResponse{}
	for _, k := range found {
		out.Accounts = append(out.Accounts, &agentroutingv1.KfAccount{
			KfAccount: k.Account, Nickname: k.Nickname, KfId: k.ID, Avatar: k.Avatar, WechatId: k.WeChatID, Online: k.Online,
			Sessions: int32(k.Sessions), InviteWechatId: k.InviteID,
		})
	}
	return out, nil
}

// AddKfAccount adds an account of the native desk.
func (s *Kf) AddKfAccount(ctx context.Context, in *agentroutingv1.AddKfAccountRequest) (*agentroutingv1.AddKfAccountResponse, error) {
	if err := errors.Join(s.check.account(in.GetAccount()), checkKf(in.GetKfAccount()), checkText("nickname", in.GetNickname(), 1, 16)); err != nil {
		return nil, err
	}
	return &agentroutingv1.AddKfAccountResponse{}, s.platform.AddKf(ctx, in.GetAccount(), in.GetKfAccount(), in.GetNickname())
}

// UpdateKfAccount changes a nickname.
func (s *Kf) UpdateKfAccount(ctx context.Context, in *agentroutingv1.UpdateKfAccountRequest) (*agentroutingv1.UpdateKfAccountResponse, error) {
	if err := errors.Join(s.check.account(in.GetAccount()), checkKf(in.GetKfAccount()), checkText("nickname", in.GetNickname(), 1, 16)); err != nil {
		return nil, err
	}
	return &agentroutingv1.UpdateKfAccountResponse{}, s.platform.RenameKf(ctx, in.GetAccount(), in.GetKfAccount(), in.GetNickname())
}

// InviteKfWorker invites a WeChat id to work as an account of the native desk.
func (s *Kf) InviteKfWorker(ctx context.Context, in *agentroutingv1.InviteKfWorkerRequest) (*agentroutingv1.InviteKfWorkerResponse, error) {
	if err := errors.Join(s.check.account(in.GetAccount()), checkKf(in.GetKfAccount()), checkText("wechat_id", in.GetWechatId(), 1, maxName)); err != nil {
		return nil, err
	}
	return &agentroutingv1.InviteKfWorkerResponse{}, s.platform.InviteKf(ctx, in.GetAccount(), in.GetKfAccount(), in.GetWechatId())
}

// DeleteKfAccount removes an account of the native desk.
func (s *Kf) DeleteKfAccount(ctx context.Context, in *agentroutingv1.DeleteKfAccountRequest) (*agentroutingv1.DeleteKfAccountResponse, error) {
	if err := errors.Join(s.check.account(in.GetAccount()), checkKf(in.GetKfAccount())); err != nil {
		return nil, err
	}
	return &agentroutingv1.DeleteKfAccountResponse{}, s.platform.DeleteKf(ctx, in.GetAccount(), in.GetKfAccount())
}

// CreateKfSession gives a fan to an account of the native desk.
func (s *Kf) CreateKfSession(ctx context.Context, in *agentroutingv1.CreateKfSessionRequest) (*agentroutingv1.CreateKfSessionResponse, error) {
	if err := errors.Join(s.check.fan(in.GetAccount(), in.GetOpenid()), checkKf(in.GetKfAccount())); err != nil {
		return nil, err
	}
	return &agentroutingv1.CreateKfSessionResponse{}, s.platform.CreateSession(ctx, in.GetAccount(), in.GetKfAccount(), in.GetOpenid())
}

// CloseKfSession ends a session of the native desk.
func (s *Kf) CloseKfSession(ctx context.Context, in *agentroutingv1.CloseKfSessionRequest) (*agentroutingv1.CloseKfSessionResponse, error) {
	if err := errors.Join(s.check.fan(in.GetAccount(), in.GetOpenid()), checkKf(in.GetKfAccount())); err != nil {
		return nil, err
	}
	return &agentroutingv1.CloseKfSessionResponse{}, s.platform.CloseSession(ctx, in.GetAccount(), in.GetKfAccount(), in.GetOpenid())
}

// GetKfSession tells which account of the native desk serves a fan.
func (s *Kf) GetKfSession(ctx context.Context, in *agentroutingv1.GetKfSessionRequest) (*agentroutingv1.GetKfSessionResponse, error) {
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	got, err := s.platform.Session(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.GetKfSessionResponse{KfAccount: got.KfAccount, SinceUnixMs: wire.Millis(got.Since)}, nil
}

// ListKfSessions returns the sessions of one account of the native desk.
func (s *Kf) ListKfSessions(ctx context.Context, in *agentroutingv1.ListKfSessionsRequest) (*agentroutingv1.ListKfSessionsResponse, error) {
	if err := errors.Join(s.check.account(in.GetAccount()), checkKf(in.GetKfAccount())); err != nil {
		return nil, err
	}
	found, err := s.platform.Sessions(ctx, in.GetAccount(), in.GetKfAccount())
	return &agentroutingv1.ListKfSessionsResponse{Fans: kfFans(found)}, err
}

// ListKfWaiting returns the fans who wait for the native desk.
func (s *Kf) ListKfWaiting(ctx context.Context, in *agentroutingv1.ListKfWaitingRequest) (*agentroutingv1.ListKfWaitingResponse, error) {
	if err := s.check.account(in.GetAccount()); err != nil {
		return nil, err
	}
	found, total, err := s.platform.Waiting(ctx, in.GetAccount())
	return &agentroutingv1.ListKfWaitingResponse{Fans: kfFans(found), Total: int32(total)}, err
}

func kfFans(in []platform.KfFan) []*agentroutingv1.KfFan {
	var out []*agentroutingv1.KfFan
	for _, f := range in {
		out = append(out, &agentroutingv1.KfFan{Openid: f.OpenID, SinceUnixMs: wire.Millis(f.Since), KfAccount: f.Account})
	}
	return out
}
