package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os/exec"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media/amr"
)

const (
	// playTimeout bounds a conversion; a voice of WeChat has at most 60 s.
	playTimeout = 30 * time.Second
	// mostSound is how much of a voice is converted.
	mostSound = 2 * time.Minute
	// maxVoice bounds what is converted, and maxPlayable what comes out, in bytes.
	maxVoice    = 8 << 20
	maxPlayable = 4 << 20
)

// The types of voices for browsers. Every browser plays both.
const (
	typeWave = "audio/wave"
	typeMP3  = "audio/mpeg"
)

// Converter makes voices that browsers cannot play into ones that they can: AMR narrowband, which is what WeChat pushes, by itself; Speex
// and AMR wideband with ffmpeg, where that is installed. Its zero value has none.
type Converter struct{ ffmpeg string }

// FindConverter looks for ffmpeg.
func FindConverter() *Converter {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return &Converter{}
	}
	return NewConverter(path)
}

// NewConverter returns a converter with the ffmpeg at path.
func NewConverter(path string) *Converter { return &Converter{ffmpeg: path} }

// Takes tells whether a file is a voice that can be converted here.
func (c *Converter) Takes(content []byte) bool {
	return amr.Is(content) || isVoice(content) && c.ffmpeg != ""
}

// isVoice tells whether a file is a voice that browsers do not play: AMR or Speex, told by its first bytes, because WeChat's content types
// are not to be trusted.
func isVoice(content []byte) bool { return formatOf(content) != "" }

// formatOf returns what ffmpeg calls the container of a voice; empty for what is none.
func formatOf(content []byte) string {
	switch {
	case bytes.HasPrefix(content, []byte("#!AMR")):
		return "amr"
	case bytes.HasPrefix(content, []byte("OggS")) && bytes.Contains(content[:min(len(content), 64)], []byte("Speex")):
		return "ogg"
	default:
		return ""
	}
}

// Convert returns the voice for browsers, and its type. Nothing is converted that Takes does not take.
func (c *Converter) Convert(ctx context.Context, content []byte) (played []byte, kind string, err error) {
	if !c.Takes(content) || len(content) > maxVoice {
		return nil, "", fault.Errorf(fault.Permanent, "convert a voice: no voice of at most %d bytes", maxVoice)
	}
	ctx, cancel := context.WithTimeout(ctx, playTimeout)
	defer cancel()
	if amr.Is(content) {
		samples, err := amr.Decode(ctx, content, mostSound)
		if err != nil {
			return nil, "", err
		}
		return wave(samples), typeWave, nil
	}
	played, err = c.run(ctx, content)
	return played, typeMP3, err
}

// wave returns samples as a WAV file: RIFF with the chunks fmt (PCM, one channel, 16 bits) and data.
func wave(samples []int16) []byte {
	const head, width = 44, 2
	size := uint32(len(samples) * width)
	b := make([]byte, 0, head+int(size))
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, head-8+size)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, amr.Rate)
	b = binary.LittleEndian.AppendUint32(b, amr.Rate*width)
	b = binary.LittleEndian.AppendUint16(b, width)
	b = binary.LittleEndian.AppendUint16(b, 8*width)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	for _, s := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

// run asks ffmpeg for MP3. The content is hostile: it goes through a pipe to a process that takes it for one format only, reads no other
// file, has no environment, and is ended when it takes too long or says too much.
func (c *Converter) run(ctx context.Context, content []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1", "-protocol_whitelist", "pipe", //nolint:gosec // found in PATH at start
		"-f", formatOf(content), "-i", "pipe:0", "-vn", "-t", "120", "-ac", "1", "-b:a", "48k", "-threads", "1", "-f", "mp3", "pipe:1")
	cmd.Stdin = bytes.NewReader(content)
	cmd.Env = []string{}
	cmd.WaitDelay = time.Second
	out, complaint := bounded{most: maxPlayable}, bounded{most: maxComplaint}
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case out.full:
		return nil, fault.Errorf(fault.Permanent, "convert a voice: more than %d bytes came out", maxPlayable)
	case err != nil:
		return nil, fault.Errorf(fault.Permanent, "convert a voice: %w: %s", err, bytes.TrimSpace(complaint.data[:min(len(complaint.data), 200)]))
	case len(out.data) == 0:
		return nil, fault.New(fault.Permanent, "convert a voice: nothing came out")
	}
	return out.data, nil
}

// maxComplaint bounds what is read of the words of the process.
const maxComplaint = 16 << 10

var errFull = errors.New("more than fits")

// bounded collects what is written and fails when it is more than fits, which ends the process that writes. It is no bytes.Buffer, which
// would read to the end by itself.
type bounded struct {
	most int
	data []byte
	full bool
}

// Write adds p, or nothing when it does not fit.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.most {
		b.full = true
		return 0, errFull
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
