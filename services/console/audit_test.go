package console_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

func (v *visitor) entries(t testing.TB, f *consolev1.ListAuditRequest) []*consolev1.AuditEntry {
	t.Helper()
	got, err := v.audit.ListAudit(t.Context(), connect.NewRequest(f))
	require.NoError(t, err)
	return got.Msg.GetEntries()
}

func TestEveryWriteIsAuditedAndNoReadIs(t *testing.T) {
	s := demoSite(t)
	admin, li := s.as("admin"), s.as("li")
	_, err := li.users.CreateUser(t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{Name: "me"}))
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
	created, err := admin.users.CreateUser(t.Context(), connect.NewRequest(&consolev1.CreateUserRequest{
		Name: "new", Roles: []consolev1.Role{consolev1.Role_ROLE_AGENT}, Accounts: []string{"shop"},
	}))
	require.NoError(t, err)
	require.NotEmpty(t, created.Msg.GetPassword())
	require.Error(t, s.visit().logIn(t.Context(), "new", "not the password"))
	_, err = admin.users.ListUsers(t.Context(), connect.NewRequest(&consolev1.ListUsersRequest{}))
	require.NoError(t, err)

	all := admin.entries(t, &consolev1.ListAuditRequest{})
	byAction := map[string][]*consolev1.AuditEntry{}
	for _, e := range all {
		byAction[e.GetAction()] = append(byAction[e.GetAction()], e)
	}
	require.Empty(t, byAction["wxbus.console.v1.UserService/ListUsers"])
	made := byAction["wxbus.console.v1.UserService/CreateUser"]
	require.Len(t, made, 2)
	require.Equal(t, []string{"admin", "ok", "new", "127.0.0.1"}, []string{made[0].GetActor(), made[0].GetOutcome(), made[0].GetTarget(), made[0].GetAddress()})
	require.Empty(t, made[0].GetBeforeHash())
	require.NotEmpty(t, made[0].GetAfterHash())
	require.NotEmpty(t, made[0].GetRequestDigest())
	require.Equal(t, []string{"li", "permission_denied"}, []string{made[1].GetActor(), made[1].GetOutcome()})
	failed := byAction["wxbus.console.v1.SessionService/LogIn"][0]
	require.Equal(t, []string{"", "unauthenticated", "new"}, []string{failed.GetActor(), failed.GetOutcome(), failed.GetTarget()})

	require.Len(t, admin.entries(t, &consolev1.ListAuditRequest{Actor: "li", RefusedOnly: true}), 1)
	require.Len(t, admin.entries(t, &consolev1.ListAuditRequest{Limit: 1}), 1)
	checked, err := admin.audit.CheckAudit(t.Context(), connect.NewRequest(&consolev1.CheckAuditRequest{}))
	require.NoError(t, err)
	require.True(t, checked.Msg.GetIntact())
	require.Equal(t, all[0].GetHash(), checked.Msg.GetHeadHash())
}

func TestWhatPeopleSayDoesNotReachTheAuditLog(t *testing.T) {
	s := demoSite(t)
	li, admin := s.as("li"), s.as("admin")
	say := func(text string) {
		_, err := unary[agentroutingv1.ReplyRequest, agentroutingv1.ReplyResponse](t, li, "wxbus.agentrouting.v1.ConversationService/Reply",
			&agentroutingv1.ReplyRequest{Account: "shop", Openid: "fan", Conversation: "c1", Content: &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}}})
		require.NoError(t, err)
	}
	say("1234")
	say("9999")
	got := admin.entries(t, &consolev1.ListAuditRequest{Action: "wxbus.agentrouting.v1.ConversationService/"})
	require.Len(t, got, 2)
	require.Equal(t, got[0].GetRequestDigest(), got[1].GetRequestDigest(), "a digest of a short text would give it away")
	require.Equal(t, []string{"shop", "c1"}, []string{got[0].GetAccount(), got[0].GetTarget()})
}

