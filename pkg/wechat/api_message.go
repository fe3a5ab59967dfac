package wechat

import "context"

// CustomSend sends a customer-service message; body is that of message/custom/send (protocol e.1).
// WeChat returns no id, so a failure of OutcomeUnknown cannot be told from success.
func (c *Client) CustomSend(ctx context.Context, token string, body []byte) error {
	_, err := c.Call(ctx, Request{Path: PathCustomSend, Token: token, Body: body})
	return err
}

// Typing shows the fan that somebody is typing, for at most 15 s, or takes that back. That it cannot
// be shown right now is no error.
func (c *Client) Typing(ctx context.Context, token, openID string, on bool) error {
	command := "CancelTyping"
	if on {
		command = "Typing"
	}
	r := Request{Path: PathTyping, Token: token}
	err := c.post(ctx, r, map[string]string{"touser": openID, "command": command}, nil)
	if ClassOf(err) == ClassIgnore {
		return nil
	}
	return err
}
