package ruleset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// maxDepth bounds the nesting of an answer; replies need four levels.
const maxDepth = 16

// ParseReplies reads the answer of a webhook, {"replies": [{"text": "…"}]}. Each reply is as in a
// rule file, without variables; other keys are ignored, and without replies there are none.
func ParseReplies(answer []byte) ([]*eventv1.Content, error) {
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	list, ok := object["replies"]
	if !ok {
		return nil, nil
	}
	node, err := nodeOf(list, 0)
	if err != nil {
		return nil, err
	}
	f := &fileReader{scope: scope{literal: true}}
	var replies []*eventv1.Content
	f.items(at{node, "replies"}, MaxReplies, func(item at) {
		content, err := f.reply(item).Content()
		if err != nil {
			f.refuse(item, "%v", err)
			return
		}
		replies = append(replies, content)
	})
	if err := f.err(); err != nil {
		return nil, err
	}
	return replies, nil
}

// nodeOf makes a tree for the reader of a JSON value. YAML's own parser is not used: JSON's escapes
// are not all of YAML's.
func nodeOf(value any, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	scalar := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text, Line: 1}
	}
	switch v := value.(type) {
	case nil:
		return scalar("!!null", ""), nil
	case bool:
		return scalar("!!bool", strconv.FormatBool(v)), nil
	case json.Number:
		return scalar("!!int", v.String()), nil
	case string:
		return scalar("!!str", v), nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: 1}
		for _, item := range v {
			child, err := nodeOf(item, depth+1)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		return node, nil
	case map[string]any:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1}
		for key, item := range v {
			child, err := nodeOf(item, depth+1)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, scalar("!!str", key), child)
		}
		return node, nil
	default:
		return nil, errors.New("not JSON")
	}
}
