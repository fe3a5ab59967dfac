package account

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/secret"
)

// maxPassiveDeadline is WeChat's attempt timeout: it hangs up after 5 s (protocol b).
const maxPassiveDeadline = 5 * time.Second

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	appIDPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]{4,64}$`)
	tokenPattern  = regexp.MustCompile(`^[A-Za-z0-9]{3,32}$`)
	aesKeyPattern = regexp.MustCompile(`^[A-Za-z0-9]{43}$`)
)

// Validate returns every fault of the account, joined; each starts with the field's name in the
// configuration. Empty fields that have a default are faults, see SetDefaults. Whether mode
// plaintext or compatible is allowed is the gateway's decision, because it also has a global switch.
func (a Account) Validate() error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if !namePattern.MatchString(a.Name) {
		add("name", "must be 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit")
	}
	if !appIDPattern.MatchString(a.AppID) {
		add("appid", "must be 4 to 64 of A-Z, a-z, 0-9, _ and -")
	}
	checkSecret(add, "token", a.Token, tokenPattern, "must be 3 to 32 letters and digits", true)
	checkSecret(add, "previous_token", a.PreviousToken, tokenPattern, "must be 3 to 32 letters and digits", false)
	needKey := a.Mode == ModeSecure || a.Mode == ModeCompatible
	checkSecret(add, "encoding_aes_key", a.EncodingAESKey, aesKeyPattern, "must be 43 characters, letters and digits", needKey)
	checkSecret(add, "previous_encoding_aes_key", a.PreviousEncodingAESKey, aesKeyPattern, "must be 43 characters, letters and digits", false)
	oneOf(add, "kind", a.Kind, KindService, KindSubscription, KindMiniProgram)
	oneOf(add, "format", a.Format, FormatXML, FormatJSON)
	oneOf(add, "mode", a.Mode, ModeSecure, ModeCompatible, ModePlaintext)
	oneOf(add, "reply", a.Reply, ReplyAck, ReplyPassive, ReplyStretch)
	oneOf(add, "ambiguous", a.Ambiguous, AmbiguousDrop, AmbiguousResend)
	oneOf(add, "token_api", a.TokenAPI, TokenAPIStable, TokenAPIToken)
	if msg := checkBase(a.APIBase); msg != "" {
		add("api_base", "%s", msg)
	}
	if a.CallbackURL != "" {
		if u, err := url.Parse(a.CallbackURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
			add("callback_url", "must be an http or https URL without a user")
		}
	}
	if a.PassiveDeadline < 0 || a.PassiveDeadline >= maxPassiveDeadline {
		add("passive_deadline", "must be between 0s and %s, when WeChat hangs up", maxPassiveDeadline)
	}
	return errors.Join(errs...)
}

type addError func(field, format string, args ...any)

func checkSecret(add addError, field string, v secret.Value, pattern *regexp.Regexp, rule string, needed bool) {
	switch {
	case v.IsZero() && needed:
		add(field, "must be set; %s", strings.TrimPrefix(rule, "must be "))
	case !v.IsZero() && !pattern.MatchString(v.Reveal()):
		add(field, "%s", rule)
	}
}

func oneOf[T ~string](add addError, field string, value T, allowed ...T) {
	names := make([]string, len(allowed))
	for i, v := range allowed {
		if v == value {
			return
		}
		names[i] = string(v)
	}
	add(field, "must be one of %s", strings.Join(names, ", "))
}

func checkBase(base string) string {
	u, err := url.Parse(base)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return "must be an http or https URL"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "must have no user, query or fragment"
	case strings.HasSuffix(base, "/"):
		return "must not end with a slash"
	}
	return ""
}
