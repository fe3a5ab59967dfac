// Package mediatest is what every store of files must do.
package mediatest

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
)

// Run checks a store that is empty.
func Run(t *testing.T, s media.Store) {
	ctx := t.Context()
	readFrom := func(id string, offset int64) ([]byte, int64) {
		r, size, err := s.Get(ctx, id, offset)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		return content, size
	}
	read := func(id string) []byte {
		content, size := readFrom(id, 0)
		require.EqualValues(t, len(content), size)
		return content
	}
	_, _, err := s.Get(ctx, "abcd-1", 0)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	there, err := s.Delete(ctx, "abcd-1")
	require.NoError(t, err)
	require.False(t, there)

	big := bytes.Repeat([]byte{0, 1, 255}, 1<<20)
	require.NoError(t, s.Put(ctx, "abcd-1", big))
	require.NoError(t, s.Put(ctx, "abcd-1.play", []byte("x")))
	require.Equal(t, big, read("abcd-1"))
	for _, offset := range []int64{1, 1 << 20, int64(len(big)) - 1} {
		rest, size := readFrom("abcd-1", offset)
		require.True(t, bytes.Equal(big[offset:], rest), "from %d", offset)
		require.EqualValues(t, len(big), size, "the size is that of the whole file")
	}
	for _, offset := range []int64{-1, int64(len(big)), 1 << 40} {
		_, _, err = s.Get(ctx, "abcd-1", offset)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "from %d", offset)
	}
	require.NoError(t, s.Put(ctx, "abcd-1", nil), "again, and empty")
	require.Empty(t, read("abcd-1"))
	require.Equal(t, []byte("x"), read("abcd-1.play"))

	there, err = s.Delete(ctx, "abcd-1")
	require.NoError(t, err)
	require.True(t, there)
	_, _, err = s.Get(ctx, "abcd-1", 0)
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	for _, id := range []string{"", "abc", "../../etc/passwd", "abcd/e", ".hidden", "ab\x00cd", string(bytes.Repeat([]byte("a"), 200))} {
		require.Equal(t, fault.Invalid, fault.KindOf(s.Put(ctx, id, nil)), "%q", id)
		_, _, err := s.Get(ctx, id, 0)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", id)
		_, err = s.Delete(ctx, id)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", id)
	}
}
