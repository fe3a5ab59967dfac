package content

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// maxKfBody bounds the body of message/custom/send.
const maxKfBody = MaxRaw

// FromKfJSON reads the body of message/custom/send (protocol e.1). A msgtype that Content has no field
// for, and a message with an aimsgcontext, become RawContent. Everything else must be right: the
// errors are FieldErrors with the paths of the JSON, for example "news.articles[0].url: required".
func FromKfJSON(body []byte) (openid string, c *eventv1.Content, kfAccount string, err error) {
	return fromJSON(body, RouteKf)
}

// FromJSON reads what FromKfJSON reads, and the msgtypes "typing", "template", "subscribe" and "one_time",
// whose members are those of WeChat's APIs for them.
func FromJSON(body []byte) (openid string, c *eventv1.Content, kfAccount string, err error) {
	return fromJSON(body, RouteSend)
}

func fromJSON(body []byte, route Route) (openid string, c *eventv1.Content, kfAccount string, err error) {
	if len(body) > maxKfBody {
		return "", nil, "", FieldErrors{{"body", "larger than 64 KiB"}}.err()
	}
	if !utf8.Valid(body) {
		return "", nil, "", FieldErrors{{"body", "not UTF-8"}}.err()
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || members == nil {
		return "", nil, "", FieldErrors{{"body", "must be a JSON object"}}.err()
	}
	var p FieldErrors
	root := object{members: members, problems: &p}
	openid = root.text("touser")
	p.require("touser", openid)
	msgType := root.text("msgtype")
	p.require("msgtype", msgType)
	if service := root.object("customservice"); service.members != nil {
		kfAccount = service.text("kf_account")
		p.require("customservice.kf_account", kfAccount)
		service.rejectOthers()
	}
	if len(p) > 0 {
		return "", nil, "", p.err()
	}
	c = root.content(msgType, route)
	if len(p) == 0 {
		p = jsonPaths(ValidateFor(c, Target{Route: route}))
	}
	if len(p) > 0 {
		return "", nil, "", p.err()
	}
	return openid, c, kfAccount, nil
}

// content reads the member that msgtype names.
func (o *object) content(msgType string, route Route) *eventv1.Content {
	read, known := kfReaders[msgType]
	if notice, ok := noticeReaders[msgType]; ok && route == RouteSend {
		read, known = notice, true
	}
	_, marked := o.members["aimsgcontext"]
	if _, found := o.members[msgType]; !known && !found {
		o.problems.add("msgtype", "is unknown, and there is no member of that name with the content")
		return nil
	}
	if !known || marked {
		return o.raw(msgType)
	}
	part := o.object(msgType)
	if part.members == nil {
		o.problems.add(msgType, "required")
		return nil
	}
	c := read(&part)
	part.rejectOthers()
	o.rejectOthers()
	return c
}

// raw keeps every member but those that the sender sets.
func (o *object) raw(msgType string) *eventv1.Content {
	rest := make(map[string]json.RawMessage, len(o.members))
	for name, value := range o.members {
		if name != "touser" && name != "customservice" {
			rest[name] = value
		}
	}
	text, err := wechat.EncodeJSON(rest)
	if err != nil {
		o.problems.add("body", "must be a JSON object")
		return nil
	}
	return &eventv1.Content{Body: &eventv1.Content_Raw{Raw: &eventv1.RawContent{MsgType: msgType, Json: string(text)}}}
}

// kfReaders holds a reader for each msgtype that Content has a field for.
var kfReaders = map[string]func(*object) *eventv1.Content{
	"text": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: o.text("content")}}}
	},
	"image": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: o.text("media_id")}}}
	},
	"voice": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Voice{Voice: &eventv1.VoiceContent{MediaId: o.text("media_id")}}}
	},
	"video": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Video{Video: &eventv1.VideoContent{
			MediaId: o.text("media_id"), ThumbMediaId: o.text("thumb_media_id"), Title: o.text("title"), Description: o.text("description"),
		}}}
	},
	"music": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Music{Music: &eventv1.MusicContent{
			Title: o.text("title"), Description: o.text("description"), MusicUrl: o.text("musicurl"),
			HqMusicUrl: o.text("hqmusicurl"), ThumbMediaId: o.text("thumb_media_id"),
		}}}
	},
	"news": func(o *object) *eventv1.Content {
		news := new(eventv1.NewsContent)
		for _, a := range o.list("articles", wechat.MaxReplyArticles) {
			news.Articles = append(news.Articles, &eventv1.Article{
				Title: a.text("title"), Description: a.text("description"), Url: a.text("url"), PicUrl: a.text("picurl"),
			})
			a.rejectOthers()
		}
		return &eventv1.Content{Body: &eventv1.Content_News{News: news}}
	},
	"msgmenu": func(o *object) *eventv1.Content {
		menu := &eventv1.MenuContent{Head: o.text("head_content"), Tail: o.text("tail_content")}
		for _, item := range o.list("list", MaxMenuItems) {
			menu.Items = append(menu.Items, &eventv1.MenuItem{Id: item.textOrNumber("id"), Content: item.text("content")})
			item.rejectOthers()
		}
		return &eventv1.Content{Body: &eventv1.Content_Menu{Menu: menu}}
	},
	"miniprogrampage": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_MiniProgram{MiniProgram: &eventv1.MiniProgramContent{
			Title: o.text("title"), Appid: o.text("appid"), PagePath: o.text("pagepath"), ThumbMediaId: o.text("thumb_media_id"),
		}}}
	},
	"mpnews": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_MpNews{MpNews: &eventv1.MpNewsContent{MediaId: o.text("media_id")}}}
	},
	"mpnewsarticle": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_MpArticle{MpArticle: &eventv1.MpArticleContent{ArticleId: o.text("article_id")}}}
	},
	"wxcard": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Card{Card: &eventv1.CardContent{CardId: o.text("card_id")}}}
	},
	"link": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Link{Link: &eventv1.LinkContent{
			Title: o.text("title"), Description: o.text("description"), Url: o.text("url"), ThumbUrl: o.text("thumb_url"),
		}}}
	},
}

// jsonNames turns paths of Content into those of the JSON.
var jsonNames = strings.NewReplacer(
	"menu.items", "msgmenu.list", "menu.", "msgmenu.", "mini_program.", "miniprogrampage.", "page_path", "pagepath",
	"pic_url", "picurl", "hq_music_url", "hqmusicurl", "music_url", "musicurl",
	"mp_news.", "mpnews.", "mp_article.", "mpnewsarticle.", "card.", "wxcard.",
)

func jsonPaths(err error) FieldErrors {
	if err == nil {
		return nil
	}
	found, ok := errors.AsType[FieldErrors](err)
	if !ok {
		return FieldErrors{fieldErrorOf(err)}
	}
	renamed := make(FieldErrors, len(found))
	for i, problem := range found {
		renamed[i] = FieldError{Path: jsonPath(problem.Path), Reason: problem.Reason}
	}
	return renamed
}

func jsonPath(path string) string {
	kind, _, _ := strings.Cut(path, ".")
	if _, notice := noticeReaders[kind]; notice {
		return noticeNames.Replace(path)
	}
	return jsonNames.Replace(path)
}
