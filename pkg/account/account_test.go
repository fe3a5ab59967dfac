package account_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
)

const aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func shop() account.Account {
	a := account.Account{
		Name: "shop", AppID: "wx0123456789abcdef",
		Token: secret.New("AAAAA"), EncodingAESKey: secret.New(aesKey),
	}
	a.SetDefaults()
	return a
}

func TestDefaults(t *testing.T) {
	a := shop()
	require.NoError(t, a.Validate())
	require.Equal(t, account.KindService, a.Kind)
	require.Equal(t, account.FormatXML, a.Format)
	require.Equal(t, account.ModeSecure, a.Mode)
	require.Equal(t, account.ReplyAck, a.Reply)
	require.Equal(t, account.AmbiguousDrop, a.Ambiguous)
	require.Equal(t, account.TokenAPIStable, a.TokenAPI)
	require.Equal(t, "https://api.weixin.qq.com", a.APIBase)

	a.Format = account.FormatJSON
	a.SetDefaults()
	require.Equal(t, account.FormatJSON, a.Format, "what is set stays")
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*account.Account)
		want   string // "" is valid
	}{
		"AppID of a Mini Program store":     {func(a *account.Account) { a.AppID = "gh_test-1" }, ""},
		"plaintext needs no key":            {func(a *account.Account) { a.Mode, a.EncodingAESKey = "plaintext", secret.Value{} }, ""},
		"passive Mini Program":              {func(a *account.Account) { a.Kind, a.Reply = "miniprogram", "passive" }, ""},
		"local API for tests":               {func(a *account.Account) { a.APIBase = "http://127.0.0.1:8082" }, ""},
		"name missing":                      {func(a *account.Account) { a.Name = "" }, "name: must be"},
		"name that is two subject tokens":   {func(a *account.Account) { a.Name = "shop.cn" }, "name: must be"},
		"name that is a wildcard":           {func(a *account.Account) { a.Name = "*" }, "name: must be"},
		"name in upper case":                {func(a *account.Account) { a.Name = "Shop" }, "name: must be"},
		"name of 64 characters":             {func(a *account.Account) { a.Name = strings.Repeat("a", 64) }, "name: must be"},
		"name with a newline at the end":    {func(a *account.Account) { a.Name = "shop\n" }, "name: must be"},
		"AppID too short":                   {func(a *account.Account) { a.AppID = "wx" }, "appid: must be"},
		"token missing":                     {func(a *account.Account) { a.Token = secret.Value{} }, "token: must be set"},
		"token of two characters":           {func(a *account.Account) { a.Token = secret.New("ab") }, "token: must be 3 to 32"},
		"token of 33 characters":            {func(a *account.Account) { a.Token = secret.New(strings.Repeat("a", 33)) }, "token: must be 3 to 32"},
		"token with a sign":                 {func(a *account.Account) { a.Token = secret.New("to-ken") }, "token: must be 3 to 32"},
		"previous token wrong":              {func(a *account.Account) { a.PreviousToken = secret.New("!") }, "previous_token: must be"},
		"key missing in secure mode":        {func(a *account.Account) { a.EncodingAESKey = secret.Value{} }, "encoding_aes_key: must be set"},
		"key missing in compatible mode":    {func(a *account.Account) { a.Mode, a.EncodingAESKey = "compatible", secret.Value{} }, "encoding_aes_key: must be set"},
		"key of 42 characters":              {func(a *account.Account) { a.EncodingAESKey = secret.New(aesKey[1:]) }, "encoding_aes_key: must be 43 characters"},
		"previous key with a sign":          {func(a *account.Account) { a.PreviousEncodingAESKey = secret.New("+" + aesKey[1:]) }, "previous_encoding_aes_key: must be 43"},
		"unknown kind":                      {func(a *account.Account) { a.Kind = "bot" }, "kind: must be one of service, subscription, miniprogram"},
		"unknown format":                    {func(a *account.Account) { a.Format = "yaml" }, "format: must be one of"},
		"unknown mode":                      {func(a *account.Account) { a.Mode = "" }, "mode: must be one of"},
		"unknown reply":                     {func(a *account.Account) { a.Reply = "later" }, "reply: must be one of"},
		"unknown policy for the ambiguous":  {func(a *account.Account) { a.Ambiguous = "guess" }, "ambiguous: must be one of"},
		"unknown token endpoint":            {func(a *account.Account) { a.TokenAPI = "v2" }, "token_api: must be one of"},
		"API base that is no URL":           {func(a *account.Account) { a.APIBase = "api.weixin.qq.com" }, "api_base: must be an http"},
		"API base with a slash at the end":  {func(a *account.Account) { a.APIBase += "/" }, "api_base: must not end"},
		"API base with a secret in it":      {func(a *account.Account) { a.APIBase = "https://a:b@h" }, "api_base: must have no user"},
		"deadline when WeChat has hung up":  {func(a *account.Account) { a.PassiveDeadline = 5 * time.Second }, "passive_deadline: must be between"},
		"deadline before the push came in":  {func(a *account.Account) { a.PassiveDeadline = -1 }, "passive_deadline: must be between"},
		"deadline shortly before it does":   {func(a *account.Account) { a.PassiveDeadline = 4900 * time.Millisecond }, ""},
		"insecure mode is for the gateway ": {func(a *account.Account) { a.Mode = "compatible" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := shop()
			tt.change(&a)
			err := a.Validate()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Len(t, strings.Split(err.Error(), "\n"), 1, "one fault, one error")
		})
	}
}

