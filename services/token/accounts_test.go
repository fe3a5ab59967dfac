package token_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/token"
)

const canaryKey = "Canary0123456789abcdefghijklmnopqrstuvwxyzA"

// creation is a valid request; every secret in it contains "Canary".
func (f *fixture) creation(name, appid string) *tokenv1.CreateAccountRequest {
	return &tokenv1.CreateAccountRequest{
		Settings: &tokenv1.AccountSettings{Name: name, Appid: appid, ApiBase: f.wechat.URL},
		Secrets:  &tokenv1.AccountSecrets{Token: "CanaryToken", EncodingAesKey: canaryKey, AppSecret: "CanarySecret"},
	}
}

func create(t testing.TB, s *token.Service, req *tokenv1.CreateAccountRequest) *tokenv1.Account {
	t.Helper()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("wxbus-actor", "li"))
	resp, err := s.Accounts().CreateAccount(ctx, req)
	require.NoError(t, err)
	return resp.GetAccount()
}

func TestAnAccountIsCreatedChangedAndDeleted(t *testing.T) {
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	api := a.Accounts()
	created := create(t, a, f.creation("club", "wx00000000000000c1"))
	require.Equal(t, tokenv1.AccountSource_ACCOUNT_SOURCE_API, created.GetSource())
	require.Equal(t, tokenv1.PushMode_PUSH_MODE_SECURE, created.GetSettings().GetMode(), "defaults are filled in")
	require.Equal(t, "li", created.GetCreatedBy())
	require.True(t, created.GetAppSecret().GetSet())
	require.Len(t, created.GetAppSecret().GetFingerprint(), 8)
	require.False(t, created.GetPreviousToken().GetSet())

	// Every replica has it without a restart.
	require.Eventually(t, func() bool { return f.dir.Find("club") != nil }, 30*time.Second, time.Millisecond)
	got, err := b.Accounts().GetAccount(t.Context(), &tokenv1.GetAccountRequest{Account: "club"})
	require.NoError(t, err)
	require.True(t, proto.Equal(created, got.GetAccount()))

	updated, err := api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{
		Account: "club", ExpectedRevision: created.GetRevision(),
		Settings:   &tokenv1.AccountSettings{OriginalId: "gh_club", ApiBase: "http://ignored.example.com", PassiveDeadline: durationpb.New(2 * time.Second)},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"original_id", "passive_deadline"}},
	})
	require.NoError(t, err)
	require.Equal(t, "gh_club", updated.GetAccount().GetSettings().GetOriginalId())
	require.Equal(t, f.wechat.URL, updated.GetAccount().GetSettings().GetApiBase(), "only what the mask names")
	require.Greater(t, updated.GetAccount().GetRevision(), created.GetRevision())
	require.Equal(t, "unknown", updated.GetAccount().GetUpdatedBy())

	_, err = api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{
		Account: "club", ExpectedRevision: created.GetRevision(),
		Settings: &tokenv1.AccountSettings{}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"original_id"}},
	})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "somebody changed it since")

	_, err = api.DeleteAccount(t.Context(), &tokenv1.DeleteAccountRequest{Account: "club"})
	require.Equal(t, fault.Refused, fault.KindOf(err), "it is in use")
	_, err = api.DisableAccount(t.Context(), &tokenv1.DisableAccountRequest{Account: "club", Reason: "moved"})
	require.NoError(t, err)
	_, err = api.DeleteAccount(t.Context(), &tokenv1.DeleteAccountRequest{Account: "club"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return f.dir.Find("club") == nil }, 30*time.Second, time.Millisecond)
	_, err = api.GetAccount(t.Context(), &tokenv1.GetAccountRequest{Account: "club"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	create(t, a, f.creation("club2", "wx00000000000000c1")) // the appid is free again
}

func TestAnAccountOfTheFileCanBeSeenAndNotChanged(t *testing.T) {
	f := setUp(t)
	api := f.replica(t, "a").Accounts()
	got, err := api.GetAccount(t.Context(), &tokenv1.GetAccountRequest{Account: "shop"})
	require.NoError(t, err)
	require.Equal(t, tokenv1.AccountSource_ACCOUNT_SOURCE_FILE, got.GetAccount().GetSource())
	require.True(t, got.GetAccount().GetToken().GetSet())
	_, e1 := api.DisableAccount(t.Context(), &tokenv1.DisableAccountRequest{Account: "shop"})
	_, e2 := api.RotateCallbackKeys(t.Context(), &tokenv1.RotateCallbackKeysRequest{Account: "shop", Token: "NewToken"})
	_, e3 := api.SetAppSecret(t.Context(), &tokenv1.SetAppSecretRequest{Account: "shop", AppSecret: "x"})
	_, e4 := api.DeleteAccount(t.Context(), &tokenv1.DeleteAccountRequest{Account: "shop"})
	_, e5 := api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{Account: "shop", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"mode"}}})
	for i, err := range []error{e1, e2, e3, e4, e5} {
		require.Equal(t, fault.Refused, fault.KindOf(err), i)
		require.ErrorContains(t, err, "managed by the configuration file", i)
	}
	_, err = api.CreateAccount(t.Context(), f.creation("shop", "wx00000000000000c1"))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	_, err = api.CreateAccount(t.Context(), f.creation("other", "wx0000000000000001"))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.ErrorContains(t, err, "account shop has it in the configuration file")
}

