package api

import (
	"encoding/hex"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// userInfo is GET /cgi-bin/user/info (g.6). Who does not follow has an openid and nothing else.
func userInfo(c *call) (any, error) {
	f, ok := c.deps.Ledger.Fan(c.st.Name, c.query.Get("openid"))
	if !ok {
		return nil, code(40003)
	}
	return c.info(f), nil
}

func (c *call) info(f ledger.FanView) object {
	if !f.Following {
		return object{"subscribe": 0, "openid": f.OpenID}
	}
	tags := f.Tags
	if tags == nil {
		tags = []int{}
	}
	return object{"subscribe": 1, "openid": f.OpenID, "nickname": "", "sex": 0, "language": "zh_CN", "city": "", "province": "", "country": "",
		"headimgurl": "", "subscribe_time": f.SubscribedAt.Unix(), "unionid": c.unionID(f.OpenID), "remark": f.Remark, "groupid": 0,
		"tagid_list": tags, "subscribe_scene": "ADD_SCENE_QR_CODE", "qr_scene": 0, "qr_scene_str": ""}
}

// unionID is the same for one openid text in every account, so that tests can give one person several accounts.
func (s *Server) unionID(openID string) string {
	b := s.deps.Dice.Bytes("unionid " + openID)
	return "o" + hex.EncodeToString(b[:13])
}

func batchUserInfo(c *call) (any, error) {
	var b struct {
		List []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if len(b.List) == 0 || len(b.List) > 100 {
		return nil, code(40032)
	}
	out := []object{}
	for _, u := range b.List {
		f, ok := c.deps.Ledger.Fan(c.st.Name, u.OpenID)
		if !ok {
			return nil, code(40003)
		}
		out = append(out, c.info(f))
	}
	return object{"user_info_list": out}, nil
}

const pageSize = 10_000

// userList is GET /cgi-bin/user/get: followers after next_openid.
func userList(c *call) (any, error) {
	return c.page(c.query.Get("next_openid"), func(ledger.FanView) bool { return true })
}

func (c *call) page(after string, keep func(ledger.FanView) bool) (any, error) {
	var all []string
	for _, f := range c.deps.Ledger.Fans(c.st.Name) {
		if f.Following && keep(f) {
			all = append(all, f.OpenID)
		}
	}
	rest := all
	if after != "" {
		at := slices.Index(all, after)
		if at < 0 {
			return nil, code(40003)
		}
		rest = all[at+1:]
	}
	rest = rest[:min(len(rest), pageSize)]
	out := object{"total": len(all), "count": len(rest), "next_openid": ""}
	if len(rest) > 0 {
		out["data"] = object{"openid": rest}
		out["next_openid"] = rest[len(rest)-1]
	}
	return out, nil
}

func updateRemark(c *call) (any, error) {
	var b struct {
		OpenID string `json:"openid"`
		Remark string `json:"remark"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(b.Remark) >= 30 {
		return nil, code(40097)
	}
	if c.deps.Ledger.EditFan(c.st.Name, b.OpenID, func(f *ledger.FanEdit) { *f.Remark = b.Remark }) != nil {
		return nil, code(40003)
	}
	return done, nil
}

func userRoutes(m map[string]endpoint) {
	m["/cgi-bin/user/info"] = endpoint{method: http.MethodGet, run: userInfo}
	m["/cgi-bin/user/info/batchget"] = endpoint{method: http.MethodPost, run: batchUserInfo}
	m["/cgi-bin/user/info/updateremark"] = endpoint{method: http.MethodPost, run: updateRemark}
	m["/cgi-bin/user/get"] = endpoint{method: http.MethodGet, run: userList}
}
