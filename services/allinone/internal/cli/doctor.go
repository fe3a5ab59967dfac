package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// Results of a finding.
const (
	findOK   = "ok"
	findWarn = "warn"
	findFail = "fail"
	findSkip = "skip"
)

// maxExamined bounds the accounts that are examined when none is named: each costs calls to WeChat.
const maxExamined = 20

// finding is the outcome of one check and, when it is not ok, what to do.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var account, lang string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong, and say what to do", Args: noArgs,
		Long: `Checks the configuration, NATS and its streams, every service that should run, and each account: credentials, the IP list, the clock,
what is left of quotas, permissions, the way from WeChat to the gateway, and what refused pushes show about Token, key and mode.
Changes nothing. Exit code 3 when something failed.`,
		Example: `  wxbus doctor --config wxbus.yaml
  wxbus doctor --account shop --lang zh
  wxbus doctor --json | jq '.[] | select(.result != "ok")'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lang != "zh" && lang != "en" {
				return usagef("--lang must be zh or en, got %q", lang)
			}
			return a.doctor(cmd.Context(), account, lang)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "examine only this account")
	cmd.Flags().StringVar(&lang, "lang", a.language(), "language of what is said about accounts, zh or en")
	return cmd
}

// language is that of the terminal.
func (a *app) language() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v, ok := a.lookup(name); ok && v != "" {
			if strings.HasPrefix(v, "zh") {
				return "zh"
			}
			return "en"
		}
	}
	return "en"
}

func (a *app) doctor(ctx context.Context, account, lang string) error {
	findings := a.examine(ctx, account, lang)
	failed := false
	for _, f := range findings {
		failed = failed || f.Result == findFail
		if a.json {
			continue
		}
		fmt.Fprintf(a.stdout, "%-5s %-28s %s\n", f.Result, f.Check, f.Detail)
		if f.Advice != "" {
			fmt.Fprintf(a.stdout, "      %-28s → %s\n", "", f.Advice)
		}
	}
	if a.json {
		if err := a.printJSON(findings); err != nil {
			return err
		}
	}
	if failed {
		return errProblems
	}
	return nil
}

func (a *app) examine(ctx context.Context, account, lang string) []finding {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return []finding{{"configuration", findFail, err.Error(), "fix the named paths; wxbus config check shows them all"}}
	}
	if account != "" {
		return a.examineAccounts(ctx, lang, account)
	}
	out := []finding{{"configuration", findOK, fmt.Sprintf("%d accounts in the file", len(shared.Accounts)), ""}}
	out = append(out, examineBus(ctx, shared)...)
	out = append(out, examineServices(ctx, shared)...)
	return append(out, a.examineAccounts(ctx, lang, "")...)
}

func examineBus(ctx context.Context, shared config.Shared) []finding {
	if len(shared.NATS.URLs) == 0 {
		listen := shared.NATS.Listen
		if listen == "" || strings.HasSuffix(listen, ":-1") {
			return []finding{{"nats", findWarn, "embedded without a known port: streams cannot be checked from outside", "set nats.listen, or pass --nats"}}
		}
		shared.NATS.URLs = []string{"nats://" + listen}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := process.ConnectBus(ctx, shared, "doctor")
	if err != nil {
		return []finding{{"nats", findFail, err.Error(), "is it running, and are nats.urls and its credentials right?"}}
	}
	defer conn.Close(ctx) //nolint:errcheck // read-only connection
	out := []finding{{"nats", findOK, conn.NC().ConnectedUrlRedacted(), ""}}
	topo, err := process.NewTopology(shared)
	if err != nil {
		return append(out, finding{"streams", findFail, err.Error(), "fix nats.partitions and nats.replicas"})
	}
	if err := topo.Check(ctx, conn.JS()); err != nil {
		return append(out, finding{"streams", findFail, err.Error(), "run wxbus provision"})
	}
	return append(out, finding{"streams", findOK, fmt.Sprintf("%d streams as declared", len(topo.Streams())), ""})
}

func examineServices(ctx context.Context, shared config.Shared) []finding {
	client := &http.Client{Timeout: 3 * time.Second}
	var out []finding
	for _, name := range process.Names() {
		if name == "simulator" {
			continue
		}
		url := "http://" + process.AdminURLHost(shared, name) + "/readyz"
		out = append(out, probe(ctx, client, name, url))
	}
	return out
}

func probe(ctx context.Context, client *http.Client, name, url string) finding {
	check := "service " + name
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return finding{check, findFail, err.Error(), ""}
	}
	resp, err := client.Do(req)
	if err != nil {
		return finding{check, findFail, "no answer at " + url, "is it running on this machine? Its log says why not"}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if resp.StatusCode != http.StatusOK {
		return finding{check, findFail, strings.TrimSpace(string(body)), "the named check is not passing"}
	}
	return finding{check, findOK, "ready", ""}
}

// examineAccounts lets the token service examine one account, or the first ones of all.
func (a *app) examineAccounts(ctx context.Context, lang, account string) []finding {
	var out []finding
	err := a.withAccounts(ctx, "", func(ctx context.Context, c tokenv1.AccountServiceClient) error {
		names := []string{account}
		if account == "" {
			var err error
			if names, err = accountNames(ctx, c); err != nil {
				return err
			}
		}
		if len(names) == 0 {
			out = append(out, finding{"accounts", findWarn, "there are none", "add accounts to the file, or with wxbus accounts create"})
		}
		for _, name := range names[:min(len(names), maxExamined)] {
			resp, err := c.DoctorAccount(ctx, &tokenv1.DoctorAccountRequest{Account: name})
			if err != nil {
				out = append(out, finding{"account " + name, findFail, err.Error(), "is the token service healthy?"})
				continue
			}
			out = append(out, accountFindings(name, lang, resp.GetChecks())...)
		}
		if more := len(names) - maxExamined; more > 0 {
			out = append(out, finding{"accounts", findSkip, fmt.Sprintf("%d more were not examined", more), "examine them one by one: --account NAME"})
		}
		return nil
	})
	if err != nil {
		out = append(out, finding{"accounts", findFail, err.Error(), "is the token service running, and is grpc.addresses.token right?"})
	}
	return out
}

// accountNames returns the names of the accounts that are served.
func accountNames(ctx context.Context, c tokenv1.AccountServiceClient) ([]string, error) {
	resp, err := c.ListAccounts(ctx, &tokenv1.ListAccountsRequest{PageSize: 1000})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, x := range resp.GetAccounts() {
		if !x.GetDisabled() {
			names = append(names, x.GetSettings().GetName())
		}
	}
	return names, nil
}

var doctorResults = map[tokenv1.DoctorStatus]string{
	tokenv1.DoctorStatus_DOCTOR_STATUS_OK: findOK, tokenv1.DoctorStatus_DOCTOR_STATUS_WARN: findWarn,
	tokenv1.DoctorStatus_DOCTOR_STATUS_FAIL: findFail, tokenv1.DoctorStatus_DOCTOR_STATUS_SKIPPED: findSkip,
}

func accountFindings(name, lang string, checks []*tokenv1.DoctorCheck) []finding {
	say := func(t *tokenv1.LocalText) string {
		if lang == "zh" {
			return t.GetZh()
		}
		return t.GetEn()
	}
	out := make([]finding, 0, len(checks))
	for _, c := range checks {
		out = append(out, finding{name + " " + c.GetName(), doctorResults[c.GetStatus()], say(c.GetEvidence()), say(c.GetAdvice())})
	}
	return out
}
