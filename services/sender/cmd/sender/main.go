// Command sender runs the sender service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/sender"
)

func main() {
	os.Exit(process.Main(sender.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
