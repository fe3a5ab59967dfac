package wechat

import (
	"context"
	"strconv"

	"github.com/wxbus/wxbus/pkg/fault"
)

// MassSend sends a mass message (protocol g.3) by PathMassByFilter or PathMassByList and returns its msg_id.
// With clientmsgid in the body a repeated call within 24 hours sends nothing and returns the id of the
// first (45065).
func (c *Client) MassSend(ctx context.Context, token, path string, body []byte) (string, error) {
	return c.massID(ctx, Request{Path: path, Token: token, Body: body})
}

// MassPreview sends a mass message to one fan at once and returns its msg_id. 100 a day.
func (c *Client) MassPreview(ctx context.Context, token string, body []byte) (string, error) {
	return c.massID(ctx, Request{Path: "/cgi-bin/message/mass/preview", Token: token, Body: body})
}

func (c *Client) massID(ctx context.Context, r Request) (string, error) {
	var answer struct {
		MsgID LooseString `json:"msg_id"`
	}
	if err := c.callOnce(ctx, r, &answer); err != nil {
		return "", err
	}
	return string(answer.MsgID), nil
}

// MassStatus returns SEND_SUCCESS, SENDING, SEND_FAIL or DELETE.
func (c *Client) MassStatus(ctx context.Context, token, msgID string) (string, error) {
	id, err := massNumber(msgID)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `json:"msg_status"`
	}
	r := Request{Path: "/cgi-bin/message/mass/get", Token: token}
	if err := c.post(ctx, r, map[string]int64{"msg_id": id}, &answer); err != nil {
		return "", err
	}
	return answer.Status, nil
}

// MassDelete deletes the articles or the video of a mass message from the fans' chats: one article, from 1, or
// all with 0.
func (c *Client) MassDelete(ctx context.Context, token, msgID string, article int) error {
	id, err := massNumber(msgID)
	if err != nil {
		return err
	}
	in := map[string]int64{"msg_id": id}
	if article > 0 {
		in["article_idx"] = int64(article)
	}
	return c.post(ctx, Request{Path: "/cgi-bin/message/mass/delete", Token: token}, in, nil)
}

func massNumber(msgID string) (int64, error) {
	id, err := strconv.ParseInt(msgID, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "msg_id: must be a number")
	}
	return id, nil
}

// MassSpeed returns how fast mass messages are sent: 0 to 4, and what that means in messages a minute.
func (c *Client) MassSpeed(ctx context.Context, token string) (speed int, perMinute int64, err error) {
	var answer struct {
		Speed LooseInt `json:"speed"`
		Real  LooseInt `json:"realspeed"` // in units of 10 000 on WeChat's page, of 1000 in its example
	}
	if err := c.post(ctx, Request{Path: "/cgi-bin/message/mass/speed/get", Token: token}, struct{}{}, &answer); err != nil {
		return 0, 0, err
	}
	speed = int(answer.Speed)
	if speed < 0 || speed >= len(massSpeeds) {
		return speed, 0, nil
	}
	return speed, massSpeeds[speed], nil
}

// massSpeeds are messages a minute by speed.
var massSpeeds = [...]int64{800_000, 600_000, 450_000, 300_000, 100_000}

// SetMassSpeed changes how fast mass messages are sent, 0 to 4.
func (c *Client) SetMassSpeed(ctx context.Context, token string, speed int) error {
	return c.post(ctx, Request{Path: "/cgi-bin/message/mass/speed/set", Token: token}, map[string]int{"speed": speed}, nil)
}
