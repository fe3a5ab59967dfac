// Package upstream asks WeChat for access tokens (protocol f.1) and says what an operator can do
// when WeChat refuses.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/token/internal/refresh"
)

// China is the zone of WeChat's quotas. It has no daylight saving time.
var China = time.FixedZone("Asia/Shanghai", 8*60*60)

// Config of an Upstream.
type Config struct {
	HTTP           *http.Client
	Now            func() time.Time
	Tracer         trace.Tracer
	RefusedBackoff time.Duration // how long refused credentials are not tried again
	FailedBackoff  time.Duration // how long an API without an answer is not asked again
}

// Upstream is safe for concurrent use.
type Upstream struct {
	cfg     Config
	clients map[string]*wechat.Client
}

// New returns an upstream for the accounts. It fails with Invalid for a wrong api_base.
func New(cfg Config, accounts []account.Account) (*Upstream, error) {
	u := &Upstream{cfg: cfg, clients: make(map[string]*wechat.Client, len(accounts))}
	for _, a := range accounts {
		client, err := wechat.NewClient(wechat.ClientConfig{HTTP: cfg.HTTP, BaseURL: a.APIBase, Now: cfg.Now})
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
		u.clients[a.Name] = client
	}
	return u, nil
}

// Fetch asks once. Every error is a *refresh.DeniedError.
func (u *Upstream) Fetch(ctx context.Context, a account.Account, force bool) (refresh.Answer, error) {
	client, ok := u.clients[a.Name]
	if !ok {
		return refresh.Answer{}, fault.Errorf(fault.NotFound, "account %q is not configured", a.Name)
	}
	path, stable := "POST /cgi-bin/stable_token", a.TokenAPI != account.TokenAPIToken
	if !stable {
		path = "GET /cgi-bin/token"
	}
	ctx, span := u.cfg.Tracer.Start(ctx, path, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("wxbus.account", a.Name), attribute.Bool("wxbus.token.forced", force)))
	defer span.End()
	var token wechat.AccessToken
	var err error
	if stable {
		token, err = client.StableToken(ctx, a.AppID, a.AppSecret.Reveal(), force)
	} else {
		token, err = client.Token(ctx, a.AppID, a.AppSecret.Reveal())
	}
	if err != nil {
		denied := u.deny(a, err)
		span.SetAttributes(attribute.Int("wxbus.errcode", int(denied.Errcode)))
		span.SetStatus(codes.Error, fault.KindOf(denied).String())
		return refresh.Answer{}, denied
	}
	return refresh.Answer{Value: token.Value, Expires: token.ExpiresAt}, nil
}

// deny gives the error a kind, a text for operators and a time for which asking again is useless.
func (u *Upstream) deny(a account.Account, err error) *refresh.DeniedError {
	api, ok := errors.AsType[*wechat.APIError](err)
	if !ok {
		return &refresh.DeniedError{
			Err:     fault.Wrap(fault.Unavailable, fmt.Errorf("fetch token of account %s: %w", a.Name, err)),
			Backoff: u.cfg.FailedBackoff,
		}
	}
	d := &refresh.DeniedError{Errcode: int32(api.Code)}
	text := fmt.Errorf("WeChat refuses a token for account %s: errcode %d (%s)%s", a.Name, api.Code, meaning(api), hint(api))
	switch api.Class {
	case wechat.ClassTransient:
		d.Err, d.Backoff = fault.Wrap(fault.Unavailable, text), u.cfg.FailedBackoff
	case wechat.ClassRate:
		d.Err, d.Backoff = fault.Wrap(fault.Exhausted, fault.After(time.Minute, text)), time.Minute
	case wechat.ClassQuota:
		wait := untilMidnight(u.cfg.Now())
		d.Err, d.Backoff = fault.Wrap(fault.Exhausted, fault.After(wait, text)), min(wait, 10*time.Minute)
	default:
		d.Err, d.Backoff = fault.Wrap(fault.Refused, text), u.cfg.RefusedBackoff
	}
	return d
}

func meaning(e *wechat.APIError) string {
	text := wechat.Meaning(e.Code)
	if e.Code == 40001 {
		text = "wrong AppSecret"
	}
	if text == "" {
		text = "unknown code"
	}
	if rid := e.RID(); rid != "" {
		text += ", rid " + rid
	}
	return text
}

// hints say what an operator can do about a refused account.
var hints = map[int]string{
	40001: "check app_secret",
	40013: "check appid",
	40125: "check app_secret; it changes when it is reset in WeChat's console",
	40164: "add the address to the IP whitelist in WeChat's console",
	40243: "unfreeze the AppSecret in WeChat's console",
	41002: "set appid",
	41004: "set app_secret",
	50004: "WeChat has banned the account from tokens; ask WeChat's support",
	50007: "WeChat has frozen the account; ask WeChat's support",
	89501: "the administrator must confirm this address in WeChat",
	89503: "the administrator must confirm this address in WeChat",
	89506: "the administrator refused this address; try again after 24 hours",
	89507: "the administrator refused this address; try again after 1 hour",
}

func hint(e *wechat.APIError) string {
	text, ok := hints[e.Code]
	if !ok {
		return ""
	}
	if ip := seenAddress(e.Msg); ip.IsValid() {
		return fmt.Sprintf(": %s (WeChat saw %s)", text, ip)
	}
	return ": " + text
}

// seenAddress finds the address that WeChat saw in its message, for example "invalid ip 1.2.3.4
// ipv6 ::ffff:1.2.3.4, not in whitelist".
func seenAddress(msg string) netip.Addr {
	for _, word := range strings.FieldsFunc(msg, func(r rune) bool { return r == ' ' || r == ',' || r == ';' }) {
		if ip, err := netip.ParseAddr(word); err == nil {
			return ip.Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// untilMidnight returns the time until WeChat renews its daily quotas.
func untilMidnight(now time.Time) time.Duration {
	local := now.In(China)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, China).Sub(local)
}
