package secret_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, secret.KeySize) }

func newSealer(t require.TestingT, keys ...[]byte) *secret.Sealer {
	s, err := secret.NewSealer(keys...)
	require.NoError(t, err)
	return s
}

func TestSealedDataComesBack(t *testing.T) {
	s := newSealer(t, key(1))
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		aad := rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		box := s.Seal(plain, aad)
		got, err := s.Open(box, aad)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
		require.NotEqual(t, box, s.Seal(plain, aad), "every box has its own nonce")
	})
}

func TestAnyChangeIsNoticed(t *testing.T) {
	s := newSealer(t, key(1))
	rapid.Check(t, func(t *rapid.T) {
		box := s.Seal([]byte("app secret"), []byte("accounts/shop"))
		at := rapid.IntRange(0, len(box)-1).Draw(t, "at")
		box[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		_, err := s.Open(box, []byte("accounts/shop"))
		require.Error(t, err)
		require.Equal(t, fault.Permanent, fault.KindOf(err))
	})
}

func TestOpenRefuses(t *testing.T) {
	s := newSealer(t, key(1))
	box := s.Seal([]byte("x"), []byte("accounts/shop"))
	_, err := s.Open(box, []byte("accounts/other"))
	require.ErrorIs(t, err, secret.ErrForged, "moved to another place")
	_, err = newSealer(t, key(2)).Open(box, []byte("accounts/shop"))
	require.ErrorIs(t, err, secret.ErrUnknownKey)
	for _, short := range [][]byte{nil, {}, box[:4], box[:31]} {
		_, err = s.Open(short, nil)
		require.ErrorIs(t, err, secret.ErrForged)
	}
}

func TestRotation(t *testing.T) {
	before := newSealer(t, key(1))
	box := before.Seal([]byte("x"), nil)
	after := newSealer(t, key(2), key(1))
	plain, err := after.Open(box, nil)
	require.NoError(t, err)
	require.Equal(t, "x", string(plain))
	require.False(t, after.Current(box), "sealed with the old key")
	fresh := after.Seal(plain, nil)
	require.True(t, after.Current(fresh))
	_, err = before.Open(fresh, nil)
	require.ErrorIs(t, err, secret.ErrUnknownKey)
}

// The format is stored in buckets; a change here makes stored secrets unreadable.
func TestBoxFormat(t *testing.T) {
	s := newSealer(t, key(7)).WithRand(bytes.NewReader([]byte("twelve bytes")))
	box := s.Seal([]byte("hello"), []byte("aad"))
	id := sha256.Sum256(key(7))
	require.Equal(t, id[:4], box[:4])
	require.Equal(t, "twelve bytes", string(box[4:16]))
	require.Len(t, box, 4+12+5+16)
	require.Equal(t, "4bb06f8e", hex.EncodeToString(box[:4]))
	require.Panics(t, func() { s.Seal(nil, nil) }, "the test reader is empty")
}

func TestNewSealerRefusesBadKeys(t *testing.T) {
	_, err := secret.NewSealer()
	require.Error(t, err)
	_, err = secret.NewSealer(key(1), []byte("short"))
	require.ErrorContains(t, err, "master key 1")
}

func TestParseKey(t *testing.T) {
	raw := sha256.Sum256([]byte("key"))
	for name, text := range map[string]string{
		"hex":                      hex.EncodeToString(raw[:]),
		"upper-case hex":           strings.ToUpper(hex.EncodeToString(raw[:])),
		"base64":                   base64.StdEncoding.EncodeToString(raw[:]),
		"base64 without padding":   base64.RawStdEncoding.EncodeToString(raw[:]),
		"base64 with URL alphabet": base64.URLEncoding.EncodeToString(raw[:]),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secret.ParseKey(secret.New(text))
			require.NoError(t, err)
			require.Equal(t, raw[:], got)
		})
	}
	for name, text := range map[string]string{
		"empty": "", "too short": "abcd", "33 bytes": base64.StdEncoding.EncodeToString(make([]byte, 33)), "a phrase": "correct horse battery staple",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secret.ParseKey(secret.New(text))
			require.Error(t, err)
			if text != "" {
				require.NotContains(t, err.Error(), text)
			}
		})
	}
}

func TestSealerFrom(t *testing.T) {
	now, old := secret.New(hex.EncodeToString(key(2))), secret.New(hex.EncodeToString(key(1)))
	s, err := secret.SealerFrom(now, old, secret.Value{})
	require.NoError(t, err)
	_, err = s.Open(newSealer(t, key(1)).Seal(nil, nil), nil)
	require.NoError(t, err)
	_, err = secret.SealerFrom(secret.Value{})
	require.EqualError(t, err, "must be set")
	_, err = secret.SealerFrom(now, secret.New("x"))
	require.ErrorContains(t, err, "previous key")
}

func FuzzOpen(f *testing.F) {
	s := newSealer(f, key(1))
	f.Add(s.Seal([]byte("x"), nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, box []byte) {
		if plain, err := s.Open(box, nil); err == nil && string(plain) != "x" {
			t.Fatalf("a box that nobody sealed opened: %x", box)
		}
	})
}
