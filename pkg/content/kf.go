package content

import (
	"bytes"
	"encoding/json"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// kfMessage is the body of message/custom/send.
type kfMessage struct {
	ToUser          string       `json:"touser"`
	MsgType         string       `json:"msgtype"`
	Text            *kfText      `json:"text,omitempty"`
	Image           *kfMedia     `json:"image,omitempty"`
	Voice           *kfMedia     `json:"voice,omitempty"`
	Video           *kfVideo     `json:"video,omitempty"`
	Music           *kfMusic     `json:"music,omitempty"`
	News            *kfNews      `json:"news,omitempty"`
	Menu            *kfMenu      `json:"msgmenu,omitempty"`
	MiniProgramPage *kfMiniPage  `json:"miniprogrampage,omitempty"`
	Link            *kfLink      `json:"link,omitempty"`
	MpNews          *kfMedia     `json:"mpnews,omitempty"`
	MpArticle       *kfArticleID `json:"mpnewsarticle,omitempty"`
	Card            *kfCard      `json:"wxcard,omitempty"`
	CustomService   *kfAgent     `json:"customservice,omitempty"`
}

type kfText struct {
	Content string `json:"content"`
}

type kfMedia struct {
	MediaID string `json:"media_id"`
}

type kfVideo struct {
	MediaID      string `json:"media_id"`
	ThumbMediaID string `json:"thumb_media_id,omitempty"`
	Title        string `json:"title,omitempty"`
	Description  string `json:"description,omitempty"`
}

type kfMusic struct {
	Title        string `json:"title,omitempty"`
	Description  string `json:"description,omitempty"`
	MusicURL     string `json:"musicurl,omitempty"`
	HQMusicURL   string `json:"hqmusicurl,omitempty"`
	ThumbMediaID string `json:"thumb_media_id"`
}

type kfNews struct {
	Articles []kfArticle `json:"articles"`
}

type kfArticle struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	PicURL      string `json:"picurl"`
}

type kfMenu struct {
	Head  string       `json:"head_content"`
	Items []kfMenuItem `json:"list"`
	Tail  string       `json:"tail_content"`
}

type kfMenuItem struct {
	ID      string `json:"id"`
	Content string `json:"content"`
}

type kfMiniPage struct {
	Title        string `json:"title"`
	AppID        string `json:"appid,omitempty"`
	PagePath     string `json:"pagepath"`
	ThumbMediaID string `json:"thumb_media_id"`
}

type kfLink struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	ThumbURL    string `json:"thumb_url"`
}

type kfArticleID struct {
	ArticleID string `json:"article_id"`
}

type kfCard struct {
	CardID string `json:"card_id"`
}

type kfAgent struct {
	KfAccount string `json:"kf_account"`
}

// KfMessage returns c as the body of message/custom/send, in JSON that keeps every character as it is.
// kfAccount shows the fan the name and picture of that agent; it may be empty. The content is checked
// for the customer-service API; whether the kind of account takes it is left to ValidateFor.
func KfMessage(c *eventv1.Content, openid, kfAccount string) ([]byte, error) {
	if openid == "" {
		return nil, FieldErrors{{"touser", "required"}}.err()
	}
	if err := ValidateFor(c, Target{Route: RouteKf}); err != nil {
		return nil, err
	}
	if raw := c.GetRaw(); raw != nil {
		return rawMessage(raw, openid, kfAccount)
	}
	m := kfMessage{ToUser: openid, MsgType: MsgType(c)}
	if kfAccount != "" {
		m.CustomService = &kfAgent{KfAccount: kfAccount}
	}
	m.set(c)
	return wechat.EncodeJSON(m)
}

func (m *kfMessage) set(c *eventv1.Content) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		m.Text = &kfText{b.Text.GetContent()}
	case *eventv1.Content_Image:
		m.Image = &kfMedia{b.Image.GetMediaId()}
	case *eventv1.Content_Voice:
		m.Voice = &kfMedia{b.Voice.GetMediaId()}
	case *eventv1.Content_Video:
		v := b.Video
		m.Video = &kfVideo{v.GetMediaId(), v.GetThumbMediaId(), v.GetTitle(), v.GetDescription()}
	case *eventv1.Content_Music:
		v := b.Music
		m.Music = &kfMusic{v.GetTitle(), v.GetDescription(), v.GetMusicUrl(), v.GetHqMusicUrl(), v.GetThumbMediaId()}
	case *eventv1.Content_News:
		m.News = new(kfNews)
		for _, a := range b.News.GetArticles() {
			m.News.Articles = append(m.News.Articles, kfArticle{a.GetTitle(), a.GetDescription(), a.GetUrl(), a.GetPicUrl()})
		}
	case *eventv1.Content_Menu:
		m.Menu = &kfMenu{Head: b.Menu.GetHead(), Tail: b.Menu.GetTail()}
		for _, item := range b.Menu.GetItems() {
			m.Menu.Items = append(m.Menu.Items, kfMenuItem{item.GetId(), item.GetContent()})
		}
	case *eventv1.Content_MiniProgram:
		v := b.MiniProgram
		m.MiniProgramPage = &kfMiniPage{v.GetTitle(), v.GetAppid(), v.GetPagePath(), v.GetThumbMediaId()}
	case *eventv1.Content_Link:
		v := b.Link
		m.Link = &kfLink{v.GetTitle(), v.GetDescription(), v.GetUrl(), v.GetThumbUrl()}
	case *eventv1.Content_MpNews:
		m.MpNews = &kfMedia{b.MpNews.GetMediaId()}
	case *eventv1.Content_MpArticle:
		m.MpArticle = &kfArticleID{b.MpArticle.GetArticleId()}
	case *eventv1.Content_Card:
		m.Card = &kfCard{b.Card.GetCardId()}
	}
}

// rawMessage puts the addresses in front of the members of a raw body.
func rawMessage(raw *eventv1.RawContent, openid, kfAccount string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw.GetJson()), &members); err != nil {
		return nil, FieldErrors{{"raw.json", "must be a JSON object"}}.err()
	}
	head := kfMessage{ToUser: openid, MsgType: raw.GetMsgType()}
	if kfAccount != "" {
		head.CustomService = &kfAgent{KfAccount: kfAccount}
	}
	body, err := wechat.EncodeJSON(head)
	if err != nil {
		return nil, err
	}
	delete(members, "msgtype")
	if len(members) == 0 {
		return body, nil
	}
	rest, err := wechat.EncodeJSON(members)
	if err != nil {
		return nil, err
	}
	body = append(bytes.TrimSuffix(body, []byte("}")), ',')
	return append(body, bytes.TrimPrefix(rest, []byte("{"))...), nil
}
