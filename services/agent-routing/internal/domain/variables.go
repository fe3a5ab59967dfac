package domain

import (
	"regexp"
	"slices"
	"strings"
)

// variable is {fan.name} or {any words}: no braces and no line breaks inside.
var variable = regexp.MustCompile(`\{([^{}\n]{1,40})\}`)

// Variables returns the names in braces that are not filled in by the desk itself, in order, each once.
func Variables(texts ...string) []string {
	var out []string
	for _, t := range texts {
		for _, m := range variable.FindAllStringSubmatch(t, -1) {
			name := strings.TrimSpace(m[1])
			if name != "" && !ownVariable(name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func ownVariable(name string) bool {
	return name == "fan.name" || name == "agent.name" || name == "account"
}

// Fill puts values into the braces of a text; a name without a value stays as it is. A value is not filled in again.
func Fill(text string, values map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := values[strings.TrimSpace(m[1:len(m)-1])]; ok {
			return v
		}
		return m
	})
}
