package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/wxbus/wxbus/pkg/config"
)

// Main is the main function of a service's own binary. It returns the exit code: 0 after an orderly
// stop, 1 after a failure, 2 for wrong use or a configuration that is not valid.
func Main(m Module, args, env []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	f, err := parseFlags(m.Name, args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	load := config.LoadOptions{File: f.file, Env: env, Overrides: f.overrides()}
	switch {
	case f.version:
		fmt.Fprintf(stdout, "%s %s\n", m.Name, Version)
		return 0
	case f.check, f.print:
		return describe(ctx, m, load, f.print, stdout, stderr)
	}
	m.Wanted = nil // asked for by running its binary
	if err := Run(ctx, Spec{Name: m.Name, Modules: []Module{m}, Load: load, Log: stderr}); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", m.Name, err)
		return 1
	}
	return 0
}

type flags struct {
	file, nats, data, admin, grpc string
	check, print, version         bool
}

func parseFlags(name string, args []string, stderr io.Writer) (flags, error) {
	var f flags
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.file, "config", os.Getenv("WXBUS_CONFIG"), "configuration `file`, the same as for wxbus up")
	fs.StringVar(&f.nats, "nats", "", "comma-separated NATS `URLs` (default: nats.urls of the file)")
	fs.StringVar(&f.data, "data", "", "`directory` for local files (default: data of the file)")
	fs.StringVar(&f.admin, "admin", "", "`address` of /metrics, /livez and /readyz (default: admin.listen)")
	fs.StringVar(&f.grpc, "grpc", "", "`address` of gRPC (default: grpc.listen)")
	fs.BoolVar(&f.check, "check-config", false, "check the configuration and exit")
	fs.BoolVar(&f.print, "print-config", false, "print the effective configuration, secrets redacted, and exit")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	fs.Usage = func() {
		fmt.Fprintf(stderr, "%s runs one service of wxbus until SIGTERM.\n\n  %s -config wxbus.yaml -nats nats://nats-0:4222,nats://nats-1:4222\n\n", name, name)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "%s: unexpected argument %q\n", name, fs.Arg(0))
		return f, errors.New("unexpected argument")
	}
	return f, nil
}

func (f flags) overrides() map[string]any {
	out := map[string]any{}
	for path, v := range map[string]string{"data": f.data, "admin.listen": f.admin, "grpc.listen": f.grpc} {
		if v != "" {
			out[path] = v
		}
	}
	if f.nats != "" {
		out["nats.urls"] = URLList(f.nats)
	}
	return out
}

// URLList splits a comma-separated list for a configuration override.
func URLList(s string) []any {
	var out []any
	for u := range strings.SplitSeq(s, ",") {
		if u = strings.TrimSpace(u); u != "" {
			out = append(out, u)
		}
	}
	return out
}

func describe(ctx context.Context, m Module, load config.LoadOptions, print bool, stdout, stderr io.Writer) int {
	var shared config.Shared
	err := config.Load(ctx, load, &shared, m.Section)
	if err == nil && print {
		err = config.Print(stdout, &shared, m.Section)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: configuration is not valid:\n%v\n", m.Name, err)
		return 2
	}
	if !print {
		fmt.Fprintln(stdout, "configuration is valid")
	}
	return 0
}
