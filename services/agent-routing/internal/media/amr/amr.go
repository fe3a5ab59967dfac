// Package amr decodes voices of WeChat: AMR narrowband, in the form that files have (RFC 4867, section 5).
package amr

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media/amr/codec"
)

const (
	// Rate is the number of samples of a second; a voice has one channel.
	Rate = 8000
	// Frame is how long a frame sounds.
	Frame = 20 * time.Millisecond

	magic        = "#!AMR\n"
	frameSamples = 160
	// lookUp is how often the context is asked: once in a second of sound.
	lookUp = 50
)

// sizes are the bytes of a frame after its head, by the mode in the head; what is not in it is no speech.
var sizes = map[byte]int{0: 12, 1: 13, 2: 15, 3: 17, 4: 19, 5: 20, 6: 26, 7: 31, 8: 5, 15: 0}

// Is tells whether a file is such a voice, by its first bytes.
func Is(file []byte) bool { return bytes.HasPrefix(file, []byte(magic)) }

// Decode returns the samples of a voice, those of the first most of it. A voice that breaks off is returned up to there. It fails with
// Permanent when there is nothing to hear.
func Decode(ctx context.Context, file []byte, most time.Duration) (samples []int16, err error) {
	// The file is hostile, and the decoder was written for memory that nobody guards. Here its memory is a slice: what would write beside
	// it ends the decoding, and nothing else.
	defer func() {
		if broken := recover(); broken != nil {
			samples, err = nil, fault.Errorf(fault.Permanent, "decode a voice: %v", broken)
		}
	}()
	if !Is(file) {
		return nil, fault.New(fault.Permanent, "decode a voice: it is no AMR")
	}
	m := codec.New()
	if m.Xstart() != 0 {
		return nil, fault.New(fault.Internal, "decode a voice: the decoder does not start")
	}
	rest := file[len(magic):]
	for n := 0; n < int(most/Frame); n++ {
		if n%lookUp == 0 && ctx.Err() != nil {
			return nil, fault.Wrap(fault.Unavailable, ctx.Err())
		}
		frame, after, ok := next(rest)
		if !ok {
			break
		}
		rest = after
		memory := *m.Xmemory().Slice()
		copy(memory[m.Xin():], frame)
		if m.Xframe() < 0 {
			break
		}
		samples = appendSamples(samples, (*m.Xmemory().Slice())[m.Xout():])
	}
	if len(samples) == 0 {
		return nil, fault.New(fault.Permanent, "decode a voice: there is no speech in it")
	}
	return samples, nil
}

// next splits off a frame; there is none when what follows is no whole frame of speech.
func next(rest []byte) (frame, after []byte, ok bool) {
	if len(rest) == 0 {
		return nil, nil, false
	}
	size, known := sizes[rest[0]>>3&15]
	if !known || len(rest) < 1+size {
		return nil, nil, false
	}
	return rest[:1+size], rest[1+size:], true
}

func appendSamples(to []int16, memory []byte) []int16 {
	for i := range frameSamples {
		to = append(to, int16(binary.LittleEndian.Uint16(memory[2*i:])))
	}
	return to
}
