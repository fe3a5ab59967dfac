package wechat

import "bytes"

// startTag reads <name …> or <name …/>.
func (r *xmlReader) startTag() error {
	if r.pos >= len(r.src) || r.src[r.pos] != '<' {
		return r.fail("no element")
	}
	r.pos++
	name, err := r.tagName()
	if err != nil {
		return err
	}
	if r.out.depth < len(r.names) {
		r.names[r.out.depth] = name
	}
	r.out.dropText()
	if err := r.out.begin(r.out.name(name), kindText, false); err != nil {
		return err
	}
	selfClosing, err := r.attributes()
	if err != nil {
		return err
	}
	if selfClosing {
		r.out.end()
	}
	return nil
}

// endTag reads </name>; the name must be that of the innermost open element.
func (r *xmlReader) endTag() error {
	r.pos += len("</")
	name, err := r.tagName()
	if err != nil {
		return err
	}
	if !bytes.Equal(name, r.names[r.out.depth-1]) {
		return r.fail("end tag does not match")
	}
	r.skipBlanks()
	if r.pos >= len(r.src) || r.src[r.pos] != '>' {
		return r.fail("malformed end tag")
	}
	r.pos++
	r.out.end()
	return nil
}

func (r *xmlReader) tagName() ([]byte, error) {
	start := r.pos
	for r.pos < len(r.src) && isNameByte(r.src[r.pos], r.pos == start) {
		r.pos++
	}
	if r.pos == start || r.pos-start > maxNameBytes {
		return nil, r.fail("malformed name")
	}
	return r.src[start:r.pos], nil
}

// isNameByte accepts the ASCII characters of XML names and every non-ASCII one.
func isNameByte(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':', c >= 0x80:
		return true
	case '0' <= c && c <= '9', c == '-', c == '.':
		return !first
	default:
		return false
	}
}

// attributes checks the attributes of a tag up to and including its end. They have no meaning in
// this protocol, so they are bounded and dropped.
func (r *xmlReader) attributes() (selfClosing bool, err error) {
	start := r.pos
	for n := 0; n <= maxAttributes && r.pos-start <= maxAttributeBytes; n++ {
		before := r.pos
		r.skipBlanks()
		if r.pos >= len(r.src) {
			return false, r.fail("unexpected end")
		}
		switch c := r.src[r.pos]; {
		case c == '>':
			r.pos++
			return false, nil
		case c == '/' && r.pos+1 < len(r.src) && r.src[r.pos+1] == '>':
			r.pos += 2
			return true, nil
		case r.pos == before:
			return false, r.fail("malformed tag")
		}
		if err := r.attribute(); err != nil {
			return false, err
		}
	}
	return false, r.fail("too many attributes")
}

func (r *xmlReader) attribute() error {
	if _, err := r.tagName(); err != nil {
		return err
	}
	r.skipBlanks()
	if r.pos >= len(r.src) || r.src[r.pos] != '=' {
		return r.fail("attribute without a value")
	}
	r.pos++
	r.skipBlanks()
	if r.pos >= len(r.src) || (r.src[r.pos] != '"' && r.src[r.pos] != '\'') {
		return r.fail("attribute value without quotes")
	}
	end := bytes.IndexByte(r.src[r.pos+1:], r.src[r.pos])
	if end < 0 {
		return r.fail("unterminated attribute value")
	}
	value := r.src[r.pos+1 : r.pos+1+end]
	if bytes.IndexByte(value, '<') >= 0 {
		return r.fail("markup in an attribute value")
	}
	for i := bytes.IndexByte(value, '&'); i >= 0; i = bytes.IndexByte(value, '&') {
		_, size := decodeReference(value[i:])
		if size == 0 {
			return r.fail("undefined entity")
		}
		value = value[i+size:]
	}
	r.pos += 1 + end + 1
	return nil
}
