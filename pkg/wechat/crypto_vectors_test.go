package wechat_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// encryptedCase is one case of encrypted/cases.json.
type encryptedCase struct {
	ID, File, Direction, Token, AppID, Encrypt, Plaintext, Base, Random16 string
	BodyFormat                                                            string `json:"body_format"`
	EncodingAESKey                                                        string `json:"encoding_aes_key"`
	Canonical                                                             bool   `json:"aes_key_base64_canonical"`
	Query                                                                 struct {
		Signature, Timestamp, Nonce string
		MsgSignature                string `json:"msg_signature"`
	}
}

type encryptedFile struct {
	Cases    []encryptedCase
	Negative []encryptedCase
}

func loadEncrypted(t testing.TB) encryptedFile {
	t.Helper()
	var f encryptedFile
	require.NoError(t, json.Unmarshal(readVector(t, "encrypted/cases.json"), &f))
	require.NotEmpty(t, f.Cases)
	require.NotEmpty(t, f.Negative)
	return f
}

func encryptedCases(t testing.TB) map[string]encryptedCase {
	byFile := make(map[string]encryptedCase)
	for _, c := range loadEncrypted(t).Cases {
		byFile[c.File] = c
	}
	return byFile
}

func (c encryptedCase) query() wechat.Query {
	return wechat.Query{
		Signature: c.Query.Signature, Timestamp: c.Query.Timestamp, Nonce: c.Query.Nonce,
		EncryptType: "aes", MsgSignature: c.Query.MsgSignature,
	}
}

func (c encryptedCase) cipher(t testing.TB, random string) *wechat.Cipher {
	t.Helper()
	cipher, err := wechat.NewCipher(c.EncodingAESKey, c.AppID, strings.NewReader(random))
	require.NoError(t, err)
	return cipher
}

func (c encryptedCase) keyring(t testing.TB) *wechat.Keyring {
	t.Helper()
	k, err := wechat.NewKeyring(wechat.KeyringConfig{AppID: c.AppID, Token: c.Token, EncodingAESKey: c.EncodingAESKey})
	require.NoError(t, err)
	return k
}

// checkEncrypted verifies and decrypts a recorded body, and encrypts its plaintext with the recorded
// salt: the result must be the same byte for byte.
func checkEncrypted(t *testing.T, v vector, body []byte, cases map[string]encryptedCase) {
	c, ok := cases[v.File]
	require.True(t, ok, "no case for this file")
	envelope, err := wechat.ParseEnvelope(body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, c.BodyFormat, envelope.Format.String())
	require.Equal(t, c.Encrypt, envelope.Encrypt)
	require.True(t, wechat.VerifyMsgSignature(c.Token, c.Query.Timestamp, c.Query.Nonce, envelope.Encrypt, c.Query.MsgSignature))
	if c.Query.Signature != "" {
		require.True(t, wechat.VerifySignature(c.Token, c.Query.Timestamp, c.Query.Nonce, c.Query.Signature))
	}
	opened, err := c.keyring(t).Open(c.query(), body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, c.Plaintext, string(opened.Plain))
	require.False(t, opened.PreviousKey || opened.PreviousToken)

	again, err := c.cipher(t, saltOf(t, c)).Encrypt([]byte(c.Plaintext))
	require.NoError(t, err)
	require.Equal(t, c.Encrypt, again)
	if c.Direction == "push" {
		_, err := wechat.Parse(opened.Plain, wechat.Limits{})
		require.NoError(t, err)
	}
	if envelope.MsgSignature != "" {
		plain, err := c.cipher(t, "").OpenReply(c.Token, body, wechat.Limits{})
		require.NoError(t, err)
		require.Equal(t, c.Plaintext, string(plain))
	}
}

// saltOf returns the recorded salt, which is text of 16 bytes or their hex digits.
func saltOf(t *testing.T, c encryptedCase) string {
	t.Helper()
	if len(c.Random16) == 32 {
		raw, err := hex.DecodeString(c.Random16)
		require.NoError(t, err)
		return string(raw)
	}
	require.Len(t, c.Random16, 16)
	return c.Random16
}

func TestEncryptedNegatives(t *testing.T) {
	f := loadEncrypted(t)
	base := make(map[string]encryptedCase)
	for _, c := range f.Cases {
		base[c.ID] = c
	}
	for _, n := range f.Negative {
		t.Run(n.ID, func(t *testing.T) {
			switch n.ID {
			case "neg_bad_msg_signature":
				c := base[n.Base]
				c.Query = n.Query
				_, err := c.keyring(t).Open(c.query(), readVector(t, c.File), wechat.Limits{})
				require.ErrorIs(t, err, wechat.ErrSignature)
			case "neg_wrong_appid":
				c := base[n.Base]
				c.AppID = "wxba5fad812f8e6fb8"
				_, err := c.keyring(t).Open(c.query(), readVector(t, c.File), wechat.Limits{})
				require.ErrorIs(t, err, wechat.ErrDecrypt)
			case "neg_short_cipher", "neg_len_overflow":
				body := `{"ToUserName":"gh_x","Encrypt":"` + n.Encrypt + `"}`
				_, err := n.keyring(t).Open(n.query(), []byte(body), wechat.Limits{})
				require.ErrorIs(t, err, wechat.ErrDecrypt, "the signature is good, the text is not")
			default:
				t.Fatalf("negative %q is not checked", n.ID)
			}
		})
	}
}

func TestSignatureVectors(t *testing.T) {
	var f struct {
		Cases []struct {
			ID, Kind, Expect, NonceStr, Timestamp, URL string
			Args                                       []string
			Ticket                                     string `json:"jsapi_ticket"`
			RawData                                    string `json:"raw_data"`
			SessionKey                                 string `json:"session_key"`
		}
	}
	require.NoError(t, json.Unmarshal(readVector(t, "signature/cases.json"), &f))
	require.NotEmpty(t, f.Cases)
	for _, c := range f.Cases {
		t.Run(c.ID, func(t *testing.T) {
			switch {
			case c.Kind == "jssdk":
				require.Equal(t, c.Expect, wechat.SignJSSDK(c.Ticket, c.NonceStr, c.Timestamp, c.URL))
				require.Equal(t, c.Expect, wechat.SignJSSDK(c.Ticket, c.NonceStr, c.Timestamp, c.URL+"#here"))
			case c.RawData != "":
				require.True(t, wechat.VerifyUserData(c.RawData, c.SessionKey, c.Expect))
				require.False(t, wechat.VerifyUserData(c.RawData+" ", c.SessionKey, c.Expect))
			default:
				require.NotEmpty(t, c.Args)
				require.Equal(t, c.Expect, wechat.Sign(c.Args...))
			}
		})
	}
}

func TestDecryptUserDataVector(t *testing.T) {
	var c struct {
		SessionKey               string `json:"session_key"`
		EncryptedData            string `json:"encryptedData"`
		IV, AppID, Plaintext, ID string
	}
	require.NoError(t, json.Unmarshal(readVector(t, "signature/mini_userinfo_decrypt.json"), &c))
	plain, err := wechat.DecryptUserData(c.EncryptedData, c.IV, c.SessionKey, c.AppID)
	require.NoError(t, err)
	require.Equal(t, c.Plaintext, string(plain))

	_, err = wechat.DecryptUserData(c.EncryptedData, c.IV, c.SessionKey, "wx0000000000000000")
	require.ErrorIs(t, err, wechat.ErrDecrypt)
	_, err = wechat.DecryptUserData(c.EncryptedData[4:], c.IV, c.SessionKey, c.AppID)
	require.ErrorIs(t, err, wechat.ErrDecrypt)
}
