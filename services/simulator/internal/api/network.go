package api

import (
	"net/http"
	"net/url"
	"slices"
)

// callbackIPs is GET /cgi-bin/getcallbackip: single addresses and ranges.
func callbackIPs(c *call) (any, error) {
	if own := c.st.opts.CallbackIPs; len(own) > 0 {
		return object{"ip_list": own}, nil
	}
	return loopback(c)
}

func loopback(*call) (any, error) {
	return object{"ip_list": []string{"127.0.0.1", "127.0.0.0/8", "::1"}}, nil
}

// callbackCheck is POST /cgi-bin/callback/check.
func callbackCheck(c *call) (any, error) {
	var b struct {
		Action   string `json:"action"`
		Operator string `json:"check_operator"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"dns", "ping", "all"}, b.Action):
		return nil, code(40202)
	case !slices.Contains([]string{"CHINANET", "UNICOM", "CAP", "DEFAULT"}, b.Operator):
		return nil, code(40203)
	case c.st.opts.NoCallback:
		return nil, code(40201)
	}
	out := object{"dns": []object{}, "ping": []object{}}
	if b.Action != "ping" {
		out["dns"] = []object{{"ip": "127.0.0.1", "real_operator": b.Operator}}
	}
	if b.Action != "dns" {
		out["ping"] = []object{{"ip": "127.0.0.1", "from_operator": b.Operator, "package_loss": "0%", "time": "0.100ms"}}
	}
	return out, nil
}

// autoReply is GET /cgi-bin/get_current_autoreply_info (d.2): one rule of each shape.
func autoReply(*call) (any, error) {
	text := func(s string) object { return object{"type": "text", "content": s} }
	rule := func(name, mode, match, keyword string, replies ...object) object {
		return object{"rule_name": name, "create_time": 1700000000, "reply_mode": mode,
			"keyword_list_info": []object{{"type": "text", "match_mode": match, "content": keyword}}, "reply_list_info": replies}
	}
	news := object{"type": "news", "news_info": object{"list": []object{{"title": "标题", "author": "wxbus", "digest": "摘要", "show_cover": 1,
		"cover_url": "https://example.com/cover.png", "content_url": "https://example.com/", "source_url": ""}}}}
	return object{"is_add_friend_reply_open": 1, "is_autoreply_open": 1, "add_friend_autoreply_info": text("欢迎关注"),
		"message_default_autoreply_info": text("收到，稍后回复你"), "keyword_autoreply_info": object{"list": []object{
			rule("营业时间", "random_one", "equal", "营业时间", text("9:00 至 21:00"), text("每天 9 点开门")),
			rule("活动", "reply_all", "contain", "活动", text("本周活动如下"), news)}}}, nil
}

// createQR is POST /cgi-bin/qrcode/create.
func createQR(c *call) (any, error) {
	var b struct {
		Expire int    `json:"expire_seconds"`
		Action string `json:"action_name"`
		Info   struct {
			Scene struct {
				ID  int    `json:"scene_id"`
				Str string `json:"scene_str"`
			} `json:"scene"`
		} `json:"action_info"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	text := slices.Contains([]string{"QR_STR_SCENE", "QR_LIMIT_STR_SCENE"}, b.Action)
	number := slices.Contains([]string{"QR_SCENE", "QR_LIMIT_SCENE"}, b.Action)
	s := b.Info.Scene
	if (!text && !number) || (text && (s.Str == "" || len(s.Str) > 64)) || (number && s.ID <= 0) || b.Expire < 0 || b.Expire > 2_592_000 {
		return nil, code(40097)
	}
	ticket := "gQ" + c.deps.Dice.Text(94, "qr "+s.Str, uint64(c.st.index), uint64(s.ID)) + "=="
	out := object{"ticket": ticket, "url": "http://weixin.qq.com/q/" + url.QueryEscape(ticket[:24])}
	if b.Action == "QR_SCENE" || b.Action == "QR_STR_SCENE" {
		out["expire_seconds"] = max(b.Expire, 60)
	}
	return out, nil
}

func networkRoutes(m map[string]endpoint) {
	m["/cgi-bin/getcallbackip"] = endpoint{method: http.MethodGet, run: callbackIPs}
	m["/cgi-bin/get_api_domain_ip"] = endpoint{method: http.MethodGet, run: loopback}
	m["/cgi-bin/callback/check"] = endpoint{method: http.MethodPost, run: callbackCheck}
	m["/cgi-bin/get_current_autoreply_info"] = endpoint{method: http.MethodGet, run: autoReply}
	m["/cgi-bin/qrcode/create"] = endpoint{method: http.MethodPost, run: createQR}
}
