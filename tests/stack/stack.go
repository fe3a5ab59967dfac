package stack

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/tests/link"
)

// Mode is the shape in which the services run.
type Mode string

// The shapes.
const (
	All   Mode = "all"   // one process with an embedded NATS, more gateways as processes of their own
	Split Mode = "split" // each service its own process, NATS of three
)

// Options of a stack.
type Options struct {
	Mode Mode
	// Config is the configuration file as a tree; ports, NATS and the simulator are filled in.
	Config map[string]any
	// Rules is the content of the rule file.
	Rules string
	// Gateways is the number of gateways, at least 1; default 3.
	Gateways int
	// Replicas of each service in split mode; default 2 of rule and 1 of the others.
	Replicas map[string]int
	// Balance puts a proxy in front of the replicas of each service, as a Service of Kubernetes would.
	// Without it only the first replica is called.
	Balance bool
	// SQL is the URL of a Postgres, which more than one replica of agent-routing need; default: SQLite files.
	SQL string
	// Store returns the folder in which a NATS server of split mode keeps its data; default: below Dir.
	Store func(server int) string
	// Network puts a proxy into every connection to and between the NATS servers of split mode.
	Network bool
	// Clocks puts the clocks of gateways and services of split mode off, by process, for example of "gateway-0".
	Clocks map[string]time.Duration
	// API puts a proxy in front of WeChat's API.
	API bool
	// Users gives NATS the users of deploy/k8s in split mode, and each service its own.
	Users bool
	// TLS gives every process of split mode a certificate: gRPC, NATS and its routes are mutual TLS.
	TLS bool
}

// Stack is a running system.
type Stack struct {
	Mode      Mode
	Dir       string
	File      string // the configuration file
	Simulator string // base URL of the simulated WeChat
	Console   string // base URL of the console's API
	NATS      []string
	Gateways  []*Gateway
	Servers   []*Process            // NATS servers; only in split mode
	Services  map[string][]*Process // by service; in one process all services name the same one

	Network      *Network             // nil without Options.Network
	API          *link.Link           // nil without Options.API
	Certificates *certstest.Authority // nil without Options.TLS

	passwords []string // environment of NATS servers that know a user for each service

	owner testing.TB // processes end with it, also those that a part of it starts again
	bin   string
	env   []string

	clocks   map[string]time.Duration
	clockBin string              // programs whose clocks can be put off
	grpc     map[string][]string // where the replicas of a service listen
}

// Gateway is one replica.
type Gateway struct {
	*Process
	URL string
}

// Start starts everything and waits until it is ready. Everything is killed when the test ends.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	if o.Gateways == 0 {
		o.Gateways = 3
	}
	s := &Stack{owner: t, Mode: o.Mode, Dir: t.TempDir(), bin: binDir(t), Services: map[string][]*Process{}}
	if o.TLS {
		s.Certificates = certstest.New(t)
	}
	if len(o.Clocks) > 0 {
		s.clocks, s.clockBin = o.Clocks, buildClocks(t, servicesOf(o.Clocks)...)
	}
	s.configure(t, o)
	if o.Mode == Split {
		s.startSplit(t, o)
	} else {
		s.startAll(t)
	}
	return s
}

// binDir is where make build puts binaries, or $WXBUS_TEST_BIN, to test the binaries of a release.
func binDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("WXBUS_TEST_BIN"); dir != "" {
		return dir
	}
	_, file, _, ok := runtime.Caller(0)
	require.True(t, ok)
	dir := filepath.Join(filepath.Dir(file), "..", "..", "bin")
	_, err := os.Stat(filepath.Join(dir, "wxbus"))
	require.NoError(t, err, "run make build first")
	return dir
}

