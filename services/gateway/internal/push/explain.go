package push

import (
	"strings"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// signatureLen is the length of a signature: 40 hex digits.
const signatureLen = 40

// around is white space that people paste around a Token.
var around = [][2]string{{"", " "}, {" ", ""}, {" ", " "}, {"", "\n"}, {"", "\r\n"}, {"", "\t"}, {"\ufeff", ""}, {"", "\u00a0"}}

// Explain says what a refused request shows about the settings here and in WeChat's console. It proves
// nothing: a stranger can send anything. It costs a few hashes, so bound how often it is asked.
func (a *Account) Explain(q wechat.Query, body []byte, reason Reason) gatewayv1.Mismatch {
	tokens := []string{a.Token.Reveal()}
	if !a.PreviousToken.IsZero() {
		tokens = append(tokens, a.PreviousToken.Reveal())
	}
	envelope, err := wechat.ParseEnvelope(body, a.limits)
	r := refusal{q: q, encrypt: envelope.Encrypt, encrypted: err == nil && envelope.Encrypt != ""}
	switch {
	case a.sealed == nil && r.encrypted && r.plain(tokens[0], q.Signature):
		return gatewayv1.Mismatch_MISMATCH_ENCRYPTED
	case reason == ReasonRecipient:
		return gatewayv1.Mismatch_MISMATCH_RECIPIENT
	case reason == ReasonDecrypt:
		return a.explainKey(body)
	case reason != ReasonSignature:
		return gatewayv1.Mismatch_MISMATCH_UNSPECIFIED
	}
	for _, token := range tokens {
		if m := r.explain(token, a.Encrypts()); m != gatewayv1.Mismatch_MISMATCH_UNSPECIFIED {
			return m
		}
	}
	return r.explainToken(tokens[0])
}

func (a *Account) explainKey(body []byte) gatewayv1.Mismatch {
	if a.sealed != nil {
		if _, ok := a.sealed.ForeignAppID(body, a.limits); ok {
			return gatewayv1.Mismatch_MISMATCH_APPID
		}
	}
	return gatewayv1.Mismatch_MISMATCH_KEY
}

// refusal is a request whose signature does not match.
type refusal struct {
	q         wechat.Query
	encrypt   string
	encrypted bool // the body has an Encrypt
}

// plain and sealed tell whether a value is the signature of the URL, or that of the encrypted body.
func (r refusal) plain(token, value string) bool {
	return wechat.VerifySignature(token, r.q.Timestamp, r.q.Nonce, value)
}

func (r refusal) sealed(token, value string) bool {
	return r.encrypted && wechat.VerifyMsgSignature(token, r.q.Timestamp, r.q.Nonce, r.encrypt, value)
}

// explain knows a request of who has the token.
func (r refusal) explain(token string, encryptedOnly bool) gatewayv1.Mismatch {
	genuine := r.plain(token, r.q.Signature)
	swapped := r.plain(token, r.q.MsgSignature) || r.sealed(token, r.q.Signature)
	switch {
	case swapped, genuine && r.encrypted && r.q.MsgSignature == "", r.sealed(token, r.q.MsgSignature):
		return gatewayv1.Mismatch_MISMATCH_SIGNATURE_FOR_MSG
	case genuine && r.encrypted:
		return gatewayv1.Mismatch_MISMATCH_BODY
	case genuine && encryptedOnly:
		return gatewayv1.Mismatch_MISMATCH_PLAIN
	}
	return gatewayv1.Mismatch_MISMATCH_UNSPECIFIED
}

// explainToken compares with tokens that are nearly ours.
func (r refusal) explainToken(token string) gatewayv1.Mismatch {
	if len(r.q.Signature) != signatureLen && len(r.q.MsgSignature) != signatureLen {
		return gatewayv1.Mismatch_MISMATCH_UNSPECIFIED // no request of WeChat
	}
	matches := func(token string) bool { return r.plain(token, r.q.Signature) || r.sealed(token, r.q.MsgSignature) }
	for _, space := range around {
		if matches(space[0] + token + space[1]) {
			return gatewayv1.Mismatch_MISMATCH_TOKEN_SPACE
		}
	}
	for _, other := range []string{strings.ToLower(token), strings.ToUpper(token)} {
		if other != token && matches(other) {
			return gatewayv1.Mismatch_MISMATCH_TOKEN_CASE
		}
	}
	return gatewayv1.Mismatch_MISMATCH_TOKEN
}
