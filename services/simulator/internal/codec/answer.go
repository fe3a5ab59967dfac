package codec

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"strconv"
)

// MaxAnswerBytes bounds the body of an answer.
const MaxAnswerBytes = 64 << 10

// AnswerKind tells what an answer asks WeChat to do.
type AnswerKind uint8

// Kinds of answers.
const (
	AnswerAck      AnswerKind = iota + 1 // "success" or nothing: show nothing
	AnswerReply                          // show the content
	AnswerTransfer                       // hand the message to the native customer service
)

// Answer is a well-formed answer to a push.
type Answer struct {
	Kind    AnswerKind
	Content Content
}

// Classes of answers that break the protocol.
const (
	ClassMalformed      = "malformed"
	ClassWrongRecipient = "wrong_recipient"
)

// AnswerError is an answer that WeChat does not understand.
type AnswerError struct {
	Class  string
	Detail string
}

func (p *AnswerError) Error() string { return p.Class + ": " + p.Detail }

func malformed(format string, a ...any) *AnswerError {
	return &AnswerError{Class: ClassMalformed, Detail: fmt.Sprintf(format, a...)}
}

// Expect tells what a push allows its answer to be.
type Expect struct {
	OpenID   string
	Event    bool // the push is an event: no transfer to the native customer service
	NoReply  bool // the push takes no reply at all
	Previous bool // the push was sealed with the previous keys
}

// ParseAnswer reads the body of a 2xx answer (a.4, d). The error is always a *AnswerError.
func (w *Wire) ParseAnswer(body []byte, want Expect) (Answer, error) {
	if len(body) == 0 || bytes.Equal(body, []byte("success")) {
		return Answer{Kind: AnswerAck}, nil
	}
	root, problem := w.open(body, want.Previous)
	if problem != nil {
		return Answer{}, problem
	}
	if to := root.value("ToUserName"); to != want.OpenID {
		return Answer{}, &AnswerError{ClassWrongRecipient, "ToUserName is not the fan of the push"}
	}
	if from := root.value("FromUserName"); from != w.account.OriginalID {
		return Answer{}, &AnswerError{ClassWrongRecipient, "FromUserName is not the account of the push"}
	}
	if t, err := strconv.ParseInt(root.value("CreateTime"), 10, 64); err != nil || t <= 0 {
		return Answer{}, malformed("CreateTime is not a number of seconds")
	}
	content, err := passiveContent(root)
	if err != nil {
		return Answer{}, malformed("%s", err)
	}
	return w.judge(content, want)
}

func (w *Wire) judge(c Content, want Expect) (Answer, error) {
	transfer := c.Type == TypeTransfer || c.Type == "transfer_biz_ai_ivr"
	switch {
	case want.NoReply:
		return Answer{}, malformed("%s reply to a push that takes no reply", c.Type)
	case transfer && want.Event:
		return Answer{}, malformed("%s on an event", c.Type)
	case transfer:
		return Answer{Kind: AnswerTransfer, Content: c}, nil
	case w.account.IsMiniProgram():
		return Answer{}, malformed("%s reply in a Mini Program, only a transfer is allowed", c.Type)
	}
	return Answer{Kind: AnswerReply, Content: c}, nil
}

// open decodes the body and, where the mode asks for it, verifies and decrypts it.
func (w *Wire) open(body []byte, previous bool) (node, *AnswerError) {
	if len(body) > MaxAnswerBytes {
		return node{}, malformed("answer has more than %d bytes", MaxAnswerBytes)
	}
	root, problem := w.decode(body)
	if problem != nil {
		return node{}, problem
	}
	box, sealed := root.child("Encrypt")
	switch {
	case w.account.Mode == ModePlaintext && sealed:
		return node{}, malformed("encrypted answer in a plaintext account")
	case w.account.Mode == ModeSecure && !sealed:
		return node{}, malformed("plain answer in a secure account")
	case !sealed:
		return root, nil
	}
	k := w.keys(previous)
	want := Sign(k.token, root.value("TimeStamp"), root.value("Nonce"), box.text)
	if subtle.ConstantTimeCompare([]byte(want), []byte(root.value("MsgSignature"))) != 1 {
		return node{}, malformed("MsgSignature does not match")
	}
	plain, err := k.cipher.Open(box.text)
	if err != nil {
		return node{}, malformed("%s", err)
	}
	return w.decode(plain)
}

func (w *Wire) decode(body []byte) (node, *AnswerError) {
	parse, first := parseXML, byte('<')
	if w.account.Format == FormatJSON {
		parse, first = parseJSON, '{'
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != first {
		return node{}, malformed("answer is not %s, which this account uses", w.account.Format)
	}
	root, err := parse(body)
	if err != nil {
		return node{}, malformed("answer %s", err)
	}
	return root, nil
}
