// Command agent-routing runs the agent-routing service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
)

func main() {
	os.Exit(process.Main(agentrouting.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
