package process

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/clock"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"
)

func (p *Process) newRuntime(ctx context.Context) (*Runtime, error) {
	instance := p.spec.Name + "-" + randomToken()
	tel := p.spec.Telemetry
	if tel == nil {
		var err error
		tel, err = telemetry.Start(ctx, telemetry.Config{
			OTLPEndpoint: p.shared.Telemetry.OTLPEndpoint,
			SampleRatio:  p.shared.Telemetry.SampleRatio,
			LogLevel:     p.shared.Log.Level,
			LogFormat:    p.shared.Log.Format,
			LogOutput:    logOutput(p.spec.Log),
		}, telemetry.Resource{Service: p.spec.Name, Version: Version, Instance: instance})
		if err != nil {
			return nil, err
		}
	}
	accounts, err := account.NewDirectory(p.shared.Accounts)
	if err != nil {
		return nil, err
	}
	sealer, err := p.sealer(tel.Logger)
	if err != nil {
		return nil, err
	}
	topo, err := NewTopology(p.shared)
	if err != nil {
		return nil, err
	}
	if err := p.loadCertificates(tel); err != nil {
		return nil, err
	}
	p.clock = clock.New(time.Now, tel.Logger)
	rt := &Runtime{
		Shared: p.shared, Instance: instance, Version: Version, Log: tel.Logger, Tel: tel,
		Topology: topo, Accounts: accounts, Sealer: sealer, Ready: lifecycle.NewReadiness(), Now: p.clock.Now,
	}
	for _, m := range p.spec.Modules {
		rt.services = append(rt.services, m.Name)
	}
	return rt, nil
}

func randomToken() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	return hex.EncodeToString(b[:])
}

// sealer uses the configured master key, or a key file below data that is made on first use, so that
// nothing is ever stored unsealed.
func (p *Process) sealer(log *slog.Logger) (*secret.Sealer, error) {
	if p.shared.MasterKey.IsZero() {
		name := filepath.Join(p.shared.Data, "master.key")
		text, created, err := ownMasterKey(name)
		if err != nil {
			return nil, fmt.Errorf("master_key: not set, and %w", err)
		}
		if created {
			log.Warn("master_key is not set: made one; every process that shares this NATS needs the same", "file", name)
		}
		p.shared.MasterKey = text
	}
	return p.shared.Sealer()
}

func ownMasterKey(name string) (key secret.Value, created bool, err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return secret.Value{}, false, fmt.Errorf("make %s: %w", filepath.Dir(name), err)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		_, err = f.WriteString(base64.StdEncoding.EncodeToString(b[:]) + "\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return secret.Value{}, false, fmt.Errorf("write %s: %w", name, err)
		}
		created = true
	case !errors.Is(err, fs.ErrExist):
		return secret.Value{}, false, fmt.Errorf("make %s: %w", name, err)
	}
	key, err = secret.Parse("file:"+name, nil)
	return key, created, err
}

// NewTopology returns the topology that the configuration asks for.
func NewTopology(shared config.Shared) (*topology.Topology, error) {
	return topology.New(topology.Options{
		Partitions: shared.NATS.Partitions, Replicas: shared.NATS.Replicas,
		Store: int64(shared.NATS.MaxStore) / 100 * 95, // the server keeps a little for itself
	})
}

// ConnectBus connects to nats.urls, for commands that are no service.
func ConnectBus(ctx context.Context, shared config.Shared, name string) (*bus.Conn, error) {
	opts := busOptions(shared, name)
	var err error
	if opts.Certificates, err = loadFiles(natsFiles(shared), nil, nil); err != nil {
		return nil, err
	}
	return bus.Connect(ctx, opts)
}

func busOptions(shared config.Shared, name string) bus.Options {
	return bus.Options{
		Name: name, URLs: shared.NATS.URLs, Conns: 2,
		CredsFile: shared.NATS.CredsFile, User: shared.NATS.User, Password: shared.NATS.Password.Reveal(),
		ServerName: shared.NATS.TLSName,
	}
}

