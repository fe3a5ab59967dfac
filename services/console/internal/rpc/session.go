// Package rpc serves the console's own methods, behind package door.
package rpc

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/login"
	"github.com/wxbus/wxbus/services/console/internal/people"
	"github.com/wxbus/wxbus/services/console/internal/policy"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// maxSessions bounds the rows of ListSessions.
const maxSessions = 500

// Sessions is the SessionService.
type Sessions struct {
	Login *login.Service
	Store *store.Store
	Now   func() time.Time
	// Methods of log-in that the page offers.
	Methods []*consolev1.LogInMethod
	// DemoUsers returns those whose passwords the page may show, once they can log in.
	DemoUsers func(context.Context) []*consolev1.DemoUser
}

var _ consolev1connect.SessionServiceHandler = (*Sessions)(nil)

// GetSession tells who is logged in, or how to.
func (s *Sessions) GetSession(ctx context.Context, _ *connect.Request[consolev1.GetSessionRequest]) (*connect.Response[consolev1.GetSessionResponse], error) {
	out := &consolev1.GetSessionResponse{LogInMethods: s.Methods, ServerUnixMs: s.Now().UnixMilli()}
	if c := access.From(ctx); c != nil && c.Kind == access.Person {
		out.Session = s.session(c.Session, c.User)
	} else {
		out.DemoUsers = s.DemoUsers(ctx)
	}
	return connect.NewResponse(out), nil
}

func (s *Sessions) session(x *store.Session, u *store.User) *consolev1.Session {
	return &consolev1.Session{
		Id: x.ID, User: people.Public(u), Methods: policy.Methods(u.Roles), MustChangePassword: u.MustChange,
		CreatedUnixMs: x.CreatedMS, IdleUntilUnixMs: s.Login.IdleUntil(x).UnixMilli(), ExpiresUnixMs: x.ExpiresMS,
	}
}

// LogIn opens a session.
func (s *Sessions) LogIn(ctx context.Context, req *connect.Request[consolev1.LogInRequest]) (*connect.Response[consolev1.LogInResponse], error) {
	b := login.BrowserOf(ctx)
	opened, err := s.Login.LogIn(ctx, req.Msg.GetName(), req.Msg.GetPassword(), b)
	if err != nil {
		return nil, err
	}
	out := connect.NewResponse(&consolev1.LogInResponse{Session: s.session(opened.Session, opened.User)})
	setCookie(out, opened, b)
	return out, nil
}

func setCookie(out connect.AnyResponse, opened *login.Opened, b login.Browser) {
	out.Header().Add("Set-Cookie", login.CookieOf(opened.Secret, time.UnixMilli(opened.Session.ExpiresMS), b.Local).String())
}

// LogOut ends the session of the cookie.
func (s *Sessions) LogOut(ctx context.Context, _ *connect.Request[consolev1.LogOutRequest]) (*connect.Response[consolev1.LogOutResponse], error) {
	if err := s.Login.LogOut(ctx, login.BrowserOf(ctx).Secret); err != nil {
		return nil, err
	}
	out := connect.NewResponse(&consolev1.LogOutResponse{})
	for _, c := range login.Gone() {
		out.Header().Add("Set-Cookie", c.String())
	}
	return out, nil
}

// ChangePassword sets the password of the person who asks.
func (s *Sessions) ChangePassword(ctx context.Context, req *connect.Request[consolev1.ChangePasswordRequest]) (*connect.Response[consolev1.ChangePasswordResponse], error) {
	c, b := access.From(ctx), login.BrowserOf(ctx)
	opened, err := s.Login.ChangePassword(ctx, c.Name, req.Msg.GetOldPassword(), req.Msg.GetNewPassword(), b)
	if err != nil {
		return nil, err
	}
	out := connect.NewResponse(&consolev1.ChangePasswordResponse{Session: s.session(opened.Session, opened.User)})
	setCookie(out, opened, b)
	return out, nil
}

// ListSessions lists the sessions of a user, or of everybody.
func (s *Sessions) ListSessions(ctx context.Context, req *connect.Request[consolev1.ListSessionsRequest]) (*connect.Response[consolev1.ListSessionsResponse], error) {
	user := req.Msg.GetUser()
	if user == "*" {
		user = ""
	}
	found, err := s.Store.Sessions(ctx, user, maxSessions)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListSessionsResponse{}
	current := ""
	if c := access.From(ctx); c.Session != nil {
		current = c.Session.ID
	}
	for _, x := range found {
		out.Sessions = append(out.Sessions, &consolev1.SessionInfo{
			Id: x.ID, User: x.User, CreatedUnixMs: x.CreatedMS, SeenUnixMs: x.SeenMS, Address: x.Address, Agent: x.Agent, Current: x.ID == current,
		})
	}
	return connect.NewResponse(out), nil
}

// RevokeSession ends a session of the person who asks; an administrator may end anybody's.
func (s *Sessions) RevokeSession(ctx context.Context, req *connect.Request[consolev1.RevokeSessionRequest]) (*connect.Response[consolev1.RevokeSessionResponse], error) {
	c := access.From(ctx)
	of := c.Name
	if slices.Contains(c.Roles, consolev1.Role_ROLE_ADMIN) {
		of = ""
	}
	if req.Msg.GetId() == "" {
		return nil, fault.New(fault.Invalid, "id: must not be empty")
	}
	if err := s.Store.RevokeSession(ctx, req.Msg.GetId(), of); err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.RevokeSessionResponse{}), nil
}
