package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
)

// Shared is the part of the file that every process reads.
type Shared struct {
	Data              string            `yaml:"data" desc:"Folder for everything that is stored locally."`
	Log               LogConfig         `yaml:"log"`
	Telemetry         TelemetryConfig   `yaml:"telemetry"`
	NATS              NATSConfig        `yaml:"nats"`
	SQL               SQLConfig         `yaml:"sql"`
	MasterKey         Secret            `yaml:"master_key" desc:"32 bytes as base64 or hex; seals credentials and tokens that are stored."`
	PreviousMasterKey Secret            `yaml:"previous_master_key" desc:"Master key before the last change; still opens what it sealed."`
	Accounts          []account.Account `yaml:"accounts" desc:"The WeChat accounts that are served."`
	RulesFile         string            `yaml:"rules_file" desc:"YAML file with rules; empty when rules are only edited in the console."`
	Admin             AdminConfig       `yaml:"admin"`
	GRPC              GRPCConfig        `yaml:"grpc"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" desc:"Least severe level that is logged."`
	Format string `yaml:"format" enum:"json,text" desc:"Form of a log line."`
}

// TelemetryConfig says where traces go.
type TelemetryConfig struct {
	OTLPEndpoint string  `yaml:"otlp_endpoint" desc:"OpenTelemetry collector, OTLP over gRPC, as http://host:4317 or https://host:4317; empty for none."`
	SampleRatio  float64 `yaml:"sample_ratio" desc:"Share of new traces that are recorded, 0 to 1; traces begun elsewhere follow their own decision."`
}

// NATSConfig says how to reach NATS, or how to run it inside.
type NATSConfig struct {
	Listen     string   `yaml:"listen" desc:"Address of the embedded server; port -1, or just -1, is any free port; empty means in process only."`
	URLs       []string `yaml:"urls" desc:"Servers of an external NATS; when set, no server is embedded."`
	CredsFile  string   `yaml:"creds_file" desc:"NATS credentials file (user JWT and key)."`
	User       string   `yaml:"user" desc:"NATS user name."`
	Password   Secret   `yaml:"password" desc:"NATS password."`
	TLSCAFile  string   `yaml:"tls_ca_file" desc:"PEM file with the authority of the NATS servers; this, or a certificate of our own, requires TLS. Read again at each connection."`
	TLSCert    string   `yaml:"tls_cert_file" desc:"PEM file with the certificate with which we connect to NATS, for servers that verify."`
	TLSKey     string   `yaml:"tls_key_file" desc:"PEM file with the key of nats.tls_cert_file."`
	TLSName    string   `yaml:"tls_server_name" desc:"Name that the certificates of the NATS servers must have; default: the host of their address."`
	Replicas   int      `yaml:"replicas" desc:"Copies of every stream and bucket: 1, 3 or 5."`
	Partitions int      `yaml:"partitions" desc:"Partitions of fans, 1 to 256; every fan keeps to one. Change only with empty streams."`
	SyncAlways *bool    `yaml:"sync_always" desc:"Embedded server: write to disk before every acknowledgement; default: true, except in --dev."`
	MaxStore   Bytes    `yaml:"max_store" desc:"Disk space that all streams may take together on one server; the server reserves it."`
}

// SQLConfig says where editing and the desk keep their tables. Acknowledging and answering need no SQL.
type SQLConfig struct {
	URL Secret `yaml:"url" desc:"Postgres, postgres://user:password@host:5432/database; each service has a schema of its own there. Empty: a SQLite file for each service below data, for one process only."`
}

// AdminConfig is the listener for probes and metrics.
type AdminConfig struct {
	Listen string `yaml:"listen" desc:"Address of /metrics, /livez and /readyz; empty: the ports of the services that run here (gateway 9080, console 9081, rule 9082, token 9083, sender 9084, agent-routing 9085, simulator 9086)."`
	Pprof  bool   `yaml:"pprof" desc:"Serve Go's profiles below /debug/pprof/ there."`
}

// GRPCConfig says how services reach each other.
type GRPCConfig struct {
	Listen    string            `yaml:"listen" desc:"Address of gRPC; empty: the loopback ports of the services that run here (rule 9182, token 9183, sender 9184, agent-routing 9185)."`
	Addresses map[string]string `yaml:"addresses" keys:"rule,token,sender,agent-routing" desc:"Addresses of services in other processes, by service, for example dns:///token:9090; default: their loopback ports."`
	TLSCert   string            `yaml:"tls_cert_file" desc:"PEM file with the certificate of this process, as a server and as a client. With it gRPC is mutual TLS, also for the command line; without it plain text. Read again at each connection."`
	TLSKey    string            `yaml:"tls_key_file" desc:"PEM file with the key of grpc.tls_cert_file."`
	TLSCAFile string            `yaml:"tls_ca_file" desc:"PEM file with the authority that every service and every caller must be signed by; use one that signs nothing else."`
	TLSName   string            `yaml:"tls_server_name" desc:"Name that the certificate of a called service must have; default: the host of its address. For calls through a tunnel."`
}

// DefaultShared returns the defaults.
func DefaultShared() Shared {
	return Shared{
		Data:      "data",
		Log:       LogConfig{Level: "info", Format: "json"},
		Telemetry: TelemetryConfig{SampleRatio: 0.05},
		NATS:      NATSConfig{Listen: "127.0.0.1:4222", Replicas: 1, Partitions: 4, MaxStore: 10 << 30},
	}
}