// configure writes the file that every process reads.
func (s *Stack) configure(t testing.TB, o Options) {
	t.Helper()
	simPort, consolePort := FreePort(t), FreePort(t)
	s.Simulator = fmt.Sprintf("http://127.0.0.1:%d", simPort)
	s.Console = fmt.Sprintf("http://127.0.0.1:%d", consolePort)
	gateways := make([]string, 0, o.Gateways)
	for range o.Gateways {
		gw := &Gateway{URL: fmt.Sprintf("http://127.0.0.1:%d", FreePort(t))}
		s.Gateways = append(s.Gateways, gw)
		gateways = append(gateways, gw.URL)
	}
	c := o.Config
	c["data"] = filepath.Join(s.Dir, "data")
	c["master_key"] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	c["rules_file"] = s.write(t, "rules.yaml", []byte(o.Rules))
	c["log"] = map[string]any{"level": "info", "format": "text"}
	section(c, "console")["listen"] = strings.TrimPrefix(s.Console, "http://")
	sim := section(c, "simulator")
	sim["listen"], sim["targets"] = strings.TrimPrefix(s.Simulator, "http://"), gateways
	section(c, "grpc")["addresses"] = s.addresses(t, o)
	if o.SQL != "" {
		section(c, "sql")["url"] = o.SQL
	}
	api := s.Simulator
	if o.API {
		s.API = link.At(t, FreePort(t), strings.TrimPrefix(s.Simulator, "http://"))
		api = "http://" + s.API.Addr()
	}
	for _, a := range c["accounts"].([]map[string]any) {
		a["api_base"] = api
	}
	if extra, ok := sim["extra_accounts"].([]map[string]any); ok {
		for _, a := range extra {
			a["api_base"] = api
		}
	}
	s.natsConfig(t, c, o.Mode)
	b, err := yaml.Marshal(c)
	require.NoError(t, err)
	s.File = s.write(t, "wxbus.yaml", b)
}

// addresses chooses where each service is called, and where its replicas listen.
func (s *Stack) addresses(t testing.TB, o Options) map[string]any {
	called := map[string]any{}
	s.grpc = map[string][]string{}
	for _, service := range []string{"rule", "token", "sender", "agent-routing"} {
		if o.Mode == All && service != "rule" {
			called[service] = called["rule"] // one process, one address
			continue
		}
		var listen []string
		for range o.replicas(service) {
			listen = append(listen, fmt.Sprintf("127.0.0.1:%d", FreePort(t)))
		}
		s.grpc[service], called[service] = listen, listen[0]
		if o.Balance {
			called[service] = link.New(t, listen...).Addr()
		}
	}
	return called
}

func (o Options) replicas(service string) int {
	usual := 1
	if service == "rule" {
		usual = 2
	}
	return cmp.Or(o.Replicas[service], usual)
}

func (s *Stack) natsConfig(t testing.TB, c map[string]any, mode Mode) {
	n := section(c, "nats")
	if mode == All {
		port := FreePort(t)
		n["listen"] = fmt.Sprintf("127.0.0.1:%d", port)
		s.NATS = []string{fmt.Sprintf("nats://127.0.0.1:%d", port)}
		return
	}
	for range 3 {
		s.NATS = append(s.NATS, fmt.Sprintf("nats://127.0.0.1:%d", FreePort(t)))
	}
	n["urls"], n["replicas"] = s.NATS, 3
}

func section(c map[string]any, name string) map[string]any {
	m, ok := c[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		c[name] = m
	}
	return m
}

func (s *Stack) write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// startAll runs every service and the first gateway in one process; further gateways join its NATS.
func (s *Stack) startAll(t testing.TB) {
	s.startService(t, "simulator", 1)
	s.startMain(t)
	for i := range s.Gateways[1:] {
		s.startGateway(t, i+1)
	}
	for _, gw := range s.Gateways[1:] {
		gw.WaitReady(t, patience)
	}
}

// startMain runs the process with all services.
func (s *Stack) startMain(t testing.TB) {
	t.Helper()
	main := s.wxbus(t, "wxbus", "token,sender,agent-routing,rule,console,gateway",
		[]string{"WXBUS_GATEWAY_LISTEN=" + strings.TrimPrefix(s.Gateways[0].URL, "http://")}, s.grpcListen())
	main.WaitReady(t, patience)
	for _, service := range []string{"token", "sender", "agent-routing", "rule", "console", "gateway"} {
		s.Services[service] = []*Process{main}
	}
	s.Gateways[0].Process = main
}

// Replica returns where one replica of a service listens for gRPC.
func (s *Stack) Replica(service string, i int) string { return s.grpc[service][i] }

// GRPC returns where a service can be called from outside: in one process all services listen at one address.
func (s *Stack) GRPC(service string) string {
	if s.Mode == All {
		service = "rule"
	}
	return s.Address(service)
}

