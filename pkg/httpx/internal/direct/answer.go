package direct

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxGathered is how much of an answer is gathered to learn its length.
	maxGathered = 64 << 10
	// keptAnswer keeps the rare large answer from staying in memory.
	keptAnswer = 4 << 10
)

// answer writes the answer to one request: gathered, and sent with one write, unless the handler flushes it.
type answer struct {
	c        *conn
	header   http.Header
	status   int   // 0 before WriteHeader
	declared int64 // the length that the handler gave; -1 for none
	written  int64 // by the handler
	body     []byte
	out      []byte
	sent     bool // the head is on its way
	last     bool // the connection ends with this answer
	err      error
}

var _ http.ResponseWriter = (*answer)(nil)

func (a *answer) init(c *conn) {
	a.c, a.header = c, make(http.Header, 4)
}

func (a *answer) reset() {
	clear(a.header)
	body, out := a.body[:0], a.out[:0]
	if cap(body) > keptAnswer {
		body = nil
	}
	if cap(out) > keptAnswer {
		out = nil
	}
	*a = answer{c: a.c, header: a.header, declared: -1, body: body, out: out}
}

// Header returns the header, which WriteHeader takes as it is then.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader sets the status. Only the first call counts, and no status in between is sent.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < http.StatusOK {
		return
	}
	a.status = status
	if length := a.header.Get("Content-Length"); length != "" {
		if n, err := strconv.ParseInt(length, 10, 64); err == nil && n >= 0 {
			a.declared = n
		}
	}
	a.last = a.c.l.isDraining() || slices.ContainsFunc(a.header["Connection"], func(v string) bool { return strings.EqualFold(v, "close") })
	delete(a.header, "Connection")
	// A stated length is the only end of a body that is written here, and one end is enough.
	delete(a.header, "Transfer-Encoding")
}

// Write adds to the body.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.bodyAllowed() {
		return 0, http.ErrBodyNotAllowed
	}
	if a.declared >= 0 && a.written+int64(len(p)) > a.declared {
		a.last = true // a handler that is wrong about its answer
		return 0, http.ErrContentLength
	}
	a.written += int64(len(p))
	a.body = append(a.body, p...)
	if len(a.body) > maxGathered {
		return len(p), a.FlushError()
	}
	return len(p), a.err
}

// WriteString is Write without a copy.
func (a *answer) WriteString(s string) (int, error) {
	if a.status != 0 && a.bodyAllowed() && a.declared < 0 && len(a.body)+len(s) <= maxGathered {
		a.written += int64(len(s))
		a.body = append(a.body, s...)
		return len(s), a.err
	}
	return a.Write([]byte(s))
}

func (a *answer) bodyAllowed() bool {
	return a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

// FlushError sends what there is. An answer without a stated length ends with the connection then.
func (a *answer) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	a.last = a.last || a.declared < 0
	a.send(a.declared)
	return a.err
}

// Flush is FlushError for http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// SetWriteDeadline is for http.ResponseController.
func (a *answer) SetWriteDeadline(t time.Time) error { return a.c.SetWriteDeadline(t) }

// finish sends the rest. It reports whether the connection can be used again.
func (a *answer) finish() bool {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.sent || len(a.body) > 0 {
		length := a.declared
		if length < 0 && !a.sent {
			length = int64(len(a.body))
		}
		a.last = a.last || a.c.broken
		a.send(length)
	}
	return a.err == nil && !a.last && (a.declared < 0 || a.declared == a.written)
}

func (a *answer) send(length int64) {
	if a.err != nil {
		return
	}
	a.out = a.out[:0]
	if !a.sent {
		a.sent = true
		a.appendHead(length)
	}
	a.out = append(a.out, a.body...)
	a.body = a.body[:0]
	if len(a.out) > 0 {
		_, a.err = a.c.Write(a.out)
	}
}

func (a *answer) appendHead(length int64) {
	b := append(a.out, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.status)...)
	b = append(b, "\r\n"...)
	if len(a.body) > 0 && a.header["Content-Type"] == nil {
		b = appendField(b, "Content-Type", http.DetectContentType(a.body))
	}
	for name, values := range a.header {
		if name == "Content-Length" || !all(name, inName) {
			continue
		}
		for _, value := range values {
			b = appendField(b, name, value)
		}
	}
	if a.header["Date"] == nil {
		b = appendField(b, "Date", date(a.c.arrived))
	}
	if length >= 0 && a.bodyAllowed() {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	}
	if a.last {
		b = append(b, "Connection: close\r\n"...)
	}
	a.out = append(b, "\r\n"...)
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

func appendField(b []byte, name, value string) []byte {
	if strings.ContainsAny(value, "\r\n") {
		value = lineBreaks.Replace(value)
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// stamp is the date of one second.
type stamp struct {
	second int64
	text   string
}

var lastStamp atomic.Pointer[stamp]

// date formats a date once in a second.
func date(t time.Time) string {
	second := t.Unix()
	if s := lastStamp.Load(); s != nil && s.second == second {
		return s.text
	}
	s := &stamp{second: second, text: t.UTC().Format(http.TimeFormat)}
	lastStamp.Store(s)
	return s.text
}