// TestOneAppIDIsOneAccount lets replicas create accounts with one appid, and one name, all at once.
func TestOneAppIDIsOneAccount(t *testing.T) {
	f := setUp(t)
	replicas := []*token.Service{f.replica(t, "a"), f.replica(t, "b")}
	var done sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 20 {
		done.Go(func() {
			name := fmt.Sprintf("club%d", i%5)
			_, err := replicas[i%2].Accounts().CreateAccount(t.Context(), f.creation(name, "wx00000000000000c1"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
				return
			}
			if fault.KindOf(err) != fault.Conflict {
				t.Errorf("%v", err)
			}
		})
	}
	done.Wait()
	require.Equal(t, 1, won)
}

func TestAClaimWhoseAccountWasNeverCreatedIsVoidLater(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	kv, err := f.env.JS.KeyValue(t.Context(), topology.BucketAccounts)
	require.NoError(t, err)
	key := vault.ClaimKey("wx00000000000000c1")
	box, err := vault.Seal(f.sealer, key, &tokenv1.AppIDClaim{Account: "died", ClaimedUnixMs: f.clock.Now().UnixMilli()})
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), key, box)
	require.NoError(t, err)
	_, err = s.Accounts().CreateAccount(t.Context(), f.creation("club", "wx00000000000000c1"))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.ErrorContains(t, err, "is being created")
	f.clock.Advance(time.Minute)
	create(t, s, f.creation("club", "wx00000000000000c1"))
}

func TestKeysRotateWithAnOverlapThatEnds(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	create(t, s, f.creation("club", "wx00000000000000c1"))
	rotate := func(change func(*tokenv1.RotateCallbackKeysRequest)) (*tokenv1.Account, error) {
		req := &tokenv1.RotateCallbackKeysRequest{Account: "club", Token: "CanaryFresh", Overlap: durationpb.New(time.Hour)}
		change(req)
		resp, err := s.Accounts().RotateCallbackKeys(t.Context(), req)
		return resp.GetAccount(), err
	}
	first, err := rotate(func(*tokenv1.RotateCallbackKeysRequest) {})
	require.NoError(t, err)
	require.True(t, first.GetPreviousToken().GetSet())
	require.False(t, first.GetPreviousEncodingAesKey().GetSet(), "the key did not change")
	require.Equal(t, f.clock.Now().Add(time.Hour).UnixMilli(), first.GetPreviousUntil().AsTime().UnixMilli())
	live := f.dir.Find("club")
	require.Equal(t, "CanaryFresh", live.Token.Reveal())
	require.Equal(t, "CanaryToken", live.PreviousToken.Reveal())

	again, err := rotate(func(*tokenv1.RotateCallbackKeysRequest) {})
	require.NoError(t, err)
	require.Equal(t, first.GetRevision(), again.GetRevision(), "the same rotation again changes nothing")
	_, err = rotate(func(r *tokenv1.RotateCallbackKeysRequest) { r.Token = "CanaryThird" })
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "still accepted until")
	for name, change := range map[string]func(*tokenv1.RotateCallbackKeysRequest){
		"nothing new":    func(r *tokenv1.RotateCallbackKeysRequest) { r.Token = "" },
		"a wrong key":    func(r *tokenv1.RotateCallbackKeysRequest) { r.EncodingAesKey, r.ReplacePrevious = "Canary", true },
		"a long overlap": func(r *tokenv1.RotateCallbackKeysRequest) { r.Overlap = durationpb.New(31 * 24 * time.Hour) },
		"no overlap":     func(r *tokenv1.RotateCallbackKeysRequest) { r.Overlap = durationpb.New(time.Second) },
	} {
		_, err = rotate(change)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.NotContains(t, err.Error(), "Canary", name)
	}
	f.clock.Advance(time.Hour)
	require.Eventually(t, func() bool { return f.dir.Find("club").PreviousToken.IsZero() }, 30*time.Second, 10*time.Millisecond)
	ended, err := s.Accounts().GetAccount(t.Context(), &tokenv1.GetAccountRequest{Account: "club"})
	require.NoError(t, err)
	require.Nil(t, ended.GetAccount().GetPreviousUntil())
	require.Contains(t, ended.GetAccount().GetUpdatedBy(), "overlap ended")
	third, err := rotate(func(r *tokenv1.RotateCallbackKeysRequest) {
		r.Token, r.EncodingAesKey = "CanaryThird", canaryKey[1:]+"B"
	})
	require.NoError(t, err)
	require.True(t, third.GetPreviousEncodingAesKey().GetSet())
}

