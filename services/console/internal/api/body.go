package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// read fills a request from a JSON body. The error names the field and says what it must be.
func read(body []byte, in proto.Message) error {
	err := protojson.Unmarshal(body, in)
	if err == nil {
		return nil
	}
	if !json.Valid(body) || !utf8.Valid(body) || bytes.TrimSpace(body)[0] != '{' {
		return invalid("", "the body must be one JSON object in UTF-8")
	}
	place := jsonPlace.FindStringSubmatch(err.Error())
	if place == nil {
		return invalid("", "the body is not a request of this path; see /api/docs")
	}
	line, _ := strconv.Atoi(place[1])
	column, _ := strconv.Atoi(place[2])
	return invalid(pathAt(body, offsetOf(body, line, column)), reasonOf(place[3]))
}

// jsonPlace is how protojson tells where it stopped and why.
var jsonPlace = regexp.MustCompile(`\(line (\d+):(\d+)\): (.*)`)

var wrongValue = regexp.MustCompile(`^invalid value for (\w+) (?:field|type|key)`)

// kindWords says what a value must be, by the name of its kind in protobuf.
var kindWords = map[string]string{
	"string": "must be a string", "bool": "must be true or false", "bytes": "must be base64", "enum": "must be one of the names in the documentation",
	"double": "must be a number", "float": "must be a number",
}

func reasonOf(text string) string {
	switch found := wrongValue.FindStringSubmatch(text); {
	case found != nil && kindWords[found[1]] != "":
		return kindWords[found[1]]
	case found != nil:
		return "must be a whole number that fits " + found[1]
	case strings.HasPrefix(text, "unknown field"):
		return "is not a field of this request; see /api/docs"
	case strings.HasPrefix(text, "duplicate field"):
		return "is there twice"
	case strings.Contains(text, "oneof"):
		return "stands beside another member; only one of them may be set"
	default:
		return "is not of the right kind"
	}
}

// offsetOf turns a line and a column of characters, both from 1, into an offset of bytes.
func offsetOf(body []byte, line, column int) int64 {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(body[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
	}
	for ; column > 1 && at < len(body); column-- {
		_, size := utf8.DecodeRune(body[at:])
		at += size
	}
	return int64(at)
}

// level is an object or a list that pathAt is inside of.
type level struct {
	name  string // of the member that is read
	index int    // of the element that is read; -1 in an object
	value bool   // an object reads the value of name next
}

// pathAt returns the path of the member of a valid JSON document at an offset of bytes: "message.content.text".
func pathAt(body []byte, offset int64) string {
	d := json.NewDecoder(bytes.NewReader(body))
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return pathOf(levels)
		}
		top := len(levels) - 1
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			levels = levels[:top]
			continue
		}
		switch {
		case top < 0:
		case levels[top].index >= 0:
			levels[top].index++
		case levels[top].value:
			levels[top].value = false
		default:
			levels[top].name, _ = token.(string)
			levels[top].value = true
		}
		if d.InputOffset() > offset {
			return pathOf(levels)
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{index: -1})
		case json.Delim('['):
			levels = append(levels, level{index: 0})
		}
	}
}

func pathOf(levels []level) string {
	var out strings.Builder
	for _, l := range levels {
		switch {
		case l.index > 0:
			fmt.Fprintf(&out, "[%d]", l.index-1)
		case l.name != "":
			if out.Len() > 0 {
				out.WriteByte('.')
			}
			out.WriteString(shortened(l.name))
		}
	}
	return out.String()
}

// shortened bounds a name that the caller chose.
func shortened(name string) string {
	const most = 64
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return name
}
