package wechat

import (
	"io"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrSignature is every failure of verification. It is fault.Refused.
var ErrSignature = fault.New(fault.Refused, "verify push: signature does not match")

// KeyringConfig holds the credentials of one account. The previous ones are those that the console
// held before; keep them at least a day, as pushes in flight still use them (protocol a.5).
type KeyringConfig struct {
	// AppID is that of the account, or of the component.
	AppID string
	// Token is required; PreviousToken may be empty.
	Token, PreviousToken string
	// EncodingAESKey is empty in plaintext mode. With a key only encrypted pushes are accepted.
	EncodingAESKey, PreviousEncodingAESKey string
	// Rand is the source of salts; nil means crypto/rand.
	Rand io.Reader
}

// Keyring verifies and opens the pushes of one account and seals the replies.
type Keyring struct {
	tokens  []string
	ciphers []*Cipher
}

// NewKeyring checks the credentials. Its errors name the field and never contain a credential.
func NewKeyring(cfg KeyringConfig) (*Keyring, error) {
	if cfg.Token == "" {
		return nil, fault.New(fault.Invalid, "token: required")
	}
	k := &Keyring{tokens: []string{cfg.Token}}
	if cfg.PreviousToken != "" && cfg.PreviousToken != cfg.Token {
		k.tokens = append(k.tokens, cfg.PreviousToken)
	}
	if cfg.EncodingAESKey == "" {
		if cfg.PreviousEncodingAESKey != "" {
			return nil, fault.New(fault.Invalid, "previous_encoding_aes_key: set without encoding_aes_key")
		}
		return k, nil
	}
	current, err := NewCipher(cfg.EncodingAESKey, cfg.AppID, cfg.Rand)
	if err != nil {
		return nil, err
	}
	k.ciphers = []*Cipher{current}
	if cfg.PreviousEncodingAESKey != "" && cfg.PreviousEncodingAESKey != cfg.EncodingAESKey {
		previous, err := NewCipher(cfg.PreviousEncodingAESKey, cfg.AppID, cfg.Rand)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "previous_%w", err)
		}
		k.ciphers = append(k.ciphers, previous)
	}
	return k, nil
}

// Encrypted reports whether the account has a key, so that only encrypted pushes are accepted.
func (k *Keyring) Encrypted() bool { return len(k.ciphers) > 0 }

// Opened is a verified push, and what its reply must be sealed with.
type Opened struct {
	// Plain is the plain body, ready for Parse. It is not shared, except that it is the body itself
	// in plaintext mode.
	Plain []byte
	// Format is that of the outer body.
	Format Format
	// Encrypted tells whether the push was encrypted; its reply must be, then.
	Encrypted bool
	// PreviousToken and PreviousKey tell that only the previous credential matched: count it, and
	// drop the previous one when that stops.
	PreviousToken, PreviousKey bool
}

// VerifyURL reports whether a URL verification is genuine (protocol a.1). Then, and only then, answer
// with q.EchoStr exactly, as text/plain.
func (k *Keyring) VerifyURL(q Query) bool {
	_, ok := k.matchToken(func(token string) bool {
		return VerifySignature(token, q.Timestamp, q.Nonce, q.Signature)
	})
	return ok
}

// Open verifies a push and decrypts it. With a key only encrypt_type=aes with a valid msg_signature
// counts, whatever else the request says: a plain body with a valid signature could be anybody's.
// The errors are ErrSignature, ErrDecrypt, ErrNoEncrypt and those of the limits.
func (k *Keyring) Open(q Query, body []byte, limits Limits) (Opened, error) {
	if !k.Encrypted() {
		return k.openPlain(q, body, limits)
	}
	if q.EncryptType != "aes" || len(q.MsgSignature) != len(hexSignature{}) {
		return Opened{}, ErrSignature
	}
	envelope, err := ParseEnvelope(body, limits)
	if err != nil {
		return Opened{}, err
	}
	token, ok := k.matchToken(func(token string) bool {
		return VerifyMsgSignature(token, q.Timestamp, q.Nonce, envelope.Encrypt, q.MsgSignature)
	})
	if !ok {
		return Opened{}, ErrSignature
	}
	for i, c := range k.ciphers {
		if plain, err := c.Decrypt(envelope.Encrypt); err == nil {
			return Opened{Plain: plain, Format: envelope.Format, Encrypted: true, PreviousToken: token > 0, PreviousKey: i > 0}, nil
		}
	}
	return Opened{}, ErrDecrypt
}

// ForeignAppID returns the appid of a body that one of the keys opens although it is for another account:
// the keys are right and the appid is not. It is for explaining a push that Open refused with ErrDecrypt.
func (k *Keyring) ForeignAppID(body []byte, limits Limits) (string, bool) {
	envelope, err := ParseEnvelope(body, limits)
	if err != nil {
		return "", false
	}
	for _, c := range k.ciphers {
		_, appID, err := c.open(envelope.Encrypt)
		// A wrong key opens by chance now and then, but not to this.
		if err == nil && string(appID) != c.appID && len(appID) == 18 && string(appID[:2]) == "wx" {
			return string(appID), true
		}
	}
	return "", false
}

func (k *Keyring) openPlain(q Query, body []byte, limits Limits) (Opened, error) {
	token, ok := k.matchToken(func(token string) bool {
		return VerifySignature(token, q.Timestamp, q.Nonce, q.Signature)
	})
	if !ok {
		return Opened{}, ErrSignature
	}
	if len(body) > limits.orDefaults().Bytes {
		return Opened{}, ErrTooLarge
	}
	format, ok := SniffFormat(body)
	if !ok {
		return Opened{}, ErrFormat
	}
	return Opened{Plain: body, Format: format, PreviousToken: token > 0}, nil
}

func (k *Keyring) matchToken(matches func(token string) bool) (int, bool) {
	for i, token := range k.tokens {
		if matches(token) {
			return i, true
		}
	}
	return 0, false
}

// Seal returns the body that answers the opened push with reply, which EncodeReply made. A push that
// was encrypted is answered with the key and the token that opened it. timestamp is in Unix seconds.
// The words "success" and nothing at all are never sealed: send them as they are.
func (k *Keyring) Seal(o Opened, reply []byte, timestamp int64, nonce string) ([]byte, error) {
	if !o.Encrypted {
		return reply, nil
	}
	token, c := k.tokens[index(o.PreviousToken)], k.ciphers[index(o.PreviousKey)]
	return c.SealReply(Seal{Format: o.Format, Token: token, Timestamp: timestamp, Nonce: nonce}, reply)
}

func index(previous bool) int {
	if previous {
		return 1
	}
	return 0
}
