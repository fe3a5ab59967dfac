// Command token runs the token service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/token"
)

func main() {
	os.Exit(process.Main(token.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
