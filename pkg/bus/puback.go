package bus

import (
	"bytes"
	"encoding/json"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Ack is the server's word that a message is stored.
type Ack struct {
	// Stream that stores it.
	Stream string
	// Seq is its sequence in the stream: of the first one with this id when Duplicate is true.
	Seq uint64
	// Duplicate is true when a message with the same id was stored before.
	Duplicate bool
}

var (
	ackStream = []byte(`{"stream":"`)
	ackSeq    = []byte(`","seq":`)
	ackEnd    = []byte(`}`)
	ackAgain  = []byte(`,"duplicate": true}`)
)

// decodeAck reads the answer to a publish. The two shapes that the server writes for nearly all
// messages are read by hand, everything else by encoding/json, which costs ten times as much.
func decodeAck(data []byte) (Ack, error) {
	if ack, ok := decodeCommonAck(data); ok {
		return ack, nil
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		*jetstream.PubAck
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Ack{}, errBadAck
	}
	if answer.Error != nil {
		return Ack{}, apiFault(answer.Error)
	}
	if answer.PubAck == nil || answer.Stream == "" {
		return Ack{}, errBadAck
	}
	return Ack{Stream: answer.Stream, Seq: answer.Sequence, Duplicate: answer.Duplicate}, nil
}

// errBadAck is for answers of something that is not a stream; the message may be stored.
var errBadAck = fault.New(fault.Unavailable, "answer is not an ack of a stream")

// decodeCommonAck reads {"stream":"S","seq":1} and {"stream":"S","seq":1,"duplicate": true}.
func decodeCommonAck(data []byte) (Ack, bool) {
	rest, ok := bytes.CutPrefix(data, ackStream)
	if !ok {
		return Ack{}, false
	}
	i := bytes.IndexByte(rest, '"')
	if i <= 0 {
		return Ack{}, false
	}
	name := rest[:i]
	for _, c := range name {
		if c <= ' ' || c > '~' || c == '\\' {
			return Ack{}, false // an escape, or no name at all
		}
	}
	if rest, ok = bytes.CutPrefix(rest[i:], ackSeq); !ok {
		return Ack{}, false
	}
	var seq uint64
	n := 0
	for ; n < len(rest) && n < 19 && rest[n] >= '0' && rest[n] <= '9'; n++ {
		seq = seq*10 + uint64(rest[n]-'0')
	}
	if n == 0 || (n > 1 && rest[0] == '0') {
		return Ack{}, false
	}
	again := bytes.Equal(rest[n:], ackAgain)
	if !again && !bytes.Equal(rest[n:], ackEnd) {
		return Ack{}, false
	}
	return Ack{Stream: streamName(name), Seq: seq, Duplicate: again}, true
}
