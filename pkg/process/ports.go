package process

import (
	"net"
	"slices"
	"strings"

	"github.com/wxbus/wxbus/pkg/config"
)

// Services in start order: what the others need comes first (ADR 0006).
var order = []string{"token", "sender", "agent-routing", "rule", "console", "gateway", "simulator"}

// Names returns every service, in start order.
func Names() []string { return slices.Clone(order) }

// The default ports of each service (ADR 0009). A process listens on those of each service that it
// runs, so the same file serves one process and many, also on one machine.
var (
	adminPorts = map[string]string{
		"gateway": "9080", "console": "9081", "rule": "9082", "token": "9083",
		"sender": "9084", "agent-routing": "9085", "simulator": "9086",
	}
	grpcPorts = map[string]string{"rule": "9182", "token": "9183", "sender": "9184", "agent-routing": "9185"}
)

// adminAddresses returns where a process that runs the services listens for probes and metrics.
func adminAddresses(shared config.Shared, services []string) []string {
	return addresses(shared.Admin.Listen, adminPorts, "", services)
}

// grpcAddresses returns where a process that runs the services listens for gRPC. The defaults are
// loopback only: for other machines grpc.listen must be set.
func grpcAddresses(shared config.Shared, services []string) []string {
	return addresses(shared.GRPC.Listen, grpcPorts, "127.0.0.1", services)
}

func addresses(fixed string, ports map[string]string, host string, services []string) []string {
	var out []string
	for _, s := range services {
		if port, ok := ports[s]; ok {
			out = append(out, host+":"+port)
		}
	}
	if fixed != "" && len(out) > 0 {
		return []string{fixed}
	}
	return out
}

// GRPCAddress returns where a service is found.
func GRPCAddress(shared config.Shared, service string) string {
	if addr := shared.GRPC.Addresses[service]; addr != "" {
		return addr
	}
	return "127.0.0.1:" + grpcPorts[service]
}

// AdminURLHost returns host:port of a service's admin port as seen from this machine.
func AdminURLHost(shared config.Shared, service string) string {
	addr := adminAddresses(shared, []string{service})[0]
	return reachable(addr)
}

// reachable turns a listening address into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if host == "" || strings.Trim(host, ":0.[]") == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
