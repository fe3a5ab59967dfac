// Package platform calls WeChat's API for the desk: what it tells of a fan, the typing sign, files that fans send, and its own
// customer-service desk.
package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

// Tokens gives access tokens.
type Tokens interface {
	Current(ctx context.Context, account string) (tokens.Token, error)
	Bad(ctx context.Context, account string, generation uint64, errcode int32) (tokens.Token, error)
}

// callTimeout bounds one call; a file may be 32 MiB.
const callTimeout = 20 * time.Second

// Platform is safe for concurrent use.
type Platform struct {
	accounts *account.Directory
	tokens   Tokens
	http     *http.Client
	videos   *http.Client

	mu      sync.Mutex // guards clients
	clients map[string]*wechat.Client
}

// New returns a platform. Without tokens every call answers Unavailable.
func New(accounts *account.Directory, t Tokens) *Platform {
	return &Platform{
		accounts: accounts, tokens: t, http: &http.Client{Timeout: callTimeout}, videos: &http.Client{Timeout: videoTimeout, CheckRedirect: stay},
		clients: map[string]*wechat.Client{},
	}
}

// Close closes idle connections.
func (p *Platform) Close() {
	p.http.CloseIdleConnections()
	p.videos.CloseIdleConnections()
}

func (p *Platform) client(name string) (*wechat.Client, error) {
	a, ok := p.accounts.Get(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "account: no such account")
	}
	if a.Disabled {
		return nil, fault.New(fault.Refused, a.WhyDisabled())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clients[a.APIBase]; c != nil {
		return c, nil
	}
	c, err := wechat.NewClient(wechat.ClientConfig{HTTP: p.http, BaseURL: a.APIBase})
	if err == nil {
		p.clients[a.APIBase] = c
	}
	return c, err
}

// call runs fn with an access token, and once more with a newer one when WeChat refuses the first.
func (p *Platform) call(ctx context.Context, name string, fn func(c *wechat.Client, token string) error) error {
	c, err := p.client(name)
	if err != nil {
		return err
	}
	if p.tokens == nil {
		return fault.New(fault.Unavailable, "no access tokens: the token service is not configured")
	}
	t, err := p.tokens.Current(ctx, name)
	if err != nil {
		return err
	}
	err = fn(c, t.Value.Reveal())
	api, ok := errors.AsType[*wechat.APIError](err)
	if !ok || api.Class != wechat.ClassToken {
		return err
	}
	if t, err = p.tokens.Bad(ctx, name, t.Generation, int32(api.Code)); err != nil {
		return err
	}
	return fn(c, t.Value.Reveal())
}

func (p *Platform) get(ctx context.Context, name, path string, query url.Values, into any) error {
	return p.call(ctx, name, func(c *wechat.Client, token string) error {
		return answer(ctx, c, wechat.Request{Path: path, Query: query, Token: token}, into)
	})
}

func (p *Platform) post(ctx context.Context, name, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return p.call(ctx, name, func(c *wechat.Client, token string) error {
		return answer(ctx, c, wechat.Request{Path: path, Body: data, Token: token}, into)
	})
}

func answer(ctx context.Context, c *wechat.Client, r wechat.Request, into any) error {
	a, err := c.Call(ctx, r)
	if err != nil || into == nil {
		return err
	}
	return a.Decode(into)
}

// Profile returns what WeChat tells of a fan. Since 2021-12-27 that is no name and no picture.
func (p *Platform) Profile(ctx context.Context, name, openID string) (app.Profile, error) {
	if a, ok := p.accounts.Get(name); ok && a.Kind == account.KindMiniProgram {
		return app.Profile{}, nil // Mini Programs have no such call
	}
	var got struct {
		UnionID  string `json:"unionid"`
		Language string `json:"language"`
		Remark   string `json:"remark"`
	}
	err := p.get(ctx, name, "/cgi-bin/user/info", url.Values{"openid": {openID}, "lang": {"zh_CN"}}, &got)
	return app.Profile{UnionID: got.UnionID, Language: got.Language, Remark: got.Remark}, err
}

// Typing shows the fan that somebody writes.
func (p *Platform) Typing(ctx context.Context, name, openID string) error {
	return p.call(ctx, name, func(c *wechat.Client, token string) error { return c.Typing(ctx, token, openID, true) })
}

// Media downloads a file that WeChat keeps for three days. A video comes from the address that WeChat names.
func (p *Platform) Media(ctx context.Context, name, mediaID string) (wechat.MediaFile, error) {
	var file wechat.MediaFile
	err := p.call(ctx, name, func(c *wechat.Client, token string) (err error) {
		file, err = c.MediaGet(ctx, token, mediaID)
		return err
	})
	return file, err
}

// KfAccount is an account of WeChat's own desk.
type KfAccount struct {
	Account, Nickname, ID, Avatar, WeChatID, InviteID string
	Online                                            bool
	Sessions                                          int
}

