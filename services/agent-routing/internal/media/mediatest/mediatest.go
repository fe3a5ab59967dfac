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
	read := func(id string) []byte {
		r, size, err := s.Get(ctx, id)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.EqualValues(t, len(content), size)
		return content
	}
	_, _, err := s.Get(ctx, "abcd-1")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	there, err := s.Delete(ctx, "abcd-1")
	require.NoError(t, err)
	require.False(t, there)

	big := bytes.Repeat([]byte{0, 1, 255}, 1<<20)
	require.NoError(t, s.Put(ctx, "abcd-1", big))
	require.NoError(t, s.Put(ctx, "abcd-1.play", []byte("x")))
	require.Equal(t, big, read("abcd-1"))
	require.NoError(t, s.Put(ctx, "abcd-1", nil), "again, and empty")
	require.Empty(t, read("abcd-1"))
	require.Equal(t, []byte("x"), read("abcd-1.play"))

	there, err = s.Delete(ctx, "abcd-1")
	require.NoError(t, err)
	require.True(t, there)
	_, _, err = s.Get(ctx, "abcd-1")
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	for _, id := range []string{"", "abc", "../../etc/passwd", "abcd/e", ".hidden", "ab\x00cd", string(bytes.Repeat([]byte("a"), 200))} {
		require.Equal(t, fault.Invalid, fault.KindOf(s.Put(ctx, id, nil)), "%q", id)
		_, _, err := s.Get(ctx, id)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", id)
	}
}
