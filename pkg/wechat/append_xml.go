package wechat

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendElement appends <name><![CDATA[value]]></name>.
func appendElement(dst []byte, name, value string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = append(dst, "><![CDATA["...)
	dst = appendCDATA(dst, value)
	dst = append(dst, "]]></"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// appendInt appends <name>n</name>.
func appendInt(dst []byte, name string, n int64) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = append(dst, '>')
	dst = strconv.AppendInt(dst, n, 10)
	dst = append(dst, "</"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// appendCDATA appends the inside of a CDATA section: its end mark is split over two sections and what
// XML cannot hold is left out. A carriage return would be read back as a line end, so it is written
// as one.
func appendCDATA(dst []byte, s string) []byte {
	for {
		before, after, found := strings.Cut(s, "]]>")
		dst = appendXMLText(dst, before)
		if !found {
			return dst
		}
		dst = append(dst, "]]]]><![CDATA[>"...)
		s = after
	}
}

func appendXMLText(dst []byte, s string) []byte {
	if isPlainText(s) {
		return append(dst, s...)
	}
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\r':
			dst = append(dst, '\n')
			if len(s) > 1 && s[1] == '\n' {
				size = 2
			}
		case !isControl(r) && r != 0xfffe && r != 0xffff:
			dst = utf8.AppendRune(dst, r)
		}
		s = s[size:]
	}
	return dst
}

// isPlainText reports whether XML can hold s as it is.
func isPlainText(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c < ' ' && c != '\t' && c != '\n' {
			return false
		}
		// U+FFFE and U+FFFF are EF BF BE and EF BF BF.
		if c == 0xef && i+2 < len(s) && s[i+1] == 0xbf && s[i+2] >= 0xbe {
			return false
		}
	}
	return utf8.ValidString(s)
}
