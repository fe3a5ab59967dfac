package wechat

import (
	"bytes"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrNoEncrypt is returned for a body without an Encrypt element where one is required. It is
// fault.Invalid.
var ErrNoEncrypt = fault.New(fault.Invalid, "open envelope: no Encrypt element")

// Envelope is the outer body of an encrypted push or reply (protocol a.2, a.4).
type Envelope struct {
	Format Format
	// ToUserName is set in pushes, AppID in InfoType pushes to a component.
	ToUserName, AppID string
	// Encrypt is the encrypted text.
	Encrypt string
	// MsgSignature, TimeStamp and Nonce are set in replies; a push has them in its query.
	MsgSignature, TimeStamp, Nonce string
}

// ParseEnvelope reads the outer body of an encrypted push or reply. Nothing in it is verified yet.
// The plain fields that a push in compatible mode has beside Encrypt are ignored.
func ParseEnvelope(body []byte, limits Limits) (Envelope, error) {
	b, format, err := parseBody(body, limits)
	if err != nil {
		return Envelope{}, err
	}
	defer b.release()
	e := Envelope{Format: format}
	for i, end := 1, int(b.nodes[0].next); i < end; i = int(b.nodes[i].next) {
		to := e.field(string(b.bytes(b.nodes[i].name)))
		if to != nil && *to == "" {
			*to = string(bytes.TrimSpace(b.bytes(b.nodes[i].value)))
		}
	}
	if e.Encrypt == "" {
		return Envelope{}, ErrNoEncrypt
	}
	return e, nil
}

func (e *Envelope) field(name string) *string {
	switch name {
	case "ToUserName":
		return &e.ToUserName
	case "AppId":
		return &e.AppID
	case "Encrypt":
		return &e.Encrypt
	case "MsgSignature":
		return &e.MsgSignature
	case "TimeStamp":
		return &e.TimeStamp
	case "Nonce":
		return &e.Nonce
	default:
		return nil
	}
}
