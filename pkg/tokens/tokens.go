// Package tokens is the client side of the token service: it keeps the current access token of
// every account, and its tickets, in memory by watching the bucket tokens, so that a lookup costs no network in the normal
// case. Who gets 40001, 40014 or 42001 from WeChat reports the generation with Bad and tries once more.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

const (
	// margin is how long before its end a token from memory is no longer handed out: a call to WeChat
	// takes time, and so does the way there.
	margin = 2 * time.Second
	// defaultTimeout is enough for the service to wait for another replica's refresh.
	defaultTimeout = 15 * time.Second
)

// Token is an access token and its generation, which names it in a report.
type Token struct {
	Value      secret.Value
	Generation uint64
}

// Options of New. All but Accounts, Now, Log and Timeout are required.
type Options struct {
	// KV is the bucket tokens.
	KV jetstream.KeyValue
	// Sealer opens the records; it has the master key of the token service.
	Sealer *secret.Sealer
	// Token is asked when memory has no usable token, and told when one is bad.
	Token tokenv1.TokenServiceClient
	// Tickets is asked for tickets; nil when the process needs none.
	Tickets tokenv1.AccountServiceClient
	// Accounts say who is disabled: what memory has of such an account is forgotten at once. nil keeps everything until the
	// bucket says otherwise.
	Accounts *account.Directory
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Log gets records that cannot be opened and lost watches; default none.
	Log *slog.Logger
	// Timeout bounds one question to the service; default 15 s.
	Timeout time.Duration
}

// Client answers from memory. It is a lifecycle.Component and safe for concurrent use.
type Client struct {
	service  tokenv1.TokenServiceClient
	tickets  tokenv1.AccountServiceClient
	accounts *account.Directory
	now      func() time.Time
	follower *Follower
	flights  *flights
	unwatch  func() // ends the watch of accounts; set by Start

	mu      sync.Mutex                       // guards writing of entries
	entries atomic.Pointer[map[string]entry] // by key of the bucket
}

// entry is never changed.
type entry struct {
	token     Token
	untilUnix int64 // last moment to hand it out by our clock, Unix milliseconds
}

// New returns a client that knows no token before Start.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	c := &Client{
		service:  o.Token,
		tickets:  o.Tickets,
		accounts: o.Accounts,
		now:      o.Now,
		flights:  &flights{timeout: o.Timeout, calls: map[flightKey]*call{}},
	}
	c.follower = NewFollower(o.KV, o.Sealer, o.Log, c.watched)
	c.entries.Store(&map[string]entry{})
	return c
}

// Name implements lifecycle.Component.
func (c *Client) Name() string { return "tokens" }

// Start begins to watch the bucket and returns when its content is in memory.
func (c *Client) Start(ctx context.Context) error {
	if c.accounts != nil {
		c.unwatch = c.accounts.Watch(func(change account.Change) {
			if c.off(change.Name) {
				c.remove(change.Name, change.Name+"."+string(JSAPI), change.Name+"."+string(WXCard))
			}
		})
	}
	return c.follower.Start(ctx)
}

// Stop ends the watch and waits for questions under way. Lookups fail afterwards unless memory has
// the token.
func (c *Client) Stop(ctx context.Context) error {
	if c.unwatch != nil {
		c.unwatch()
	}
	c.flights.close()
	return c.follower.Stop(ctx)
}

// Current returns the account's access token, from memory in the normal case. Otherwise it asks the
// service: NotFound for an unknown account, Refused when WeChat refuses the account's credentials,
// Unavailable when nobody answers. An expired token is never returned.
func (c *Client) Current(ctx context.Context, account string) (Token, error) {
	if t, ok := c.newer(account, 0); ok {
		return t, nil // without the closures below: this is the hot path
	}
	known := func() (Token, bool) { return c.newer(account, 0) }
	return c.flights.do(ctx, flightKey{account: account}, known, func(ctx context.Context) (Token, error) {
		resp, err := c.service.GetToken(ctx, &tokenv1.GetTokenRequest{Account: account})
		if err != nil {
			return Token{}, fmt.Errorf("get token of account %s: %w", account, fault.FromStatus(err))
		}
		return c.answered(account, 0, resp.GetToken(), resp.GetValidForMs())
	})
}

// Bad reports that WeChat refused the generation with errcode and returns a newer token: at once
// when memory has one, else from the service, which refreshes once however many callers report. Beside the
// errors of Current it fails with Exhausted when WeChat's budget of forced refreshes is used up.
func (c *Client) Bad(ctx context.Context, account string, generation uint64, errcode int32) (Token, error) {
	known := func() (Token, bool) { return c.newer(account, generation) }
	return c.flights.do(ctx, flightKey{account, generation}, known, func(ctx context.Context) (Token, error) {
		resp, err := c.service.ReportBadToken(ctx, &tokenv1.ReportBadTokenRequest{
			Account: account, Generation: generation, Errcode: errcode,
		})
		if err != nil {
			return Token{}, fmt.Errorf("report bad token of account %s: %w", account, fault.FromStatus(err))
		}
		return c.answered(account, generation, resp.GetToken(), resp.GetValidForMs())
	})
}

