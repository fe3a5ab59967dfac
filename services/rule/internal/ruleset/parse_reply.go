package ruleset

import (
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/content"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// Bounds of the smaller fields of replies, in bytes.
const (
	maxTitle = 512
	maxURL   = 2048
	maxID    = 256
	// maxTemplate bounds a text with its variables as they are written.
	maxTemplate = 16 << 10
)

// reply reads the content of a reply; a text may stand alone.
func (f *fileReader) reply(a at) Action {
	c, before := &eventv1.Content{}, len(f.problems)+f.more
	if a.node.Kind == yaml.ScalarNode {
		f.textReply(a, c)
	} else {
		read := 0
		kind := func(set func(at, *eventv1.Content)) func(at) {
			return func(a at) { read++; set(a, c) }
		}
		f.fields(a, map[string]func(at){
			"text": kind(f.textReply), "image": kind(f.image), "voice": kind(f.voice), "video": kind(f.video),
			"music": kind(f.music), "news": kind(f.news), "menu": kind(f.menu),
			"miniprogram": kind(f.miniProgram), "link": kind(f.link),
		})
		if read != 1 && a.node.Kind == yaml.MappingNode {
			f.refuse(a, "must hold one message, not %d; make each reply its own item of the list", read)
		}
	}
	if c.GetBody() == nil {
		return Action{}
	}
	sample, templated := f.templated(a, c)
	if len(f.problems)+f.more == before {
		f.sendable(a, sample, eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED)
	}
	action, err := reply(c)
	if err != nil {
		f.refuse(a, "must be valid UTF-8")
	}
	action.Templated = templated
	return action
}

// sendable refuses content that could not be sent by one of the ways it may take.
func (f *fileReader) sendable(a at, c *eventv1.Content, kind eventv1.AccountKind) {
	err := content.ValidateFor(c, content.Target{Route: content.RouteKf, Account: kind})
	if err == nil && kind == eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED && PassiveForm(c) {
		err = content.ValidateFor(c, content.Target{Route: content.RoutePassive})
	}
	if err != nil {
		f.refuse(a, "%v", err)
	}
}

// PassiveForm tells whether content exists as a passive reply (protocol d).
func PassiveForm(c *eventv1.Content) bool {
	switch c.GetBody().(type) {
	case *eventv1.Content_Text, *eventv1.Content_Image, *eventv1.Content_Voice, *eventv1.Content_Video,
		*eventv1.Content_Music, *eventv1.Content_News, *eventv1.Content_NativeTransfer:
		return true
	default:
		return false
	}
}

func (f *fileReader) textReply(a at, c *eventv1.Content) {
	text, ok := f.text(a)
	switch {
	case !ok:
		return
	case len(text) > maxTemplate:
		f.refuse(a, "is %d bytes long, at most %d are allowed", len(text), maxTemplate)
		return
	case strings.TrimSpace(text) == "":
		f.refuse(a, "must not be blank: none says nothing")
	case len(text) > MaxTextBytes && (f.scope.literal || !template.Is(text)):
		f.refuse(a, "is %d bytes long, WeChat shows at most %d; split it into several replies", len(text), MaxTextBytes)
	}
	c.Body = &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}}
}

// media reads a media id, alone or as a mapping with further fields.
func (f *fileReader) media(a at, more map[string]func(at)) string {
	var id string
	if a.node.Kind == yaml.ScalarNode {
		f.into(&id, maxID)(a)
	} else {
		more["media_id"] = f.into(&id, maxID)
		f.fields(a, more)
	}
	f.needs(a, "media_id", id)
	return id
}

// needs refuses a mapping without a required field.
func (f *fileReader) needs(a at, key, value string) {
	if value == "" && (a.node.Kind == yaml.MappingNode || a.node.Kind == yaml.ScalarNode) {
		f.refuse(a.child(key, a.node), "is required")
	}
}

func (f *fileReader) image(a at, c *eventv1.Content) {
	c.Body = &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: f.media(a, map[string]func(at){})}}
}

func (f *fileReader) voice(a at, c *eventv1.Content) {
	c.Body = &eventv1.Content_Voice{Voice: &eventv1.VoiceContent{MediaId: f.media(a, map[string]func(at){})}}
}

func (f *fileReader) video(a at, c *eventv1.Content) {
	v := &eventv1.VideoContent{}
	v.MediaId = f.media(a, map[string]func(at){
		"thumb_media_id": f.into(&v.ThumbMediaId, maxID),
		"title":          f.into(&v.Title, maxTitle), "description": f.into(&v.Description, maxTitle),
	})
	c.Body = &eventv1.Content_Video{Video: v}
}

