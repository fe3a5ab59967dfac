package content

import (
	"encoding/json"
	"fmt"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Route is the way a content is sent.
type Route uint8

// The routes.
const (
	// RouteAny checks only what every way needs.
	RouteAny Route = iota
	// RoutePassive is the answer to the push.
	RoutePassive
	// RouteKf is the customer-service API.
	RouteKf
	// RouteSend is everything that the sender can send: the customer-service API, the typing sign,
	// template, subscription and one-time messages.
	RouteSend
)

// Limits of contents. WeChat names none for most of them; these keep a content within one bus message
// and one request.
const (
	// MaxText is the size of a text for the customer-service API, in bytes; the sender splits it.
	MaxText = 64 << 10
	// MaxRaw is the size of RawContent.json in bytes.
	MaxRaw = 64 << 10
	// MaxMenuItems is the number of items of a menu message.
	MaxMenuItems = 100
)

// Target is where a content goes. The zero Target is anywhere.
type Target struct {
	Route Route
	// Account is the kind of the account; unspecified checks nothing about it.
	Account eventv1.AccountKind
	// Passive bounds passive replies; zero fields take their defaults.
	Passive wechat.ReplyLimits
}

// Validate reports what is wrong with c wherever it is sent.
func Validate(c *eventv1.Content) error { return ValidateFor(c, Target{}) }

// ValidateFor reports what is wrong with c for the target. The errors are FieldErrors and fault.Invalid.
func ValidateFor(c *eventv1.Content, t Target) error {
	var p FieldErrors
	if c.GetBody() == nil {
		p.add("content", "required")
		return p.err()
	}
	checkFields(c, &p)
	if len(p) == 0 {
		checkTarget(c, t, &p)
	}
	return p.err()
}

// checkFields checks what every way of sending needs.
func checkFields(c *eventv1.Content, p *FieldErrors) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		p.require("text.content", b.Text.GetContent())
		if len(b.Text.GetContent()) > MaxText {
			p.add("text.content", "at most %d bytes", MaxText)
		}
	case *eventv1.Content_Image:
		p.require("image.media_id", b.Image.GetMediaId())
	case *eventv1.Content_Voice:
		p.require("voice.media_id", b.Voice.GetMediaId())
	case *eventv1.Content_Video:
		p.require("video.media_id", b.Video.GetMediaId())
	case *eventv1.Content_Music:
		p.require("music.thumb_media_id", b.Music.GetThumbMediaId())
	case *eventv1.Content_News:
		checkNews(b.News, p)
	case *eventv1.Content_Menu:
		checkMenu(b.Menu, p)
	case *eventv1.Content_MiniProgram:
		p.require("mini_program.title", b.MiniProgram.GetTitle())
		p.require("mini_program.page_path", b.MiniProgram.GetPagePath())
		p.require("mini_program.thumb_media_id", b.MiniProgram.GetThumbMediaId())
	case *eventv1.Content_Link:
		p.require("link.title", b.Link.GetTitle())
		p.require("link.url", b.Link.GetUrl())
	case *eventv1.Content_MpNews:
		p.require("mp_news.media_id", b.MpNews.GetMediaId())
	case *eventv1.Content_MpArticle:
		p.require("mp_article.article_id", b.MpArticle.GetArticleId())
	case *eventv1.Content_Card:
		p.require("card.card_id", b.Card.GetCardId())
	case *eventv1.Content_Template:
		checkTemplate(b.Template, p)
	case *eventv1.Content_Subscribe:
		checkSubscribe(b.Subscribe, p)
	case *eventv1.Content_OneTime:
		checkOneTime(b.OneTime, p)
	case *eventv1.Content_Raw:
		checkRaw(b.Raw, p)
	}
}

func checkNews(news *eventv1.NewsContent, p *FieldErrors) {
	if n := len(news.GetArticles()); n == 0 || n > wechat.MaxReplyArticles {
		p.add("news.articles", "1 to %d articles, has %d", wechat.MaxReplyArticles, n)
	}
	for i, a := range news.GetArticles() {
		p.require(fmt.Sprintf("news.articles[%d].title", i), a.GetTitle())
		p.require(fmt.Sprintf("news.articles[%d].url", i), a.GetUrl())
	}
}

func checkMenu(menu *eventv1.MenuContent, p *FieldErrors) {
	if n := len(menu.GetItems()); n == 0 || n > MaxMenuItems {
		p.add("menu.items", "1 to %d items, has %d", MaxMenuItems, n)
		return
	}
	seen := make(map[string]bool, len(menu.GetItems()))
	for i, item := range menu.GetItems() {
		id := fmt.Sprintf("menu.items[%d].id", i)
		p.require(id, item.GetId())
		p.require(fmt.Sprintf("menu.items[%d].content", i), item.GetContent())
		if item.GetId() != "" && seen[item.GetId()] {
			p.add(id, "used twice")
		}
		seen[item.GetId()] = true
	}
}

