package media

import (
	"bytes"
	"context"
	"os/exec"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// PlayableType is the type of voices for browsers. Every browser plays MP3.
const PlayableType = "audio/mpeg"

// playTimeout bounds a conversion; a voice of WeChat has at most 60 s.
const playTimeout = 30 * time.Second

// Converter makes voices that browsers cannot play into ones that they can.
type Converter struct{ ffmpeg string }

// FindConverter looks for ffmpeg; without it there are only originals, with the text that WeChat recognised.
func FindConverter() *Converter {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return &Converter{}
	}
	return &Converter{ffmpeg: path}
}

// Available tells whether voices can be converted.
func (c *Converter) Available() bool { return c.ffmpeg != "" }

// Wants tells whether a file is a voice that browsers do not play: AMR or Speex, told by its first bytes, because WeChat's
// content types are not to be trusted.
func Wants(content []byte) bool {
	return bytes.HasPrefix(content, []byte("#!AMR")) || bytes.HasPrefix(content, []byte("#!SILK")) ||
		(bytes.HasPrefix(content, []byte("OggS")) && bytes.Contains(content[:min(len(content), 64)], []byte("Speex")))
}

// Convert returns the voice as MP3. The content is hostile: it goes through a pipe to a process that reads no other file.
func (c *Converter) Convert(ctx context.Context, content []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, playTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-protocol_whitelist", "pipe", //nolint:gosec // found in PATH at start
		"-i", "pipe:0", "-vn", "-t", "120", "-ac", "1", "-b:a", "48k", "-f", "mp3", "pipe:1")
	cmd.Stdin = bytes.NewReader(content)
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fault.Errorf(fault.Permanent, "convert a voice: %w: %s", err, bytes.TrimSpace(complaint.Bytes()[:min(complaint.Len(), 200)]))
	}
	return out.Bytes(), nil
}
