// Command console runs the console service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/console"
)

func main() {
	os.Exit(process.Main(console.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
