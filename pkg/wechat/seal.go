package wechat

import (
	"bytes"
	"strconv"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Seal says how an encrypted body is signed.
type Seal struct {
	// Format is that of the outer body.
	Format Format
	// Token is that of the account.
	Token string
	// Timestamp is in Unix seconds. A reply has its own, not that of the push.
	Timestamp int64
	// Nonce is any text.
	Nonce string
}

// sign returns the timestamp as text and the signature over encrypt.
func (s Seal) sign(encrypt string) (timestamp, signature string) {
	timestamp = strconv.FormatInt(s.Timestamp, 10)
	return timestamp, Sign(s.Token, timestamp, s.Nonce, encrypt)
}

// SealReply encrypts a reply and signs it (protocol a.4). The words "success" and nothing at all are
// never sealed: send them as they are.
func (c *Cipher) SealReply(s Seal, reply []byte) ([]byte, error) {
	encrypt, err := c.Encrypt(reply)
	if err != nil {
		return nil, err
	}
	timestamp, signature := s.sign(encrypt)
	dst := make([]byte, 0, len(encrypt)+256)
	if s.Format == JSON {
		dst = append(dst, `{"Encrypt":`...)
		dst = AppendJSONString(dst, encrypt)
		dst = append(dst, `,"MsgSignature":"`+signature+`","TimeStamp":`+timestamp+`,"Nonce":`...)
		dst = AppendJSONString(dst, s.Nonce)
		return append(dst, '}'), nil
	}
	dst = append(dst, "<xml>"...)
	dst = appendElement(dst, "Encrypt", encrypt)
	dst = appendElement(dst, "MsgSignature", signature)
	dst = appendInt(dst, "TimeStamp", s.Timestamp)
	dst = appendElement(dst, "Nonce", s.Nonce)
	return append(dst, "</xml>"...), nil
}

// OpenReply verifies and decrypts what SealReply made. It is for those who play WeChat.
func (c *Cipher) OpenReply(token string, body []byte, limits Limits) ([]byte, error) {
	e, err := ParseEnvelope(body, limits)
	if err != nil {
		return nil, err
	}
	if !VerifyMsgSignature(token, e.TimeStamp, e.Nonce, e.Encrypt, e.MsgSignature) {
		return nil, ErrSignature
	}
	return c.Decrypt(e.Encrypt)
}

// SealPush encrypts a push the way WeChat does in secure mode, and returns the body and the query
// that belongs to it. It is for those who play WeChat.
func (c *Cipher) SealPush(s Seal, toUserName string, push []byte) (Query, []byte, error) {
	encrypt, q, err := c.sealPush(s, push)
	if err != nil {
		return Query{}, nil, err
	}
	if s.Format == JSON {
		body := AppendJSONString([]byte(`{"ToUserName":`), toUserName)
		body = append(body, `,"Encrypt":"`+encrypt+`"}`...)
		return q, body, nil
	}
	body := appendElement([]byte("<xml>"), "ToUserName", toUserName)
	body = appendElement(body, "Encrypt", encrypt)
	return q, append(body, "</xml>"...), nil
}

// SealCompatiblePush is SealPush in compatible mode: the plain push stays beside the encrypted one.
func (c *Cipher) SealCompatiblePush(s Seal, push []byte) (Query, []byte, error) {
	encrypt, q, err := c.sealPush(s, push)
	if err != nil {
		return Query{}, nil, err
	}
	end, element := "}", `,"Encrypt":"`+encrypt+`"}`
	if s.Format == XML {
		end, element = "</xml>", "<Encrypt><![CDATA["+encrypt+"]]></Encrypt></xml>"
	}
	plain, ok := bytes.CutSuffix(bytes.TrimRight(push, " \t\r\n"), []byte(end))
	if !ok {
		return Query{}, nil, fault.Errorf(fault.Invalid, "seal push: the push is not %s", s.Format)
	}
	return q, append(bytes.Clone(plain), element...), nil
}

func (c *Cipher) sealPush(s Seal, push []byte) (string, Query, error) {
	encrypt, err := c.Encrypt(push)
	if err != nil {
		return "", Query{}, err
	}
	timestamp, signature := s.sign(encrypt)
	return encrypt, Query{
		Signature:    Sign(s.Token, timestamp, s.Nonce),
		Timestamp:    timestamp,
		Nonce:        s.Nonce,
		EncryptType:  "aes",
		MsgSignature: signature,
	}, nil
}
