package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// RefusedError is an errcode that WeChat's API answers.
type RefusedError struct {
	Code   int
	Detail string // added to the standard text of the code; may be empty
}

func (r *RefusedError) Error() string { return fmt.Sprintf("errcode %d %s", r.Code, r.Detail) }

// Custom is a decoded body of message/custom/send (e.1).
type Custom struct {
	ToUser  string
	Content Content
}

type customBody struct {
	ToUser   string `json:"touser"`
	MsgType  string `json:"msgtype"`
	Customer struct {
		KfAccount string `json:"kf_account"`
	} `json:"customservice"`
	Text          struct{ Content string }         `json:"text"`
	Image         mediaBody                        `json:"image"`
	Voice         mediaBody                        `json:"voice"`
	Video         mediaBody                        `json:"video"`
	Music         musicBody                        `json:"music"`
	News          struct{ Articles []articleBody } `json:"news"`
	MpNews        mediaBody                        `json:"mpnews"`
	MpNewsArticle struct {
		ArticleID string `json:"article_id"`
	} `json:"mpnewsarticle"`
	MsgMenu menuBody `json:"msgmenu"`
	WxCard  struct {
		CardID string `json:"card_id"`
	} `json:"wxcard"`
	MiniProgram miniBody `json:"miniprogrampage"`
	Link        linkBody `json:"link"`
}

type mediaBody struct {
	MediaID      string `json:"media_id"`
	ThumbMediaID string `json:"thumb_media_id"`
	Title        string `json:"title"`
	Description  string `json:"description"`
}

type musicBody struct {
	Title        string `json:"title"`
	Description  string `json:"description"`
	URL          string `json:"musicurl"`
	HQURL        string `json:"hqmusicurl"`
	ThumbMediaID string `json:"thumb_media_id"`
}

type articleBody struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	PicURL      string `json:"picurl"`
}

type menuBody struct {
	Head  string         `json:"head_content"`
	Items []menuItemBody `json:"list"`
	Tail  string         `json:"tail_content"`
}

type menuItemBody struct {
	ID      json.RawMessage `json:"id"` // string or number
	Content string          `json:"content"`
}

type miniBody struct {
	Title        string `json:"title"`
	AppID        string `json:"appid"`
	PagePath     string `json:"pagepath"`
	ThumbMediaID string `json:"thumb_media_id"`
}

type linkBody struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	ThumbURL    string `json:"thumb_url"`
}

// officialOnly and miniOnly are the kf types that only one kind of account may send (e.1).
var (
	officialOnly = map[string]bool{"voice": true, "video": true, "music": true, TypeNews: true, "mpnews": true,
		"mpnewsarticle": true, TypeMenu: true, "wxcard": true}
	miniOnly = map[string]bool{"link": true}
)

// ParseCustom reads a body of message/custom/send. Media ids are not looked up. The error is always a *RefusedError.
func ParseCustom(body []byte, miniProgram bool) (Custom, error) {
	if err := checkEscapes(body); err != nil {
		return Custom{}, err
	}
	var b customBody
	if err := json.Unmarshal(body, &b); err != nil {
		return Custom{}, &RefusedError{Code: 47001}
	}
	if b.ToUser == "" {
		return Custom{}, &RefusedError{Code: 40003}
	}
	if (miniProgram && officialOnly[b.MsgType]) || (!miniProgram && miniOnly[b.MsgType]) {
		return Custom{}, &RefusedError{Code: 40008, Detail: "not for this kind of account"}
	}
	c, err := b.content(miniProgram)
	c.Type, c.KfAccount = b.MsgType, b.Customer.KfAccount
	return Custom{ToUser: b.ToUser, Content: c}, err
}

