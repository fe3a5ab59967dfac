// Command rule runs the rule service on its own.
package main

import (
	"os"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/rule"
)

func main() {
	os.Exit(process.Main(rule.Module(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
