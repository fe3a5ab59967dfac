package direct

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

const (
	maxFields = 32
	// maxBody bounds what a handler may leave to be read and thrown away.
	maxBody = 64 << 10
)

// parser turns heads into one request, which it uses again and again.
type parser struct {
	req    *http.Request
	blank  *http.Request // what every request begins as
	url    url.URL
	header http.Header
	values [maxFields][1]string // of the header
	fields int
}

func (p *parser) init(blank *http.Request) {
	p.blank, p.req = blank, new(http.Request)
	p.header = make(http.Header, 8)
}

// parse reads a head with the end of its last line and reports whether it is in the plain form: as HTTP/1.1 demands
// to the letter, and without anything that could be read in two ways or asks for more than a body and an answer.
// net/http reads every such head to the same request, which FuzzPlainHeadsMeanTheSame checks.
func (p *parser) parse(head string) bool {
	line, rest, _ := strings.Cut(head, "\r\n")
	target, ok := strings.CutPrefix(line, "POST ")
	if !ok {
		return false
	}
	if target, ok = strings.CutSuffix(target, " HTTP/1.1"); !ok || !p.target(target) {
		return false
	}
	clear(p.header)
	p.fields = 0
	*p.req = *p.blank
	p.req.URL, p.req.Header, p.req.RequestURI = &p.url, p.header, target
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if !p.field(line) {
			return false
		}
	}
	return p.req.Host != "" && p.req.ContentLength > 0
}

// target reads a path without escapes, which no multiplexer would clean, and a query.
func (p *parser) target(target string) bool {
	path, query, asked := strings.Cut(target, "?")
	if asked == (query == "") || !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.Contains(path, "/.") {
		return false
	}
	p.url = url.URL{Path: path, RawQuery: query}
	return all(path, inPath) && all(query, inQuery)
}

// field reads one line of the header.
func (p *parser) field(line string) bool {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || p.fields == maxFields || !all(name, inName) {
		return false
	}
	value = strings.Trim(value, " ")
	if !all(value, inValue) {
		return false
	}
	key := textproto.CanonicalMIMEHeaderKey(name)
	switch key {
	case "Host":
		return p.host(value)
	case "Content-Length":
		if !p.length(value) {
			return false
		}
	case "Connection":
		if !strings.EqualFold(value, "keep-alive") {
			return false
		}
	case "Transfer-Encoding", "Te", "Trailer", "Expect", "Upgrade", "Http2-Settings", "Proxy-Connection", "Keep-Alive", "Pragma":
		return false
	}
	p.add(key, value)
	return true
}

func (p *parser) add(key, value string) {
	if earlier, ok := p.header[key]; ok {
		p.header[key] = append(earlier, value)
		return
	}
	slot := &p.values[p.fields]
	p.fields++
	slot[0] = value
	p.header[key] = slot[:]
}

func (p *parser) host(value string) bool {
	if p.req.Host != "" || value == "" || !all(value, inHost) {
		return false
	}
	p.req.Host = value
	return true
}

// length reads a length from 1 to maxBody that is written in the only way.
func (p *parser) length(value string) bool {
	if p.req.ContentLength != 0 || value == "" || value[0] == '0' || len(value) > 5 {
		return false
	}
	n := int64(0)
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' {
			return false
		}
		n = n*10 + int64(digit-'0')
	}
	p.req.ContentLength = n
	return n <= maxBody
}

// Where a character may stand.
const (
	inPath uint8 = 1 << iota
	inQuery
	inName
	inValue
	inHost
)

var places = func() (t [256]uint8) {
	mark := func(place uint8, chars string) {
		for _, c := range []byte(chars) {
			t[c] |= place
		}
	}
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	mark(inPath, alnum+"-._~/")
	mark(inQuery, alnum+"-._~!$&'()*+,;=:@/?%")
	mark(inName, alnum+"!#$%&'*+-.^_`|~")
	mark(inHost, alnum+"-._:[]")
	for c := ' '; c <= '~'; c++ {
		t[c] |= inValue
	}
	return t
}()

// all reports whether every character of s may stand in the place.
func all(s string, place uint8) bool {
	for i := range len(s) {
		if places[s[i]]&place == 0 {
			return false
		}
	}
	return true
}
