package stack

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// StartGatewayOnly runs one NATS server without fsync and one gateway, for measuring the gateway alone.
func StartGatewayOnly(t testing.TB, config map[string]any) *Stack {
	t.Helper()
	return StartGateways(t, config, 1)
}

// StartGateways is StartGatewayOnly with n gateways.
func StartGateways(t testing.TB, config map[string]any, n int) *Stack {
	t.Helper()
	s := &Stack{owner: t, Mode: Split, Dir: t.TempDir(), bin: binDir(t), Services: map[string][]*Process{}}
	s.configure(t, Options{Mode: All, Config: config, Gateways: n, Rules: "rules: []\n"})
	file := s.write(t, "nats.conf", fmt.Appendf(nil, "listen: %q\njetstream { store_dir: %q, max_file_store: %s }\n",
		strings.TrimPrefix(s.NATS[0], "nats://"), filepath.Join(s.Dir, "nats"), storeLimit(config)))
	s.Servers = append(s.Servers, startProcess(t, s.Dir, "nats", filepath.Join(s.bin, "natsd"), []string{"-c", file}, nil))
	s.provision(t)
	for i := range n {
		s.startGateway(t, i)
	}
	for _, gw := range s.Gateways {
		gw.WaitReady(t, 30*time.Second)
	}
	return s
}

// StartBare runs the baseline handler; args are those of the command bare.
func StartBare(t testing.TB, s *Stack, args ...string) *Gateway {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	p := startProcess(t, s.Dir, "bare", filepath.Join(s.bin, "bare"), append([]string{"-listen", listen}, args...), nil)
	p.Admin = listen
	p.WaitReady(t, 10*time.Second)
	return &Gateway{Process: p, URL: "http://" + listen}
}
