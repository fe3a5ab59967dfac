package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// Results of a finding.
const (
	findOK   = "ok"
	findWarn = "warn"
	findFail = "fail"
)

// finding is the outcome of one check and, when it is not ok, what to do.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong, and say what to do", Args: noArgs,
		Long: `Checks the configuration, NATS and its streams, every service that should run, the clock, and each account's credentials.
Changes nothing. Exit code 3 when something failed.`,
		Example: `  wxbus doctor --config wxbus.yaml
  wxbus doctor --json | jq '.[] | select(.result != "ok")'`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
}

func (a *app) doctor(ctx context.Context) error {
	findings := a.examine(ctx)
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

func (a *app) examine(ctx context.Context) []finding {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return []finding{{"configuration", findFail, err.Error(), "fix the named paths; wxbus config check shows them all"}}
	}
	out := []finding{{"configuration", findOK, fmt.Sprintf("%d accounts", len(shared.Accounts)), ""}}
	if len(shared.Accounts) == 0 {
		out = append(out, finding{"accounts", findWarn, "none configured", "add accounts to the file"})
	}
	out = append(out, examineBus(ctx, shared)...)
	out = append(out, examineServices(ctx, shared)...)
	for _, acc := range shared.Accounts {
		out = append(out, examineAccount(ctx, shared, acc)...)
	}
	return out
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

func examineAccount(ctx context.Context, shared config.Shared, acc account.Account) []finding {
	check := "account " + acc.Name
	var out []finding
	if acc.Mode != account.ModeSecure {
		out = append(out, finding{check + " mode", findWarn, string(acc.Mode) + ": anybody who saw one signed URL can forge messages",
			"switch WeChat's console and mode to secure"})
	}
	out = append(out, examineClock(ctx, check, acc))
	if acc.AppSecret.IsZero() {
		return append(out, finding{check + " token", findWarn, "no app_secret: nothing can be sent by API", "set app_secret"})
	}
	conn, err := process.DialPlain(ctx, process.GRPCAddress(shared, "token"))
	if err != nil {
		return append(out, finding{check + " token", findFail, err.Error(), "fix grpc.addresses.token"})
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := tokenv1.NewTokenServiceClient(conn).GetToken(ctx, &tokenv1.GetTokenRequest{Account: acc.Name})
	if err != nil {
		return append(out, finding{check + " token", findFail, err.Error(), "40013: appid; 40125: app_secret; 40164: add this machine's address to WeChat's IP list"})
	}
	left := time.Until(time.UnixMilli(resp.GetToken().GetExpiresUnixMs())).Round(time.Second)
	return append(out, finding{check + " token", findOK, fmt.Sprintf("generation %d, valid for %s", resp.GetToken().GetGeneration(), left), ""})
}

// examineClock compares our clock with the Date header of WeChat's API server.
func examineClock(ctx context.Context, check string, acc account.Account) finding {
	check += " clock"
	client := &http.Client{Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, acc.APIBase, nil)
	if err != nil {
		return finding{check, findFail, err.Error(), "fix api_base"}
	}
	resp, err := client.Do(req)
	if err != nil {
		return finding{check, findFail, "no answer from api_base", "is the network open to " + acc.APIBase + "?"}
	}
	defer resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return finding{check, findWarn, "the server sent no date", ""}
	}
	skew := time.Since(date).Round(time.Second)
	if skew > 3*time.Second || skew < -3*time.Second {
		return finding{check, findFail, fmt.Sprintf("off by %s", skew), "run NTP: reply windows and attempts are counted in seconds"}
	}
	return finding{check, findOK, fmt.Sprintf("within %s", max(skew, -skew)+time.Second), ""}
}
