package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/console"
	"github.com/wxbus/wxbus/services/console/internal/policy"
)

// packages whose services stand behind the door.
var packages = []protoreflect.FullName{"wxbus.console.v1", "wxbus.rule.v1", "wxbus.token.v1", "wxbus.sender.v1", "wxbus.agentrouting.v1"}

// methods returns every method of every service behind the door, by package.Service/Method.
func methods() map[string]protoreflect.MethodDescriptor {
	out := map[string]protoreflect.MethodDescriptor{}
	for _, pkg := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				for j := range f.Services().Get(i).Methods().Len() {
					m := f.Services().Get(i).Methods().Get(j)
					out[string(m.Parent().FullName())+"/"+string(m.Name())] = m
				}
			}
			return true
		})
	}
	return out
}

func TestEveryMethodHasItsLineInThePolicy(t *testing.T) {
	served := methods()
	for name, m := range served {
		a, ok := policy.Of(name)
		require.True(t, ok, "%s is not in the policy: say who may call it", name)
		if a.Hidden {
			continue
		}
		require.False(t, m.IsStreamingClient(), "%s: browsers cannot stream requests", name)
		require.True(t, a.Open || len(a.Roles) > 0, "%s: no role may call it", name)
		require.True(t, a.Scope == "" || policy.IsScope(a.Scope), name)
		for _, path := range []string{a.Account, a.Self, a.Target} {
			require.True(t, path == "" || hasField(m.Input(), path), "%s: no field %s in the request", name, path)
		}
		for _, field := range []string{"account", "openid"} {
			require.True(t, a.Shows == "" || hasField(m.Output(), a.Shows+"."+field), "%s: no fans in %s of the answer", name, a.Shows)
		}
		require.True(t, a.Keep == "" || hasField(m.Output(), a.Keep), "%s: no field %s in the answer", name, a.Keep)
		if f := m.Input().Fields().ByName("account"); f != nil && f.Kind() == protoreflect.StringKind {
			require.True(t, a.Account != "" || a.Global, "%s has an account: say so in the policy", name)
		}
		if m.Input().Fields().ByName("actor") != nil && !strings.HasSuffix(name, "/ListAudit") {
			require.NotEmpty(t, a.Self, "%s has an actor: say so in the policy", name)
		}
	}
	for _, name := range policy.All() {
		require.Contains(t, served, name, "the policy has a line for a method that does not exist")
	}
}

func hasField(m protoreflect.MessageDescriptor, path string) bool {
	name, rest, more := strings.Cut(path, ".")
	f := m.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		return false
	}
	if !more {
		return f.Kind() == protoreflect.StringKind
	}
	return f.Message() != nil && hasField(f.Message(), rest)
}

// try calls a method with an empty request and returns the code of the answer; zero for success.
func (v *visitor) try(t testing.TB, name string, m protoreflect.MethodDescriptor) connect.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := connect.NewClient[dynamicpb.Message, dynamicpb.Message](v.http, v.url+"/api/"+name, connect.WithSchema(m),
		connect.WithResponseInitializer(func(_ connect.Spec, msg any) error {
			*msg.(*dynamicpb.Message) = *dynamicpb.NewMessage(m.Output())
			return nil
		}))
	var err error
	if m.IsStreamingServer() {
		var stream *connect.ServerStreamForClient[dynamicpb.Message]
		stream, err = c.CallServerStream(ctx, connect.NewRequest(dynamicpb.NewMessage(m.Input())))
		if err == nil {
			if !stream.Receive() {
				err = stream.Err()
			}
			_ = stream.Close()
		}
	} else {
		_, err = c.CallUnary(ctx, connect.NewRequest(dynamicpb.NewMessage(m.Input())))
	}
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	return connect.CodeOf(err)
}

// person makes a user with one role and returns their browser.
func (s *site) person(admin *visitor, name string, accounts []string, roles ...consolev1.Role) *visitor {
	s.t.Helper()
	_, err := admin.users.CreateUser(s.t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{Name: name, Roles: roles, Accounts: accounts, Password: "password of " + name}))
	require.NoError(s.t, err)
	v := s.visit()
	require.NoError(s.t, v.logIn(s.t.Context(), name, "password of "+name))
	return v
}