// TicketKind is what a ticket of the JS-SDK is for.
type TicketKind string

// The kinds of ticket.
const (
	JSAPI  TicketKind = "jsapi"
	WXCard TicketKind = "wx_card"
)

var protoKinds = map[TicketKind]tokenv1.TicketKind{
	JSAPI: tokenv1.TicketKind_TICKET_KIND_JSAPI, WXCard: tokenv1.TicketKind_TICKET_KIND_WX_CARD,
}

// Ticket returns the account's ticket, from memory in the normal case; the errors are those of Current.
func (c *Client) Ticket(ctx context.Context, account string, kind TicketKind) (Token, error) {
	return c.ticket(ctx, account, kind, 0)
}

// BadTicket reports that WeChat refused the generation of a ticket and returns a newer one; the errors are
// those of Current.
func (c *Client) BadTicket(ctx context.Context, account string, kind TicketKind, generation uint64) (Token, error) {
	return c.ticket(ctx, account, kind, generation)
}

func (c *Client) ticket(ctx context.Context, account string, kind TicketKind, bad uint64) (Token, error) {
	if c.tickets == nil {
		return Token{}, fault.New(fault.Internal, "this process has no client for tickets")
	}
	key := account + "." + string(kind)
	known := func() (Token, bool) { return c.newer(key, bad) }
	return c.flights.do(ctx, flightKey{key, bad}, known, func(ctx context.Context) (Token, error) {
		resp, err := c.tickets.GetTicket(ctx, &tokenv1.GetTicketRequest{Account: account, Kind: protoKinds[kind], BadGeneration: bad})
		if err != nil {
			return Token{}, fmt.Errorf("get %s ticket of account %s: %w", kind, account, fault.FromStatus(err))
		}
		return c.answered(key, bad, &tokenv1.AccessToken{
			Value: resp.GetTicket(), Generation: resp.GetGeneration(), ExpiresUnixMs: resp.GetExpiresUnixMs(),
		}, resp.GetValidForMs())
	})
}

// newer returns the token in memory when its generation is greater and it has not expired.
func (c *Client) newer(account string, generation uint64) (Token, bool) {
	e, ok := (*c.entries.Load())[account]
	if !ok || e.token.Generation <= generation || c.now().UnixMilli() >= e.untilUnix {
		return Token{}, false
	}
	return e.token, true
}

// answered keeps the answer of the service, whose clock and word count. bad is the generation that
// must not be handed out any more, whatever the order of the numbers.
func (c *Client) answered(account string, bad uint64, t *tokenv1.AccessToken, validForMs int64) (Token, error) {
	now := c.now().UnixMilli()
	until := now + validForMs
	if validForMs == 0 {
		until = t.GetExpiresUnixMs()
	}
	if t.GetValue() == "" || until <= now {
		return Token{}, fault.Wrap(fault.Unavailable, errors.New("token service answered without a usable token"))
	}
	e := entry{token: Token{secret.New(t.GetValue()), t.GetGeneration()}, untilUnix: until - margin.Milliseconds()}
	c.store(account, func(old entry, ok bool) (entry, bool) {
		// A watch may have been faster with a still newer one.
		return e, !ok || e.token.Generation >= old.token.Generation || old.token.Generation == bad || now >= old.untilUnix
	})
	return e.token, nil
}

// watched keeps what the bucket says. The answer of the service may be ahead of the watch, so an older
// generation is left out while the newer one is good.
func (c *Client) watched(account string, rec *tokenv1.TokenRecord, _ uint64) {
	t := rec.GetToken()
	if t.GetValue() == "" {
		c.remove(account)
		return
	}
	now := c.now().UnixMilli()
	c.store(account, func(old entry, ok bool) (entry, bool) {
		e := entry{
			token:     Token{secret.New(t.GetValue()), t.GetGeneration()},
			untilUnix: t.GetExpiresUnixMs() - margin.Milliseconds(),
		}
		if ok && old.token.Generation > e.token.Generation && now < old.untilUnix {
			return old, false
		}
		if ok && old.token.Generation == e.token.Generation && old.token.Value.Equal(e.token.Value) {
			e.untilUnix = max(e.untilUnix, old.untilUnix)
		}
		return e, true
	})
}

// store keeps a token or ticket of an account that may use it. Who disables an account makes the directory say so before
// remove is called, so nothing is kept after that.
func (c *Client) store(key string, change func(old entry, ok bool) (entry, bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, _, _ := strings.Cut(key, ".") // of the account; tickets have a key of theirs
	if c.off(name) {
		return
	}
	old := *c.entries.Load()
	e, ok := old[key]
	e, changed := change(e, ok)
	if !changed {
		return
	}
	next := maps.Clone(old)
	next[key] = e
	c.entries.Store(&next)
}

// off tells whether an account is disabled. One that is gone leaves the bucket, which the watch sees.
func (c *Client) off(name string) bool {
	if c.accounts == nil {
		return false
	}
	a, ok := c.accounts.Get(name)
	return ok && a.Disabled
}

func (c *Client) remove(keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := maps.Clone(*c.entries.Load())
	for _, key := range keys {
		delete(next, key)
	}
	c.entries.Store(&next)
}
