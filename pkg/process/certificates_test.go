package process_test

import (
	"bytes"
	"fmt"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/process"
)

// secured is the part of a file that makes gRPC mutual TLS.
func secured(f certs.Files, more string) string {
	return fmt.Sprintf("  tls_cert_file: %q\n  tls_key_file: %q\n  tls_ca_file: %q\n%s", f.Cert, f.Key, f.CA, more)
}

func TestAWrongCertificateEndsTheProcessBeforeAnythingStarts(t *testing.T) {
	var j journal
	files := certstest.New(t).Issue(t, "grpc", "token")
	files.Key = "no-such.key"
	s := spec(t, "", module("token", &part{name: "token", j: &j}, true, nil))
	s.Load.Content = []byte("data: " + t.TempDir() + "\ngrpc:\n" + secured(files, ""))
	_, err := process.Start(t.Context(), s)
	require.ErrorContains(t, err, "grpc.tls_key_file: cannot be read: open no-such.key")
	require.Empty(t, j.all())
}

// output is a log that a test reads while the process writes it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Two processes: one calls the other over TCP, as the configuration says; a command with the same file may too.
func TestServicesOfTwoProcessesCallEachOtherWithCertificates(t *testing.T) {
	var j journal
	authority := certstest.New(t)
	file := func(name, more string) []byte {
		return []byte("data: " + t.TempDir() + "\nadmin: {listen: \"127.0.0.1:0\"}\nnats: {listen: \"\"}\ngrpc:\n  listen: 127.0.0.1:0\n" +
			secured(authority.Issue(t, "grpc", name, name), "  tls_server_name: token\n"+more))
	}
	var log output
	token := spec(t, "", module("token", &part{name: "token", j: &j}, true, nil))
	token.Load.Content, token.Log = file("token", ""), &log
	called, err := process.Start(t.Context(), token)
	require.NoError(t, err)
	defer func() { require.NoError(t, called.Stop(t.Context())) }()
	listening := regexp.MustCompile(`"component":"grpc [^"]*","address":"([^"]+)"`).FindStringSubmatch(log.String())
	require.NotNil(t, listening, log.String())
	address := listening[1]

	var conn grpc.ClientConnInterface
	rule := spec(t, "", module("rule", &part{name: "rule", j: &j}, true, func(rt *process.Runtime) {
		conn, err = rt.Dial(t.Context(), "token")
	}))
	rule.Load.Content = file("rule", "  addresses: {token: \""+address+"\"}\n")
	caller, startErr := process.Start(t.Context(), rule)
	require.NoError(t, startErr)
	defer func() { require.NoError(t, caller.Stop(t.Context())) }()
	require.NoError(t, err)
	require.NoError(t, process.HealthCheck(conn)(t.Context()))

	command, err := process.DialService(t.Context(), caller.Shared(), "token", "")
	require.NoError(t, err)
	defer command.Close()
	require.NoError(t, process.HealthCheck(command)(t.Context()))

	plain, err := process.DialService(t.Context(), config.Shared{}, "token", address)
	require.NoError(t, err)
	defer plain.Close()
	_, err = healthpb.NewHealthClient(plain).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
