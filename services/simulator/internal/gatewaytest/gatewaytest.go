// Package gatewaytest has a gateway of fifty lines for the simulator's own tests: right by default,
// wrong on demand, so that a test can see the report catch it.
package gatewaytest

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

// Message is a push as the gateway reads it.
type Message struct {
	Account      string `xml:"-" json:"-"`
	ToUserName   string
	FromUserName string
	CreateTime   int64
	MsgType      string
	Event        string
	EventKey     string
	Content      string
	MsgID        ID `xml:"MsgId" json:"MsgId"`
	Encrypt      string
	// Raw is the decrypted body, First whether no push of this identity came before, Query the query of the attempt.
	Raw   []byte     `xml:"-" json:"-"`
	First bool       `xml:"-" json:"-"`
	Query url.Values `xml:"-" json:"-"`
}

// ID is a message id: a number or a text.
type ID string

// UnmarshalJSON takes both.
func (id *ID) UnmarshalJSON(b []byte) error {
	*id = ID(strings.Trim(string(b), `"`))
	return nil
}

// Gateway is an http.Handler for /wx/{account}.
type Gateway struct {
	// Answer returns the plain answer, which is sealed where the account asks for it; nil means "success".
	// Without an Answer every text is answered with "re:" before it.
	Answer func(m Message) []byte
	// Raw, when it returns true, wrote the answer itself.
	Raw func(w http.ResponseWriter, r *http.Request, m Message) bool
	// Forget makes the gateway acknowledge without storing.
	Forget func(m Message) bool

	accounts map[string]codec.Account

	mu     sync.Mutex
	seen   map[string]bool
	stored []report.Stored
	log    []Message
}

// New returns a right gateway.
func New(accounts ...codec.Account) *Gateway {
	g := &Gateway{accounts: map[string]codec.Account{}, seen: map[string]bool{}}
	for _, a := range accounts {
		g.accounts[a.Name] = a
	}
	return g
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := g.accounts[strings.TrimPrefix(r.URL.Path, "/wx/")]
	q := r.URL.Query()
	if !ok || q.Get("signature") != codec.Sign(a.Token, q.Get("timestamp"), q.Get("nonce")) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, q.Get("echostr")) //nolint:gosec // plain text, and only after the signature check
		return
	}
	m, ok := g.read(a, r)
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	m.Query = q
	g.store(&m)
	if g.Raw != nil && g.Raw(w, r, m) {
		return
	}
	answer := g.Answer
	if answer == nil {
		answer = Echo
	}
	body := answer(m)
	if body == nil {
		body = []byte("success")
	} else if a.Mode == codec.ModeSecure {
		body = Seal(a, body)
	}
	_, _ = w.Write(body)
}

func (g *Gateway) read(a codec.Account, r *http.Request) (Message, bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return Message{}, false
	}
	m, err := parse(a, body)
	if err != nil {
		return Message{}, false
	}
	if a.Mode == codec.ModePlaintext {
		return m, true
	}
	q := r.URL.Query()
	if q.Get("encrypt_type") != "aes" || q.Get("msg_signature") != codec.Sign(a.Token, q.Get("timestamp"), q.Get("nonce"), m.Encrypt) {
		return Message{}, false
	}
	ciph, err := codec.NewCipher(a.EncodingAESKey, a.AppID)
	if err != nil {
		return Message{}, false
	}
	plain, err := ciph.Open(m.Encrypt)
	if err != nil {
		return Message{}, false
	}
	m, err = parse(a, plain)
	return m, err == nil
}

func parse(a codec.Account, body []byte) (Message, error) {
	m := Message{Account: a.Name, Raw: body}
	if a.Format == codec.FormatJSON {
		return m, json.Unmarshal(body, &m)
	}
	return m, xml.Unmarshal(body, &m)
}

func (g *Gateway) store(m *Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = append(g.log, *m)
	key := strings.Join([]string{m.Account, m.FromUserName, string(m.MsgID), m.Event, strconv.FormatInt(m.CreateTime, 10)}, " ")
	m.First = !g.seen[key]
	g.seen[key] = true
	if m.First && (g.Forget == nil || !g.Forget(*m)) {
		g.stored = append(g.stored, report.Stored{Account: m.Account, OpenID: m.FromUserName, MsgID: string(m.MsgID), Event: m.Event, CreateTime: m.CreateTime})
	}
}

// Stored returns what the gateway stored, read to the end.
func (g *Gateway) Stored() report.StoredSet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return report.StoredSet{Pushes: append([]report.Stored(nil), g.stored...), Complete: true}
}

// Log returns every attempt that was read, in order.
func (g *Gateway) Log() []Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Message(nil), g.log...)
}

// Echo answers texts with "re:" before them.
func Echo(m Message) []byte {
	if m.MsgType != "text" {
		return nil
	}
	return Text(m, "re:"+m.Content)
}

// Text returns a passive text in the format of the push.
func Text(m Message, text string) []byte {
	return Reply(m, codec.Fields{{Name: "MsgType", Value: "text"}, {Name: "Content", Value: text}})
}

// Reply returns a passive reply with the given elements in the format of the push.
func Reply(m Message, f codec.Fields) []byte {
	f = append(codec.Fields{{Name: "ToUserName", Value: m.FromUserName}, {Name: "FromUserName", Value: m.ToUserName},
		{Name: "CreateTime", Value: time.Now().Unix()}}, f...)
	if len(m.Raw) > 0 && m.Raw[0] == '{' {
		return f.JSON()
	}
	return f.XML()
}

// Seal encrypts an answer.
func Seal(a codec.Account, plain []byte) []byte {
	ciph, err := codec.NewCipher(a.EncodingAESKey, a.AppID)
	if err != nil {
		return nil
	}
	box := ciph.Seal(plain, [16]byte{7})
	f := codec.Fields{{Name: "Encrypt", Value: box}, {Name: "MsgSignature", Value: codec.Sign(a.Token, "1700000000", "n", box)},
		{Name: "TimeStamp", Value: int64(1700000000)}, {Name: "Nonce", Value: "n"}}
	if a.Format == codec.FormatJSON {
		return f.JSON()
	}
	return f.XML()
}
