package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/secret"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// settingFlags are the flags of the settings of an account; their names are those of the file.
type settingFlags struct {
	a     account.Account
	kfAPI bool
	flags *pflag.FlagSet
}

// settingFields are the fields of AccountSettings by flag.
var settingFields = map[string]string{
	"original-id": "original_id", "kind": "kind", "format": "format", "mode": "mode", "reply": "reply", "api-base": "api_base",
	"kf-api": "kf_api", "ambiguous": "ambiguous", "token-api": "token_endpoint", "passive-deadline": "passive_deadline",
	"stretch-answer-early": "stretch_answer_early", "allow-insecure": "allow_insecure", "callback-url": "callback_url",
}

func newSettingFlags(f *pflag.FlagSet) *settingFlags {
	s := &settingFlags{flags: f}
	f.StringVar(&s.a.OriginalID, "original-id", "", "original id (gh_…), the ToUserName of pushes; empty accepts any")
	f.StringVar((*string)(&s.a.Kind), "kind", "", "service, subscription or miniprogram")
	f.StringVar((*string)(&s.a.Format), "format", "", "xml or json, as in WeChat's console")
	f.StringVar((*string)(&s.a.Mode), "mode", "", "secure, compatible or plaintext, as in WeChat's console")
	f.StringVar((*string)(&s.a.Reply), "reply", "", "ack, passive or stretch")
	f.StringVar(&s.a.APIBase, "api-base", "", "base URL of WeChat's API")
	f.BoolVar(&s.kfAPI, "kf-api", true, "whether the customer-service API may be used")
	f.StringVar((*string)(&s.a.Ambiguous), "ambiguous", "", "drop or resend a reply whose delivery nobody can know")
	f.StringVar((*string)(&s.a.TokenAPI), "token-api", "", "stable or token")
	f.DurationVar(&s.a.PassiveDeadline, "passive-deadline", 0, "how long a connection is kept for a passive reply; 0 is the gateway's default")
	f.BoolVar(&s.a.StretchAnswerEarly, "stretch-answer-early", false, "in stretch mode, answer attempts 1 and 2 too when the reply is there")
	f.BoolVar(&s.a.AllowInsecure, "allow-insecure", false, "accept mode plaintext or compatible")
	f.StringVar(&s.a.CallbackURL, "callback-url", "", "address that WeChat pushes to, for wxbus doctor")
	return s
}

// settings returns the settings and the fields that were given.
func (s *settingFlags) settings() (*tokenv1.AccountSettings, []string, error) {
	if s.flags.Changed("kf-api") {
		s.a.KfAPI = &s.kfAPI
	}
	out := vault.Settings(s.a)
	var paths []string
	var unknown error
	s.flags.Visit(func(f *pflag.Flag) {
		if field, ok := settingFields[f.Name]; ok {
			paths = append(paths, field)
		}
		// A word that the protocol does not know would silently be the default.
		if known, ok := knownWord[f.Name]; ok && f.Value.String() != "" && !known(out) {
			unknown = errors.Join(unknown, usagef("--%s: %q is not known; see --help", f.Name, f.Value.String()))
		}
	})
	return out, paths, unknown
}

// knownWord tells for each flag with few words whether the settings got one of them.
var knownWord = map[string]func(*tokenv1.AccountSettings) bool{
	"kind":      func(s *tokenv1.AccountSettings) bool { return s.GetKind() != 0 },
	"format":    func(s *tokenv1.AccountSettings) bool { return s.GetFormat() != 0 },
	"mode":      func(s *tokenv1.AccountSettings) bool { return s.GetMode() != 0 },
	"reply":     func(s *tokenv1.AccountSettings) bool { return s.GetReply() != 0 },
	"ambiguous": func(s *tokenv1.AccountSettings) bool { return s.GetAmbiguous() != 0 },
	"token-api": func(s *tokenv1.AccountSettings) bool { return s.GetTokenEndpoint() != 0 },
}

// secretFlag adds a flag that names where a secret is.
func secretFlag(f *pflag.FlagSet, to *string, name, text string) {
	f.StringVar(to, name, "", text+": file:PATH, env:NAME or stdin")
}

// readSecrets returns the secrets that the flags name, in order; those from stdin are one line each.
func (a *app) readSecrets(wheres ...string) ([]string, error) {
	lines := bufio.NewScanner(io.LimitReader(a.input(), 64<<10))
	out := make([]string, len(wheres))
	for i, where := range wheres {
		switch {
		case where == "":
		case where == "stdin":
			if !lines.Scan() || strings.TrimSpace(lines.Text()) == "" {
				return nil, usagef("stdin: has no line for a secret")
			}
			out[i] = strings.TrimSpace(lines.Text())
		case strings.HasPrefix(where, "file:"), strings.HasPrefix(where, "env:"):
			v, err := secret.Parse(where, a.lookup)
			if err != nil {
				return nil, err
			}
			out[i] = v.Reveal()
		default:
			return nil, usagef("a secret in the arguments can be read by every user of the machine: give file:PATH, env:NAME or stdin")
		}
	}
	return out, nil
}

