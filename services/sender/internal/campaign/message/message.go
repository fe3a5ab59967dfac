// Package message fills the variables of a campaign's message in for each recipient. A variable is
// {{name}} in any text of the message; its name is a column of the audience. It is pure.
package message

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	left, right = "{{", "}}"
	// maxName bounds the name of a variable in characters, maxVariables how many a message may have.
	maxName, maxVariables = 40, 20
)

// rawJSON is the one field whose text is JSON: values that go into it must be quoted.
var rawJSON = (&eventv1.RawContent{}).ProtoReflect().Descriptor().Fields().ByName("json")

// CheckName returns an Invalid fault unless name may be the name of a variable: a letter or
// underscore, then letters, digits and underscores, at most 40.
func CheckName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) {
		return fault.Errorf(fault.Invalid, "variable %q: must have 1 to %d characters", name, maxName)
	}
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return fault.Errorf(fault.Invalid, "variable %q: may hold letters, digits and underscores and must not begin with a digit", name)
		}
	}
	return nil
}

// Variables returns the names of the variables of a message, sorted. It fails with Invalid for one that is not
// closed or has a bad name, and for more than 20.
func Variables(m *senderv1.CampaignMessage) ([]string, error) {
	var names []string
	var failed error
	walk(m.ProtoReflect(), func(_ protoreflect.FieldDescriptor, text string) string {
		found, err := split(text)
		if err != nil && failed == nil {
			failed = err
		}
		for i, part := range found {
			if i%2 == 1 && !slices.Contains(names, part) {
				names = append(names, part)
			}
		}
		return text
	})
	if failed != nil {
		return nil, failed
	}
	if len(names) > maxVariables {
		return nil, fault.Errorf(fault.Invalid, "message: %d variables, at most %d are allowed", len(names), maxVariables)
	}
	slices.Sort(names)
	return names, nil
}

// Fill returns the message for one recipient; m stays as it is. Every variable of the message must be
// among names, and values must be as many as names.
func Fill(m *senderv1.CampaignMessage, names, values []string) *senderv1.CampaignMessage {
	if len(names) == 0 {
		return m
	}
	filled := proto.CloneOf(m)
	walk(filled.ProtoReflect(), func(field protoreflect.FieldDescriptor, text string) string {
		return fill(text, names, values, field == rawJSON)
	})
	return filled
}

func fill(text string, names, values []string, quote bool) string {
	parts, err := split(text)
	if err != nil || len(parts) == 1 {
		return text
	}
	var b strings.Builder
	for i, part := range parts {
		at := slices.Index(names, part)
		switch {
		case i%2 == 0:
			b.WriteString(part)
		case at < 0 || at >= len(values):
		case quote:
			b.WriteString(quoted(values[at]))
		default:
			b.WriteString(values[at])
		}
	}
	return b.String()
}

// quoted is a value as it stands between the quotes of a JSON string.
func quoted(value string) string {
	b, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// split cuts a text into what is between variables and their names, in turn: an even index is text.
func split(text string) ([]string, error) {
	parts := []string{}
	for {
		before, rest, found := strings.Cut(text, left)
		parts = append(parts, before)
		if !found {
			return parts, nil
		}
		name, after, closed := strings.Cut(rest, right)
		if !closed {
			return nil, fault.Errorf(fault.Invalid, "message: %q has no %q", left, right)
		}
		name = strings.TrimSpace(name)
		if err := CheckName(name); err != nil {
			return nil, err
		}
		parts, text = append(parts, name), after
	}
}

// walk calls replace for every text in the message and stores what it returns.
func walk(m protoreflect.Message, replace func(protoreflect.FieldDescriptor, string) string) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			walkMap(field, value.Map(), replace)
		case field.IsList():
			walkList(field, value.List(), replace)
		case field.Kind() == protoreflect.StringKind:
			if text := value.String(); strings.Contains(text, left) {
				m.Set(field, protoreflect.ValueOfString(replace(field, text)))
			}
		case field.Kind() == protoreflect.MessageKind:
			walk(value.Message(), replace)
		}
		return true
	})
}

func walkList(field protoreflect.FieldDescriptor, list protoreflect.List, replace func(protoreflect.FieldDescriptor, string) string) {
	for i := range list.Len() {
		switch field.Kind() {
		case protoreflect.StringKind:
			list.Set(i, protoreflect.ValueOfString(replace(field, list.Get(i).String())))
		case protoreflect.MessageKind:
			walk(list.Get(i).Message(), replace)
		default:
		}
	}
}

func walkMap(field protoreflect.FieldDescriptor, m protoreflect.Map, replace func(protoreflect.FieldDescriptor, string) string) {
	m.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		switch field.MapValue().Kind() {
		case protoreflect.StringKind:
			m.Set(key, protoreflect.ValueOfString(replace(field, value.String())))
		case protoreflect.MessageKind:
			walk(value.Message(), replace)
		default:
		}
		return true
	})
}
