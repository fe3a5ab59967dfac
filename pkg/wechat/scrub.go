package wechat

import (
	"net/url"
	"regexp"
	"strings"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// secretNames are the parameters whose values never leave this package in an error.
const secretNames = `(?:component_|authorizer_|stable_)?(?:access_token|refresh_token|app_?secret|secret)|` +
	`component_verify_ticket|jsapi_ticket|ticket|session_key|js_code|code|pre_auth_code|token`

var (
	secretInQuery = regexp.MustCompile(`(?i)\b(` + secretNames + `)=[^&\s"'<>#]*`)
	secretInJSON  = regexp.MustCompile(`(?i)"(` + secretNames + `)"\s*:\s*"(?:[^"\\]|\\.)*"`)
)

// ScrubText returns text with the values of secret parameters replaced, in query strings and in JSON,
// and with every given value replaced wherever it stands, plain or escaped.
func ScrubText(text string, values ...string) string {
	for _, v := range values {
		if v == "" {
			continue
		}
		text = strings.ReplaceAll(text, v, redacted)
		text = strings.ReplaceAll(text, url.QueryEscape(v), redacted)
		text = strings.ReplaceAll(text, url.PathEscape(v), redacted)
	}
	text = secretInQuery.ReplaceAllString(text, "$1="+redacted)
	return secretInJSON.ReplaceAllString(text, `"$1":"`+redacted+`"`)
}

// ScrubURL returns u without user information, and with the values of secret parameters replaced. Use
// it wherever a URL of WeChat is logged or put on a span.
func ScrubURL(u *url.URL) string {
	clean := *u
	clean.User = nil
	return ScrubText(clean.String())
}
