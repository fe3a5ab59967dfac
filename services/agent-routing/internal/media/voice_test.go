package media_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
)

// amr is a voice as WeChat sends it: a header, then frames of 20 ms with 12.2 kbit/s, each a byte that names its mode and 31 bytes of
// speech. What is spoken is noise: every pattern of bits is a sound.
func amr(frames int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	b := []byte("#!AMR\n")
	for range frames {
		var speech [31]byte
		_, _ = random.Read(speech[:]) // never fails
		b = append(append(b, 7<<3|1<<2), speech[:]...)
	}
	return b
}

func TestVoicesAreKnownByTheirBytes(t *testing.T) {
	require.True(t, media.Wants([]byte("#!AMR\n…")))
	require.True(t, media.Wants([]byte("#!AMR-WB\n…")))
	require.True(t, media.Wants([]byte("OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00Speex   1.2")))
	require.False(t, media.Wants([]byte("OggS\x00\x02OpusHead")))
	require.False(t, media.Wants([]byte("#!SILK_V3")), "nobody converts those")
	require.False(t, media.Wants(nil))
}

// converter is the installed one: what the desk promises about voices is not tested without it.
func converter(t *testing.T) *media.Converter {
	t.Helper()
	c := media.FindConverter()
	require.True(t, c.Available(), "ffmpeg is not installed: run scripts/ffmpeg.sh")
	return c
}

// seconds asks another program how long a sound is, and what it is.
func seconds(t *testing.T, sound []byte) (codec string, length float64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound")
	require.NoError(t, os.WriteFile(path, sound, 0o600))
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "default=nk=1:nw=1", path).CombinedOutput()
	require.NoError(t, err, string(out))
	lines := strings.Fields(string(out))
	require.Len(t, lines, 2, string(out))
	length, err = strconv.ParseFloat(lines[1], 64)
	require.NoError(t, err)
	return lines[0], length
}

func TestAVoiceOfWeChatBecomesOneThatBrowsersPlay(t *testing.T) {
	got, err := converter(t).Convert(t.Context(), amr(100))
	require.NoError(t, err)
	codec, length := seconds(t, got)
	require.Equal(t, "mp3", codec)
	require.InDelta(t, 2, length, 0.3, "100 frames of 20 ms")
}

func TestALongVoiceIsCut(t *testing.T) {
	got, err := converter(t).Convert(t.Context(), amr(130*50))
	require.NoError(t, err)
	_, length := seconds(t, got)
	require.InDelta(t, 120, length, 1)
}

func TestWhatIsNoVoiceIsNotConverted(t *testing.T) {
	c := converter(t)
	for name, content := range map[string][]byte{
		"nothing":         nil,
		"a picture":       []byte("\x89PNG\r\n\x1a\n"),
		"a list of files": []byte("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
		"far too long":    append([]byte("#!AMR\n"), make([]byte, 8<<20)...),
		"a lie":           append([]byte("#!AMR-is this?\n"), []byte("file '/etc/passwd'\n")...),
	} {
		got, err := c.Convert(t.Context(), content)
		require.Equal(t, fault.Permanent, fault.KindOf(err), name)
		require.Empty(t, got, name)
	}
}

// script is a program in the place of ffmpeg.
func script(t *testing.T, text string) *media.Converter {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	return media.NewConverter(path)
}

func TestAConversionIsBoundedInTimeAndSize(t *testing.T) {
	_, err := script(t, "exec /usr/bin/yes").Convert(t.Context(), amr(1))
	require.ErrorContains(t, err, "bytes came out")
	_, err = script(t, "exec /usr/bin/yes >&2").Convert(t.Context(), amr(1))
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	require.Less(t, len(err.Error()), 400, "not all its words are kept")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = script(t, "exec /bin/sleep 3600").Convert(ctx, amr(1))
	require.Error(t, err, "it is ended")
	got, err := script(t, "exec /usr/bin/env").Convert(t.Context(), amr(1))
	require.NoError(t, err)
	require.False(t, bytes.Contains(got, []byte("HOME=")), "it knows nothing of us: %s", got)
}
