// Package api calls WeChat for an account with a token that WeChat is not known to refuse.
package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
)

// API is safe for concurrent use.
type API struct {
	tokens  *tokens.Client
	clients *account.Derived[*wechat.Client]
	timeout time.Duration

	mu  sync.Mutex         // guards bad
	bad map[string]refused // by account, one for each that ever had a refused token
}

// refused is a token that WeChat refused.
type refused struct {
	generation uint64
	errcode    int32
}

// New returns the API for the accounts of the directory as they are at each call; timeout bounds the calls of Do.
func New(accounts *account.Directory, t *tokens.Client, hc *http.Client, timeout time.Duration, now func() time.Time) *API {
	return &API{tokens: t, timeout: timeout, bad: map[string]refused{}, clients: account.NewDerived(accounts, func(a account.Account) (*wechat.Client, error) {
		return wechat.NewClient(wechat.ClientConfig{HTTP: hc, BaseURL: a.APIBase, Now: now})
	})}
}

// Token returns a token that WeChat is not known to refuse. One that it does is reported, as often as it takes to get
// another.
func (a *API) Token(ctx context.Context, account string) (tokens.Token, error) {
	token, err := a.tokens.Current(ctx, account)
	if err != nil {
		return token, err
	}
	a.mu.Lock()
	bad := a.bad[account]
	a.mu.Unlock()
	if token.Generation != bad.generation {
		return token, nil
	}
	return a.tokens.Bad(ctx, account, bad.generation, bad.errcode)
}

// Refused notes that WeChat refused the token.
func (a *API) Refused(account string, token tokens.Token, errcode int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bad[account] = refused{token.Generation, errcode}
}

// Client returns the client for an account as it is now.
func (a *API) Client(name string) (*wechat.Client, error) { return a.clients.Get(name) }

// Send makes the one call that sends a message and returns WeChat's id of it, if it has one.
func Send(ctx context.Context, c *wechat.Client, e endpoint.Endpoint, token tokens.Token, body []byte) (string, error) {
	value := token.Value.Reveal()
	switch e.ID {
	case endpoint.CustomSend.ID:
		return "", c.CustomSend(ctx, value, body)
	case endpoint.MassByFilter.ID:
		return c.MassSend(ctx, value, e.Path, body)
	default:
		return c.SendNotice(ctx, value, e.Path, body)
	}
}

// Do makes a call that may be repeated. A token that turns out to be dead is replaced once.
func (a *API) Do(ctx context.Context, acc account.Account, call func(ctx context.Context, c *wechat.Client, token string) error) error {
	c, err := a.Client(acc.Name)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		token, err := a.Token(ctx, acc.Name)
		if err != nil {
			return fmt.Errorf("access token: %w", err)
		}
		one, cancel := context.WithTimeout(ctx, a.timeout)
		err = call(one, c, token.Value.Reveal())
		cancel()
		if err == nil || try == 2 || wechat.ClassOf(err) != wechat.ClassToken {
			return err
		}
		a.Refused(acc.Name, token, 40001)
	}
}

// MassStatus asks WeChat how far a mass message is.
func (a *API) MassStatus(ctx context.Context, acc account.Account, msgID string) (status string, err error) {
	err = a.Do(ctx, acc, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		status, err = c.MassStatus(ctx, token, msgID)
		return err
	})
	return status, err
}