func (a *app) input() io.Reader {
	if a.stdin != nil {
		return a.stdin
	}
	return os.Stdin
}

func (a *app) lookup(name string) (string, bool) {
	for _, kv := range a.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

func (a *app) accountsCreate(with withAccounts) *cobra.Command {
	var appID, token, key, appSecret string
	var disabled bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Add an account; every service takes it over at once", Args: accountArg,
		Example: `  wxbus accounts create club --appid wx0123456789abcdef --token env:CLUB_TOKEN --aes-key file:club.key --app-secret file:club.secret --reply passive
  printf '%s\n' "$TOKEN" "$KEY" | wxbus accounts create club --appid wx0123456789abcdef --token stdin --aes-key stdin`,
	}
	f := cmd.Flags()
	f.StringVar(&appID, "appid", "", "AppID from WeChat's console; required")
	set := newSettingFlags(f)
	secretFlag(f, &token, "token", "Token of WeChat's console")
	secretFlag(f, &key, "aes-key", "EncodingAESKey of WeChat's console")
	secretFlag(f, &appSecret, "app-secret", "AppSecret")
	f.BoolVar(&disabled, "disabled", false, "create it disabled")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings, _, err := set.settings()
		if err != nil {
			return err
		}
		secrets, err := a.readSecrets(token, key, appSecret)
		if err != nil {
			return err
		}
		settings.Name, settings.Appid = args[0], appID
		return with(func(ctx context.Context, c tokenv1.AccountServiceClient, _ []string) error {
			resp, err := c.CreateAccount(ctx, &tokenv1.CreateAccountRequest{
				Settings: settings, Disabled: disabled,
				Secrets: &tokenv1.AccountSecrets{Token: secrets[0], EncodingAesKey: secrets[1], AppSecret: secrets[2]},
			})
			if err != nil {
				return err
			}
			return a.accountDone("created", resp.GetAccount())
		})(cmd, args)
	}
	return cmd
}

// revisionFlag adds the flag that keeps a change from overwriting that of somebody else.
func revisionFlag(f *pflag.FlagSet, to *uint64) {
	f.Uint64Var(to, "revision", 0, "change it only if it still has this revision (default: whatever is there)")
}

func (a *app) accountsUpdate(with withAccounts) *cobra.Command {
	var revision uint64
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change settings of an account", Args: accountArg,
		Long: "Changes the settings whose flags are given and leaves all others alone. Name and AppID never change.",
		Example: `  wxbus accounts update club --reply passive --passive-deadline 4s
  wxbus accounts update club --callback-url https://wx.example.com/wx/club --revision 17`,
	}
	set := newSettingFlags(cmd.Flags())
	revisionFlag(cmd.Flags(), &revision)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings, paths, err := set.settings()
		if err != nil {
			return err
		}
		if len(paths) == 0 {
			return usagef("nothing to change: give at least one setting")
		}
		return with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.UpdateAccount(ctx, &tokenv1.UpdateAccountRequest{
				Account: args[0], Settings: settings, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}, ExpectedRevision: revision,
			})
			if err != nil {
				return err
			}
			return a.accountDone("updated", resp.GetAccount())
		})(cmd, args)
	}
	return cmd
}

func (a *app) accountsDisable(with withAccounts) *cobra.Command {
	var reason string
	var revision uint64
	cmd := &cobra.Command{
		Use: "disable NAME", Short: "Stop an account: no pushes, no messages, no tokens", Args: accountArg,
		Example: `  wxbus accounts disable club --reason "moved to another system"`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.DisableAccount(ctx, &tokenv1.DisableAccountRequest{Account: args[0], Reason: reason, ExpectedRevision: revision})
			if err != nil {
				return err
			}
			return a.accountDone("disabled", resp.GetAccount())
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; refused messages say it")
	revisionFlag(cmd.Flags(), &revision)
	return cmd
}

func (a *app) accountsEnable(with withAccounts) *cobra.Command {
	var revision uint64
	cmd := &cobra.Command{
		Use: "enable NAME", Short: "Undo disable", Args: accountArg,
		Example: `  wxbus accounts enable club`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.EnableAccount(ctx, &tokenv1.EnableAccountRequest{Account: args[0], ExpectedRevision: revision})
			if err != nil {
				return err
			}
			return a.accountDone("enabled", resp.GetAccount())
		}),
	}
	revisionFlag(cmd.Flags(), &revision)
	return cmd
}

