// Package soak runs numbered pushes with faults of every kind against real processes, and lets only the
// simulator's own report judge: what WeChat acknowledged is stored, no fan sees a reply twice, and replies
// keep their order.
//
// Without a build tag it is the short form for CI; with -tags soak the long one (make soak). Both run
// in one process (-mode=all) or over a NATS of three (-mode=split).
package soak

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/wxbus/wxbus/tests/stack"
)

var (
	mode   = flag.String("mode", "all", "all or split")
	rate   = flag.Int("rate", 0, "pushes per second instead of the usual rate")
	pushes = flag.Int("pushes", 0, "pushes in all instead of the usual number")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *mode != string(stack.All) && *mode != string(stack.Split) {
		fmt.Fprintf(os.Stderr, "-mode must be all or split, got %q\n", *mode)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
