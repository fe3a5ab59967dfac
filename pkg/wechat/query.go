package wechat

import (
	"net/url"
	"slices"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrQuery is returned for a query string that cannot be read. It is fault.Invalid.
var ErrQuery = fault.New(fault.Invalid, "parse query: malformed escape")

// Query holds the query parameters of a push or of a URL verification (protocol a.1, a.2).
type Query struct {
	Signature, Timestamp, Nonce string
	// EncryptType is "aes" in secure and compatible mode; absent, empty or "raw" in plaintext mode.
	EncryptType, MsgSignature string
	// EchoStr is what a URL verification wants back.
	EchoStr string
	// OpenID is informational: the body decides.
	OpenID string
}

// ParseQuery reads r.URL.RawQuery. The first of duplicated parameters counts, others are ignored. It
// allocates only for values with escapes, which pushes do not have.
func ParseQuery(raw string) (Query, error) {
	var q Query
	var seen [7]bool
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		i, to := q.parameter(name)
		if to == nil || seen[i] {
			continue
		}
		seen[i] = true
		if strings.ContainsAny(value, "%+") {
			unescaped, err := url.QueryUnescape(value)
			if err != nil {
				return Query{}, ErrQuery
			}
			value = unescaped
		}
		*to = value
	}
	return q, nil
}

func (q *Query) parameter(name string) (int, *string) {
	switch name {
	case "signature":
		return 0, &q.Signature
	case "timestamp":
		return 1, &q.Timestamp
	case "nonce":
		return 2, &q.Nonce
	case "encrypt_type":
		return 3, &q.EncryptType
	case "msg_signature":
		return 4, &q.MsgSignature
	case "echostr":
		return 5, &q.EchoStr
	case "openid":
		return 6, &q.OpenID
	default:
		return 0, nil
	}
}

// Encode returns the query string, parameters without a value left out. It is for those who play
// WeChat.
func (q Query) Encode() string {
	values := url.Values{}
	for _, p := range []struct{ name, value string }{
		{"signature", q.Signature}, {"timestamp", q.Timestamp}, {"nonce", q.Nonce},
		{"encrypt_type", q.EncryptType}, {"msg_signature", q.MsgSignature},
		{"echostr", q.EchoStr}, {"openid", q.OpenID},
	} {
		if p.value != "" {
			values.Set(p.name, p.value)
		}
	}
	return values.Encode()
}

// QueryFields returns the names of the parameters that ParseQuery knows and that the query string has, in
// its order, and "other" once for all others. It is for explaining a request that was refused.
func QueryFields(raw string) []string {
	var names []string
	var q Query
	other := false
	for raw != "" && len(names) < 8 {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, _, _ := strings.Cut(pair, "=")
		if _, to := q.parameter(name); to == nil {
			other = true
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if other {
		names = append(names, "other")
	}
	return names
}
