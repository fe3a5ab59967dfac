package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// accountService remembers the last request and who asked.
type accountService struct {
	tokenv1.UnimplementedAccountServiceServer
	got   proto.Message
	actor string
	alarm bool
}

func (s *accountService) note(ctx context.Context, req proto.Message) *tokenv1.Account {
	md, _ := metadata.FromIncomingContext(ctx)
	s.got, s.actor = req, strings.Join(md.Get("wxbus-actor"), ",")
	return &tokenv1.Account{Settings: &tokenv1.AccountSettings{Name: "club", Appid: "wx00000000000000c1"}, Revision: 7, AppSecret: &tokenv1.SecretState{Set: true, Fingerprint: "0a1b2c3d"}}
}

func (s *accountService) CreateAccount(ctx context.Context, r *tokenv1.CreateAccountRequest) (*tokenv1.CreateAccountResponse, error) {
	return &tokenv1.CreateAccountResponse{Account: s.note(ctx, r)}, nil
}

func (s *accountService) UpdateAccount(ctx context.Context, r *tokenv1.UpdateAccountRequest) (*tokenv1.UpdateAccountResponse, error) {
	return &tokenv1.UpdateAccountResponse{Account: s.note(ctx, r)}, nil
}

func (s *accountService) DisableAccount(ctx context.Context, r *tokenv1.DisableAccountRequest) (*tokenv1.DisableAccountResponse, error) {
	return &tokenv1.DisableAccountResponse{Account: s.note(ctx, r)}, nil
}

func (s *accountService) RotateCallbackKeys(ctx context.Context, r *tokenv1.RotateCallbackKeysRequest) (*tokenv1.RotateCallbackKeysResponse, error) {
	return &tokenv1.RotateCallbackKeysResponse{Account: s.note(ctx, r)}, nil
}

func (s *accountService) SetAppSecret(ctx context.Context, r *tokenv1.SetAppSecretRequest) (*tokenv1.SetAppSecretResponse, error) {
	return &tokenv1.SetAppSecretResponse{Account: s.note(ctx, r)}, nil
}

func (s *accountService) ListAccounts(ctx context.Context, r *tokenv1.ListAccountsRequest) (*tokenv1.ListAccountsResponse, error) {
	a := s.note(ctx, r)
	if r.GetPageToken() == "" {
		return &tokenv1.ListAccountsResponse{Accounts: []*tokenv1.Account{a}, NextPageToken: "club", Total: 2}, nil
	}
	a.Settings.Name, a.Disabled = "pub", true
	return &tokenv1.ListAccountsResponse{Accounts: []*tokenv1.Account{a}, Total: 2}, nil
}

func (s *accountService) GetTokenStatus(ctx context.Context, r *tokenv1.GetTokenStatusRequest) (*tokenv1.GetTokenStatusResponse, error) {
	s.note(ctx, r)
	return &tokenv1.GetTokenStatusResponse{
		Token: &tokenv1.CredentialStatus{Generation: 3}, ForcedLeft: 19, ForcedLimit: 20, OutsideAlarm: s.alarm, OutsideRefreshes: 1,
		Outside: []*tokenv1.OutsideRefresh{{Generation: 2, Errcode: 40001}},
	}, nil
}

func (s *accountService) ResealAccounts(context.Context, *tokenv1.ResealAccountsRequest) (*tokenv1.ResealAccountsResponse, error) {
	return &tokenv1.ResealAccountsResponse{Resealed: 2, Unreadable: []string{"tokens/x"}}, nil
}

func (s *accountService) SignJSAPI(ctx context.Context, r *tokenv1.SignJSAPIRequest) (*tokenv1.SignJSAPIResponse, error) {
	s.note(ctx, r)
	return &tokenv1.SignJSAPIResponse{Appid: "wx00000000000000c1", NonceStr: "n", Timestamp: 1, Signature: "abc", Url: r.GetUrl()}, nil
}

func (s *accountService) DoctorAccount(_ context.Context, r *tokenv1.DoctorAccountRequest) (*tokenv1.DoctorAccountResponse, error) {
	return &tokenv1.DoctorAccountResponse{Checks: []*tokenv1.DoctorCheck{{
		Name: "egress_ip", Status: tokenv1.DoctorStatus_DOCTOR_STATUS_FAIL,
		Evidence: &tokenv1.LocalText{Zh: "出口 IP", En: "our address"}, Advice: &tokenv1.LocalText{Zh: "粘贴 203.0.113.9", En: "paste 203.0.113.9"},
	}}}, nil
}

// serve starts the service and returns its address.
func serve(t *testing.T, s *accountService) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	tokenv1.RegisterAccountServiceServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

