package wechat

import (
	"bytes"

	"github.com/wxbus/wxbus/pkg/fault"
)

// rootName is the root element of every XML push and reply.
const rootName = "xml"

// Bounds of what one tag may hold; WeChat sends no attributes at all.
const (
	maxNameBytes      = 128
	maxAttributes     = 16
	maxAttributeBytes = 1024
)

// xmlReader is a single-pass scanner for the XML that WeChat sends: elements, text, CDATA, comments,
// character references and the five predefined entities, after an optional XML declaration.
// Attributes are checked and ignored. Everything else is refused, above all document types: they are
// the way to entity attacks. encoding/xml accepts the same documents at ten times the price
// (FuzzXMLAgainstStdlib compares the two).
type xmlReader struct {
	src []byte
	pos int
	out *builder
	// names holds the names of the open elements.
	names [hardMaxDepth][]byte
}

func readXML(src []byte, out *builder) error {
	r := xmlReader{src: src, out: out}
	if err := r.prolog(); err != nil {
		return err
	}
	if err := r.startTag(); err != nil {
		return err
	}
	if string(r.names[0]) != rootName {
		return r.fail("root element is not <xml>")
	}
	for r.out.depth > 0 {
		if err := r.content(); err != nil {
			return err
		}
	}
	return r.epilog()
}

func (r *xmlReader) fail(reason string) error {
	return fault.Errorf(fault.Invalid, "parse body: xml: %s at byte %d", reason, r.pos)
}

// prolog skips blanks, comments and one XML declaration before the root element.
func (r *xmlReader) prolog() error {
	r.skipBlanks()
	if bytes.HasPrefix(r.rest(), []byte("<?xml")) {
		if err := r.declaration(); err != nil {
			return err
		}
	}
	return r.misc()
}

// epilog allows only blanks and comments after the root element.
func (r *xmlReader) epilog() error {
	if err := r.misc(); err != nil {
		return err
	}
	if r.pos < len(r.src) {
		return r.fail("content after the root element")
	}
	return nil
}

func (r *xmlReader) misc() error {
	for {
		r.skipBlanks()
		if !bytes.HasPrefix(r.rest(), []byte("<!--")) {
			return nil
		}
		if err := r.comment(); err != nil {
			return err
		}
	}
}

// declaration reads <?xml …?>. An encoding other than UTF-8 is refused: the body would be garbage.
func (r *xmlReader) declaration() error {
	end := bytes.Index(r.rest(), []byte("?>"))
	if end < 0 || end > maxAttributeBytes {
		return r.fail("unterminated declaration")
	}
	decl := r.rest()[len("<?xml"):end]
	if i := bytes.Index(decl, []byte("encoding")); i >= 0 {
		value := bytes.Trim(decl[i+len("encoding"):], " \t\r\n=")
		if len(value) < 2 {
			return r.fail("declaration without an encoding")
		}
		name, _, found := bytes.Cut(value[1:], value[:1])
		if !found || !isUTF8Name(name) {
			return r.fail("encoding is not UTF-8")
		}
	}
	r.pos += end + len("?>")
	return nil
}

func isUTF8Name(name []byte) bool {
	return bytes.EqualFold(name, []byte("utf-8")) || bytes.EqualFold(name, []byte("utf8"))
}

// content reads the next piece inside the innermost open element: text up to a '<', and the markup
// that begins there.
func (r *xmlReader) content() error {
	rest := r.rest()
	i := bytes.IndexByte(rest, '<')
	if i < 0 {
		return r.fail("unexpected end")
	}
	if i > 0 {
		if err := r.text(rest[:i]); err != nil {
			return err
		}
		r.pos += i
	}
	rest = r.rest()
	switch {
	case len(rest) < 2:
		return r.fail("unexpected end")
	case rest[1] == '/':
		return r.endTag()
	case rest[1] != '!' && rest[1] != '?':
		return r.startTag()
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		return r.cdata()
	case bytes.HasPrefix(rest, []byte("<!--")):
		return r.comment()
	default:
		return r.fail("directive or processing instruction")
	}
}

func (r *xmlReader) rest() []byte { return r.src[r.pos:] }

func (r *xmlReader) skipBlanks() {
	for r.pos < len(r.src) && isBlank(r.src[r.pos]) {
		r.pos++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (r *xmlReader) comment() error {
	body := r.rest()[len("<!--"):]
	end := bytes.Index(body, []byte("--"))
	if end < 0 || end+2 >= len(body) || body[end+2] != '>' {
		return r.fail("malformed comment")
	}
	r.pos += len("<!--") + end + len("-->")
	return nil
}

func (r *xmlReader) cdata() error {
	body := r.rest()[len("<![CDATA["):]
	end := bytes.Index(body, []byte("]]>"))
	if end < 0 {
		return r.fail("unterminated CDATA section")
	}
	if !r.out.inBranch() {
		r.literal(body[:end])
	}
	r.pos += len("<![CDATA[") + end + len("]]>")
	return nil
}
