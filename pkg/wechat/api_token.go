package wechat

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// AccessToken is a token or a ticket with the time at which WeChat forgets it.
type AccessToken struct {
	Value     string
	ExpiresAt time.Time
}

// Token gets a new access token (GET /cgi-bin/token). The one before stays valid for about five
// minutes. 2000 a day.
func (c *Client) Token(ctx context.Context, appID, secret string) (AccessToken, error) {
	return c.accessToken(ctx, Request{
		Path:    "/cgi-bin/token",
		Query:   url.Values{"grant_type": {"client_credential"}, "appid": {appID}, "secret": {secret}},
		Secrets: []string{secret},
	})
}

// StableToken gets the current stable token (POST /cgi-bin/stable_token): the same for every caller
// until its last five minutes. force replaces it at once and kills the old one: 20 a day, 30 s apart.
func (c *Client) StableToken(ctx context.Context, appID, secret string, force bool) (AccessToken, error) {
	body, err := EncodeJSON(map[string]any{
		"grant_type": "client_credential", "appid": appID, "secret": secret, "force_refresh": force,
	})
	if err != nil {
		return AccessToken{}, err
	}
	return c.accessToken(ctx, Request{Path: "/cgi-bin/stable_token", Body: body, Secrets: []string{secret}})
}

func (c *Client) accessToken(ctx context.Context, r Request) (AccessToken, error) {
	asked := c.now()
	var answer struct {
		Token     string   `json:"access_token"`
		ExpiresIn LooseInt `json:"expires_in"`
	}
	if err := c.callInto(ctx, r, &answer); err != nil {
		return AccessToken{}, wrongSecret(err)
	}
	return newToken(r.Path, answer.Token, answer.ExpiresIn, asked)
}

// wrongSecret corrects the class of 40001, which says "token" everywhere but here: on the token APIs
// it is the AppSecret that is wrong.
func wrongSecret(err error) error {
	e, ok := errors.AsType[*APIError](err)
	if !ok || e.Class != ClassToken {
		return err
	}
	corrected := *e
	corrected.Class = ClassAccount
	return corrected.Class.fault(&corrected)
}

// JSTicket gets a ticket of the JS-SDK: kind is "jsapi" or "wx_card". Its quota is very low, so keep
// it until it expires.
func (c *Client) JSTicket(ctx context.Context, token, kind string) (AccessToken, error) {
	asked := c.now()
	var answer struct {
		Ticket    string   `json:"ticket"`
		ExpiresIn LooseInt `json:"expires_in"`
	}
	r := Request{Path: "/cgi-bin/ticket/getticket", Query: url.Values{"type": {kind}}, Token: token}
	if err := c.callInto(ctx, r, &answer); err != nil {
		return AccessToken{}, err
	}
	return newToken(r.Path, answer.Ticket, answer.ExpiresIn, asked)
}

// newToken counts the life of a token from when it was asked for, not from when it arrived.
func newToken(path, value string, expiresIn LooseInt, asked time.Time) (AccessToken, error) {
	if value == "" || expiresIn <= 0 {
		return AccessToken{}, fault.Errorf(fault.Unavailable, "call %s: answer without a token", path)
	}
	return AccessToken{Value: value, ExpiresAt: asked.Add(time.Duration(expiresIn) * time.Second)}, nil
}

// callInto calls and decodes the answer into v.
func (c *Client) callInto(ctx context.Context, r Request, v any) error {
	answer, err := c.Call(ctx, r)
	if err != nil {
		return err
	}
	return answer.Decode(v)
}

// post encodes in, calls, and decodes the answer into out unless that is nil.
func (c *Client) post(ctx context.Context, r Request, in, out any) error {
	body, err := EncodeJSON(in)
	if err != nil {
		return err
	}
	r.Body = body
	answer, err := c.Call(ctx, r)
	if err != nil || out == nil {
		return err
	}
	return answer.Decode(out)
}