// try runs a command with a standard input.
func try(t *testing.T, stdin string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{env: append(env, "USER=li"), stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	return a.exitCode(root.ExecuteContext(t.Context())), out.String(), errs.String()
}

func TestAccountsTakeSecretsFromFilesEnvironmentAndInputOnly(t *testing.T) {
	s := &accountService{}
	address := serve(t, s)
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("the-key\n"), 0o600))
	code, stdout, stderr := try(t, "the-app-secret\n", []string{"TOKEN=the-token"}, "accounts", "create", "club", "--address", address,
		"--appid", "wx00000000000000c1", "--token", "env:TOKEN", "--aes-key", "file:"+file, "--app-secret", "stdin", "--reply", "passive", "--kf-api=false")
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, "created club (revision 7)\n", stdout)
	req := s.got.(*tokenv1.CreateAccountRequest)
	require.Equal(t, []string{"the-token", "the-key", "the-app-secret"}, []string{req.GetSecrets().GetToken(), req.GetSecrets().GetEncodingAesKey(), req.GetSecrets().GetAppSecret()})
	require.Equal(t, "wx00000000000000c1", req.GetSettings().GetAppid())
	require.False(t, *req.GetSettings().KfApi)
	require.Equal(t, "cli:li", s.actor)

	s.got = nil
	for _, args := range [][]string{
		{"create", "club", "--token", "literal-secret"}, {"rotate-keys", "club", "--aes-key", "literal-secret"}, {"set-secret", "club", "--app-secret", "literal-secret"},
	} {
		code, _, stderr = try(t, "", nil, append(append([]string{"accounts"}, args...), "--address", address)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, "file:PATH, env:NAME or stdin")
		require.NotContains(t, stderr, "literal-secret")
	}
	require.Nil(t, s.got, "nothing was sent")
}

func TestUpdateNamesOnlyWhatWasGiven(t *testing.T) {
	s := &accountService{}
	address := serve(t, s)
	code, _, stderr := try(t, "", nil, "accounts", "update", "club", "--address", address, "--reply", "passive", "--passive-deadline", "4s", "--revision", "6")
	require.Equal(t, exitOK, code, stderr)
	req := s.got.(*tokenv1.UpdateAccountRequest)
	require.ElementsMatch(t, []string{"reply", "passive_deadline"}, req.GetUpdateMask().GetPaths())
	require.EqualValues(t, 6, req.GetExpectedRevision())
	for name, args := range map[string][]string{
		"nothing":         {"accounts", "update", "club"},
		"an unknown word": {"accounts", "update", "club", "--mode", "sceure"},
		"no name":         {"accounts", "update", "--mode", "secure"},
		"no secret":       {"accounts", "set-secret", "club"},
		"a language":      {"doctor", "--lang", "fr"},
	} {
		code, _, _ = try(t, "", nil, args...)
		require.Equal(t, exitUsage, code, name)
	}
	for _, field := range settingFields {
		require.NotNil(t, (&tokenv1.AccountSettings{}).ProtoReflect().Descriptor().Fields().ByTextName(field), field)
	}
}

func TestAccountsPrintWhatHappened(t *testing.T) {
	s := &accountService{}
	address := serve(t, s)
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stdout []string
	}{
		"list":        {[]string{"list"}, exitOK, []string{"club", "pub", "disabled", "secret:0a1b2c3d"}},
		"list JSON":   {[]string{"list", "--json"}, exitOK, []string{`"fingerprint"`, `"pub"`}},
		"disable":     {[]string{"disable", "club", "--reason", "moved"}, exitOK, []string{"disabled club"}},
		"set-secret":  {[]string{"set-secret", "club", "--remove"}, exitOK, []string{"AppSecret of club"}},
		"status":      {[]string{"status", "club"}, exitOK, []string{"generation 3", "19 of 20", "errcode 40001"}},
		"tickets":     {[]string{"tickets", "club"}, exitOK, []string{"nobody has asked"}},
		"sign":        {[]string{"tickets", "club", "--sign", "https://example.com/"}, exitOK, []string{"signature  abc"}},
		"reseal":      {[]string{"reseal"}, exitProblems, []string{"2 sealed again", "tokens/x"}},
		"rotate-keys": {[]string{"rotate-keys", "club", "--token", "env:TOKEN"}, exitOK, []string{"WeChat's console now"}},
		"examples":    {[]string{"rotate-keys", "--help"}, exitOK, []string{"Examples:", "--overlap 72h"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"accounts", "--address", address}, tc.args...)
			code, stdout, stderr := try(t, "", []string{"TOKEN=NewToken"}, args...)
			require.Equal(t, tc.code, code, stderr)
			for _, want := range tc.stdout {
				require.Contains(t, stdout, want)
			}
		})
	}
	s.alarm = true
	code, _, _ := try(t, "", nil, "accounts", "status", "club", "--address", address)
	require.Equal(t, exitProblems, code, "a script can see the alarm")
}

func TestTheDoctorSpeaksBothLanguages(t *testing.T) {
	address := serve(t, &accountService{})
	file := filepath.Join(t.TempDir(), "wxbus.yaml")
	require.NoError(t, os.WriteFile(file, []byte("grpc: {addresses: {token: \""+address+"\"}}\n"), 0o600))
	code, stdout, _ := try(t, "", []string{"LANG=zh_CN.UTF-8"}, "doctor", "--account", "club", "-c", file)
	require.Equal(t, exitProblems, code)
	require.Contains(t, stdout, "粘贴 203.0.113.9")
	_, stdout, _ = try(t, "", nil, "doctor", "--account", "club", "-c", file, "--json")
	require.Contains(t, stdout, `"check": "club egress_ip"`)
	require.Contains(t, stdout, "paste 203.0.113.9")
}