func (s *site) key(admin *visitor, accounts []string, scopes ...string) *visitor {
	s.t.Helper()
	got, err := admin.keys.CreateApiKey(s.t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{Name: "k", Scopes: scopes, Accounts: accounts}))
	require.NoError(s.t, err)
	return s.visit("Authorization", "Bearer "+got.Msg.GetSecret())
}

func busy(c *console.Config) { c.RateLimit, c.RateBurst = 1e6, 1_000_000 }

// The golden file is the whole matrix, to be read in review like code: who may call which method.
func TestEveryMethodIsAllowedToItsRolesAndScopesAndToNobodyElse(t *testing.T) {
	s := demoSite(t, busy)
	admin := s.as("admin")
	columns := []string{"nobody", "agent", "supervisor", "operator", "admin", "every scope", "other scopes", "limited admin"}
	all := []string{"*"}
	who := map[string]*visitor{
		"nobody":        s.visit(),
		"agent":         s.person(admin, "an-agent", all, consolev1.Role_ROLE_AGENT),
		"supervisor":    s.person(admin, "a-supervisor", all, consolev1.Role_ROLE_SUPERVISOR),
		"operator":      s.person(admin, "an-operator", all, consolev1.Role_ROLE_OPERATOR),
		"admin":         s.person(admin, "an-admin", all, consolev1.Role_ROLE_ADMIN),
		"every scope":   s.key(admin, all, "*"),
		"limited admin": s.person(admin, "a-limited-admin", []string{"shop"}, consolev1.Role_ROLE_AGENT, consolev1.Role_ROLE_SUPERVISOR, consolev1.Role_ROLE_OPERATOR, consolev1.Role_ROLE_ADMIN),
	}
	without := map[string]*visitor{} // a key with every scope but one
	for _, missing := range policy.Scopes() {
		var scopes []string
		for _, scope := range policy.Scopes() {
			if scope != missing {
				scopes = append(scopes, scope.Name)
			}
		}
		without[missing.Name] = s.key(admin, all, scopes...)
	}
	var golden strings.Builder
	fmt.Fprintf(&golden, "%-62s %s\n", "method", strings.Join(columns, " | "))
	served := methods()
	for _, name := range policy.All() {
		if strings.HasSuffix(name, "SessionService/LogOut") || strings.HasSuffix(name, "SessionService/LogIn") {
			continue // open to all; one would end a session, the other refuses a wrong password with the same code
		}
		a, _ := policy.Of(name)
		who["other scopes"] = who["nobody"]
		if a.Scope != "" {
			who["other scopes"] = without[a.Scope]
		}
		row := make([]string, len(columns))
		for i, column := range columns {
			code := who[column].try(t, name, served[name])
			row[i] = strings.Repeat(" ", len(column)-1)
			switch code {
			case connect.CodeUnauthenticated, connect.CodePermissionDenied:
				row[i] += "-"
			case connect.CodeUnimplemented:
				row[i] += mark(a.Hidden, ".", "x") // the services behind are not there in this test
			default:
				row[i] += "x"
			}
		}
		fmt.Fprintf(&golden, "%-62s %s\n", strings.TrimPrefix(name, "wxbus."), strings.Join(row, " | "))
	}
	testkit.Golden(t, "access.golden", golden.String())
}

