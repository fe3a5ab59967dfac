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
	alone, withFFmpeg := &media.Converter{}, media.NewConverter("/usr/bin/ffmpeg")
	for content, want := range map[string][2]bool{
		"#!AMR\n…":    {true, true},
		"#!AMR-WB\n…": {false, true},
		"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00Speex   1.2": {false, true},
		"OggS\x00\x02OpusHead": {},
		"#!SILK_V3":            {}, // nobody converts those
		"":                     {},
	} {
		require.Equal(t, want, [2]bool{alone.Takes([]byte(content)), withFFmpeg.Takes([]byte(content))}, content)
	}
}

// converter is one with ffmpeg: what the desk promises about voices is not tested without it.
func converter(t *testing.T) *media.Converter {
	t.Helper()
	c := media.FindConverter()
	require.True(t, c.Takes([]byte("#!AMR-WB\n")), "ffmpeg is not installed: run scripts/ffmpeg.sh")
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
	got, kind, err := (&media.Converter{}).Convert(t.Context(), amr(100)) // nothing but this program is needed
	require.NoError(t, err)
	require.Equal(t, "audio/wave", kind)
	codec, length := seconds(t, got)
	require.Equal(t, "pcm_s16le", codec)
	require.InDelta(t, 2, length, 0.001, "100 frames of 20 ms")
}

// wideband is silence in AMR wideband: frames of 50 bytes, each a byte that names its mode (19.85 kbit/s) and 50 bytes.
func wideband(frames int) []byte {
	b := []byte("#!AMR-WB\n")
	for range frames {
		b = append(append(b, 6<<3|1<<2), make([]byte, 50)...)
	}
	return b
}

func TestOtherVoicesAreConvertedWhereFFmpegIsInstalled(t *testing.T) {
	got, kind, err := converter(t).Convert(t.Context(), wideband(100))
	require.NoError(t, err)
	require.Equal(t, "audio/mpeg", kind)
	codec, length := seconds(t, got)
	require.Equal(t, "mp3", codec)
	require.InDelta(t, 2, length, 0.3)
}

func TestALongVoiceIsCut(t *testing.T) {
	for kind, content := range map[string][]byte{"audio/wave": amr(130 * 50), "audio/mpeg": wideband(130 * 50)} {
		got, is, err := converter(t).Convert(t.Context(), content)
		require.NoError(t, err)
		require.Equal(t, kind, is)
		_, length := seconds(t, got)
		require.InDelta(t, 120, length, 1)
	}
}

func TestWhatIsNoVoiceIsNotConverted(t *testing.T) {
	c := converter(t)
	for name, content := range map[string][]byte{
		"nothing":         nil,
		"a picture":       []byte("\x89PNG\r\n\x1a\n"),
		"a list of files": []byte("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
		"far too long":    append([]byte("#!AMR\n"), make([]byte, 8<<20)...),
		"a lie":           append([]byte("#!AMR-is this?\n"), []byte("file '/etc/passwd'\n")...),
		"an empty voice":  []byte("#!AMR\n"),
	} {
		got, _, err := c.Convert(t.Context(), content)
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
	_, _, err := script(t, "exec /usr/bin/yes").Convert(t.Context(), wideband(1))
	require.ErrorContains(t, err, "bytes came out")
	_, _, err = script(t, "exec /usr/bin/yes >&2").Convert(t.Context(), wideband(1))
	require.Equal(t, fault.Permanent, fault.KindOf(err))
	require.Less(t, len(err.Error()), 400, "not all its words are kept")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = script(t, "exec /bin/sleep 3600").Convert(ctx, wideband(1))
	require.Error(t, err, "it is ended")
	got, _, err := script(t, "exec /usr/bin/env").Convert(t.Context(), wideband(1))
	require.NoError(t, err)
	require.False(t, bytes.Contains(got, []byte("HOME=")), "it knows nothing of us: %s", got)
}
