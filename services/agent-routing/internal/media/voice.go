package media

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// PlayableType is the type of voices for browsers. Every browser plays MP3.
const PlayableType = "audio/mpeg"

const (
	// playTimeout bounds a conversion; a voice of WeChat has at most 60 s.
	playTimeout = 30 * time.Second
	// maxVoice bounds what is converted, and maxPlayable what comes out, in bytes: 120 s need less than a megabyte.
	maxVoice    = 8 << 20
	maxPlayable = 4 << 20
)

// Converter makes voices that browsers cannot play into ones that they can. Its zero value cannot.
type Converter struct{ ffmpeg string }

// FindConverter looks for ffmpeg; without it there are only originals, with the text that WeChat recognised.
func FindConverter() *Converter {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return &Converter{}
	}
	return NewConverter(path)
}

// NewConverter returns a converter that runs the ffmpeg at path.
func NewConverter(path string) *Converter { return &Converter{ffmpeg: path} }

// Available tells whether voices can be converted.
func (c *Converter) Available() bool { return c.ffmpeg != "" }

// Wants tells whether a file is a voice that browsers do not play and that can be converted: AMR or Speex, told by its first bytes,
// because WeChat's content types are not to be trusted.
func Wants(content []byte) bool { return formatOf(content) != "" }

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

// Convert returns the voice as MP3. The content is hostile: it goes through a pipe to a process that takes it for one format only,
// reads no other file, has no environment, and is ended when it takes too long or says too much.
func (c *Converter) Convert(ctx context.Context, content []byte) ([]byte, error) {
	format := formatOf(content)
	if format == "" || len(content) > maxVoice {
		return nil, fault.Errorf(fault.Permanent, "convert a voice: no voice of at most %d bytes", maxVoice)
	}
	ctx, cancel := context.WithTimeout(ctx, playTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1", "-protocol_whitelist", "pipe", //nolint:gosec // found in PATH at start
		"-f", format, "-i", "pipe:0", "-vn", "-t", "120", "-ac", "1", "-b:a", "48k", "-threads", "1", "-f", "mp3", "pipe:1")
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
