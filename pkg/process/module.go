package process

import (
	"context"
	"log/slog"
	"net/http"
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
	// Build makes the service from its section, which is loaded by then. It registers gRPC services
	// and HTTP listeners on rt and returns the component to start. It starts nothing itself.
	Build func(ctx context.Context, rt *Runtime) (lifecycle.Component, error)
	// NeedsBus is false for a service that does without NATS.
	NeedsBus bool
}

// Runtime is what a process lends to its modules. Nothing in it is theirs to close.
type Runtime struct {
	Shared   config.Shared
	Instance string // unique name of this process, a NATS token
	Version  string
	Log      *slog.Logger
	Tel      *telemetry.Telemetry
	Bus      *bus.Conn // nil when no module needs it
	Topology *topology.Topology
	Accounts *account.Directory
	Sealer   *secret.Sealer // nil without a master key
	Ready    *lifecycle.Readiness
	Now      func() time.Time

	grpc     grpc.ServiceRegistrar
	dial     func(service string) (grpc.ClientConnInterface, error)
	services []string
	http     []listener
}

type listener struct {
	name, addr string
	handler    http.Handler
}

// GRPC is where a module registers its services during Build.
func (rt *Runtime) GRPC() grpc.ServiceRegistrar { return rt.grpc }

// Dial returns a connection to a service: in process when this process runs it, otherwise to
// grpc.addresses of the configuration. It does not wait for the other side. The connection is
// closed by the process.
func (rt *Runtime) Dial(service string) (grpc.ClientConnInterface, error) { return rt.dial(service) }

// HTTP adds a public listener. It starts after all modules and drains before they stop.
func (rt *Runtime) HTTP(name, addr string, h http.Handler) {
	rt.http = append(rt.http, listener{name, addr, h})
}

// Runs tells whether this process runs the named service.
func (rt *Runtime) Runs(service string) bool {
	for _, s := range rt.services {
		if s == service {
			return true
		}
	}
	return false
}