func (a *app) accountsDelete(with withAccounts) *cobra.Command {
	var revision uint64
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Remove a disabled account with its secrets and tokens", Args: accountArg,
		Long:    "What was stored of its fans stays as long as streams keep it. There is no way back.",
		Example: `  wxbus accounts disable club && wxbus accounts delete club`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			if _, err := c.DeleteAccount(ctx, &tokenv1.DeleteAccountRequest{Account: args[0], ExpectedRevision: revision}); err != nil {
				return err
			}
			if a.json {
				return a.printProto(&tokenv1.DeleteAccountResponse{})
			}
			fmt.Fprintf(a.stdout, "deleted %s\n", args[0])
			return nil
		}),
	}
	revisionFlag(cmd.Flags(), &revision)
	return cmd
}

func (a *app) accountsRotate(with withAccounts) *cobra.Command {
	var token, key string
	var overlap time.Duration
	var replace bool
	var revision uint64
	cmd := &cobra.Command{
		Use: "rotate-keys NAME", Short: "Change Token or EncodingAESKey without refusing a push", Args: accountArg,
		Long: `Makes new keys current and keeps the old ones until the overlap ends. Run it first, then enter the same keys in WeChat's console:
pushes with either are accepted in between. wxbus doctor says when WeChat has stopped using the old ones.`,
		Example: `  wxbus accounts rotate-keys club --token env:NEW_TOKEN --aes-key file:new.key
  wxbus accounts rotate-keys club --aes-key file:new.key --overlap 72h`,
	}
	f := cmd.Flags()
	secretFlag(f, &token, "token", "new Token; default: keep the present one")
	secretFlag(f, &key, "aes-key", "new EncodingAESKey; default: keep the present one")
	f.DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old keys are still accepted")
	f.BoolVar(&replace, "replace-previous", false, "give up the old keys of an overlap that still runs")
	revisionFlag(f, &revision)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		secrets, err := a.readSecrets(token, key)
		if err != nil {
			return err
		}
		return with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.RotateCallbackKeys(ctx, &tokenv1.RotateCallbackKeysRequest{
				Account: args[0], Token: secrets[0], EncodingAesKey: secrets[1], Overlap: durationpb.New(overlap),
				ReplacePrevious: replace, ExpectedRevision: revision,
			})
			if err != nil {
				return err
			}
			if err := a.accountDone("rotated keys of", resp.GetAccount()); err != nil || a.json {
				return err
			}
			fmt.Fprintf(a.stdout, "old keys are accepted until %s: enter the new ones in WeChat's console now\n", clockTime(resp.GetAccount().GetPreviousUntil()))
			return nil
		})(cmd, args)
	}
	return cmd
}

func (a *app) accountsSetSecret(with withAccounts) *cobra.Command {
	var where string
	var remove bool
	var revision uint64
	cmd := &cobra.Command{
		Use: "set-secret NAME", Short: "Replace the AppSecret", Args: accountArg,
		Example: `  wxbus accounts set-secret club --app-secret file:club.secret
  wxbus accounts set-secret club --app-secret stdin < club.secret`,
	}
	secretFlag(cmd.Flags(), &where, "app-secret", "new AppSecret")
	cmd.Flags().BoolVar(&remove, "remove", false, "have none: the account only receives")
	revisionFlag(cmd.Flags(), &revision)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (where == "") != remove {
			return usagef("give either --app-secret or --remove")
		}
		secrets, err := a.readSecrets(where)
		if err != nil {
			return err
		}
		return with(func(ctx context.Context, c tokenv1.AccountServiceClient, args []string) error {
			resp, err := c.SetAppSecret(ctx, &tokenv1.SetAppSecretRequest{Account: args[0], AppSecret: secrets[0], ExpectedRevision: revision})
			if err != nil {
				return err
			}
			return a.accountDone("set the AppSecret of", resp.GetAccount())
		})(cmd, args)
	}
	return cmd
}

func (a *app) accountsReseal(with withAccounts) *cobra.Command {
	return &cobra.Command{
		Use: "reseal", Short: "Seal everything with the current master key", Args: noArgs,
		Long: `Run it after master_key was replaced and the old one became previous_master_key, with every service restarted. When it reports
nothing unreadable, previous_master_key can be removed. Exit code 3 when something could not be opened.`,
		Example: `  wxbus accounts reseal`,
		RunE: with(func(ctx context.Context, c tokenv1.AccountServiceClient, _ []string) error {
			resp, err := c.ResealAccounts(ctx, &tokenv1.ResealAccountsRequest{})
			if err != nil {
				return err
			}
			if a.json {
				err = a.printProto(resp)
			} else {
				fmt.Fprintf(a.stdout, "%d sealed again, %d were current\n", resp.GetResealed(), resp.GetCurrent())
				for _, key := range resp.GetUnreadable() {
					fmt.Fprintf(a.stdout, "no key opens %s\n", key)
				}
			}
			if err == nil && len(resp.GetUnreadable()) > 0 {
				return errProblems
			}
			return err
		}),
	}
}