func TestADisabledAccountGetsNoTokens(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	req := f.creation("club", "wx0000000000000001")
	req.Settings.Appid, req.Secrets.AppSecret = "wx00000000000000c1", "wrong"
	create(t, s, req)
	token := func() error {
		_, err := s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "club"})
		return err
	}
	require.ErrorContains(t, token(), "40125")
	normal, _, _ := f.wechat.calls()
	require.ErrorContains(t, token(), "40125")
	_, err := s.Accounts().SetAppSecret(t.Context(), &tokenv1.SetAppSecretRequest{Account: "club", AppSecret: "CanaryOther"})
	require.NoError(t, err)
	require.ErrorContains(t, token(), "40125")
	after, _, _ := f.wechat.calls()
	require.Equal(t, normal+1, after, "a new secret is tried at once, the old one is not")

	_, err = s.Accounts().DisableAccount(t.Context(), &tokenv1.DisableAccountRequest{Account: "club", Reason: "moved"})
	require.NoError(t, err)
	require.Equal(t, fault.Refused, fault.KindOf(token()))
	require.ErrorContains(t, token(), "disabled: moved")
	_, err = s.Accounts().GetTicket(t.Context(), &tokenv1.GetTicketRequest{Account: "club", Kind: jsapi})
	require.ErrorContains(t, err, "disabled")
	last, _, _ := f.wechat.calls()
	require.Equal(t, after, last)
	_, err = s.Accounts().EnableAccount(t.Context(), &tokenv1.EnableAccountRequest{Account: "club"})
	require.NoError(t, err)
	require.ErrorContains(t, token(), "40125")
}

func TestTheTokensOfADeletedAccountAreGone(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	create(t, s, f.creation("club", "wx00000000000000c1"))
	for _, key := range []string{"club", "club.jsapi"} {
		_, err := f.kv.Put(t.Context(), key, []byte("a token of the old account"))
		require.NoError(t, err)
	}
	_, err := s.Accounts().DisableAccount(t.Context(), &tokenv1.DisableAccountRequest{Account: "club"})
	require.NoError(t, err)
	_, err = s.Accounts().DeleteAccount(t.Context(), &tokenv1.DeleteAccountRequest{Account: "club"})
	require.NoError(t, err)
	for _, key := range []string{"club", "club.jsapi"} {
		_, err := f.kv.Get(t.Context(), key)
		require.Error(t, err, key)
	}
}

func TestAccountsAreListedInPagesByName(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	for i := range 5 {
		create(t, s, f.creation(fmt.Sprintf("club%d", i), fmt.Sprintf("wx00000000000000c%d", i)))
	}
	var names []string
	page := ""
	for {
		resp, err := s.Accounts().ListAccounts(t.Context(), &tokenv1.ListAccountsRequest{PageSize: 3, PageToken: page})
		require.NoError(t, err)
		require.EqualValues(t, 7, resp.GetTotal())
		for _, a := range resp.GetAccounts() {
			names = append(names, a.GetSettings().GetName())
		}
		require.NotContains(t, prototext.Format(resp), "Canary")
		if page = resp.GetNextPageToken(); page == "" {
			break
		}
	}
	require.Equal(t, []string{"club0", "club1", "club2", "club3", "club4", "mute", "shop"}, names)
	resp, err := s.Accounts().ListAccounts(t.Context(), &tokenv1.ListAccountsRequest{Filter: "c3"})
	require.NoError(t, err)
	require.Len(t, resp.GetAccounts(), 1)
	require.Equal(t, "club3", resp.GetAccounts()[0].GetSettings().GetName())
}