// startInfra starts admin ports and NATS, makes sure that streams are as declared, and begins to follow
// the accounts.
func (p *Process) startInfra(ctx context.Context) error {
	var cs []lifecycle.Component
	if boundsGarbage(p.spec.Modules) {
		cs = append(cs, &garbage{})
	}
	for _, addr := range adminAddresses(p.shared, p.rt.services) {
		srv := httpx.NewServer(httpx.Options{
			Name: "admin", Addr: addr, Log: p.rt.Log,
			Handler: httpx.Admin(p.rt.Ready, p.rt.Tel.Registry, p.shared.Admin.Pprof),
		})
		p.admins = append(p.admins, bound{"admin", srv})
		cs = append(cs, srv)
	}
	if p.needsBus() {
		embedded, err := p.embedded(ctx)
		if err != nil {
			return err
		}
		if embedded != nil {
			p.nats = embedded
			cs = append(cs, embedded)
		}
		cs = append(cs, &busComponent{p: p}, &clockComponent{p: p}, &accountsComponent{p: p})
	}
	p.infra = lifecycle.NewGroup(p.rt.Log, cs...).With(lifecycle.Options{Name: "infrastructure"})
	p.rt.Ready.Add("services", func(context.Context) error {
		if p.group == nil || !p.serving.Load() {
			return lifecycle.ErrStarting
		}
		return nil
	})
	return p.infra.Start(ctx)
}

func (p *Process) needsBus() bool {
	for _, m := range p.spec.Modules {
		if !m.WithoutBus {
			return true
		}
	}
	return false
}

func (p *Process) embedded(ctx context.Context) (Embedded, error) {
	if !p.shared.NATS.Embedded() {
		return nil, nil
	}
	if p.spec.Embed == nil {
		return nil, errors.New("nats.urls: must be set: this binary has no NATS inside (wxbus up has)")
	}
	return p.spec.Embed(ctx, p.shared, p.rt.Log)
}

// busComponent connects, provisions an embedded NATS or checks an external one, and drains at the end.
type busComponent struct{ p *Process }

func (*busComponent) Name() string { return "bus" }

func (c *busComponent) Start(ctx context.Context) error {
	rt := c.p.rt
	opts := busOptions(c.p.shared, c.p.spec.Name)
	opts.Certificates = c.p.certs.nats
	opts.Log, opts.Tracer, opts.Meter = rt.Log, rt.Tel.TracerProvider, rt.Tel.MeterProvider
	if c.p.nats != nil {
		opts.InProcess = c.p.nats.InProcess()
	}
	conn, err := bus.Connect(ctx, opts)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	rt.Bus = conn
	if c.p.nats != nil {
		err = rt.Topology.Ensure(ctx, conn.JS())
	} else {
		err = waitForTopology(ctx, rt)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("check streams: %w", err), conn.Close(ctx))
	}
	rt.Ready.Add("nats", func(context.Context) error { return conn.Healthy() })
	return nil
}

// topologyTries bounds how often a process looks for its streams: half a minute, for as long as provisioning takes.
const topologyTries = 30

// waitForTopology gives a cluster that is starting, or being provisioned, a moment.
func waitForTopology(ctx context.Context, rt *Runtime) error {
	var err error
	for try := range topologyTries {
		if err = rt.Topology.Check(ctx, rt.Bus.JS()); err == nil {
			return nil
		}
		if try == 0 {
			rt.Log.WarnContext(ctx, "streams are not as declared yet, waiting", "error", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Second):
		}
	}
	return err
}

func (c *busComponent) Stop(ctx context.Context) error {
	if c.p.rt.Bus == nil {
		return nil
	}
	return c.p.rt.Bus.Close(ctx)
}

// accountsComponent adds the accounts that are managed over the API to those of the file, and keeps them
// up to date while the process runs (ADR 0026).
type accountsComponent struct {
	p    *Process
	feed *vault.Feed
}

func (*accountsComponent) Name() string { return "accounts" }

func (c *accountsComponent) Start(ctx context.Context) error {
	rt := c.p.rt
	kv, err := rt.Bus.JS().KeyValue(ctx, topology.BucketAccounts)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", topology.BucketAccounts, err)
	}
	feed := vault.NewFeed(kv, rt.Accounts, rt.Sealer, rt.Log)
	if err := feed.Start(ctx); err != nil {
		return err
	}
	c.feed = feed
	return nil
}

func (c *accountsComponent) Stop(ctx context.Context) error {
	if c.feed == nil {
		return nil
	}
	return c.feed.Stop(ctx)
}
