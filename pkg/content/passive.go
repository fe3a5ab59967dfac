package content

import (
	"errors"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Passive returns c as a passive reply without addresses: the gateway sets ToUserName,
// FromUserName and CreateTime. Types of the customer-service API only are FieldErrors. It does not check
// limits; wechat.EncodeReply does.
func Passive(c *eventv1.Content) (wechat.Reply, error) {
	var body wechat.ReplyBody
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		body = wechat.TextReply{Content: b.Text.GetContent()}
	case *eventv1.Content_Image:
		body = wechat.ImageReply{MediaID: b.Image.GetMediaId()}
	case *eventv1.Content_Voice:
		body = wechat.VoiceReply{MediaID: b.Voice.GetMediaId()}
	case *eventv1.Content_Video:
		body = wechat.VideoReply{MediaID: b.Video.GetMediaId(), Title: b.Video.GetTitle(), Description: b.Video.GetDescription()}
	case *eventv1.Content_Music:
		body = wechat.MusicReply{
			Title: b.Music.GetTitle(), Description: b.Music.GetDescription(), MusicURL: b.Music.GetMusicUrl(),
			HQMusicURL: b.Music.GetHqMusicUrl(), ThumbMediaID: b.Music.GetThumbMediaId(),
		}
	case *eventv1.Content_News:
		body = newsReply(b.News)
	case *eventv1.Content_NativeTransfer:
		body = wechat.TransferReply{KfAccount: b.NativeTransfer.GetKfAccount()}
	case nil:
		return wechat.Reply{}, FieldErrors{{"content", "required"}}.err()
	default:
		return wechat.Reply{}, FieldErrors{{fieldOf(c), "customer-service API only"}}.err()
	}
	return wechat.Reply{Body: body}, nil
}

func newsReply(news *eventv1.NewsContent) wechat.NewsReply {
	var n wechat.NewsReply
	for _, a := range news.GetArticles() {
		n.Articles = append(n.Articles, wechat.Article{
			Title: a.GetTitle(), Description: a.GetDescription(), PicURL: a.GetPicUrl(), URL: a.GetUrl(),
		})
	}
	return n
}

// FromPassive is the reverse of Passive, addresses left out. The hand-over to WeChat's
// built-in AI reply has no Content and is an error.
func FromPassive(r wechat.Reply) (*eventv1.Content, error) {
	switch b := r.Body.(type) {
	case wechat.TextReply:
		return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: b.Content}}}, nil
	case wechat.ImageReply:
		return &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: b.MediaID}}}, nil
	case wechat.VoiceReply:
		return &eventv1.Content{Body: &eventv1.Content_Voice{Voice: &eventv1.VoiceContent{MediaId: b.MediaID}}}, nil
	case wechat.VideoReply:
		video := &eventv1.VideoContent{MediaId: b.MediaID, Title: b.Title, Description: b.Description}
		return &eventv1.Content{Body: &eventv1.Content_Video{Video: video}}, nil
	case wechat.MusicReply:
		music := &eventv1.MusicContent{
			Title: b.Title, Description: b.Description, MusicUrl: b.MusicURL, HqMusicUrl: b.HQMusicURL, ThumbMediaId: b.ThumbMediaID,
		}
		return &eventv1.Content{Body: &eventv1.Content_Music{Music: music}}, nil
	case wechat.NewsReply:
		news := new(eventv1.NewsContent)
		for _, a := range b.Articles {
			news.Articles = append(news.Articles, &eventv1.Article{Title: a.Title, Description: a.Description, PicUrl: a.PicURL, Url: a.URL})
		}
		return &eventv1.Content{Body: &eventv1.Content_News{News: news}}, nil
	case wechat.TransferReply:
		transfer := &eventv1.NativeTransfer{KfAccount: b.KfAccount}
		return &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: transfer}}, nil
	default:
		return nil, fault.New(fault.Invalid, "read passive reply: no content for this type")
	}
}

// fieldErrorOf turns an error of this package or of wechat.CheckBody, "path: reason", into a FieldError.
func fieldErrorOf(err error) FieldError {
	if p, ok := errors.AsType[FieldErrors](err); ok && len(p) > 0 {
		return p[0]
	}
	path, reason, _ := strings.Cut(err.Error(), ": ")
	return FieldError{Path: path, Reason: reason}
}
