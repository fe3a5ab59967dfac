package runner_test

import (
	"flag"
	"testing"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) {
	// The default, 100, is too few for deaths at odd moments.
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	testkit.Main(m)
}
