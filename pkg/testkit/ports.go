package testkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports below the range from which systems hand out ports on their own (32768 and up on Linux), so that no
// connection or listener of another test takes one between its choice and its use.
const lowestPort, endOfPorts = 10000, 32000

var given sync.Map // ports that FreePorts returned

// FreePorts returns n TCP ports of the loopback address on which nothing listens, for programs that cannot
// choose one themselves; it returns none twice. Whoever can should listen on port 0 instead.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	var errs error
	for try := 0; len(ports) < n && try < n+100; try++ {
		port := lowestPort + rand.IntN(endOfPorts-lowestPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		open, ports = append(open, l), append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no free ports on 127.0.0.1: %w", errs)
	}
	return ports, nil
}
