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
	s := &Stack{owner: t, Mode: Split, Dir: t.TempDir(), bin: binDir(t), Services: map[string][]*Process{}}
	s.configure(t, Options{Mode: All, Config: config, Gateways: 1, Rules: "rules: []\n"})
	file := s.write(t, "nats.conf", fmt.Appendf(nil, "listen: %q\njetstream { store_dir: %q }\n",
		strings.TrimPrefix(s.NATS[0], "nats://"), filepath.Join(s.Dir, "nats")))
	s.Servers = append(s.Servers, startProcess(t, s.Dir, "nats", filepath.Join(s.bin, "natsd"), []string{"-c", file}, nil))
	s.provision(t)
	s.startGateway(t, 0)
	s.Gateways[0].WaitReady(t, 30*time.Second)
	return s
}

// StartBare runs the baseline handler.
func StartBare(t testing.TB, s *Stack) *Gateway {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	p := startProcess(t, s.Dir, "bare", filepath.Join(s.bin, "bare"), []string{"-listen", listen}, nil)
	p.Admin = listen
	p.WaitReady(t, 10*time.Second)
	return &Gateway{Process: p, URL: "http://" + listen}
}
