package codec_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

type encryptedCase struct {
	ID             string            `json:"id"`
	Token          string            `json:"token"`
	EncodingAESKey string            `json:"encoding_aes_key"`
	AppID          string            `json:"appid"`
	Query          map[string]string `json:"query"`
	Encrypt        string            `json:"encrypt"`
	Random16       string            `json:"random16"`
	Plaintext      string            `json:"plaintext"`
}

func load[T any](t *testing.T, file string) (v T) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}

func TestVectorsOpenSealAndSign(t *testing.T) {
	file := load[struct{ Cases []encryptedCase }](t, "encrypted_cases.json")
	require.NotEmpty(t, file.Cases)
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			ciph, err := codec.NewCipher(c.EncodingAESKey, c.AppID)
			require.NoError(t, err)
			plain, err := ciph.Open(c.Encrypt)
			require.NoError(t, err)
			require.Equal(t, c.Plaintext, string(plain))
			require.Equal(t, c.Encrypt, ciph.Seal(plain, [16]byte([]byte(c.Random16))))
			require.Equal(t, c.Query["msg_signature"], codec.Sign(c.Token, c.Query["timestamp"], c.Query["nonce"], c.Encrypt))
		})
	}
}

func TestSignatureVectors(t *testing.T) {
	file := load[struct {
		Cases []struct {
			ID     string   `json:"id"`
			Args   []string `json:"args"`
			Expect string   `json:"expect"`
		}
	}](t, "signature_cases.json")
	require.NotEmpty(t, file.Cases)
	for _, c := range file.Cases {
		require.Equal(t, c.Expect, codec.Sign(c.Args...), c.ID)
	}
}

func TestBrokenCiphertextIsOneError(t *testing.T) {
	file := load[struct {
		Cases    []encryptedCase
		Negative []encryptedCase
	}](t, "encrypted_cases.json")
	base := file.Cases[0]
	for _, n := range file.Negative {
		if n.Encrypt == "" {
			continue
		}
		ciph, err := codec.NewCipher(n.EncodingAESKey, n.AppID)
		require.NoError(t, err)
		_, err = ciph.Open(n.Encrypt)
		require.ErrorIs(t, err, codec.ErrCipher, n.ID)
	}
	other, err := codec.NewCipher(base.EncodingAESKey, base.AppID+"x")
	require.NoError(t, err)
	_, err = other.Open(base.Encrypt)
	require.ErrorIs(t, err, codec.ErrCipher, "appid of another account")
	for _, box := range []string{"", "!", "QUJD", base.Encrypt[:64]} {
		_, err = other.Open(box)
		require.ErrorIs(t, err, codec.ErrCipher)
	}
}

func TestKeysMustHave43Characters(t *testing.T) {
	_, err := codec.NewCipher("short", "wx1")
	require.ErrorContains(t, err, "43 characters")
	_, err = codec.NewCipher("!bcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx1")
	require.ErrorContains(t, err, "base64")
}

func TestEverythingSealedCanBeOpened(t *testing.T) {
	ciph, err := codec.NewCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx2c2769f8efd9abc2")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		got, err := ciph.Open(ciph.Seal(plain, [16]byte{1, 2, 3}))
		if err != nil || string(got) != string(plain) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	ciph, err := codec.NewCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx1")
	require.NoError(f, err)
	f.Add(ciph.Seal([]byte("hi"), [16]byte{}))
	f.Fuzz(func(t *testing.T, box string) {
		if _, err := ciph.Open(box); err != nil {
			require.ErrorIs(t, err, codec.ErrCipher)
		}
	})
}
