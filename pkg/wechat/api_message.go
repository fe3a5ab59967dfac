package wechat

import "context"

// CustomSend sends a customer-service message; body is that of message/custom/send (protocol e.1).
// WeChat returns no id, so a failure of OutcomeUnknown cannot be told from success.
func (c *Client) CustomSend(ctx context.Context, token string, body []byte) error {
	_, err := c.Call(ctx, Request{Path: "/cgi-bin/message/custom/send", Token: token, Body: body})
	return err
}

// Typing shows the fan that somebody is typing, for at most 15 s, or takes that back. That it cannot
// be shown right now is no error.
func (c *Client) Typing(ctx context.Context, token, openID string, on bool) error {
	command := "CancelTyping"
	if on {
		command = "Typing"
	}
	r := Request{Path: "/cgi-bin/message/custom/typing", Token: token}
	err := c.post(ctx, r, map[string]string{"touser": openID, "command": command}, nil)
	if ClassOf(err) == ClassIgnore {
		return nil
	}
	return err
}

// TemplateSend sends a template message and returns its msgid; body is that of message/template/send
// (protocol g.1). With client_msg_id in it a repeated call sends once within ten minutes.
func (c *Client) TemplateSend(ctx context.Context, token string, body []byte) (string, error) {
	var answer struct {
		MsgID LooseString `json:"msgid"`
	}
	r := Request{Path: "/cgi-bin/message/template/send", Token: token, Body: body}
	if err := c.callInto(ctx, r, &answer); err != nil {
		return "", err
	}
	return string(answer.MsgID), nil
}