// checkRaw keeps what the sender sets itself out of raw bodies.
func checkRaw(raw *eventv1.RawContent, p *FieldErrors) {
	p.require("raw.msg_type", raw.GetMsgType())
	if len(raw.GetJson()) > MaxRaw {
		p.add("raw.json", "at most %d bytes", MaxRaw)
		return
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(raw.GetJson()), &members) != nil || members == nil {
		p.add("raw.json", "must be a JSON object")
		return
	}
	for _, name := range []string{"touser", "customservice"} {
		if _, ok := members[name]; ok {
			p.add("raw.json."+name, "must not be set")
		}
	}
	if msgType, ok := members["msgtype"]; ok {
		var s string
		if json.Unmarshal(msgType, &s) != nil || s != raw.GetMsgType() {
			p.add("raw.json.msgtype", "must be msg_type")
		}
	}
}

// checkTarget checks what a route and a kind of account take.
func checkTarget(c *eventv1.Content, t Target, p *FieldErrors) {
	mini := t.Account == eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	field := fieldOf(c)
	switch {
	case t.Route == RoutePassive && mini && c.GetNativeTransfer() == nil:
		p.add(field, "Mini Programs have no passive replies but native_transfer")
		return
	case t.Route == RoutePassive:
		checkPassive(c, t, p)
	case sends(t.Route) && c.GetNativeTransfer() != nil:
		p.add(field, "passive replies only")
	case t.Route == RouteKf && !IsKf(c):
		p.add(field, "not a message of the customer-service API")
	case sends(t.Route) && len(c.GetNews().GetArticles()) > 1:
		p.add("news.articles", "at most 1, has %d", len(c.GetNews().GetArticles()))
	}
	checkAccount(c, t, p)
}

// checkAccount checks what a kind of account can send at all.
func checkAccount(c *eventv1.Content, t Target, p *FieldErrors) {
	mini := t.Account == eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	official := t.Account != eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED && !mini
	field := fieldOf(c)
	switch {
	case mini:
		checkMiniProgram(c, field, p)
	case official && c.GetLink() != nil:
		p.add(field, "Mini Programs only")
	case official && (c.GetSubscribe().GetMiniProgramState() != "" || c.GetSubscribe().GetLang() != ""):
		p.add(field, "mini_program_state and lang: Mini Programs only")
	case t.Account == eventv1.AccountKind_ACCOUNT_KIND_SUBSCRIPTION && c.GetTemplate() != nil:
		p.add(field, "service accounts only")
	case official && c.GetMiniProgram() != nil:
		p.require("mini_program.appid", c.GetMiniProgram().GetAppid())
	}
}

func checkPassive(c *eventv1.Content, t Target, p *FieldErrors) {
	reply, err := Passive(c)
	if err == nil {
		err = wechat.CheckBody(reply.Body, t.Passive)
	}
	if err != nil {
		*p = append(*p, fieldErrorOf(err))
	}
}

// checkMiniProgram: Mini Programs send text, image, link, their own pages, typing and subscription messages.
func checkMiniProgram(c *eventv1.Content, field string, p *FieldErrors) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text, *eventv1.Content_Image, *eventv1.Content_Link, *eventv1.Content_NativeTransfer, *eventv1.Content_Raw,
		*eventv1.Content_Typing:
	case *eventv1.Content_Subscribe:
		if b.Subscribe.GetMiniProgram() != nil {
			p.add("subscribe.mini_program", "a Mini Program names its page by page")
		}
	case *eventv1.Content_MiniProgram:
		if b.MiniProgram.GetAppid() != "" {
			p.add("mini_program.appid", "a Mini Program sends only its own pages, without appid")
		}
	default:
		p.add(field, "Official Accounts only")
	}
}

func sends(r Route) bool { return r == RouteKf || r == RouteSend }

// IsKf reports whether c goes by message/custom/send: it needs the window of a fan and takes one message of it.
func IsKf(c *eventv1.Content) bool {
	switch c.GetBody().(type) {
	case nil, *eventv1.Content_NativeTransfer, *eventv1.Content_Typing,
		*eventv1.Content_Template, *eventv1.Content_Subscribe, *eventv1.Content_OneTime:
		return false
	}
	return true
}

// fieldOf returns the name of the field of Content that is set.
func fieldOf(c *eventv1.Content) string {
	m := c.ProtoReflect()
	return string(m.WhichOneof(m.Descriptor().Oneofs().ByName("body")).Name())
}