func (f *fileReader) music(a at, c *eventv1.Content) {
	m := &eventv1.MusicContent{}
	f.fields(a, map[string]func(at){
		"title": f.into(&m.Title, maxTitle), "description": f.into(&m.Description, maxTitle),
		"music_url": f.address(&m.MusicUrl), "hq_music_url": f.address(&m.HqMusicUrl),
		"thumb_media_id": f.into(&m.ThumbMediaId, maxID),
	})
	f.needs(a, "thumb_media_id", m.GetThumbMediaId())
	c.Body = &eventv1.Content_Music{Music: m}
}

// news reads one article, alone or as a list of one: WeChat shows one.
func (f *fileReader) news(a at, c *eventv1.Content) {
	article := &eventv1.Article{}
	read := func(a at) {
		f.fields(a, map[string]func(at){
			"title": f.into(&article.Title, maxTitle), "description": f.into(&article.Description, maxTitle),
			"pic_url": f.address(&article.PicUrl), "url": f.address(&article.Url),
		})
		f.needs(a, "title", article.GetTitle())
		f.needs(a, "url", article.GetUrl())
	}
	if a.node.Kind != yaml.SequenceNode {
		read(a)
	} else if f.items(a, 1, read); len(a.node.Content) == 0 {
		f.refuse(a, "must hold one article")
	}
	c.Body = &eventv1.Content_News{News: &eventv1.NewsContent{Articles: []*eventv1.Article{article}}}
}

func (f *fileReader) menu(a at, c *eventv1.Content) {
	m := &eventv1.MenuContent{}
	f.fields(a, map[string]func(at){
		"head": f.into(&m.Head, maxTitle), "tail": f.into(&m.Tail, maxTitle),
		"items": func(a at) {
			f.items(a, 20, func(a at) {
				item := &eventv1.MenuItem{}
				f.fields(a, map[string]func(at){"id": f.into(&item.Id, 64), "content": f.into(&item.Content, maxTitle)})
				f.needs(a, "id", item.GetId())
				f.needs(a, "content", item.GetContent())
				m.Items = append(m.Items, item)
			})
		},
	})
	if len(m.GetItems()) == 0 && a.node.Kind == yaml.MappingNode {
		f.refuse(a.child("items", a.node), "must have at least one item")
	}
	c.Body = &eventv1.Content_Menu{Menu: m}
}

func (f *fileReader) miniProgram(a at, c *eventv1.Content) {
	m := &eventv1.MiniProgramContent{}
	f.fields(a, map[string]func(at){
		"title": f.into(&m.Title, maxTitle), "appid": f.into(&m.Appid, 64),
		"page_path": f.into(&m.PagePath, maxURL), "thumb_media_id": f.into(&m.ThumbMediaId, maxID),
	})
	f.needs(a, "page_path", m.GetPagePath())
	f.needs(a, "thumb_media_id", m.GetThumbMediaId())
	c.Body = &eventv1.Content_MiniProgram{MiniProgram: m}
}

func (f *fileReader) link(a at, c *eventv1.Content) {
	l := &eventv1.LinkContent{}
	f.fields(a, map[string]func(at){
		"title": f.into(&l.Title, maxTitle), "description": f.into(&l.Description, maxTitle),
		"url": f.address(&l.Url), "thumb_url": f.address(&l.ThumbUrl),
	})
	f.needs(a, "title", l.GetTitle())
	f.needs(a, "url", l.GetUrl())
	c.Body = &eventv1.Content_Link{Link: l}
}

// address reads a web address.
func (f *fileReader) address(field *string) func(at) {
	return func(a at) {
		f.into(field, maxURL)(a)
		if !f.scope.literal && template.Is(*field) {
			f.addressTemplate(a, *field)
		} else if err := checkURL(*field); *field != "" && err != nil {
			f.refuse(a, "%v", err)
		}
	}
}

// addressTemplate refuses an address that is none whatever its variables are. One that begins with a variable is
// whatever that is.
func (f *fileReader) addressTemplate(a at, text string) {
	filled := template.Expand(text, template.Address, sampleValue)
	if err := checkURL(filled); !strings.HasPrefix(text, template.Open) && !template.Is(filled) && err != nil {
		f.refuse(a, "%v", err)
	}
}

// checkURL returns why an address is not one that can be opened.
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return fmt.Errorf("is required")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("must be an http or https address")
	case u.User != nil:
		return fmt.Errorf("must not hold a user name or password")
	}
	return nil
}
