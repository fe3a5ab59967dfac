package wechat

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// hexSignature is a signature as WeChat writes it.
type hexSignature [2 * sha1.Size]byte

// signStack holds the signed text of a usual push without an allocation.
const signStack = 2048

// Sign returns the signature of WeChat over its arguments: the lower-case hex SHA-1 of them, sorted
// as bytes and joined without a separator (protocol a.1). It signs URLs (token, timestamp, nonce),
// messages (with the Encrypt text as fourth part) and cards.
func Sign(parts ...string) string {
	s := sign(parts)
	return string(s[:])
}

func sign(parts []string) hexSignature {
	var sorted [8]string
	list := append(sorted[:0], parts...)
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	var stack [signStack]byte
	text := stack[:0]
	for _, part := range list {
		text = append(text, part...)
	}
	return hexSHA1(text)
}

func hexSHA1(text []byte) hexSignature {
	sum := sha1.Sum(text)
	var digits hexSignature
	hex.Encode(digits[:], sum[:])
	return digits
}

// equal compares in constant time.
func (s hexSignature) equal(signature string) bool {
	return subtle.ConstantTimeCompare(s[:], []byte(signature)) == 1
}

// VerifySignature reports whether signature belongs to token, timestamp and nonce. It says nothing
// about the body: only VerifyMsgSignature does. An empty token never verifies.
func VerifySignature(token, timestamp, nonce, signature string) bool {
	return token != "" && sign([]string{token, timestamp, nonce}).equal(signature)
}

// VerifyMsgSignature reports whether msgSignature belongs to token, timestamp, nonce and the text of
// the Encrypt element. An empty token never verifies.
func VerifyMsgSignature(token, timestamp, nonce, encrypt, msgSignature string) bool {
	return token != "" && sign([]string{token, timestamp, nonce, encrypt}).equal(msgSignature)
}

// SignJSSDK returns the signature for wx.config of the JS-SDK (protocol f.3). A fragment of pageURL
// does not count and is cut off.
func SignJSSDK(ticket, nonce, timestamp, pageURL string) string {
	pageURL, _, _ = strings.Cut(pageURL, "#")
	s := hexSHA1([]byte("jsapi_ticket=" + ticket + "&noncestr=" + nonce + "&timestamp=" + timestamp + "&url=" + pageURL))
	return string(s[:])
}

// VerifyUserData reports whether signature is that of rawData, which a Mini Program got from
// getUserInfo, under sessionKey (protocol a.6). An empty session key never verifies.
func VerifyUserData(rawData, sessionKey, signature string) bool {
	return sessionKey != "" && hexSHA1([]byte(rawData+sessionKey)).equal(signature)
}