// KillSender kills the process of the sender with SIGKILL: in one process everything, NATS included.
func (s *Stack) KillSender() { s.Services["sender"][0].Kill() }

// RestartSender starts again what KillSender killed, with the same data.
func (s *Stack) RestartSender(t testing.TB) {
	t.Helper()
	if s.Mode == All {
		s.startMain(s.owner)
		return
	}
	s.Restart(t, "sender", 0)
}

// grpcListen makes the all-in-one listen where the file says that its services are: one address can
// be set, the others are reached in process.
func (s *Stack) grpcListen() string { return "WXBUS_GRPC_LISTEN=" + s.Address("rule") }

// Address returns where a service listens for gRPC.
func (s *Stack) Address(service string) string {
	var c struct {
		GRPC struct{ Addresses map[string]string }
	}
	b, err := os.ReadFile(s.File)
	if err == nil {
		err = yaml.Unmarshal(b, &c)
	}
	if err != nil {
		panic(err) // written by configure a moment ago
	}
	return c.GRPC.Addresses[service]
}

func (s *Stack) startSplit(t testing.TB, o Options) {
	s.startCluster(t, o)
	s.provision(t)
	for _, service := range []string{"simulator", "token", "sender", "agent-routing", "rule", "console"} {
		s.startService(t, service, o.replicas(service))
	}
	for i := range s.Gateways {
		s.startGateway(t, i)
	}
	s.WaitReady(t)
}

// WaitReady waits until every process is ready.
func (s *Stack) WaitReady(t testing.TB) {
	t.Helper()
	for _, p := range s.Servers {
		p.WaitReady(t, patience)
	}
	for _, ps := range s.Services {
		for _, p := range ps {
			p.WaitReady(t, patience)
		}
	}
	for _, gw := range s.Gateways {
		gw.WaitReady(t, patience)
	}
}

// startCluster runs three NATS servers with the settings of production.
func (s *Stack) startCluster(t testing.TB, o Options) {
	t.Helper()
	users := ""
	if o.Users {
		users = s.useUsers(t)
	}
	secured := s.natsTLS(t)
	ports := make([]int, len(s.NATS))
	for i := range ports {
		ports[i] = FreePort(t)
	}
	if o.Network {
		s.Network = newNetwork(t, s.NATS, ports)
	}
	for i, u := range s.NATS {
		store := filepath.Join(s.Dir, natsName(i))
		if o.Store != nil {
			store = o.Store(i)
		}
		monitor := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		s.write(t, natsName(i)+".conf", fmt.Appendf(nil, `
%s
server_name: %s
listen: %q
http: %q
jetstream { store_dir: %q, sync_interval: always, max_file_store: %s }
cluster { name: wxbus, listen: "127.0.0.1:%d", no_advertise: true, %s, %s }
%[9]s
`, users, natsName(i), strings.TrimPrefix(u, "nats://"), monitor, store, storeLimit(o.Config), ports[i], s.routes(i, ports), secured))
		s.Servers = append(s.Servers, &Process{Admin: monitor})
		s.StartServer(i)
	}
}

// storeLimit is what a NATS server may store. Without it a server takes a share of the disk that is free when it starts,
// and on one that is nearly full the streams, which reserve more than a test ever stores, do not fit.
func storeLimit(config map[string]any) string {
	if limit, ok := section(config, "nats")["max_store"].(string); ok {
		return limit
	}
	return "16GB"
}

func natsName(i int) string { return fmt.Sprintf("nats-%d", i) }

// routes are the connections that a NATS server makes to the others.
func (s *Stack) routes(from int, ports []int) string {
	if s.Network != nil {
		return s.Network.routes(from)
	}
	urls := make([]string, len(ports))
	for i, port := range ports {
		urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	return "routes: [" + strings.Join(urls, ", ") + "]"
}

// StartServer starts a NATS server again that has ended. It does not wait until it is ready.
func (s *Stack) StartServer(i int) {
	s.owner.Helper()
	monitor := s.Servers[i].Admin
	p := startProcess(s.owner, s.Dir, natsName(i), filepath.Join(s.bin, "natsd"), []string{"-c", filepath.Join(s.Dir, natsName(i)+".conf")}, s.passwords)
	p.Admin, p.health = monitor, "/healthz"
	s.Servers[i] = p
}

// provision retries while the cluster elects its leaders.
func (s *Stack) provision(t testing.TB) {
	t.Helper()
	var out []byte
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var err error
		cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "wxbus"), "provision", "--config", s.File, "--nats", strings.Join(s.NATS, ","))
		cmd.Env = append(os.Environ(), s.Login(t, topology.UserProvision)...)
		out, err = cmd.CombinedOutput()
		return err == nil
	}, patience, 500*time.Millisecond, "wxbus provision: %s", &lazy{&out})
}

