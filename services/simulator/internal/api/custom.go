package api

import (
	"net/http"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// sendCustom is POST /cgi-bin/message/custom/send (e.1, e.2).
func sendCustom(c *call) (any, error) {
	if !c.st.KfAPI {
		return nil, code(48001)
	}
	m, err := codec.ParseCustom(c.body, c.st.IsMiniProgram())
	if err != nil {
		return nil, err
	}
	if m.Content.KfAccount != "" && c.st.agent(m.Content.KfAccount) == nil {
		return nil, code(65401)
	}
	for _, id := range []string{m.Content.MediaID, m.Content.ThumbMediaID} {
		if id != "" && c.st.media.get(id, c.now) == nil {
			return nil, code(40007)
		}
	}
	if err := code(c.deps.Ledger.SendKf(c.st.Name, m.ToUser, m.Content)); err != nil {
		return nil, err
	}
	return done, nil
}

// typing is POST /cgi-bin/message/custom/typing.
func typing(c *call) (any, error) {
	var b struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if !c.st.KfAPI {
		return nil, code(48001)
	}
	if b.Command != "Typing" && b.Command != "CancelTyping" {
		return nil, code(45072)
	}
	if err := code(c.deps.Ledger.CanType(c.st.Name, b.ToUser)); err != nil {
		return nil, err
	}
	return done, nil
}

func customRoutes(m map[string]endpoint) {
	m["/cgi-bin/message/custom/send"] = endpoint{method: http.MethodPost, run: sendCustom}
	m["/cgi-bin/message/custom/typing"] = endpoint{method: http.MethodPost, run: typing}
	m["/cgi-bin/message/custom/business/send"] = endpoint{method: http.MethodPost, run: sendCustom}
	m["/cgi-bin/message/custom/business/typing"] = endpoint{method: http.MethodPost, run: typing}
}
