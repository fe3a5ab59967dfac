package wechat

import (
	"context"
	"net/url"
	"time"
)

// NativeSession is a session of a fan with an agent of WeChat's own desk.
type NativeSession struct {
	// KfAccount is empty when the fan has no session.
	KfAccount string
	Since     time.Time
}

// KfSessionCreate gives the fan to an agent of WeChat's own desk, who must be bound and online.
// ClassRouted means that another agent has the fan, ClassAgentOffline that the agent is not there.
func (c *Client) KfSessionCreate(ctx context.Context, token, kfAccount, openID string) error {
	return c.kfSession(ctx, "/customservice/kfsession/create", token, kfAccount, openID)
}

// KfSessionClose ends the session. That there is none is no error.
func (c *Client) KfSessionClose(ctx context.Context, token, kfAccount, openID string) error {
	err := c.kfSession(ctx, "/customservice/kfsession/close", token, kfAccount, openID)
	if ClassOf(err) == ClassSuccess {
		return nil
	}
	return err
}

func (c *Client) kfSession(ctx context.Context, path, token, kfAccount, openID string) error {
	in := map[string]string{"kf_account": kfAccount, "openid": openID}
	return c.post(ctx, Request{Path: path, Token: token}, in, nil)
}

// KfSessionGet returns the session of the fan, or a zero one.
func (c *Client) KfSessionGet(ctx context.Context, token, openID string) (NativeSession, error) {
	var answer struct {
		KfAccount  LooseString `json:"kf_account"`
		CreateTime LooseInt    `json:"createtime"`
	}
	r := Request{Path: "/customservice/kfsession/getsession", Query: url.Values{"openid": {openID}}, Token: token}
	if err := c.callInto(ctx, r, &answer); err != nil {
		return NativeSession{}, err
	}
	if answer.KfAccount == "" {
		return NativeSession{}, nil
	}
	return NativeSession{KfAccount: string(answer.KfAccount), Since: time.Unix(int64(answer.CreateTime), 0)}, nil
}