// Validate returns every fault, joined, each with its path.
func (s Shared) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Data != "", "data: must be set")
	check(slices.Contains([]string{"debug", "info", "warn", "error"}, s.Log.Level), "log.level: must be one of debug, info, warn, error")
	check(slices.Contains([]string{"json", "text"}, s.Log.Format), "log.format: must be one of json, text")
	check(s.Telemetry.SampleRatio >= 0 && s.Telemetry.SampleRatio <= 1, "telemetry.sample_ratio: must be between 0 and 1")
	check(s.Telemetry.OTLPEndpoint == "" || isURL(s.Telemetry.OTLPEndpoint, "http", "https"), "telemetry.otlp_endpoint: must be http://host:port or https://host:port")
	check(s.SQL.URL.IsZero() || isURL(s.SQL.URL.Reveal(), "postgres", "postgresql"), "sql.url: must be postgres://user:password@host:port/database")
	check(s.Admin.Listen == "" || isAddress(s.Admin.Listen), "admin.listen: must be host:port")
	errs = append(errs, s.NATS.Validate(), s.GRPC.Validate(), account.ValidateAll(s.Accounts))
	errs = append(errs, checkKey("master_key", s.MasterKey), checkKey("previous_master_key", s.PreviousMasterKey))
	check(s.PreviousMasterKey.IsZero() || !s.MasterKey.IsZero(), "master_key: must be set when previous_master_key is")
	return errors.Join(errs...)
}

// SQLDir returns the folder of the SQLite files that are used when sql.url is empty.
func (s Shared) SQLDir() string { return filepath.Join(s.Data, "sql") }

// Sealer returns the sealer for the master key, which must be set.
func (s Shared) Sealer() (*secret.Sealer, error) {
	sealer, err := secret.SealerFrom(s.MasterKey, s.PreviousMasterKey)
	if err != nil {
		return nil, fmt.Errorf("master_key: %w", err)
	}
	return sealer, nil
}

// Validate returns every fault, joined, each with its path from the top of the file.
func (c GRPCConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Listen == "" || isAddress(c.Listen), "grpc.listen: must be host:port")
	for service, target := range c.Addresses {
		check(target != "", "grpc.addresses.%s: must not be empty", service)
	}
	const together = "grpc.%s: must be set when another of grpc.tls_cert_file, tls_key_file and tls_ca_file is: both sides show a certificate"
	secured := c.TLSCert != "" || c.TLSKey != "" || c.TLSCAFile != ""
	check(!secured || c.TLSCert != "", together, "tls_cert_file")
	check(!secured || c.TLSKey != "", together, "tls_key_file")
	check(!secured || c.TLSCAFile != "", together, "tls_ca_file")
	check(secured || c.TLSName == "", "grpc.tls_server_name: needs grpc.tls_cert_file")
	return errors.Join(errs...)
}

// Validate returns every fault, joined, each with its path from the top of the file.
func (c NATSConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, _, err := c.ListenAddress()
	check(err == nil, "nats.listen: must be host:port, -1 or empty")
	for i, u := range c.URLs {
		check(isURL(u, "nats", "tls", "ws", "wss"), "nats.urls[%d]: must be nats://host:port or tls://host:port", i)
	}
	check(c.User == "" || c.CredsFile == "", "nats.user: must be empty when nats.creds_file is set")
	check(c.Password.IsZero() || c.User != "", "nats.password: needs nats.user")
	check(c.TLSKey == "" || c.TLSCert != "", "nats.tls_cert_file: must be set when nats.tls_key_file is")
	check(c.TLSCert == "" || c.TLSKey != "", "nats.tls_key_file: must be set when nats.tls_cert_file is")
	secured := c.TLSCAFile != "" || c.TLSCert != ""
	check(secured || c.TLSName == "", "nats.tls_server_name: needs nats.tls_ca_file or nats.tls_cert_file")
	check(!secured || !c.Embedded(), "nats.urls: must be set when nats has files for TLS: the embedded server has none")
	check(slices.Contains([]int{1, 3, 5}, c.Replicas), "nats.replicas: must be 1, 3 or 5")
	check(c.Partitions >= 1 && c.Partitions <= 256, "nats.partitions: must be between 1 and 256")
	check(c.MaxStore >= 64<<20, "nats.max_store: must be at least 64MiB")
	return errors.Join(errs...)
}

// Embedded reports whether the process runs NATS inside.
func (c NATSConfig) Embedded() bool { return len(c.URLs) == 0 }

// ListenAddress splits Listen. The host is empty when the embedded server does not listen at all;
// port -1 is any free port.
func (c NATSConfig) ListenAddress() (host string, port int, err error) {
	switch c.Listen {
	case "":
		return "", 0, nil
	case "-1":
		return "127.0.0.1", -1, nil
	}
	host, text, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("split listen address: %w", err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < -1 || port > 65535 || port == 0 {
		return "", 0, fmt.Errorf("port %q: must be -1 or 1 to 65535", text)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

func checkKey(path string, v Secret) error {
	if v.IsZero() {
		return nil
	}
	if _, err := secret.ParseKey(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// isAddress accepts host:port with port 0 for any free one.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

func isURL(s string, schemes ...string) bool {
	u, err := url.Parse(strings.TrimSpace(s))
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}