func TestKeysOfBusinessSystems(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	made, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{
		Name: "crm", Scopes: []string{"messages:write"}, Accounts: []string{"shop"}, ExpiresUnixMs: s.clock.Now().Add(time.Hour).UnixMilli(),
	}))
	require.NoError(t, err)
	bearer := "Bearer " + made.Msg.GetSecret()
	send := func(account string) int {
		return s.call("POST", "/api/v1/accounts/"+account+"/messages", hello, "Idempotency-Key", "k", "Authorization", bearer).status
	}
	require.Equal(t, 202, send("shop"))
	require.Equal(t, 404, send("club"))
	require.Equal(t, 403, s.call("GET", "/api/v1/accounts/shop/fans/fan/quota", "", "Authorization", bearer).status, "the key may send only")
	require.Equal(t, 401, s.call("POST", sendPath, hello, "Idempotency-Key", "k", "Authorization", bearer+"x").status)

	list := func() []*consolev1.ApiKey {
		got, err := admin.keys.ListApiKeys(t.Context(), connect.NewRequest(&consolev1.ListApiKeysRequest{}))
		require.NoError(t, err)
		require.NotEmpty(t, got.Msg.GetScopes())
		return got.Msg.GetKeys()
	}
	require.Equal(t, s.clock.Now().UnixMilli(), list()[0].GetLastUsedUnixMs())
	require.NotContains(t, list()[0].String(), made.Msg.GetSecret()[20:])

	s.clock.Advance(time.Hour)
	require.Equal(t, 401, send("shop"), "expired")

	second, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{Name: "shop", Scopes: []string{"*"}, Accounts: []string{"*"}}))
	require.NoError(t, err)
	bearer = "Bearer " + second.Msg.GetSecret()
	require.Equal(t, 202, send("club"))
	_, err = admin.keys.RevokeApiKey(t.Context(), connect.NewRequest(&consolev1.RevokeApiKeyRequest{Id: second.Msg.GetKey().GetId()}))
	require.NoError(t, err)
	s.clock.Advance(2 * time.Second)
	require.Equal(t, 401, send("club"), "revoked")

	for field, bad := range map[string]*consolev1.CreateApiKeyRequest{
		"name": {Scopes: []string{"*"}, Accounts: []string{"*"}}, "scopes": {Name: "x", Accounts: []string{"*"}},
		"accounts": {Name: "x", Scopes: []string{"*"}}, "expires_unix_ms": {Name: "x", Scopes: []string{"*"}, Accounts: []string{"*"}, ExpiresUnixMs: 1},
	} {
		_, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(bad))
		require.Equal(t, field, detail(t, err).GetField())
	}
}

func TestUsersAreChangedDisabledAndHelped(t *testing.T) {
	s := demoSite(t)
	admin, li := s.as("admin"), s.as("li")
	ctx := context.Background()
	all, err := admin.users.ListUsers(ctx, connect.NewRequest(&consolev1.ListUsersRequest{}))
	require.NoError(t, err)
	var row *consolev1.User
	for _, u := range all.Msg.GetUsers() {
		if u.GetName() == "li" {
			row = u
		}
	}
	update := &consolev1.UpdateUserRequest{Name: "li", Revision: row.GetRevision(), DisplayName: "李雷", Roles: []consolev1.Role{consolev1.Role_ROLE_OPERATOR}, Accounts: []string{"shop"}}
	changed, err := admin.users.UpdateUser(ctx, connect.NewRequest(update))
	require.NoError(t, err)
	require.Equal(t, "李雷", changed.Msg.GetUser().GetDisplayName())
	_, err = admin.users.UpdateUser(ctx, connect.NewRequest(update))
	require.Equal(t, connect.CodeAborted, connect.CodeOf(err), "somebody else was faster")
	require.NotContains(t, li.session(t).GetMethods(), "wxbus.agentrouting.v1.ConversationService/Reply", "a lost role is lost at once")

	disable := func(name string, off bool) error {
		_, err := admin.users.DisableUser(ctx, connect.NewRequest(&consolev1.DisableUserRequest{Name: name, Disabled: off}))
		return err
	}
	require.NoError(t, disable("li", true))
	require.Nil(t, li.session(t))
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(li.logIn(ctx, "li", passwords["li"])))
	require.NoError(t, disable("li", false))
	require.NoError(t, li.logIn(ctx, "li", passwords["li"]))
	err = disable("admin", true)
	require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err), "one administrator remains")

	reset, err := admin.users.ResetPassword(ctx, connect.NewRequest(&consolev1.ResetPasswordRequest{Name: "li"}))
	require.NoError(t, err)
	require.Nil(t, li.session(t))
	require.NoError(t, li.logIn(ctx, "li", reset.Msg.GetPassword()))
	require.True(t, li.session(t).GetMustChangePassword())

	colleagues, err := admin.users.ListColleagues(ctx, connect.NewRequest(&consolev1.ListColleaguesRequest{}))
	require.NoError(t, err)
	require.Len(t, colleagues.Msg.GetColleagues(), 4)
}

