package allinone

import (
	"fmt"
	"slices"
	"strings"

	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
	"github.com/wxbus/wxbus/services/console"
	"github.com/wxbus/wxbus/services/gateway"
	"github.com/wxbus/wxbus/services/rule"
	"github.com/wxbus/wxbus/services/sender"
	"github.com/wxbus/wxbus/services/simulator"
	"github.com/wxbus/wxbus/services/token"

	"github.com/wxbus/wxbus/pkg/process"
)

// TargetAll selects every service that the configuration asks for.
const TargetAll = "all"

// Modules returns every service in start order (ADR 0006).
func Modules() []process.Module {
	return []process.Module{
		token.Module(), sender.Module(), agentrouting.Module(), rule.Module(),
		console.Module(), gateway.Module(), simulator.Module(),
	}
}

// Select returns the modules of a comma-separated target list, in start order. An unknown
// target is an error that lists the known ones.
func Select(target string) ([]process.Module, error) {
	wanted := strings.FieldsFunc(target, func(r rune) bool { return r == ',' || r == ' ' })
	if len(wanted) == 0 {
		wanted = []string{TargetAll}
	}
	for _, w := range wanted {
		if w != TargetAll && !slices.Contains(process.Names(), w) {
			return nil, fmt.Errorf("unknown target %q: use all or a list of %s", w, strings.Join(process.Names(), ", "))
		}
	}
	var out []process.Module
	for _, m := range Modules() {
		switch {
		case slices.Contains(wanted, m.Name):
			m.Wanted = nil // asked for by name
			out = append(out, m)
		case slices.Contains(wanted, TargetAll):
			out = append(out, m)
		}
	}
	return out, nil
}