func TestValidateReportsEverythingWithoutSecrets(t *testing.T) {
	err := account.Account{Token: secret.New("bad-token-canary")}.Validate()
	for _, field := range []string{"name", "appid", "token", "kind", "format", "mode", "reply", "ambiguous", "token_api", "api_base"} {
		require.Contains(t, "\n"+err.Error(), "\n"+field+": ")
	}
	require.NotContains(t, err.Error(), "canary")
}

func TestAllowsKf(t *testing.T) {
	yes, no := true, false
	for name, tt := range map[string]struct {
		reply account.Reply
		kf    *bool
		want  bool
	}{
		"ack":                  {"ack", nil, true},
		"passive":              {"passive", nil, true},
		"stretch":              {"stretch", nil, false},
		"stretch with the API": {"stretch", &yes, true},
		"passive without":      {"passive", &no, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, account.Account{Reply: tt.reply, KfAPI: tt.kf}.AllowsKf())
		})
	}
}

func TestProtoEnumsCoverEveryValue(t *testing.T) {
	kinds := map[eventv1.AccountKind]bool{}
	for _, k := range []account.Kind{"service", "subscription", "miniprogram"} {
		kinds[account.Account{Kind: k}.ProtoKind()] = true
	}
	require.Len(t, kinds, len(eventv1.AccountKind_name)-1)
	replies := map[eventv1.ReplyMode]bool{}
	for _, r := range []account.Reply{"ack", "passive", "stretch"} {
		replies[account.Account{Reply: r}.ProtoReply()] = true
	}
	require.Len(t, replies, len(eventv1.ReplyMode_name)-1)
	require.False(t, kinds[eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED])
	require.False(t, replies[eventv1.ReplyMode_REPLY_MODE_UNSPECIFIED])
	require.Zero(t, account.Account{Kind: "?"}.ProtoKind())
	require.Zero(t, account.Account{Reply: "?"}.ProtoReply())
}

func TestDirectory(t *testing.T) {
	a, b := shop(), shop()
	b.Name, b.AppID, b.APIBase = "club", "wxfedcba9876543210", ""
	d, err := account.NewDirectory([]account.Account{a, b})
	require.NoError(t, err)
	require.Equal(t, 2, d.Len())

	got, ok := d.Get("club")
	require.True(t, ok)
	require.Equal(t, account.DefaultAPIBase, got.APIBase, "defaults are filled in")
	got, ok = d.ByAppID("wx0123456789abcdef")
	require.True(t, ok)
	require.Equal(t, "shop", got.Name)
	_, ok = d.Get("wx0123456789abcdef")
	require.False(t, ok)
	_, ok = d.ByAppID("")
	require.False(t, ok)

	d.All()[0].Name = "changed"
	_, ok = d.Get("shop")
	require.True(t, ok)
	require.Equal(t, "shop", d.All()[0].Name, "callers get copies")
}

func TestDirectoryRefuses(t *testing.T) {
	a, b, c := shop(), shop(), shop()
	b.AppID = "wxfedcba9876543210"
	c.Name, c.Token = "other", secret.New("!")
	_, err := account.NewDirectory([]account.Account{a, b, c})
	require.EqualError(t, err, "accounts[1].name: same as accounts[0].name\n"+
		"accounts[2].token: must be 3 to 32 letters and digits\n"+
		"accounts[2].appid: same as accounts[0].appid")
}
