package process

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Module is one service as a process sees it.
type Module struct {
	// Name of the service: gateway, rule, token, sender, agent-routing, console or simulator.
	Name string
	// Section of the configuration file that the service reads.
	Section config.Section
	// Wanted tells whether the configuration asks for the service; nil means always.
	Wanted func(*config.Shared) bool
	// WithoutBus is true for a service that does not use NATS.
	WithoutBus bool
	// GCPercent is Go's GOGC for a process that runs this service alone; 0 leaves Go's own. GOGC in the environment wins.
	GCPercent int
	// Build makes the service from its section, which is loaded by then. It registers gRPC services
	// and HTTP listeners on rt and returns the component to start. It starts nothing itself.
	Build func(ctx context.Context, rt *Runtime) (lifecycle.Component, error)
}

// Runtime is what a process lends to its modules. Nothing in it is theirs to close.
type Runtime struct {
	Shared   config.Shared
	Instance string // unique name of this process, a NATS token
	Version  string
	Log      *slog.Logger
	Tel      *telemetry.Telemetry
	Bus      *bus.Conn // nil when no module uses NATS
	Topology *topology.Topology
	Accounts *account.Directory
	Sealer   *secret.Sealer
	Ready    *lifecycle.Readiness
	Now      func() time.Time // the time that all processes agree on: pkg/clock

	services []string
	grpc     grpc.ServiceRegistrar
	rpc      *rpc
	http     []listener
}

type listener struct {
	name, addr string
	handler    http.Handler
	direct     bool
}

// GRPC is where a module registers its services during Build.
func (rt *Runtime) GRPC() grpc.ServiceRegistrar { return rt.grpc }

// Dial returns a connection to a service: in process when this process runs it, otherwise to
// grpc.addresses of the configuration. It does not wait for the other side. The process closes it.
func (rt *Runtime) Dial(ctx context.Context, service string) (grpc.ClientConnInterface, error) {
	return rt.rpc.dial(ctx, service, rt.Runs(service))
}

// HTTP adds a public listener. It starts after all modules and drains before they stop.
func (rt *Runtime) HTTP(name, addr string, h http.Handler) {
	rt.http = append(rt.http, listener{name: name, addr: addr, handler: h})
}

// HTTPDirect is HTTP for a port that takes the same kind of small request all day; see httpx.Options.Direct for what
// that asks of h.
func (rt *Runtime) HTTPDirect(name, addr string, h http.Handler) {
	rt.http = append(rt.http, listener{name: name, addr: addr, handler: h, direct: true})
}

// Runs tells whether this process runs the named service.
func (rt *Runtime) Runs(service string) bool { return slices.Contains(rt.services, service) }

func (rt *Runtime) closeDialed() {
	if rt.rpc != nil {
		rt.rpc.close()
	}
}
