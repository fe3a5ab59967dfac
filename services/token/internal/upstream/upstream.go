// Package upstream asks WeChat for access tokens and tickets (protocol f.1, f.3) and says what an operator can do
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

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/refresh"
)

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
	clients *account.Derived[*wechat.Client]
}

// New returns an upstream for the accounts of the directory as they are at each call.
func New(cfg Config, accounts *account.Directory) *Upstream {
	return &Upstream{cfg: cfg, clients: account.NewDerived(accounts, func(a account.Account) (*wechat.Client, error) {
		return wechat.NewClient(wechat.ClientConfig{HTTP: cfg.HTTP, BaseURL: a.APIBase, Now: cfg.Now})
	})}
}

// Client returns the client of an account's API.
func (u *Upstream) Client(name string) (*wechat.Client, error) {
	client, err := u.clients.Get(name)
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", name, err)
	}
	return client, nil
}

// FetchTicket asks once for a ticket, with a token. Every error of WeChat is a *refresh.DeniedError.
func (u *Upstream) FetchTicket(ctx context.Context, a account.Account, kind refresh.Kind, token string) (refresh.Answer, error) {
	client, err := u.Client(a.Name)
	if err != nil {
		return refresh.Answer{}, err
	}
	ctx, span := u.cfg.Tracer.Start(ctx, "GET /cgi-bin/ticket/getticket", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("wxbus.account", a.Name), attribute.String("wxbus.ticket", string(kind))))
	defer span.End()
	ticket, err := client.JSTicket(ctx, token, string(kind))
	if err != nil {
		return refresh.Answer{}, u.denied(span, a, string(kind)+" ticket", err)
	}
	return refresh.Answer{Value: ticket.Value, Expires: ticket.ExpiresAt}, nil
}

// Fetch asks once for a token. Every error of WeChat is a *refresh.DeniedError.
func (u *Upstream) Fetch(ctx context.Context, a account.Account, force bool) (refresh.Answer, error) {
	client, err := u.Client(a.Name)
	if err != nil {
		return refresh.Answer{}, err
	}
	path, stable := "POST /cgi-bin/stable_token", a.TokenAPI != account.TokenAPIToken
	if !stable {
		path = "GET /cgi-bin/token"
	}
	ctx, span := u.cfg.Tracer.Start(ctx, path, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("wxbus.account", a.Name), attribute.Bool("wxbus.token.forced", force)))
	defer span.End()
	var token wechat.AccessToken
	if stable {
		token, err = client.StableToken(ctx, a.AppID, a.AppSecret.Reveal(), force)
	} else {
		token, err = client.Token(ctx, a.AppID, a.AppSecret.Reveal())
	}
	if err != nil {
		return refresh.Answer{}, u.denied(span, a, "token", err)
	}
	return refresh.Answer{Value: token.Value, Expires: token.ExpiresAt}, nil
}

// denied records why a call failed.
func (u *Upstream) denied(span trace.Span, a account.Account, what string, err error) error {
	denied := u.deny(a, what, err)
	span.SetAttributes(attribute.Int("wxbus.errcode", int(denied.Errcode)))
	span.SetStatus(codes.Error, fault.KindOf(denied).String())
	return denied
}

// deny gives the error a kind, a text for operators and a time for which asking again is useless.
func (u *Upstream) deny(a account.Account, what string, err error) *refresh.DeniedError {
	api, ok := errors.AsType[*wechat.APIError](err)
	if !ok {
		return &refresh.DeniedError{
			Err:     fault.Wrap(fault.Unavailable, fmt.Errorf("fetch %s of account %s: %w", what, a.Name, err)),
			Backoff: u.cfg.FailedBackoff,
		}
	}
	d := &refresh.DeniedError{Errcode: int32(api.Code), Seen: SeenAddress(api.Msg), Token: api.Class == wechat.ClassToken}
	if !d.Token {
		d.Alarm = alarms[api.Code]
	}
	text := fmt.Errorf("WeChat refuses a %s for account %s: errcode %d (%s)%s", what, a.Name, api.Code, meaning(api), hint(api))
	switch api.Class {
	case wechat.ClassTransient:
		d.Err, d.Backoff = fault.Wrap(fault.Unavailable, text), u.cfg.FailedBackoff
	case wechat.ClassToken:
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
	if e.Code == 40001 && e.Class == wechat.ClassAccount {
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
	48001: "the account has no permission for this interface; see 接口权限 in WeChat's console",
	50004: "WeChat has banned the account from tokens; ask WeChat's support",
	50007: "WeChat has frozen the account; ask WeChat's support",
	89501: "the administrator must confirm this address in WeChat",
	89503: "the administrator must confirm this address in WeChat",
	89506: "the administrator refused this address; try again after 24 hours",
	89507: "the administrator refused this address; try again after 1 hour",
}

// The kinds of trouble that a refused token shows, by errcode.
const (
	credentials = tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_CREDENTIALS
	address     = tokenv1.AccountAlarmKind_ACCOUNT_ALARM_KIND_ADDRESS
)

var alarms = map[int]tokenv1.AccountAlarmKind{
	40001: credentials, 40013: credentials, 40125: credentials, 40243: credentials, 41002: credentials, 41004: credentials,
	50004: credentials, 50007: credentials,
	40164: address, 89501: address, 89503: address, 89506: address, 89507: address,
}

// hint returns what an operator can do about an answer, after ": ", or "".
func hint(e *wechat.APIError) string {
	text, ok := hints[e.Code]
	if !ok || e.Class == wechat.ClassToken {
		return ""
	}
	if ip := SeenAddress(e.Msg); ip.IsValid() {
		return fmt.Sprintf(": %s (WeChat saw %s)", text, ip)
	}
	return ": " + text
}

// SeenAddress finds the address that WeChat saw in its message, for example "invalid ip 1.2.3.4
// ipv6 ::ffff:1.2.3.4, not in whitelist".
func SeenAddress(msg string) netip.Addr {
	for _, word := range strings.FieldsFunc(msg, func(r rune) bool { return r == ' ' || r == ',' || r == ';' }) {
		if ip, err := netip.ParseAddr(word); err == nil {
			return ip.Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// untilMidnight returns the time until WeChat renews its daily quotas.
func untilMidnight(now time.Time) time.Duration {
	local := now.In(record.China)
	return time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, record.China).Sub(local)
}
