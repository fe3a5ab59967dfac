package wechat

import "bytes"

// Format is the format of a push and of its passive reply; an account uses one of them for both.
type Format uint8

// The formats. The zero value is no format.
const (
	XML Format = iota + 1
	JSON
)

// String returns "xml", "json" or "unknown".
func (f Format) String() string {
	switch f {
	case XML:
		return "xml"
	case JSON:
		return "json"
	default:
		return "unknown"
	}
}

// ContentType returns the value of the Content-Type header for a body of this format.
func (f Format) ContentType() string {
	if f == JSON {
		return "application/json; charset=utf-8"
	}
	return "text/xml; charset=utf-8"
}

var utf8BOM = []byte("\xef\xbb\xbf")

// SniffFormat tells the format from the first byte that is no blank, after an optional byte order
// mark. WeChat's Content-Type is not reliable (protocol a.2). It reports false for anything else.
func SniffFormat(body []byte) (Format, bool) {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, utf8BOM), " \t\r\n")
	if len(body) == 0 {
		return 0, false
	}
	switch body[0] {
	case '<':
		return XML, true
	case '{':
		return JSON, true
	default:
		return 0, false
	}
}
