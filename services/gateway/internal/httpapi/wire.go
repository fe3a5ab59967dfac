package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wxbus/wxbus/services/gateway/internal/reply"
)

// buffer holds a body. Buffers are used again: nothing that outlives the request may point into one.
type buffer struct{ bytes []byte }

// keptBuffer keeps a rare large body from staying in memory.
const keptBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, 0, 4<<10)} }}

func (b *buffer) release() {
	if cap(b.bytes) <= keptBuffer {
		b.bytes = b.bytes[:0]
		buffers.Put(b)
	}
}

// readBody reads the whole body, up to the limit. The caller releases the buffer in any case.
func (h *Handler) readBody(req *request) (*buffer, error) {
	b := buffers.Get().(*buffer)
	if req.r.ContentLength > int64(h.MaxBody) {
		drain(req)
		return b, &http.MaxBytesError{Limit: int64(h.MaxBody)}
	}
	body := http.MaxBytesReader(req.w, req.r.Body, int64(h.MaxBody))
	for {
		if len(b.bytes) == cap(b.bytes) {
			b.bytes = append(b.bytes, 0)[:len(b.bytes)]
		}
		n, err := body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			drain(req)
			return b, err
		}
	}
}

// maxDrain bounds what is read of a body that is too large.
const maxDrain = 8 << 20

// drain reads the rest of a body that is refused. A client that is still writing when the connection
// closes sees a reset and not the refusal. The time limit for reading bounds it too.
func drain(req *request) { _, _ = io.CopyN(io.Discard, req.r.Body, maxDrain) }

// client is the connection of an attempt that waits for a reply.
type client struct {
	req *request
	now func() time.Time // the clock of deadlines, which need not be that of connections
}

// Write writes a reply and flushes it. It reports WroteAll only when the system took all bytes before
// the deadline.
func (c *client) Write(body []byte, contentType string, deadline time.Time) reply.Written {
	req, left := c.req, deadline.Sub(c.now())
	if req.ctx.Err() != nil || left <= 0 {
		req.outcome = outcomeBroken
		return reply.WroteNothing
	}
	control := http.NewResponseController(req.w)
	// Where a deadline cannot be set, the check above is all there is; the write of a reply fits into the
	// buffer of a socket.
	_ = control.SetWriteDeadline(time.Now().Add(left))
	header := req.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header["X-Content-Type-Options"] = noSniff
	req.status, req.outcome = http.StatusOK, outcomeReply
	req.w.WriteHeader(http.StatusOK)
	_, err := req.w.Write(body)
	if err == nil {
		err = control.Flush()
	}
	if err != nil {
		req.outcome = outcomeBroken
		return reply.WroteUnknown
	}
	_ = control.SetWriteDeadline(time.Time{}) // the connection may be used again
	return reply.WroteAll
}
