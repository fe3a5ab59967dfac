package wechat_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

const (
	appID    = "wxba5fad812f8e6fb9"
	token    = "AAAAA"
	aesKey   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	otherKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

func keyring(t testing.TB, cfg wechat.KeyringConfig) *wechat.Keyring {
	t.Helper()
	k, err := wechat.NewKeyring(cfg)
	require.NoError(t, err)
	return k
}

func newCipher(t testing.TB, key string) *wechat.Cipher {
	t.Helper()
	c, err := wechat.NewCipher(key, appID, nil)
	require.NoError(t, err)
	return c
}

func TestVerifyURL(t *testing.T) {
	k := keyring(t, wechat.KeyringConfig{Token: token})
	q, err := wechat.ParseQuery("signature=f464b24fc39322e44b38aa78f5edd27bd1441696&echostr=4375120948345356249&timestamp=1714036504&nonce=1514711492")
	require.NoError(t, err)
	require.True(t, k.VerifyURL(q))
	require.Equal(t, "4375120948345356249", q.EchoStr)
	for name, change := range map[string]func(*wechat.Query){
		"other time":      func(q *wechat.Query) { q.Timestamp = "1714036505" },
		"other nonce":     func(q *wechat.Query) { q.Nonce = "1" },
		"no signature":    func(q *wechat.Query) { q.Signature = "" },
		"short signature": func(q *wechat.Query) { q.Signature = q.Signature[1:] },
		"upper case":      func(q *wechat.Query) { q.Signature = strings.ToUpper(q.Signature) },
	} {
		changed := q
		change(&changed)
		require.False(t, k.VerifyURL(changed), name)
	}
	require.False(t, wechat.VerifySignature("", q.Timestamp, q.Nonce, wechat.Sign("", q.Timestamp, q.Nonce)), "no token")
	require.False(t, wechat.VerifyMsgSignature("", "1", "2", "3", wechat.Sign("", "1", "2", "3")), "no token")
	require.False(t, wechat.VerifyUserData("data", "", wechat.Sign("data")), "no session key")
}

// TestRotation: pushes under the previous token and key are opened, said so, and answered with them.
func TestRotation(t *testing.T) {
	k := keyring(t, wechat.KeyringConfig{
		AppID: appID, Token: token, PreviousToken: "oldtoken", EncodingAESKey: aesKey, PreviousEncodingAESKey: otherKey,
	})
	for _, tt := range []struct {
		name, token, key       string
		previousToken, prevKey bool
	}{
		{"current", token, aesKey, false, false},
		{"previous token", "oldtoken", aesKey, true, false},
		{"previous key", token, otherKey, false, true},
		{"both previous", "oldtoken", otherKey, true, true},
	} {
		for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
			t.Run(tt.name+"/"+format.String(), func(t *testing.T) {
				c := newCipher(t, tt.key)
				q, body, err := c.SealPush(wechat.Seal{Format: format, Token: tt.token, Timestamp: 1, Nonce: "n"}, "gh_x", []byte("plain"))
				require.NoError(t, err)
				opened, err := k.Open(q, body, wechat.Limits{})
				require.NoError(t, err)
				require.Equal(t, wechat.Opened{
					Plain: []byte("plain"), Format: format, Encrypted: true, PreviousToken: tt.previousToken, PreviousKey: tt.prevKey,
				}, opened)
				answer, err := k.Seal(opened, []byte("reply"), 1713424427, "415670741")
				require.NoError(t, err)
				reply, err := c.OpenReply(tt.token, answer, wechat.Limits{})
				require.NoError(t, err)
				require.Equal(t, "reply", string(reply))
				_, err = c.OpenReply("another", answer, wechat.Limits{})
				require.ErrorIs(t, err, wechat.ErrSignature)
			})
		}
	}
	t.Run("neither", func(t *testing.T) {
		q, body, err := newCipher(t, strings.Repeat("Z", 43)).SealPush(wechat.Seal{Format: wechat.XML, Token: token, Nonce: "n"}, "gh_x", []byte("plain"))
		require.NoError(t, err)
		_, err = k.Open(q, body, wechat.Limits{})
		require.ErrorIs(t, err, wechat.ErrDecrypt)
	})
}