func TestWhoReadsWhatAFanSaidIsWrittenDownOnceInAWhile(t *testing.T) {
	s := demoSite(t, busy)
	admin, li, wang := s.as("admin"), s.as("li"), s.as("wang")
	const action = "wxbus.agentrouting.v1.ConversationService/GetMedia"
	for range 3 {
		require.Equal(t, http.StatusOK, li.file(t, "picture").status) // a page asks again and again
	}
	require.Equal(t, http.StatusOK, wang.file(t, "picture").status)
	require.Equal(t, http.StatusNotFound, li.file(t, "nothing-of-the-kind?playable=1").status)
	require.Equal(t, http.StatusUnauthorized, s.visit().file(t, "picture").status)
	s.clock.Advance(16 * time.Minute)
	require.Equal(t, http.StatusOK, li.file(t, "picture").status)
	var seen [][]string
	require.Eventually(t, func() bool {
		seen = nil
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{}) {
			if e.GetAction() == action && e.GetTarget() == "picture" {
				seen = append(seen, []string{e.GetActor(), e.GetAccount(), e.GetOutcome()})
			}
		}
		return len(seen) >= 3
	}, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, [][]string{{"li", "shop", "ok"}, {"wang", "shop", "ok"}, {"li", "shop", "ok"}}, seen)
}

func TestAChangeHasAnEntryBeforeItIsMade(t *testing.T) {
	s := demoSite(t)
	li, admin := s.as("li"), s.as("admin")
	const action = "wxbus.agentrouting.v1.ConversationService/Reply"
	var open []*consolev1.AuditEntry
	s.backend.before(func() { open = admin.entries(t, &consolev1.ListAuditRequest{OpenOnly: true}) })
	_, err := unary[agentroutingv1.ReplyRequest, agentroutingv1.ReplyResponse](t, li, action,
		&agentroutingv1.ReplyRequest{Account: "shop", Openid: "fan", Conversation: "c1", Content: &eventv1.Content{}})
	require.NoError(t, err)
	require.Len(t, open, 1, "whoever dies in the middle of the change leaves this")
	require.Equal(t, []string{"li", action, "shop", "c1", "attempted"}, []string{open[0].GetActor(), open[0].GetAction(), open[0].GetAccount(), open[0].GetTarget(), open[0].GetOutcome()})
	require.NotEmpty(t, open[0].GetRequestDigest())

	require.Empty(t, admin.entries(t, &consolev1.ListAuditRequest{OpenOnly: true}), "its end is known")
	ends := admin.entries(t, &consolev1.ListAuditRequest{Action: action})
	require.Len(t, ends, 1, "one line for one change")
	require.Equal(t, []string{"ok", open[0].GetAttempt()}, []string{ends[0].GetOutcome(), ends[0].GetAttempt()})
	checked, err := admin.audit.CheckAudit(t.Context(), connect.NewRequest(&consolev1.CheckAuditRequest{}))
	require.NoError(t, err)
	require.True(t, checked.Msg.GetIntact())

	s.backend.before(nil)
	key, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{Name: "crm", Scopes: []string{"messages:write"}, Accounts: []string{"shop"}}))
	require.NoError(t, err)
	require.Equal(t, 202, s.call("POST", sendPath, hello, "Idempotency-Key", "k", "Authorization", "Bearer "+key.Msg.GetSecret()).status)
	require.Eventually(t, func() bool {
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{Action: "POST /api/v1/"}) {
			if e.GetOutcome() == "ok" && e.GetAttempt() != "" {
				return true
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond, "a business system's change begins with one too")
}

func TestWhoReadsFansAndListsIsWrittenDown(t *testing.T) {
	s := demoSite(t, busy)
	admin, li := s.as("admin"), s.as("li")
	const service = "wxbus.agentrouting.v1.ConversationService/"
	for range 2 { // a page asks again and again
		for _, openid := range []string{"fan-a", "fan-b"} {
			_, err := unary[agentroutingv1.GetFanRequest, agentroutingv1.GetFanResponse](t, li, service+"GetFan", &agentroutingv1.GetFanRequest{Account: "shop", Openid: openid})
			require.NoError(t, err)
		}
		_, err := unary[agentroutingv1.ListWaitingRequest, agentroutingv1.ListWaitingResponse](t, li, service+"ListWaiting", &agentroutingv1.ListWaitingRequest{Account: "shop"})
		require.NoError(t, err)
	}
	var cards, lists map[string]int
	require.Eventually(t, func() bool {
		cards, lists = map[string]int{}, map[string]int{}
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{Actor: "li", Action: service}) {
			if e.GetAction() == service+"GetFan" {
				cards[e.GetTarget()]++
			} else {
				lists[e.GetAction()]++
			}
		}
		return len(cards) == 2 && len(lists) == 1
	}, 30*time.Second, 20*time.Millisecond)
	for target, n := range cards {
		require.Equal(t, 1, n)
		require.Regexp(t, "^fan-[0-9a-f]{16}$", target, "never an openid in the clear")
	}
	require.Equal(t, map[string]int{service + "ListWaiting": 1}, lists)
}

