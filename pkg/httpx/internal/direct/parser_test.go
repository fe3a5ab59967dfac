package direct

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// plainHead is what a push of WeChat looks like behind a proxy.
const plainHead = "POST /wx/shop?signature=ab&timestamp=1&nonce=2&openid=o_f-1&encrypt_type=aes&msg_signature=cd HTTP/1.1\r\n" +
	"Host: bus.example:8080\r\nUser-Agent: Mozilla/4.0\r\naccept: */*\r\nConnection: Keep-Alive\r\n" +
	"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For:192.0.2.1 \r\nContent-Type: text/xml\r\nContent-Length: 12\r\n"

func newParser() *parser {
	p := new(parser)
	p.init(&http.Request{Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1})
	return p
}

// requireSame compares what the parser made of a head with what net/http makes of it.
func requireSame(t *testing.T, head string, got *http.Request) {
	t.Helper()
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
	require.NoError(t, err, "%q", head)
	require.Equal(t, want.Method, got.Method)
	require.Equal(t, want.URL, got.URL, "%q", head)
	require.Equal(t, want.RequestURI, got.RequestURI)
	require.Equal(t, want.Proto, got.Proto)
	require.Equal(t, want.Host, got.Host)
	require.Equal(t, want.Header, got.Header, "%q", head)
	require.Equal(t, want.ContentLength, got.ContentLength)
	require.Empty(t, want.TransferEncoding)
	require.False(t, want.Close)
}

func TestAPlainHeadIsRead(t *testing.T) {
	p := newParser()
	for range 2 { // a parser is used again
		require.True(t, p.parse(plainHead))
		requireSame(t, plainHead, p.req)
		require.Equal(t, []string{"203.0.113.9", "192.0.2.1"}, p.req.Header["X-Forwarded-For"])
	}
}

func TestEverythingElseIsForNetHTTP(t *testing.T) {
	p := newParser()
	change := func(from, to string) string {
		require.Contains(t, plainHead, from)
		return strings.Replace(plainHead, from, to, 1)
	}
	many := strings.Builder{}
	for i := range maxFields {
		fmt.Fprintf(&many, "X-%d: x\r\n", i)
	}
	for name, head := range map[string]string{
		"another method":            change("POST", "GET"),
		"a method in small letters": change("POST", "post"),
		"HTTP/1.0":                  change("HTTP/1.1", "HTTP/1.0"),
		"HTTP/2":                    "PRI * HTTP/2.0\r\n",
		"two spaces":                change("POST ", "POST  "),
		"a whole URL":               change("/wx/shop", "http://bus.example/wx/shop"),
		"an escape in the path":     change("/wx/shop", "/wx/sh%6fp"),
		"a path to clean":           change("/wx/shop", "/wx/../wx/shop"),
		"two slashes":               change("/wx/shop", "/wx//shop"),
		"an empty query":            "POST /wx/shop? HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n",
		"a fragment":                change("nonce=2", "nonce=2#a"),
		"a character beyond ASCII":  change("nonce=2", "nonce=é"),
		"no host":                   change("Host: bus.example:8080\r\n", ""),
		"two hosts":                 change("Host:", "Host: other\r\nHost:"),
		"a strange host":            change("bus.example", "bus/example"),
		"no length":                 change("Content-Length: 12\r\n", ""),
		"two lengths":               change("Content-Length: 12", "Content-Length: 12\r\ncontent-length: 12"),
		"a signed length":           change("Length: 12", "Length: +12"),
		"a length with a zero":      change("Length: 12", "Length: 012"),
		"a list of lengths":         change("Length: 12", "Length: 12, 12"),
		"a hexadecimal length":      change("Length: 12", "Length: 0xc"),
		"nothing":                   change("Length: 12", "Length: 0"),
		"too much":                  change("Length: 12", "Length: 65537"),
		"far too much":              change("Length: 12", "Length: 18446744073709551617"),
		"chunks":                    change("Content-Length: 12", "Transfer-Encoding: chunked"),
		"chunks and a length":       change("Content-Length", "Transfer-Encoding: chunked\r\nContent-Length"),
		"a space before the colon":  change("Content-Length:", "Content-Length :"),
		"a folded line":             change("Content-Type: text/xml", "Content-Type: text/\r\n xml"),
		"a bare line feed":          change("Content-Type: text/xml\r\n", "Content-Type: text/xml\n"),
		"a bare carriage return":    change("text/xml", "text\r/xml"),
		"a zero byte":               change("text/xml", "text\x00/xml"),
		"a tab":                     change("text/xml", "text/xml\t"),
		"no colon":                  change("Content-Type: text/xml", "Content-Type"),
		"no name":                   change("Content-Type: text/xml", ": text/xml"),
		"a name with a space":       change("Content-Type", "Content Type"),
		"the end of it":             change("Connection: Keep-Alive", "Connection: close"),
		"an upgrade":                change("Connection: Keep-Alive", "Connection: Upgrade"),
		"wait for 100":              change("accept: */*", "Expect: 100-continue"),
		"too many fields":           plainHead + many.String(),
		"nothing at all":            "",
	} {
		require.False(t, p.parse(head), name)
	}
	require.True(t, p.parse(plainHead), "and the parser still works")
}

func FuzzPlainHeadsMeanTheSame(f *testing.F) {
	f.Add(plainHead)
	f.Add("POST /?%zz HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 65536\r\n")
	f.Add("POST /a;b HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nx: \r\nX:  y \r\n")
	p := newParser()
	f.Fuzz(func(t *testing.T, bytes string) {
		head, _, _ := strings.Cut(bytes, "\r\n\r\n") // as a connection cuts it
		head += "\r\n"
		if p.parse(head) {
			requireSame(t, head, p.req)
		}
	})
}

func TestAPlainHeadCostsNoAllocation(t *testing.T) {
	p := newParser()
	head := strings.Replace(plainHead, "X-Forwarded-For:192.0.2.1 \r\n", "", 1)
	require.Zero(t, testing.AllocsPerRun(100, func() { p.parse(head) }))
}
