package process

// Services in the order of the flow: what the others need comes first (ADR 0006).
var order = []string{"token", "sender", "agent-routing", "rule", "console", "gateway", "simulator"}

// Names returns every service, in start order.
func Names() []string { return append([]string(nil), order...) }

// The default ports of each service (ADR 0009). A process listens on those of each service that it runs,
// so the same file serves one process and many, also on one machine.
var adminPorts = map[string]string{
	"gateway": "9080", "console": "9081", "rule": "9082", "token": "9083",
	"sender": "9084", "agent-routing": "9085", "simulator": "9086",
}

var grpcPorts = map[string]string{
	"rule": "9182", "token": "9183", "sender": "9184", "agent-routing": "9185",
}

// AdminAddresses returns where a process that runs the given services listens for probes and
// metrics, unless admin.listen says otherwise.
func AdminAddresses(services []string) []string { return addresses(adminPorts, "", services) }

// GRPCAddresses returns where a process that runs the given services listens for gRPC, unless
// grpc.listen says otherwise. Only loopback: other machines need grpc.listen and its TLS.
func GRPCAddresses(services []string) []string { return addresses(grpcPorts, "127.0.0.1", services) }

// DefaultGRPCAddress returns where a service is found when grpc.addresses does not name it.
func DefaultGRPCAddress(service string) string { return "127.0.0.1:" + grpcPorts[service] }

func addresses(ports map[string]string, host string, services []string) []string {
	var out []string
	for _, s := range services {
		if p, ok := ports[s]; ok {
			out = append(out, host+":"+p)
		}
	}
	return out
}