func mark(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func TestPeopleActAsThemselves(t *testing.T) {
	s := demoSite(t)
	li, wang := s.as("li"), s.as("wang")
	accept := func(v *visitor, agent string) error {
		_, err := unary[agentroutingv1.ReplyRequest, agentroutingv1.ReplyResponse](t, v, "wxbus.agentrouting.v1.ConversationService/Reply",
			&agentroutingv1.ReplyRequest{Account: "shop", Openid: "fan", Agent: agent})
		return err
	}
	require.NoError(t, accept(li, ""))
	require.NoError(t, accept(li, "li"))
	err := accept(li, "wang")
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
	require.Equal(t, "agent", detail(t, err).GetField())
	require.Error(t, accept(wang, "li"), "a supervisor answers as themselves too")
	for _, r := range s.backend.answers() {
		require.Equal(t, "li", r.GetAgent())
	}
	require.Equal(t, []string{"li", "li"}, s.backend.actors(), "the services know who acts")

	list := func(v *visitor, agent string) error {
		_, err := unary[agentroutingv1.ListServingRequest, agentroutingv1.ListServingResponse](t, v, "wxbus.agentrouting.v1.ConversationService/ListServing",
			&agentroutingv1.ListServingRequest{Agent: agent})
		return err
	}
	require.Error(t, list(li, "wang"))
	require.NoError(t, list(wang, "li"), "a supervisor may look at others")
}

func TestPeopleStayWithinTheirAccounts(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	one := s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_OPERATOR, consolev1.Role_ROLE_ADMIN)
	two := s.person(admin, "two", []string{"shop", "club"}, consolev1.Role_ROLE_OPERATOR)
	quota := func(v *visitor, account string) error {
		_, err := unary[senderv1.GetQuotaRequest, senderv1.GetQuotaResponse](t, v, "wxbus.sender.v1.SenderService/GetQuota", &senderv1.GetQuotaRequest{Account: account, Openid: "fan"})
		return err
	}
	require.NoError(t, quota(one, ""), "the only account is filled in")
	require.NoError(t, quota(one, "shop"))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(quota(one, "club")), "as if it were not there")
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(quota(one, "none")))
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(quota(two, "")))
	require.NoError(t, quota(two, "club"))
	require.NoError(t, quota(admin, "club"))

	got, err := one.status.GetStatus(t.Context(), connect.NewRequest(&consolev1.GetStatusRequest{}))
	require.NoError(t, err)
	require.Len(t, got.Msg.GetAccounts(), 1, "lists hold only what one may see")

	batch := func(accounts ...string) error {
		in := &senderv1.SendBatchRequest{}
		for _, a := range accounts {
			in.Requests = append(in.Requests, &senderv1.SendRequest{Account: a})
		}
		_, err := unary[senderv1.SendBatchRequest, senderv1.SendBatchResponse](t, one, "wxbus.sender.v1.SenderService/SendBatch", in)
		return err
	}
	require.NoError(t, batch("shop", "shop"))
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(batch("shop", "club")), "one of many is enough")

	_, err = one.users.CreateUser(t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{Name: "me-too", Roles: []consolev1.Role{consolev1.Role_ROLE_ADMIN}, Accounts: []string{"*"}}))
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err), "nobody gives away more than they have")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	s.backend.failWith(errors.New("pq: relation sends does not exist"))
	_, err := unary[senderv1.GetQuotaRequest, senderv1.GetQuotaResponse](t, admin, "wxbus.sender.v1.SenderService/GetQuota", &senderv1.GetQuotaRequest{Account: "shop"})
	require.Equal(t, connect.CodeInternal, connect.CodeOf(err))
	require.NotContains(t, err.Error(), "relation")
	d := detail(t, err)
	require.Len(t, d.GetErrorId(), 8)
	require.Contains(t, err.Error(), d.GetErrorId())
	require.NotEmpty(t, d.GetFix())

	_, err = admin.users.CreateUser(t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{Name: "Li Lei"}))
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	require.Equal(t, []string{"invalid", "name"}, []string{detail(t, err).GetKind(), detail(t, err).GetField()})
	_, err = admin.users.CreateUser(t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{Name: "li", Roles: []consolev1.Role{1}, Accounts: []string{"*"}}))
	require.Equal(t, connect.CodeAborted, connect.CodeOf(err))

	got := s.call("POST", "/api/wxbus.none.v1.None/None", "{}", "Content-Type", "application/json")
	require.Equal(t, 404, got.status)
	require.Contains(t, got.text, "no such path")
}

// unary calls a method with generated types.
func unary[Req, Res any](t testing.TB, v *visitor, name string, in *Req) (*Res, error) {
	t.Helper()
	got, err := connect.NewClient[Req, Res](v.http, v.url+"/api/"+name).CallUnary(t.Context(), connect.NewRequest(in))
	if err != nil {
		return nil, err
	}
	return got.Msg, nil
}

func (b *backend) actors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acted
}