func TestWrongRequestsNameEveryField(t *testing.T) {
	f := setUp(t)
	api := f.replica(t, "a").Accounts()
	req := f.creation("Club!", "wx")
	req.Secrets.Token, req.Secrets.EncodingAesKey = "-Canary-", "Canary"
	_, err := api.CreateAccount(t.Context(), req)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, field := range []string{"name:", "appid:", "token:", "encoding_aes_key:"} {
		require.ErrorContains(t, err, field)
	}
	require.NotContains(t, err.Error(), "Canary")
	_, err = api.CreateAccount(t.Context(), &tokenv1.CreateAccountRequest{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	create(t, f.replica(t, "b"), f.creation("club", "wx00000000000000c1"))
	for _, path := range []string{"name", "appid", "secrets", ""} {
		_, err = api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{Account: "club", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}})
		require.Equal(t, fault.Invalid, fault.KindOf(err), path)
	}
	_, err = api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{Account: "club"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = api.UpdateAccount(t.Context(), &tokenv1.UpdateAccountRequest{
		Account: "club", Settings: &tokenv1.AccountSettings{ApiBase: "ftp://x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"api_base"}},
	})
	require.ErrorContains(t, err, "api_base:")
}

func TestAMasterKeyIsReplacedWithoutLosingAccounts(t *testing.T) {
	f := setUp(t)
	create(t, f.replica(t, "old"), f.creation("club", "wx00000000000000c1"))
	old := f.replica(t, "old2")
	get(t, old)
	next, err := secret.NewSealer(bytes.Repeat([]byte{7}, secret.KeySize), bytes.Repeat([]byte{9}, secret.KeySize))
	require.NoError(t, err)
	f.sealer = next
	s := f.replica(t, "new")
	resp, err := s.Accounts().ResealAccounts(t.Context(), &tokenv1.ResealAccountsRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 3, resp.GetResealed(), "the account, its claim, the token of shop")
	require.Empty(t, resp.GetUnreadable())

	f.sealer, err = secret.NewSealer(bytes.Repeat([]byte{7}, secret.KeySize))
	require.NoError(t, err)
	_, err = f.kv.Put(t.Context(), "strange", []byte("sealed by nobody, and long enough to look like it"))
	require.NoError(t, err)
	alone := f.replica(t, "alone")
	require.Equal(t, "CanarySecret", f.dir.Find("club").AppSecret.Reveal())
	require.EqualValues(t, 1, get(t, alone).GetGeneration(), "the token is the one that was fetched before")
	resp, err = alone.Accounts().ResealAccounts(t.Context(), &tokenv1.ResealAccountsRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 3, resp.GetCurrent())
	require.Equal(t, []string{"tokens/strange"}, resp.GetUnreadable())
}

// TestNoSecretLeavesTheService walks every way of the accounts and looks for their secrets in what the service
// says: answers, errors, logs, spans and metrics.
func TestNoSecretLeavesTheService(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	api := s.Accounts()
	var said []string
	note := func(resp proto.Message, err error) {
		said = append(said, prototext.Format(resp), fmt.Sprintf("%v %+v", err, err))
	}
	req := f.creation("club", "wx00000000000000c1")
	note(api.CreateAccount(t.Context(), req))
	note(api.CreateAccount(t.Context(), req))
	note(api.RotateCallbackKeys(t.Context(), &tokenv1.RotateCallbackKeysRequest{Account: "club", Token: "CanaryFresh", EncodingAesKey: canaryKey[1:] + "B"}))
	note(api.RotateCallbackKeys(t.Context(), &tokenv1.RotateCallbackKeysRequest{Account: "club", Token: "Canary-third"}))
	note(api.SetAppSecret(t.Context(), &tokenv1.SetAppSecretRequest{Account: "club", AppSecret: "CanaryOther"}))
	note(api.GetAccount(t.Context(), &tokenv1.GetAccountRequest{Account: "club"}))
	note(api.ListAccounts(t.Context(), &tokenv1.ListAccountsRequest{}))
	note(s.GetToken(t.Context(), &tokenv1.GetTokenRequest{Account: "club"}))
	note(api.SignJSAPI(t.Context(), &tokenv1.SignJSAPIRequest{Account: "club", Url: "https://example.com"}))
	note(api.GetTokenStatus(t.Context(), &tokenv1.GetTokenStatusRequest{Account: "club"}))
	note(api.GetCallbackIPs(t.Context(), &tokenv1.GetCallbackIPsRequest{Account: "club"}))
	note(api.DoctorAccount(t.Context(), &tokenv1.DoctorAccountRequest{Account: "club"}))
	note(api.ResealAccounts(t.Context(), &tokenv1.ResealAccountsRequest{}))
	said = append(said, f.tel.Log.String())
	for _, span := range f.tel.Spans() {
		said = append(said, fmt.Sprint(span.Name, span.Attributes, span.Status, span.Events))
	}
	metrics, err := f.tel.Registry.Gather()
	require.NoError(t, err)
	said = append(said, fmt.Sprint(metrics))
	for _, text := range said {
		require.NotContains(t, text, "Canary")
	}
	require.Contains(t, f.tel.Log.String(), "account created", "the log was looked at")
}
