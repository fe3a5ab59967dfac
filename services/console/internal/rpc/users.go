package rpc

import (
	"context"
	"slices"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// Users is the UserService.
type Users struct {
	People *people.Service
	Store  *store.Store
	Login  *login.Service
}

var _ consolev1connect.UserServiceHandler = (*Users)(nil)

// ListUsers lists everybody.
func (s *Users) ListUsers(ctx context.Context, _ *connect.Request[consolev1.ListUsersRequest]) (*connect.Response[consolev1.ListUsersResponse], error) {
	found, err := s.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	locked, err := s.Login.LockedUntil(ctx)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListUsersResponse{}
	for _, u := range found {
		shown := people.Public(u)
		shown.LockedUntilUnixMs = locked[u.Name]
		out.Users = append(out.Users, shown)
	}
	return connect.NewResponse(out), nil
}

// ListColleagues lists the names of those who share an account with the person who asks.
func (s *Users) ListColleagues(ctx context.Context, _ *connect.Request[consolev1.ListColleaguesRequest]) (*connect.Response[consolev1.ListColleaguesResponse], error) {
	found, err := s.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	c := access.From(ctx)
	out := &consolev1.ListColleaguesResponse{}
	for _, u := range found {
		shared := c.All() || slices.Contains(u.Accounts, access.EveryAccount) || slices.ContainsFunc(u.Accounts, c.May)
		if shared && !u.Disabled {
			out.Colleagues = append(out.Colleagues, &consolev1.Colleague{Name: u.Name, DisplayName: u.DisplayName})
		}
	}
	return connect.NewResponse(out), nil
}

// CreateUser adds a user.
func (s *Users) CreateUser(ctx context.Context, req *connect.Request[consolev1.CreateUserRequest]) (*connect.Response[consolev1.CreateUserResponse], error) {
	m := req.Msg
	u, made, err := s.People.Create(ctx, people.Profile{Name: m.GetName(), DisplayName: m.GetDisplayName(), Roles: m.GetRoles(), Accounts: m.GetAccounts()}, m.GetPassword())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.CreateUserResponse{User: people.Public(u), Password: made}), nil
}

// UpdateUser changes a user.
func (s *Users) UpdateUser(ctx context.Context, req *connect.Request[consolev1.UpdateUserRequest]) (*connect.Response[consolev1.UpdateUserResponse], error) {
	m := req.Msg
	u, err := s.People.Update(ctx, people.Profile{Name: m.GetName(), DisplayName: m.GetDisplayName(), Roles: m.GetRoles(), Accounts: m.GetAccounts()}, m.GetRevision())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.UpdateUserResponse{User: people.Public(u)}), nil
}

// DisableUser stops or allows log-ins.
func (s *Users) DisableUser(ctx context.Context, req *connect.Request[consolev1.DisableUserRequest]) (*connect.Response[consolev1.DisableUserResponse], error) {
	u, err := s.People.Disable(ctx, req.Msg.GetName(), req.Msg.GetDisabled())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.DisableUserResponse{User: people.Public(u)}), nil
}

// ResetPassword makes a new password.
func (s *Users) ResetPassword(ctx context.Context, req *connect.Request[consolev1.ResetPasswordRequest]) (*connect.Response[consolev1.ResetPasswordResponse], error) {
	made, err := s.People.ResetPassword(ctx, req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.ResetPasswordResponse{Password: made}), nil
}