// KfAccounts returns the accounts of WeChat's own desk, with who is online.
func (p *Platform) KfAccounts(ctx context.Context, name string) ([]KfAccount, error) {
	var all struct {
		List []struct {
			Account  string             `json:"kf_account"`
			Nick     string             `json:"kf_nick"`
			ID       wechat.LooseString `json:"kf_id"`
			Avatar   string             `json:"kf_headimgurl"`
			WeChatID string             `json:"kf_wx"`
			Invite   string             `json:"invite_wx"`
		} `json:"kf_list"`
	}
	if err := p.get(ctx, name, "/cgi-bin/customservice/getkflist", nil, &all); err != nil {
		return nil, err
	}
	var online struct {
		List []struct {
			Account  string          `json:"kf_account"`
			Status   wechat.LooseInt `json:"status"`
			Sessions wechat.LooseInt `json:"accepted_case"`
		} `json:"kf_online_list"`
	}
	if err := p.get(ctx, name, "/cgi-bin/customservice/getonlinekflist", nil, &online); err != nil {
		return nil, err
	}
	var out []KfAccount
	for _, k := range all.List {
		a := KfAccount{Account: k.Account, Nickname: k.Nick, ID: string(k.ID), Avatar: k.Avatar, WeChatID: k.WeChatID, InviteID: k.Invite}
		for _, o := range online.List {
			if o.Account == k.Account {
				a.Online, a.Sessions = o.Status > 0, int(o.Sessions)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// AddKf adds an account of WeChat's own desk.
func (p *Platform) AddKf(ctx context.Context, name, kf, nickname string) error {
	return p.post(ctx, name, "/customservice/kfaccount/add", map[string]string{"kf_account": kf, "nickname": nickname}, nil)
}

// RenameKf changes the nickname of an account of WeChat's own desk.
func (p *Platform) RenameKf(ctx context.Context, name, kf, nickname string) error {
	return p.post(ctx, name, "/customservice/kfaccount/update", map[string]string{"kf_account": kf, "nickname": nickname}, nil)
}

// InviteKf invites a WeChat id to work as an account of WeChat's own desk.
func (p *Platform) InviteKf(ctx context.Context, name, kf, wechatID string) error {
	return p.post(ctx, name, "/customservice/kfaccount/inviteworker", map[string]string{"kf_account": kf, "invite_wx": wechatID}, nil)
}

// DeleteKf removes an account of WeChat's own desk.
func (p *Platform) DeleteKf(ctx context.Context, name, kf string) error {
	return p.get(ctx, name, "/customservice/kfaccount/del", url.Values{"kf_account": {kf}}, nil)
}

// CreateSession gives a fan to an account of WeChat's own desk.
func (p *Platform) CreateSession(ctx context.Context, name, kf, openID string) error {
	return p.call(ctx, name, func(c *wechat.Client, token string) error { return c.KfSessionCreate(ctx, token, kf, openID) })
}

// CloseSession ends a session of WeChat's own desk.
func (p *Platform) CloseSession(ctx context.Context, name, kf, openID string) error {
	return p.call(ctx, name, func(c *wechat.Client, token string) error { return c.KfSessionClose(ctx, token, kf, openID) })
}

// Session returns the session of a fan at WeChat's own desk; a zero one when there is none.
func (p *Platform) Session(ctx context.Context, name, openID string) (wechat.NativeSession, error) {
	var s wechat.NativeSession
	err := p.call(ctx, name, func(c *wechat.Client, token string) (err error) {
		s, err = c.KfSessionGet(ctx, token, openID)
		return err
	})
	return s, err
}

// KfFan is a fan at WeChat's own desk.
type KfFan struct {
	OpenID, Account string
	Since           time.Time
}

// Sessions returns the sessions of one account of WeChat's own desk.
func (p *Platform) Sessions(ctx context.Context, name, kf string) ([]KfFan, error) {
	var got struct {
		List []struct {
			OpenID  string          `json:"openid"`
			Created wechat.LooseInt `json:"createtime"`
		} `json:"sessionlist"`
	}
	if err := p.get(ctx, name, "/customservice/kfsession/getsessionlist", url.Values{"kf_account": {kf}}, &got); err != nil {
		return nil, err
	}
	var out []KfFan
	for _, s := range got.List {
		out = append(out, KfFan{OpenID: s.OpenID, Account: kf, Since: time.Unix(int64(s.Created), 0).UTC()})
	}
	return out, nil
}

// Waiting returns the fans who wait for WeChat's own desk, and how many wait in all.
func (p *Platform) Waiting(ctx context.Context, name string) ([]KfFan, int, error) {
	var got struct {
		Count wechat.LooseInt `json:"count"`
		List  []struct {
			OpenID  string          `json:"openid"`
			Account string          `json:"kf_account"`
			Since   wechat.LooseInt `json:"latest_time"`
		} `json:"waitcaselist"`
	}
	if err := p.get(ctx, name, "/customservice/kfsession/getwaitcase", nil, &got); err != nil {
		return nil, 0, err
	}
	var out []KfFan
	for _, w := range got.List {
		out = append(out, KfFan{OpenID: w.OpenID, Account: w.Account, Since: time.Unix(int64(w.Since), 0).UTC()})
	}
	return out, int(got.Count), nil
}
