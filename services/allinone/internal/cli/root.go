// Package cli is the command line of wxbus.
//
// Exit codes: 0 done, 1 failed, 2 wrong use, 3 a check found problems.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/process"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitProblems = 3
)

// errProblems ends a command that worked and found something wrong; the findings are printed already.
var errProblems = errors.New("problems found")

// usageError marks wrong use of the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what every command shares.
type app struct {
	env            []string
	stdin          io.Reader // nil means os.Stdin
	stdout, stderr io.Writer

	file   string // --config
	nats   string // --nats
	data   string // --data
	target string // --target
	demo   bool   // --demo
	dev    bool   // --dev
	json   bool   // --json
}

// Main runs the command line and returns the exit code.
func Main(args, env []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: the handler is gone after the first.
	context.AfterFunc(ctx, stop)

	a := &app{env: env, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(longFlags(args, root))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.exitCode(root.ExecuteContext(ctx))
}

func (a *app) exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errProblems):
		return exitProblems
	case errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "wxbus: %v\nRun the command with --help for examples.\n", err)
		return exitUsage
	default:
		fmt.Fprintf(a.stderr, "wxbus: %v\n", err)
		return exitFailed
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wxbus",
		Short: "Event bus and service desk for WeChat Official Accounts and Mini Programs",
		Long: `wxbus runs every service in one process, or a part of them, and is the operators' command line.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 a check found problems.`,
		Example: `  wxbus up --demo                                   # everything, with a simulated WeChat
  wxbus up --config wxbus.yaml --data /var/lib/wxbus
  wxbus up --target gateway --nats nats://nats:4222 --config wxbus.yaml
  wxbus rules test --account shop --text 退货`,
		Version:       process.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVarP(&a.file, "config", "c", "", "configuration file (default: $WXBUS_CONFIG, then ./wxbus.yaml when it exists)")
	f.StringVar(&a.nats, "nats", "", "comma-separated NATS URLs (default: nats.urls of the file)")
	f.BoolVar(&a.json, "json", false, "print JSON")
	root.AddCommand(a.upCommand(), a.provisionCommand(), a.configCommand(), a.rulesCommand(),
		a.sendCommand(), a.quotaCommand(), a.campaignCommand(), a.simulateCommand(), a.dlqCommand(), a.accountsCommand(), a.doctorCommand(), a.traceCommand(), a.benchCommand(), a.replayCommand(), a.backupCommand(), a.restoreCommand(), a.versionCommand(), a.docsCommand())
	root.AddCommand(a.usersCommand(), a.keysCommand(), a.certsCommand())
	return root
}

// longFlags accepts long flags with one dash, -target=all, as the standard library's flag package does.
func longFlags(args []string, root *cobra.Command) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && len(name) > 1 && name[0] != '-' && knownFlag(root, name) {
			out[i] = "-" + arg
		}
	}
	return out
}

func knownFlag(c *cobra.Command, name string) bool {
	if c.Flags().Lookup(name) != nil || c.PersistentFlags().Lookup(name) != nil {
		return true
	}
	return slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return knownFlag(sub, name) })
}

// configFile returns the configuration file to read; empty for none.
func (a *app) configFile() string {
	if a.file != "" {
		return a.file
	}
	for _, kv := range a.env {
		if v, ok := strings.CutPrefix(kv, "WXBUS_CONFIG="); ok && v != "" {
			return v
		}
	}
	if _, err := os.Stat("wxbus.yaml"); err == nil {
		return "wxbus.yaml"
	}
	return ""
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s needs %s", cmd.CommandPath(), what)
		}
		return nil
	}
}
