package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// chunk is how many bytes travel in one message.
	chunk = 128 << 10
	// silence is how long the server may say nothing in the middle of a snapshot.
	silence = 30 * time.Second
)

// Stream is one stream of a backup: what the server must know to make it again, and what its file must be.
type Stream struct {
	Name     string          `json:"name"`
	File     string          `json:"file"`
	SHA256   string          `json:"sha256"`
	Bytes    int64           `json:"bytes"`
	Messages uint64          `json:"messages"`
	LastSeq  uint64          `json:"last_seq"`
	Config   json.RawMessage `json:"config"`
	State    json.RawMessage `json:"state"`
}

// apiError is how JetStream says no.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// request asks JetStream's API and reads the answer into out, which must have an error field that the caller checks.
func request(ctx context.Context, nc *nats.Conn, subject string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	answer, err := nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "ask %s: %w", subject, err)
	}
	if err := json.Unmarshal(answer.Data, out); err != nil {
		return fault.Errorf(fault.Permanent, "answer of %s: %w", subject, err)
	}
	return nil
}

// snapshot writes a stream with its consumers to w as the server lays it out, while others go on reading and writing.
// What is stored before it began is in it; what comes later may be.
func snapshot(ctx context.Context, nc *nats.Conn, name string, w io.Writer) (Stream, error) {
	out := Stream{Name: name}
	inbox := nc.NewInbox()
	chunks, err := nc.SubscribeSync(inbox)
	if err != nil {
		return out, fault.Errorf(fault.Unavailable, "take a snapshot of %s: %w", name, err)
	}
	defer chunks.Unsubscribe() //nolint:errcheck // nothing comes after the end
	var answer struct {
		Error  *apiError       `json:"error"`
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
	}
	if err := request(ctx, nc, "$JS.API.STREAM.SNAPSHOT."+name, map[string]any{"deliver_subject": inbox, "chunk_size": chunk}, &answer); err != nil {
		return out, err
	}
	if answer.Error != nil {
		return out, fault.Errorf(fault.Permanent, "take a snapshot of %s: %w", name, answer.Error)
	}
	var state struct {
		Messages uint64 `json:"messages"`
		LastSeq  uint64 `json:"last_seq"`
	}
	if err := json.Unmarshal(answer.State, &state); err != nil {
		return out, fault.Errorf(fault.Permanent, "state of %s: %w", name, err)
	}
	out.Config, out.State, out.Messages, out.LastSeq = answer.Config, answer.State, state.Messages, state.LastSeq
	sum := sha256.New()
	to := io.MultiWriter(w, sum)
	for {
		part, err := next(ctx, chunks)
		if err != nil {
			return out, fault.Errorf(fault.Unavailable, "take a snapshot of %s: %w", name, err)
		}
		if status := part.Header.Get("Status"); status != "" && status != "204" {
			return out, fault.Errorf(fault.Unavailable, "take a snapshot of %s: %s %s", name, status, part.Header.Get("Description"))
		}
		if len(part.Data) == 0 {
			out.SHA256 = hex.EncodeToString(sum.Sum(nil))
			return out, nil
		}
		if _, err := to.Write(part.Data); err != nil {
			return out, fmt.Errorf("write the snapshot of %s: %w", name, err)
		}
		out.Bytes += int64(len(part.Data))
		if part.Reply != "" { // the server waits for it: this is its flow control
			if err := part.Respond(nil); err != nil {
				return out, fault.Errorf(fault.Unavailable, "take a snapshot of %s: %w", name, err)
			}
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// restore makes a stream again from what snapshot wrote. The stream must not exist.
func restore(ctx context.Context, nc *nats.Conn, s Stream, r io.Reader) error {
	var answer struct {
		Error          *apiError `json:"error"`
		DeliverSubject string    `json:"deliver_subject"`
	}
	in := map[string]any{"config": s.Config, "state": s.State}
	if err := request(ctx, nc, "$JS.API.STREAM.RESTORE."+s.Name, in, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fault.Errorf(fault.Permanent, "restore %s: %w", s.Name, answer.Error)
	}
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := give(ctx, nc, s.Name, answer.DeliverSubject, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return give(ctx, nc, s.Name, answer.DeliverSubject, nil) // the end; the answer comes when the stream is there
		case err != nil:
			return fmt.Errorf("read the snapshot of %s: %w", s.Name, err)
		}
	}
}

// give sends one part of a snapshot and waits until the server has taken it.
func give(ctx context.Context, nc *nats.Conn, name, subject string, part []byte) error {
	answer, err := nc.RequestWithContext(ctx, subject, part)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "restore %s: %w", name, err)
	}
	if len(answer.Data) == 0 {
		return nil
	}
	var result struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &result); err != nil {
		return fault.Errorf(fault.Permanent, "restore %s: %w", name, err)
	}
	if result.Error != nil {
		return fault.Errorf(fault.Permanent, "restore %s: %w", name, result.Error)
	}
	return nil
}