func (b customBody) content(miniProgram bool) (Content, error) {
	switch b.MsgType {
	case TypeText:
		return textContent(b.Text.Content)
	case "image":
		return Content{MediaID: b.Image.MediaID}, needMedia(b.Image.MediaID)
	case "voice":
		return Content{MediaID: b.Voice.MediaID}, needMedia(b.Voice.MediaID)
	case "mpnews":
		return Content{MediaID: b.MpNews.MediaID}, needMedia(b.MpNews.MediaID)
	case "video":
		v := b.Video
		return Content{MediaID: v.MediaID, ThumbMediaID: v.ThumbMediaID, Title: v.Title, Description: v.Description}, needMedia(v.MediaID)
	case "music":
		m := b.Music
		return Content{Title: m.Title, Description: m.Description, URL: m.URL, HQURL: m.HQURL, ThumbMediaID: m.ThumbMediaID}, needMedia(m.ThumbMediaID)
	case TypeNews:
		return newsContent(b.News.Articles)
	case "mpnewsarticle":
		return Content{Title: b.MpNewsArticle.ArticleID}, needText(b.MpNewsArticle.ArticleID)
	case TypeMenu:
		return menuContent(b.MsgMenu)
	case "wxcard":
		return Content{Title: b.WxCard.CardID}, needText(b.WxCard.CardID)
	case TypeMini:
		return miniContent(b.MiniProgram, miniProgram)
	case "link":
		l := b.Link
		return Content{Title: l.Title, Description: l.Description, URL: l.URL, PicURL: l.ThumbURL}, needText(l.Title)
	default:
		return Content{}, &RefusedError{Code: 40008}
	}
}

func textContent(text string) (Content, error) {
	if len(text) > MaxTextBytes {
		return Content{}, &RefusedError{Code: 45002}
	}
	return Content{Text: text}, needText(text)
}

func newsContent(articles []articleBody) (Content, error) {
	switch {
	case len(articles) == 0:
		return Content{}, &RefusedError{Code: 44003}
	case len(articles) > 1:
		return Content{}, &RefusedError{Code: 45008}
	}
	a := articles[0]
	return Content{Articles: []Article{{Title: a.Title, Description: a.Description, URL: a.URL, PicURL: a.PicURL}}}, nil
}

func menuContent(b menuBody) (Content, error) {
	if len(b.Items) == 0 || len(b.Items) > 50 {
		return Content{}, &RefusedError{Code: 45098}
	}
	m := &Menu{Head: b.Head, Tail: b.Tail}
	for _, it := range b.Items {
		if it.Content == "" || len(it.Content) > 1024 {
			return Content{}, &RefusedError{Code: 45099}
		}
		m.Items = append(m.Items, MenuItem{ID: string(bytes.Trim(it.ID, `"`)), Text: it.Content})
	}
	return Content{Menu: m}, nil
}

func miniContent(b miniBody, miniProgram bool) (Content, error) {
	c := Content{Title: b.Title, AppID: b.AppID, PagePath: b.PagePath, ThumbMediaID: b.ThumbMediaID}
	if !miniProgram && b.AppID == "" {
		return c, &RefusedError{Code: 40013}
	}
	return c, needMedia(b.ThumbMediaID)
}

func needMedia(id string) error {
	if id == "" {
		return &RefusedError{Code: 40007}
	}
	return nil
}

func needText(s string) error {
	if s == "" {
		return &RefusedError{Code: 44004}
	}
	return nil
}

// checkEscapes refuses \uXXXX for characters that a client has no reason to escape: WeChat shows them raw.
// Control characters, the two JavaScript line separators and the replacement character stay allowed.
func checkEscapes(body []byte) error {
	if !utf8.Valid(body) {
		return &RefusedError{Code: 40033}
	}
	for i := 0; i+5 < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if body[i+1] == 'u' {
			switch hex := string(bytes.ToLower(body[i+2 : i+6])); {
			case hex == "2028", hex == "2029", hex == "fffd", hex[:3] == "000", hex[:3] == "001", hex == "007f":
			default:
				return &RefusedError{Code: 40033, Detail: `\u escape in the body`}
			}
		}
		i++ // skips the escaped character, so that a backslash pair is not read twice
	}
	return nil
}
