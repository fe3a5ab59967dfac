package wechat

import "context"

// Paths of the APIs that send. Quotas are counted by path.
const (
	PathCustomSend           = "/cgi-bin/message/custom/send"
	PathTyping               = "/cgi-bin/message/custom/typing"
	PathTemplateSend         = "/cgi-bin/message/template/send"
	PathSubscribeOfficial    = "/cgi-bin/message/subscribe/bizsend"
	PathSubscribeMiniProgram = "/cgi-bin/message/subscribe/send"
	PathOneTime              = "/cgi-bin/message/template/subscribe"
	PathMassByFilter         = "/cgi-bin/message/mass/sendall"
	PathMassByList           = "/cgi-bin/message/mass/send"
)

// SendNotice sends a template, subscription or one-time message (protocol g.1, g.2) by the API at path and
// returns its msgid, or "" when WeChat gives none. A message that WeChat has already (40241) is no error.
func (c *Client) SendNotice(ctx context.Context, token, path string, body []byte) (string, error) {
	var answer struct {
		MsgID LooseString `json:"msgid"`
	}
	if err := c.callOnce(ctx, Request{Path: path, Token: token, Body: body}, &answer); err != nil {
		return "", err
	}
	return string(answer.MsgID), nil
}

// callOnce calls and decodes the answer. A code that says that it was done before (ClassSuccess) is success: such
// an answer carries what the first one did.
func (c *Client) callOnce(ctx context.Context, r Request, v any) error {
	answer, err := c.Call(ctx, r)
	if err != nil && (answer == nil || ClassOf(err) != ClassSuccess) {
		return err
	}
	return answer.Decode(v)
}

// TemplateInfo is a template of the account.
type TemplateInfo struct {
	ID, Title, Content, Example string
}

// Templates returns the templates for template messages (get_all_private_template).
func (c *Client) Templates(ctx context.Context, token string) ([]TemplateInfo, error) {
	var answer struct {
		List []struct {
			ID      string `json:"template_id"`
			Title   string `json:"title"`
			Content string `json:"content"`
			Example string `json:"example"`
		} `json:"template_list"`
	}
	if err := c.callInto(ctx, Request{Path: "/cgi-bin/template/get_all_private_template", Token: token}, &answer); err != nil {
		return nil, err
	}
	out := make([]TemplateInfo, len(answer.List))
	for i, t := range answer.List {
		out[i] = TemplateInfo(t)
	}
	return out, nil
}

// SubscribeTemplates returns the templates for subscription messages (newtmpl/gettemplate).
func (c *Client) SubscribeTemplates(ctx context.Context, token string) ([]TemplateInfo, error) {
	var answer struct {
		List []struct {
			ID      string `json:"priTmplId"`
			Title   string `json:"title"`
			Content string `json:"content"`
			Example string `json:"example"`
		} `json:"data"`
	}
	if err := c.callInto(ctx, Request{Path: "/wxaapi/newtmpl/gettemplate", Token: token}, &answer); err != nil {
		return nil, err
	}
	out := make([]TemplateInfo, len(answer.List))
	for i, t := range answer.List {
		out[i] = TemplateInfo(t)
	}
	return out, nil
}