type lazy struct{ b *[]byte }

func (l *lazy) String() string { return string(*l.b) }

// startService runs replicas of a service by its own binary.
func (s *Stack) startService(t testing.TB, service string, replicas int) {
	t.Helper()
	for i := range replicas {
		s.Services[service] = append(s.Services[service], s.replica(service, i))
	}
	if service == "simulator" {
		s.Services[service][0].WaitReady(t, patience)
	}
}

// replica starts a replica of a service.
func (s *Stack) replica(service string, i int) *Process {
	var env []string
	grpc := fmt.Sprintf("127.0.0.1:%d", FreePort(s.owner))
	switch {
	case i < len(s.grpc[service]):
		grpc = s.grpc[service][i]
	case service == "console" && i > 0:
		env = []string{fmt.Sprintf("WXBUS_CONSOLE_LISTEN=127.0.0.1:%d", FreePort(s.owner))}
	}
	return s.service(s.owner, fmt.Sprintf("%s-%d", service, i), service, grpc, env)
}

// Restart starts a replica of a service again that has ended, at the same address, and waits until it is ready.
func (s *Stack) Restart(t testing.TB, service string, i int) {
	t.Helper()
	s.Services[service][i] = s.replica(service, i)
	s.Services[service][i].WaitReady(t, patience)
}

func (s *Stack) startGateway(t testing.TB, i int) {
	gw := s.Gateways[i]
	gw.Process = s.service(t, fmt.Sprintf("gateway-%d", i), "gateway", fmt.Sprintf("127.0.0.1:%d", FreePort(t)),
		[]string{"WXBUS_GATEWAY_LISTEN=" + strings.TrimPrefix(gw.URL, "http://")})
}

func (s *Stack) service(t testing.TB, name, binary, grpc string, env []string) *Process {
	t.Helper()
	admin := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	urls := s.NATS
	if s.Network != nil {
		urls = s.Network.urls(t, name)
	}
	args := []string{"-config", s.File, "-nats", strings.Join(urls, ","), "-admin", admin, "-grpc", grpc}
	bin := s.bin
	if offset, off := s.clocks[name]; off {
		bin, env = s.clockBin, append(env, clockVariable+"="+offset.String())
	}
	p := startProcess(t, s.Dir, name, filepath.Join(bin, binary), args, append(append(env, s.env...), s.Login(t, binary)...))
	p.Admin = admin
	return p
}

func (s *Stack) wxbus(t testing.TB, name, target string, env []string, more ...string) *Process {
	t.Helper()
	admin := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	env = append(append(env, "WXBUS_ADMIN_LISTEN="+admin), more...)
	p := startProcess(t, s.Dir, name, filepath.Join(s.bin, "wxbus"), []string{"up", "--config", s.File, "--target", target}, env)
	p.Admin = admin
	return p
}

// RestartGateway starts a killed gateway again at the same address.
func (s *Stack) RestartGateway(t testing.TB, i int) {
	t.Helper()
	s.startGateway(s.owner, i)
	s.Gateways[i].WaitReady(t, patience)
}

// BinDir is where the binaries are.
func (s *Stack) BinDir() string { return s.bin }

// CLI runs wxbus with the stack's configuration and returns its output.
func (s *Stack) CLI(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.bin, "wxbus"), append(args, "--config", s.File, "--nats", strings.Join(s.NATS, ","))...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.Login(t, topology.UserOperator)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// patience bounds the start of a process, and of a cluster.
const patience = 3 * time.Minute

// HTTP is the client of the tests.
var HTTP = &http.Client{Timeout: 30 * time.Second}