func TestWhoReadsAPersonReadsEachOfTheirFans(t *testing.T) {
	s := demoSite(t, busy)
	admin, li := s.as("admin"), s.as("li")
	const action = "wxbus.agentrouting.v1.ConversationService/ListPersonEntries"
	read := func(v *visitor, account string) {
		_, err := unary[agentroutingv1.ListPersonEntriesRequest, agentroutingv1.ListPersonEntriesResponse](t, v, action,
			&agentroutingv1.ListPersonEntriesRequest{Account: account, Openid: "fan"})
		require.NoError(t, err)
	}
	for range 2 {
		read(li, "shop")
	}
	var seen map[string]int
	require.Eventually(t, func() bool {
		seen = map[string]int{}
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{Actor: "li", Action: action}) {
			require.Regexp(t, "^fan-[0-9a-f]{16}$", e.GetTarget(), "never an openid in the clear")
			seen[e.GetAccount()]++
		}
		return len(seen) == 2
	}, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, map[string]int{"shop": 1, "club": 1}, seen)

	require.Empty(t, s.backend.accountsTold(), "li may see every account")
	read(s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_AGENT), "shop")
	require.Equal(t, []string{"shop", "-"}, s.backend.accountsTold(), "the service leaves out what the caller may not see")
}

func TestListsThatAreReadByKeyAreWrittenDown(t *testing.T) {
	s := demoSite(t, busy)
	admin := s.as("admin")
	made, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{Name: "crm", Scopes: []string{"desk:read"}, Accounts: []string{"shop", "club"}}))
	require.NoError(t, err)
	read := func(path string) int {
		return s.call("GET", "/api/v1"+path, "", "Authorization", "Bearer "+made.Msg.GetSecret()).status
	}
	for range 3 { // a page asks every two seconds
		require.Equal(t, http.StatusOK, read("/accounts/shop/waiting"))
		require.Equal(t, http.StatusOK, read("/desk"))
	}
	require.Equal(t, http.StatusNotFound, read("/accounts/none/waiting"), "who sees nothing leaves nothing")
	want := map[[2]string]int{
		{"GET /api/v1/accounts/{account}/waiting", "shop"}: 1, {"GET /api/v1/desk", "shop"}: 1, {"GET /api/v1/desk", "club"}: 1,
	}
	var seen map[[2]string]int
	require.Eventually(t, func() bool {
		seen = map[[2]string]int{}
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{Actor: "key:" + made.Msg.GetKey().GetId(), Action: "GET /api/v1/"}) {
			seen[[2]string{e.GetAction(), e.GetAccount()}]++
		}
		return len(seen) == len(want)
	}, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, want, seen)
}
