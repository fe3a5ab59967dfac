package process

import (
	"context"
	"fmt"
	"slices"

	"github.com/wxbus/wxbus/pkg/httpx"
	"github.com/wxbus/wxbus/pkg/lifecycle"
)

// bound is a listener that has its real address once it is started.
type bound struct {
	name   string
	server *httpx.Server
}

// URL is a named address of a running process.
type URL struct{ Name, URL string }

// URLs returns where people look: public listeners, then admin ports, then NATS.
func (p *Process) URLs() []URL {
	var out []URL
	for _, b := range p.public {
		out = append(out, URL{b.name, "http://" + reachable(b.server.Addr())})
	}
	for _, b := range p.admins {
		out = append(out, URL{b.name, "http://" + reachable(b.server.Addr()) + "/metrics"})
	}
	if p.nats != nil && p.nats.ClientURL() != "" {
		out = append(out, URL{"nats", p.nats.ClientURL()})
	}
	return out
}

// grpcBefore is the first module that only calls others: the gRPC server starts before it, so that
// its calls find someone, and after the services that answer.
const grpcBefore = "rule"

// buildModules builds every module and lays out the group.
func (p *Process) buildModules(ctx context.Context) error {
	p.rt.rpc = newRPC(p)
	p.rt.grpc = p.rt.rpc
	var cs []lifecycle.Component
	served := false
	for _, m := range p.spec.Modules {
		c, err := m.Build(ctx, p.rt)
		if err != nil {
			return fmt.Errorf("build %s: %w", m.Name, err)
		}
		if !served && startsAfterGRPC(m.Name) {
			cs, served = append(cs, p.rt.rpc.components()...), true
		}
		cs = append(cs, c)
	}
	if !served {
		cs = append(cs, p.rt.rpc.components()...)
	}
	for _, l := range p.rt.http {
		srv := httpx.NewServer(httpx.Options{Name: l.name, Addr: l.addr, Handler: l.handler, Log: p.rt.Log, Direct: l.direct})
		p.public = append(p.public, bound{l.name, srv})
		cs = append(cs, srv)
	}
	p.group = lifecycle.NewGroup(p.rt.Log, cs...).With(lifecycle.Options{Name: "services"})
	return nil
}

func startsAfterGRPC(module string) bool {
	return slices.Index(order, module) >= slices.Index(order, grpcBefore)
}
