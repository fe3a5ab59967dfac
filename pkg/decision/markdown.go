package decision

import (
	"fmt"
	"slices"
	"strings"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// RouteName returns the name of a route in lower case without prefix, for texts and metric labels.
func RouteName(r rulev1.Route) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "ROUTE_"))
}

// Markdown renders the table of allowed changes, one section per command, for the documentation. Of
// the lines of a section the first that matches decides.
func Markdown() string {
	var b strings.Builder
	for v := VerbClaim; v <= VerbResend; v++ {
		subject := "claims of the record"
		if aboutClaim(v) {
			subject = "claim of the server"
		}
		fmt.Fprintf(&b, "### %s\n\n| route | %s | when | verdict | because |\n|---|---|---|---|---|\n", v, subject)
		for _, l := range table {
			if l.verb == v {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", l.routes, l.claims.text(v), l.guard, l.outcome(), l.why)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// String lists the routes of a set.
func (s routes) String() string {
	if s == anyRoute {
		return "any"
	}
	var names []string
	for r := range rulev1.Route_name {
		if s.has(rulev1.Route(r)) {
			names = append(names, RouteName(rulev1.Route(r)))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " or ")
}

func (s standing) text(v Verb) string {
	if s == anyStanding {
		return "any"
	}
	absent, open := "none", "pending"
	if !aboutClaim(v) {
		absent, open = "none, or all released", "some pending, none delivered"
	}
	if s&pending != 0 && s&sharedPending == 0 {
		open = "pending, not shared"
	} else if s&sharedPending != 0 && s&pending == 0 {
		open = "pending and shared"
	}
	var names []string
	if s&none != 0 {
		names = append(names, absent)
	}
	if s&anyPending != 0 {
		names = append(names, open)
	}
	if s&delivered != 0 {
		names = append(names, "delivered")
	}
	if s&released != 0 {
		names = append(names, "released")
	}
	return strings.Join(names, " or ")
}

// String lists the conditions of a guard.
func (g guard) String() string {
	var names []string
	if g&beforeEnd != 0 {
		names = append(names, "before passive_until")
	}
	if g&afterEnd != 0 {
		names = append(names, "after passive_until")
	}
	if g&room != 0 {
		names = append(names, fmt.Sprintf("fewer than %d claims", MaxClaims))
	}
	if g&sendable != 0 {
		names = append(names, "the reply can go by the customer-service API")
	}
	return strings.Join(names, ", ")
}

func (l line) outcome() string {
	switch l.verdict {
	case forbid:
		return "forbidden"
	case repeat:
		return "no change"
	default:
		return l.change()
	}
}

func (l line) change() string {
	switch {
	case l.route != rulev1.Route_ROUTE_UNSPECIFIED:
		return "route " + RouteName(l.route)
	case l.claim != rulev1.ClaimState_CLAIM_STATE_UNSPECIFIED:
		return "claim " + strings.ToLower(strings.TrimPrefix(l.claim.String(), "CLAIM_STATE_"))
	default:
		return "claim marked shared"
	}
}
