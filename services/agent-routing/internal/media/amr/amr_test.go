package amr_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media/amr"
)

// voice is speech of one mode, or of each in turn when mode is negative. What is spoken is noise: every pattern of bits is a sound.
func voice(mode, frames int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	sizes := []int{12, 13, 15, 17, 19, 20, 26, 31}
	b := []byte("#!AMR\n")
	for n := range frames {
		m := mode
		if mode < 0 {
			m = n % len(sizes)
		}
		speech := make([]byte, sizes[m])
		_, _ = random.Read(speech) // never fails
		b = append(append(b, byte(m)<<3|1<<2), speech...)
	}
	return b
}

// Another decoder, which was written by others from the same standard with another arithmetic, hears the same.
func TestItSoundsLikeAnotherDecoder(t *testing.T) {
	for mode := range 8 {
		file := voice(mode, 150)
		got, err := amr.Decode(t.Context(), file, time.Minute)
		require.NoError(t, err)
		require.Len(t, got, 150*160)
		cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "amr", "-i", "pipe:0", "-f", "s16le", "pipe:1")
		cmd.Stdin = bytes.NewReader(file)
		raw, err := cmd.Output()
		require.NoError(t, err)
		want := make([]int16, len(raw)/2)
		_, err = binary.Decode(raw, binary.LittleEndian, want)
		require.NoError(t, err)
		require.Len(t, want, len(got))
		require.Greater(t, alike(got, want), 0.6, "mode %d", mode)
	}
}

// alike is the correlation of two sounds: 1 for the same, about 0 for two that have nothing to do with each other.
func alike(a, b []int16) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func TestTheSameVoiceIsTheSameSamplesOnEveryMachine(t *testing.T) {
	got, err := amr.Decode(t.Context(), voice(-1, 80), time.Minute)
	require.NoError(t, err)
	h := sha256.New()
	require.NoError(t, binary.Write(h, binary.LittleEndian, got))
	require.Equal(t, "5ac741788207f6ba", hex.EncodeToString(h.Sum(nil)[:8]))
}

func TestAVoiceEndsWhereItBreaksOff(t *testing.T) {
	file := voice(7, 10)
	for name, c := range map[string]struct {
		file   []byte
		frames int
	}{
		"whole":               {file, 10},
		"in a frame":          {file[:len(file)-1], 9},
		"a mode that is none": {append(bytes.Clone(file), 12<<3, 1, 2, 3), 10},
		"silence":             {append([]byte("#!AMR\n"), 15<<3, 15<<3, 15<<3), 3},
	} {
		got, err := amr.Decode(t.Context(), c.file, time.Minute)
		require.NoError(t, err, name)
		require.Len(t, got, c.frames*160, name)
	}
	for name, none := range map[string][]byte{"no voice": []byte("RIFF"), "another kind": []byte("#!AMR-WB\n\x04"), "nothing in it": []byte("#!AMR\n"), "no frame": []byte("#!AMR\n\x04abc")} {
		_, err := amr.Decode(t.Context(), none, time.Minute)
		require.Equal(t, fault.Permanent, fault.KindOf(err), name)
	}
}

func TestAVoiceIsCutAndCanBeGivenUp(t *testing.T) {
	got, err := amr.Decode(t.Context(), voice(0, 100), time.Second)
	require.NoError(t, err)
	require.Len(t, got, amr.Rate)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = amr.Decode(ctx, voice(0, 100), time.Second)
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzDecode(f *testing.F) {
	f.Add(voice(-1, 16))
	f.Add([]byte("#!AMR\n\x3c"))
	f.Add([]byte("#!AMR-WB\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := amr.Decode(t.Context(), file, 10*time.Second)
		if err != nil {
			require.Equal(t, fault.Permanent, fault.KindOf(err))
			return
		}
		require.NotEmpty(t, got)
		require.Zero(t, len(got)%160)
	})
}

func BenchmarkDecode(b *testing.B) {
	file := voice(7, 60*50) // the longest that WeChat lets a fan say: a minute
	b.ReportAllocs()
	for b.Loop() {
		if _, err := amr.Decode(b.Context(), file, 2*time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
