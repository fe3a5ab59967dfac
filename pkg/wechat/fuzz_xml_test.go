package wechat_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// element is an XML element as encoding/xml sees it.
type element struct {
	name     string
	text     strings.Builder
	children []*element
}

// value shows the element the way Tree.Value does.
func (e *element) value() any {
	if len(e.children) == 0 {
		return e.text.String()
	}
	members := make(map[string]any)
	for _, c := range e.children {
		before, repeated := members[c.name]
		switch list, isList := before.([]any); {
		case !repeated:
			members[c.name] = c.value()
		case isList:
			members[c.name] = append(list, c.value())
		default:
			members[c.name] = []any{before, c.value()}
		}
	}
	return members
}

// stdlibTree reads a document with encoding/xml. It reports false for what encoding/xml refuses, and
// for what it accepts although this protocol does not: directives, processing instructions, a second
// root, text outside the root, names with a colon (which it splits).
func stdlibTree(text string) (*element, bool) {
	d := xml.NewDecoder(strings.NewReader(text))
	var root *element
	var open []*element
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return root, root != nil && len(open) == 0
		}
		if err != nil {
			return nil, false
		}
		switch v := token.(type) {
		case xml.Directive:
			return nil, false
		case xml.ProcInst:
			if v.Target != "xml" || root != nil || d.InputOffset() > int64(len(v.Inst)+len("<?xml ?>")) {
				return nil, false
			}
		case xml.StartElement:
			e := &element{name: v.Name.Local}
			if v.Name.Space != "" || (root != nil && len(open) == 0) {
				return nil, false
			}
			if len(open) > 0 {
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			} else {
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 0 || v.Name.Space != "" || open[len(open)-1].name != v.Name.Local {
				return nil, false
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) == 0 {
				if strings.Trim(string(v), " \t\r\n") != "" {
					return nil, false
				}
				continue
			}
			open[len(open)-1].text.Write(v)
		}
	}
}

// FuzzXMLAgainstStdlib: documents that both readers accept have the same content, and a document that
// encoding/xml accepts within this protocol is refused here only for its size or its attributes.
func FuzzXMLAgainstStdlib(f *testing.F) {
	addVectors(f)
	f.Add([]byte("<xml><a>&lt;&#x1F600;&#10;<![CDATA[]]]]></a><b c='d'/>\r\n</xml>"))
	f.Add([]byte("<?xml version=\"1.0\"?>\n<!-- x --><xml><a> <b>1</b> <b>2</b></a></xml>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		text := strings.TrimPrefix(string(body), "\ufeff")
		want, ok := stdlibTree(text)
		if !ok || want.name != "xml" {
			return
		}
		// The push needs a type and a sender; put them first, where they count.
		head := "<FromUserName>o</FromUserName><MsgType>x</MsgType>"
		at := strings.Index(text, "<xml>")
		if at < 0 || strings.Contains(text[:at], "<!--") {
			return // a root with attributes, or maybe inside a comment
		}
		p, err := wechat.Parse([]byte(text[:at]+"<xml>"+head+text[at+len("<xml>"):]), wechat.Limits{Bytes: wechat.MaxBody, Depth: 32, Elements: 1 << 14})
		if err != nil {
			require.True(t, mayRefuse(text, err), "%v: %q", err, text)
			return
		}
		got := p.Tree().Value().(map[string]any)
		wantValue, isBranch := want.value().(map[string]any)
		if !isBranch {
			wantValue = map[string]any{} // only text: it stands around head now
		}
		for _, name := range []string{"FromUserName", "MsgType"} {
			delete(got, name)
			delete(wantValue, name)
		}
		require.Equal(t, wantValue, got)
	})
}

// mayRefuse lists where this scanner is stricter on purpose.
func mayRefuse(text string, err error) bool {
	switch {
	case isLimit(err):
		return true
	case strings.Contains(err.Error(), "undefined entity"):
		return strings.Contains(text, "&#") // references with needless zeros
	case strings.Contains(err.Error(), "attribute"):
		return true
	case strings.Contains(err.Error(), "malformed name"):
		return len(text) > 128
	case strings.Contains(err.Error(), "declaration"), strings.Contains(err.Error(), "encoding"):
		return true
	default:
		return false
	}
}
