package login

import (
	"net/http"
	"time"
)

// The names of the cookie. Browsers take the first one only over https, for the whole host and without a
// domain. On plain http they refuse it, so a page on this machine gets the second one; it is as safe as the
// machine, and nobody else is served by plain http.
const (
	CookieSecure = "__Host-wxbus"
	CookieLocal  = "wxbus-local"
)

// CookieOf returns the cookie that carries a secret until it expires. local is true for a page that is opened
// by plain http on this machine.
func CookieOf(secret string, expires time.Time, local bool) *http.Cookie {
	c := &http.Cookie{Name: CookieSecure, Value: secret, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode} //nolint:gosec // Secure is off for plain http on this machine only
	if local {
		c.Name, c.Secure = CookieLocal, false
	}
	return c
}

// Gone returns the cookies that make a browser forget its session.
func Gone() []*http.Cookie {
	var out []*http.Cookie
	for _, local := range []bool{false, true} {
		c := CookieOf("", time.Unix(1, 0), local) //nolint:gosec // as above
		c.MaxAge = -1
		out = append(out, c)
	}
	return out
}

// SecretOf returns the secret in the cookies of a request, or an empty text. The local cookie counts for local
// requests only: a page of the network could not have set the other one.
func SecretOf(r *http.Request, local bool) string {
	if c, err := r.Cookie(CookieSecure); err == nil {
		return c.Value
	}
	if !local {
		return ""
	}
	if c, err := r.Cookie(CookieLocal); err == nil {
		return c.Value
	}
	return ""
}
