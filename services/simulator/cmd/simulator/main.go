// Command simulator runs the simulator service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/simulator"
)

func main() {
	os.Exit(process.Main(simulator.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