// TestNoDowngrade: with a key nothing but an encrypted push with a good msg_signature is accepted.
func TestNoDowngrade(t *testing.T) {
	k := keyring(t, wechat.KeyringConfig{AppID: appID, Token: token, EncodingAESKey: aesKey})
	plain := []byte(message("text", "<Content>x</Content>"))
	good, body, err := newCipher(t, aesKey).SealCompatiblePush(wechat.Seal{Format: wechat.XML, Token: token, Timestamp: 1, Nonce: "n"}, plain)
	require.NoError(t, err)
	opened, err := k.Open(good, body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, plain, opened.Plain, "the encrypted text counts, not the plain one beside it")

	for name, tt := range map[string]struct {
		change func(*wechat.Query)
		body   []byte
		want   error
	}{
		"no encrypt_type":      {func(q *wechat.Query) { q.EncryptType = "" }, body, wechat.ErrSignature},
		"raw":                  {func(q *wechat.Query) { q.EncryptType = "raw" }, body, wechat.ErrSignature},
		"no msg_signature":     {func(q *wechat.Query) { q.MsgSignature = "" }, body, wechat.ErrSignature},
		"plain signature":      {func(q *wechat.Query) { q.MsgSignature = q.Signature }, body, wechat.ErrSignature},
		"plain body":           {func(*wechat.Query) {}, plain, wechat.ErrNoEncrypt},
		"changed body":         {func(*wechat.Query) {}, bytes.Replace(body, []byte("<Encrypt><![CDATA["), []byte("<Encrypt><![CDATA[A"), 1), wechat.ErrSignature},
		"too large":            {func(*wechat.Query) {}, make([]byte, 65<<10), wechat.ErrTooLarge},
		"second Encrypt first": {func(*wechat.Query) {}, bytes.Replace(body, []byte("<xml>"), []byte("<xml><Encrypt>AAAA</Encrypt>"), 1), wechat.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			q := good
			tt.change(&q)
			_, err := k.Open(q, tt.body, wechat.Limits{})
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func TestPlaintextMode(t *testing.T) {
	k := keyring(t, wechat.KeyringConfig{Token: token, PreviousToken: "oldtoken"})
	require.False(t, k.Encrypted())
	body := []byte(`{"MsgType":"text"}`)
	for _, tok := range []string{token, "oldtoken"} {
		q := wechat.Query{Signature: wechat.Sign(tok, "1", "n"), Timestamp: "1", Nonce: "n"}
		opened, err := k.Open(q, body, wechat.Limits{})
		require.NoError(t, err)
		require.Equal(t, wechat.Opened{Plain: body, Format: wechat.JSON, PreviousToken: tok == "oldtoken"}, opened)
		answer, err := k.Seal(opened, []byte("reply"), 1, "n")
		require.NoError(t, err)
		require.Equal(t, "reply", string(answer))
		_, err = k.Open(q, []byte("hello"), wechat.Limits{})
		require.ErrorIs(t, err, wechat.ErrFormat)
		_, err = k.Open(q, make([]byte, 65<<10), wechat.Limits{})
		require.ErrorIs(t, err, wechat.ErrTooLarge)
		q.Nonce = "m"
		_, err = k.Open(q, body, wechat.Limits{})
		require.ErrorIs(t, err, wechat.ErrSignature)
		require.Equal(t, fault.Refused, fault.KindOf(err))
	}
}

func TestKeyringRefusesBadCredentials(t *testing.T) {
	for want, cfg := range map[string]wechat.KeyringConfig{
		"token: required": {},
		"encoding_aes_key: must be 43 characters, has 3": {Token: token, AppID: appID, EncodingAESKey: "abc"},
		"encoding_aes_key: must be letters and digits":   {Token: token, AppID: appID, EncodingAESKey: strings.Repeat("!", 43)},
		"appid: required":                        {Token: token, EncodingAESKey: aesKey},
		"previous_encoding_aes_key: must be 43":  {Token: token, AppID: appID, EncodingAESKey: aesKey, PreviousEncodingAESKey: "abc"},
		"previous_encoding_aes_key: set without": {Token: token, AppID: appID, PreviousEncodingAESKey: aesKey},
	} {
		_, err := wechat.NewKeyring(cfg)
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.NotContains(t, err.Error(), "!!!")
	}
}

func TestEncryptNeedsRandomBytes(t *testing.T) {
	broken := errors.New("no entropy")
	c, err := wechat.NewCipher(aesKey, appID, iotest.ErrReader(broken))
	require.NoError(t, err)
	_, err = c.Encrypt([]byte("x"))
	require.ErrorIs(t, err, broken)
	_, err = c.SealReply(wechat.Seal{Format: wechat.XML}, []byte("x"))
	require.ErrorIs(t, err, broken)
	_, _, err = c.SealPush(wechat.Seal{Format: wechat.XML}, "gh_x", []byte("x"))
	require.ErrorIs(t, err, broken)
}

func TestEncryptIsFreshEveryTime(t *testing.T) {
	c := newCipher(t, aesKey)
	first, err := c.Encrypt([]byte("x"))
	require.NoError(t, err)
	second, err := c.Encrypt([]byte("x"))
	require.NoError(t, err)
	require.NotEqual(t, first, second)
}

// TestEveryPaddingLength covers all 32 paddings, 32 itself included.
func TestEveryPaddingLength(t *testing.T) {
	c := newCipher(t, otherKey)
	for n := range 70 {
		msg := bytes.Repeat([]byte("x"), n)
		encrypted, err := c.Encrypt(msg)
		require.NoError(t, err)
		plain, err := c.Decrypt(encrypted)
		require.NoError(t, err)
		require.Equal(t, string(msg), string(plain))
	}
}

func TestDecryptRefuses(t *testing.T) {
	c := newCipher(t, aesKey)
	good, err := c.Encrypt([]byte("hello"))
	require.NoError(t, err)
	for name, text := range map[string]string{
		"nothing": "", "no base64": "!!!!", "one block": "AAAAAAAAAAAAAAAAAAAAAA==", "half a block": good[:len(good)-12] + "====",
		"zeros": strings.Repeat("A", 64), "last block only": good[len(good)-44:], "cut by a block": good[:len(good)-44+20] + "==",
	} {
		_, err := c.Decrypt(text)
		require.Equal(t, wechat.ErrDecrypt, err, "%s: always the same error", name)
	}
	_, err = newCipher(t, otherKey).Decrypt(good)
	require.Equal(t, wechat.ErrDecrypt, err)
}

func TestParseQuery(t *testing.T) {
	q, err := wechat.ParseQuery("a=b&signature=s&timestamp=1&&nonce=%6E&nonce=2&encrypt_type=aes&msg_signature=m&echostr=a+b%2Bc&openid=o_x&x")
	require.NoError(t, err)
	require.Equal(t, wechat.Query{
		Signature: "s", Timestamp: "1", Nonce: "n", EncryptType: "aes", MsgSignature: "m", EchoStr: "a b+c", OpenID: "o_x",
	}, q)
	again, err := wechat.ParseQuery(q.Encode())
	require.NoError(t, err)
	require.Equal(t, q, again)
	_, err = wechat.ParseQuery("nonce=%zz")
	require.ErrorIs(t, err, wechat.ErrQuery)
	require.NotContains(t, wechat.Query{Nonce: "n"}.Encode(), "echostr")
}

func TestParseEnvelopeOfComponentPush(t *testing.T) {
	e, err := wechat.ParseEnvelope([]byte("<xml><AppId> wx1 </AppId><Encrypt>\nabc\n</Encrypt></xml>"), wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, wechat.Envelope{Format: wechat.XML, AppID: "wx1", Encrypt: "abc"}, e)
	_, err = wechat.ParseEnvelope([]byte("<xml><Encrypt> </Encrypt></xml>"), wechat.Limits{})
	require.ErrorIs(t, err, wechat.ErrNoEncrypt)
}

func TestSealCompatiblePushNeedsTheRightFormat(t *testing.T) {
	_, _, err := newCipher(t, aesKey).SealCompatiblePush(wechat.Seal{Format: wechat.XML}, []byte(`{"a":1}`))
	require.ErrorContains(t, err, "not xml")
	q, body, err := newCipher(t, aesKey).SealCompatiblePush(wechat.Seal{Format: wechat.JSON, Token: token, Nonce: "n"}, []byte(textPushJSON+"\n"))
	require.NoError(t, err)
	opened, err := keyring(t, wechat.KeyringConfig{AppID: appID, Token: token, EncodingAESKey: aesKey}).Open(q, body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, textPushJSON+"\n", string(opened.Plain))
}
