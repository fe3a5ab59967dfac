package template

import (
	"errors"
	"strings"
)

// markup follows the links that the author writes: <a href="…">…</a> is all the markup that WeChat shows.
type markup struct {
	tail   string // end of the text before that may be the beginning of a tag
	inTag  bool
	quote  byte   // of the attribute value that we are in, or 0
	name   string // of the attribute that was read last
	filled int    // bytes of the attribute value so far
	word   []byte // of the attribute that is being read
}

// read follows a piece of the author's text.
func (m *markup) read(text string) {
	text, m.tail = m.tail+text, ""
	for i := 0; i < len(text); i++ {
		switch {
		case m.quote != 0:
			m.inValue(text[i])
		case m.inTag:
			m.inside(text[i])
		default:
			switch {
			case opensLink(text[i:]):
				m.inTag, m.name, m.word = true, "", nil
				i++ // the letter
			case text[i] == '<' && i >= len(text)-2:
				m.tail = text[i:]
				return
			}
		}
	}
}

// opensLink tells whether a text begins with the opening tag of a link.
func opensLink(text string) bool {
	return len(text) >= 3 && text[0] == '<' && (text[1] == 'a' || text[1] == 'A') && strings.IndexByte(" \t\n\r", text[2]) >= 0
}

func (m *markup) inValue(c byte) {
	if c == m.quote {
		m.quote, m.word = 0, nil
		return
	}
	m.filled++
}

func (m *markup) inside(c byte) {
	switch c {
	case '>':
		m.inTag = false
	case '"', '\'':
		m.quote, m.filled = c, 0
	case '=':
		m.name, m.word = strings.ToLower(string(m.word)), nil
	case ' ', '\t', '\n', '\r':
		m.word = nil
	default:
		m.word = append(m.word, c)
	}
}

// value returns how a value is escaped at this point, and notes that it is there.
func (m *markup) value() (escape, error) {
	m.tail = ""
	switch {
	case !m.inTag:
		return asText, nil
	case m.quote == 0:
		return 0, errors.New(`within a link a variable stands in a quoted value only, like <a href="https://example.com/?id={{fan.openid}}">`)
	case m.name == "href" && m.filled == 0:
		m.filled++
		return asWholeAddress, nil
	default:
		return asPartOfURL, nil
	}
}
