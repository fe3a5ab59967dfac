// Command gateway runs the gateway service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/gateway"
)

func main() {
	os.Exit(process.Main(gateway.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
