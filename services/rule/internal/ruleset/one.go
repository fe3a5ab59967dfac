package ruleset

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// CheckRule reads one item of rules as Parse would in a file with the sections of another one. Its error is
// Invalid; paths and lines are those in body.
func CheckRule(body, sections []byte, o Options) error {
	if len(body) > MaxFileBytes {
		return fault.Errorf(fault.Invalid, "%d bytes, at most %d are allowed", len(body), MaxFileBytes)
	}
	rule, err := document(body)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	root, err := document(sections)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if rule.Kind != yaml.MappingNode || root.Kind != yaml.MappingNode {
		return fault.New(fault.Invalid, "a rule must be a mapping")
	}
	file := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "rules" {
			file.Content = append(file.Content, root.Content[i], root.Content[i+1])
		}
	}
	file.Content = append(file.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "rules", Line: 1},
		&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: 1, Content: []*yaml.Node{rule}})
	f := &fileReader{options: o, fold: match.DefaultFold, names: map[string]int{}}
	f.file(at{node: file})
	for i, problem := range f.problems {
		f.problems[i] = errors.New(strings.TrimPrefix(strings.TrimPrefix(problem.Error(), "rules[0]."), "rules[0]: "))
	}
	if err := f.err(); err != nil {
		return err
	}
	_, err = Compile("", &f.result)
	return err
}

// DefaultKinds returns the kinds of a rule that names none and has this match, or none of it when it is nil.
func DefaultKinds(matching *yaml.Node) []string {
	if matching == nil {
		return defaultKinds(nil)
	}
	return defaultKinds(&at{node: matching})
}
