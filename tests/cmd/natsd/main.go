// Command natsd is a NATS server as a process of its own, so that tests can kill one of three.
// It takes the configuration file of a real nats-server: natsd -c server.conf
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A server that is told to stop hands its leaderships over and sends its clients away, in this order, as
// nats-server does on "-sl=ldm". Its shortest times are half a minute; a test has few clients.
const (
	graceOfTests    = time.Second
	lameDuckOfTests = 4 * time.Second
)

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	if len(args) != 3 || args[1] != "-c" {
		fmt.Fprintln(os.Stderr, "usage: natsd -c server.conf")
		return 2
	}
	opts, err := server.ProcessConfigFile(args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		return 2
	}
	opts.NoSigs = true
	opts.LameDuckGracePeriod, opts.LameDuckDuration = graceOfTests, lameDuckOfTests
	srv, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		return 1
	}
	srv.ConfigureLogger()
	srv.Start()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	srv.LameDuckShutdown()
	srv.WaitForShutdown()
	return 0
}
