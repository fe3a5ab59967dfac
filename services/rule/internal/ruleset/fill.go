package ruleset

import (
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// texts calls visit for every text of a content that may have variables, with its name, what it is and the
// most bytes that it may have.
func texts(c *eventv1.Content, visit func(name string, field template.Field, text *string, most int)) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		visit("text", template.Text, &b.Text.Content, MaxTextBytes)
	case *eventv1.Content_Video:
		visit("video.title", template.Plain, &b.Video.Title, maxTitle)
		visit("video.description", template.Plain, &b.Video.Description, maxTitle)
	case *eventv1.Content_Music:
		visit("music.title", template.Plain, &b.Music.Title, maxTitle)
		visit("music.description", template.Plain, &b.Music.Description, maxTitle)
		visit("music.music_url", template.Address, &b.Music.MusicUrl, maxURL)
		visit("music.hq_music_url", template.Address, &b.Music.HqMusicUrl, maxURL)
	case *eventv1.Content_News:
		for _, article := range b.News.GetArticles() {
			visit("news.title", template.Plain, &article.Title, maxTitle)
			visit("news.description", template.Plain, &article.Description, maxTitle)
			visit("news.url", template.Address, &article.Url, maxURL)
			visit("news.pic_url", template.Address, &article.PicUrl, maxURL)
		}
	case *eventv1.Content_Menu:
		visit("menu.head", template.Plain, &b.Menu.Head, maxTitle)
		visit("menu.tail", template.Plain, &b.Menu.Tail, maxTitle)
		for _, item := range b.Menu.GetItems() {
			visit("menu.items.content", template.Plain, &item.Content, maxTitle)
		}
	case *eventv1.Content_MiniProgram:
		visit("miniprogram.title", template.Plain, &b.MiniProgram.Title, maxTitle)
		visit("miniprogram.page_path", template.Address, &b.MiniProgram.PagePath, maxURL)
	case *eventv1.Content_Link:
		visit("link.title", template.Plain, &b.Link.Title, maxTitle)
		visit("link.description", template.Plain, &b.Link.Description, maxTitle)
		visit("link.url", template.Address, &b.Link.Url, maxURL)
		visit("link.thumb_url", template.Address, &b.Link.ThumbUrl, maxURL)
	default: // media have no texts
	}
}

// Fill returns a content with its variables filled in. A text that is too long then is split into at most room
// contents; every other field is cut with an ellipsis, and an address that is too long is left out. It returns
// nothing for a text that is blank with these values.
func Fill(c *eventv1.Content, values template.Values, room int) []*eventv1.Content {
	filled := proto.CloneOf(c)
	texts(filled, func(_ string, field template.Field, text *string, most int) {
		*text = template.Expand(*text, field, values)
		switch {
		case field == template.Plain:
			*text = template.Cut(*text, most)
		case field == template.Address && len(*text) > most:
			*text = ""
		}
	})
	if filled.GetText() == nil {
		return []*eventv1.Content{filled}
	}
	return Texts(filled.GetText().GetContent(), room)
}

// Texts returns a text as one content, or as several when it is longer than WeChat shows; what has no room is
// left out. It returns nothing for a blank text.
func Texts(text string, room int) []*eventv1.Content {
	if room <= 0 {
		return nil
	}
	var contents []*eventv1.Content
	for _, piece := range template.Split(text, MaxTextBytes, room) {
		contents = append(contents, &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: piece}}})
	}
	return contents
}
