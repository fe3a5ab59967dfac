// Command wxbus runs every service in one process and is the operators' command line.
package main

import (
	"os"

	"github.com/wxbus/wxbus/services/allinone/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
