package codec

import (
	"fmt"
	"net/url"
)

// Kinds, formats and modes of an account, as in the shared configuration.
const (
	KindService      = "service"
	KindSubscription = "subscription"
	KindMiniProgram  = "miniprogram"

	FormatXML  = "xml"
	FormatJSON = "json"

	ModeSecure     = "secure"
	ModeCompatible = "compatible"
	ModePlaintext  = "plaintext"
)

// Account is what WeChat knows about one account.
type Account struct {
	Name, AppID, OriginalID string
	Kind, Format, Mode      string
	Token, EncodingAESKey   string
	// PreviousToken and PreviousEncodingAESKey are used for pushes that ask for the key before the last change (a.5).
	PreviousToken, PreviousEncodingAESKey string
	AppSecret                             string
	// KfAPI tells whether the account may send customer-service messages; without it they get 48001.
	KfAPI bool
}

// String returns the name only: the other fields are secrets.
func (a Account) String() string { return a.Name }

// GoString returns the name only, for the same reason.
func (a Account) GoString() string { return "account " + a.Name }

// IsMiniProgram tells whether the account is a Mini Program.
func (a Account) IsMiniProgram() bool { return a.Kind == KindMiniProgram }

// Wire writes the pushes of one account and reads the answers to them. It is safe for concurrent use.
type Wire struct {
	account           Account
	current, previous keys
}

type keys struct {
	token  string
	cipher *Cipher // nil without an EncodingAESKey
}

// NewWire returns the wire of an account. Every mode but plaintext needs a valid EncodingAESKey.
func NewWire(a Account) (*Wire, error) {
	w := &Wire{account: a, current: keys{token: a.Token}, previous: keys{token: a.Token}}
	var err error
	if a.EncodingAESKey != "" || a.Mode != ModePlaintext {
		if w.current.cipher, err = NewCipher(a.EncodingAESKey, a.AppID); err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	w.previous.cipher = w.current.cipher
	if a.PreviousToken != "" {
		w.previous.token = a.PreviousToken
	}
	if a.PreviousEncodingAESKey != "" {
		if w.previous.cipher, err = NewCipher(a.PreviousEncodingAESKey, a.AppID); err != nil {
			return nil, fmt.Errorf("account %s: previous_%w", a.Name, err)
		}
	}
	return w, nil
}

// Account returns the account of the wire.
func (w *Wire) Account() Account { return w.account }

func (w *Wire) keys(previous bool) keys {
	if previous {
		return w.previous
	}
	return w.current
}

// Sealed is the body of a push, the same for every attempt.
type Sealed struct {
	Body        []byte
	ContentType string
	encrypt     string
	previous    bool
}

// Seal returns the body of a push in the account's mode and format. previous selects the keys before the last change.
func (w *Wire) Seal(f Fields, random [16]byte, previous bool) Sealed {
	s := Sealed{previous: previous, ContentType: "text/xml"}
	if w.account.Format == FormatJSON {
		s.ContentType = "application/json"
	}
	if w.account.Mode == ModePlaintext {
		s.Body = w.encode(f)
		return s
	}
	s.encrypt = w.keys(previous).cipher.Seal(w.encode(f), random)
	outer := Fields{{"ToUserName", f.Get("ToUserName")}, {"Encrypt", s.encrypt}}
	if w.account.Mode == ModeCompatible {
		outer = append(append(Fields{}, f...), Field{"Encrypt", s.encrypt})
	}
	s.Body = w.encode(outer)
	return s
}

func (w *Wire) encode(f Fields) []byte {
	if w.account.Format == FormatJSON {
		return f.JSON()
	}
	return f.XML()
}

// Query returns the query of one attempt (a.2).
func (w *Wire) Query(s Sealed, openID, timestamp, nonce string) url.Values {
	token := w.keys(s.previous).token
	q := url.Values{
		"signature": {Sign(token, timestamp, nonce)},
		"timestamp": {timestamp},
		"nonce":     {nonce},
	}
	if openID != "" {
		q.Set("openid", openID)
	}
	if s.encrypt != "" {
		q.Set("encrypt_type", "aes")
		q.Set("msg_signature", Sign(token, timestamp, nonce, s.encrypt))
	}
	return q
}

// VerifyQuery returns the query of a URL verification; the answer must be echo and nothing else (a.1).
func (w *Wire) VerifyQuery(timestamp, nonce, echo string) url.Values {
	return url.Values{
		"signature": {Sign(w.current.token, timestamp, nonce)},
		"timestamp": {timestamp},
		"nonce":     {nonce},
		"echostr":   {echo},
	}
}
