package push

import (
	"bytes"
	"errors"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// Reason says in one word why a request was not taken. It is a metric label.
type Reason string

// The reasons. Those of a request that might come from anybody lead to a refusal; see Error.
const (
	ReasonQuery     Reason = "query"     // the query string cannot be read
	ReasonTimestamp Reason = "timestamp" // older or newer than the tolerance
	ReasonSignature Reason = "signature" // missing or wrong, or not encrypted where it must be
	ReasonTooLarge  Reason = "too_large" // more bytes than the limit
	ReasonLimits    Reason = "limits"    // nested too deep, too many elements, or a forbidden construct
	ReasonFormat    Reason = "format"    // neither XML nor JSON, or broken
	ReasonDecrypt   Reason = "decrypt"   // no key opens it, or it is for another appid
	ReasonRecipient Reason = "recipient" // ToUserName is another account
	ReasonContent   Reason = "content"   // no push: nobody sent it, or it has no type
)

// Error is a push that cannot be taken.
type Error struct {
	Reason Reason
	// Authentic tells that WeChat sent the body: it was signed with our token and encrypted with our
	// key. Body is worth keeping then: the plain body.
	Authentic bool
	Body      []byte
	// Signed tells that the signature covers the body, although no key opens it.
	Signed bool
	cause  error
}

// Error names the reason and the place, never the content.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.cause.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Push is an authentic push that was understood. It is immutable.
type Push struct {
	*wechat.Push
	Account *Account
	// ID is the dedupe key.
	ID string
	// AcceptsPassive tells whether WeChat shows a passive reply to this push.
	AcceptsPassive bool
	// PreviousCredential tells that only the previous token or key matched.
	PreviousCredential bool

	opened  wechat.Opened
	keyring *wechat.Keyring
}

// Body returns the plain body of the push.
func (p *Push) Body() []byte { return p.opened.Plain }

// Open verifies, decrypts and parses the body of a request for the account, in this order. Its errors
// are *Error. The push does not keep body, except that Plain is body itself in mode plaintext.
func (a *Account) Open(q wechat.Query, body []byte) (*Push, error) {
	keyring := a.keyring(q)
	opened, err := keyring.Open(q, body, a.limits)
	if err != nil {
		return nil, &Error{Reason: reasonOf(err), Signed: errors.Is(err, wechat.ErrDecrypt), cause: err}
	}
	parsed, err := wechat.Parse(opened.Plain, a.limits)
	if err != nil {
		reason := reasonOf(err)
		if declares(opened.Plain) {
			reason = ReasonLimits
		}
		// What breaks the limits is hostile whoever sent it.
		authentic := opened.Encrypted && (reason == ReasonFormat || reason == ReasonContent)
		return nil, &Error{Reason: reason, Authentic: authentic, Body: opened.Plain, cause: err}
	}
	if !a.isRecipient(parsed) {
		return nil, &Error{Reason: ReasonRecipient, cause: errRecipient}
	}
	p := &Push{
		Push: parsed, Account: a,
		PreviousCredential: opened.PreviousToken || opened.PreviousKey,
		opened:             opened, keyring: keyring,
	}
	if !p.Probe {
		p.ID = parsed.DedupeKey(a.Name)
		p.AcceptsPassive = parsed.AcceptsPassive(a.MiniProgram())
	}
	return p, nil
}

var errRecipient = errors.New("the push is for another account")

// isRecipient reports whether the push names this account: by its original id, or by its appid as
// cloud pushes do. A push to a component names the appid only.
func (a *Account) isRecipient(p *wechat.Push) bool {
	switch {
	case p.Probe:
		return true
	case p.InfoType != "":
		return p.AppID == a.AppID
	default:
		return a.OriginalID == "" || p.ToUserName == a.OriginalID || p.ToUserName == a.AppID
	}
}

// declares reports whether a body that cannot be parsed holds a document type or entities: the way to
// entity bombs and foreign files, which WeChat never sends.
func declares(body []byte) bool {
	return bytes.Contains(body, []byte("<!DOCTYPE")) || bytes.Contains(body, []byte("<!ENTITY"))
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, wechat.ErrSignature):
		return ReasonSignature
	case errors.Is(err, wechat.ErrDecrypt):
		return ReasonDecrypt
	case errors.Is(err, wechat.ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, wechat.ErrTooDeep), errors.Is(err, wechat.ErrTooMany):
		return ReasonLimits
	case errors.Is(err, wechat.ErrNotPush), errors.Is(err, wechat.ErrNoSender):
		return ReasonContent
	case errors.Is(err, wechat.ErrNoEncrypt):
		return ReasonSignature // nothing that the signature could cover
	default:
		return ReasonFormat
	}
}
