package api

import (
	"encoding/json"
	"net/http"
	"slices"
)

// demoMenu is the menu of an Official Account at the start.
const demoMenu = `{"button":[{"type":"click","name":"今日优惠","key":"DEALS","sub_button":[]},` +
	`{"name":"服务","sub_button":[{"type":"click","name":"帮助","key":"HELP","sub_button":[]},{"type":"scancode_waitmsg","name":"扫码","key":"SCAN","sub_button":[]},` +
	`{"type":"pic_sysphoto","name":"拍照","key":"PHOTO","sub_button":[]},{"type":"location_select","name":"位置","key":"PLACE","sub_button":[]}]},` +
	`{"type":"view","name":"网站","url":"https://example.com/","sub_button":[]}]}`

type menuButton struct {
	Type      string       `json:"type"`
	Name      string       `json:"name"`
	Key       string       `json:"key"`
	URL       string       `json:"url"`
	MediaID   string       `json:"media_id"`
	ArticleID string       `json:"article_id"`
	AppID     string       `json:"appid"`
	PagePath  string       `json:"pagepath"`
	Sub       []menuButton `json:"sub_button"`
}

var keyButtons = []string{"click", "scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select"}

// createMenu is POST /cgi-bin/menu/create (g.5).
func createMenu(c *call) (any, error) {
	var b struct {
		Button []menuButton `json:"button"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if c.st.IsMiniProgram() {
		return nil, code(48001)
	}
	if len(b.Button) == 0 || len(b.Button) > 3 {
		return nil, code(40016)
	}
	for _, top := range b.Button {
		if err := top.check(16); err != nil {
			return nil, err
		}
		if len(top.Sub) > 5 {
			return nil, code(40023)
		}
		for _, sub := range top.Sub {
			if err := sub.check(60); err != nil {
				return nil, err
			}
		}
	}
	c.st.menu = json.RawMessage(slices.Clone(c.body))
	return done, nil
}

func (b menuButton) check(nameBytes int) error {
	switch {
	case b.Name == "" || len(b.Name) > nameBytes:
		return code(40018)
	case len(b.Sub) > 0:
		return nil
	case slices.Contains(keyButtons, b.Type):
		if b.Key == "" || len(b.Key) > 128 {
			return code(40019)
		}
	case b.Type == "view":
		if b.URL == "" || len(b.URL) > 1024 {
			return code(40020)
		}
	case b.Type == "miniprogram":
		if b.AppID == "" || b.PagePath == "" || b.URL == "" {
			return code(40017)
		}
	case slices.Contains([]string{"media_id", "view_limited", "article_id", "article_view_limited"}, b.Type):
		if b.MediaID == "" && b.ArticleID == "" {
			return code(40007)
		}
	default:
		return code(40017)
	}
	return nil
}

func getMenu(c *call) (any, error) {
	if c.st.menu == nil {
		return nil, code(46003)
	}
	return object{"menu": c.st.menu}, nil
}

func deleteMenu(c *call) (any, error) {
	c.st.menu = nil
	return done, nil
}

func currentMenu(c *call) (any, error) {
	open := 0
	if c.st.menu != nil {
		open = 1
	}
	return object{"is_menu_open": open, "selfmenu_info": c.st.menu}, nil
}

// Menu returns the account's menu as JSON with the key "button", or nil.
func (s *Server) Menu(name string) json.RawMessage {
	st := s.byName[name]
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.menu
}

func menuRoutes(m map[string]endpoint) {
	m["/cgi-bin/menu/create"] = endpoint{method: http.MethodPost, run: createMenu}
	m["/cgi-bin/menu/get"] = endpoint{method: http.MethodGet, run: getMenu}
	m["/cgi-bin/menu/delete"] = endpoint{method: http.MethodGet, run: deleteMenu}
	m["/cgi-bin/get_current_selfmenu_info"] = endpoint{method: http.MethodGet, run: currentMenu}
}
