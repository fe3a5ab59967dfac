package wechat

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Ack is the answer that acknowledges a push and shows nothing. It is sent in the clear in every mode.
const Ack = "success"

// Reply is a passive reply: the answer to one push (protocol d).
type Reply struct {
	// ToUserName is the fan: FromUserName of the push.
	ToUserName string
	// FromUserName is the account: ToUserName of the push.
	FromUserName string
	// CreateTime is in Unix seconds.
	CreateTime int64
	// Body is what the fan gets.
	Body ReplyBody
}

// ReplyBody is one of TextReply, ImageReply, VoiceReply, VideoReply, MusicReply, NewsReply,
// TransferReply and AIReply.
type ReplyBody interface {
	// MsgType returns the MsgType of the reply.
	MsgType() string
	// check returns a fault.Invalid error that begins with the name of the wrong field.
	check(limits ReplyLimits) error
	appendXML(dst []byte) []byte
	// appendJSON appends the members that follow MsgType, each with a comma before it.
	appendJSON(dst []byte) []byte
}

// TextReply is a text; it may hold newlines and <a href> links.
type TextReply struct{ Content string }

// ImageReply is an uploaded image.
type ImageReply struct{ MediaID string }

// VoiceReply is an uploaded voice.
type VoiceReply struct{ MediaID string }

// VideoReply is an uploaded video; title and description are optional.
type VideoReply struct{ MediaID, Title, Description string }

// MusicReply is a music card; only ThumbMediaID is required.
type MusicReply struct{ Title, Description, MusicURL, HQMusicURL, ThumbMediaID string }

// NewsReply is a list of articles; WeChat shows one in most scenes.
type NewsReply struct{ Articles []Article }

// Article is one article of a NewsReply; title and URL are required.
type Article struct{ Title, Description, PicURL, URL string }

// TransferReply hands the message to WeChat's own customer-service desk. KfAccount pins the fan to
// one agent and may be empty.
type TransferReply struct{ KfAccount string }

// AIReply hands the message to WeChat's built-in AI reply, which few accounts have.
type AIReply struct{}

// MsgType returns "text".
func (TextReply) MsgType() string { return typeText }

// MsgType returns "image".
func (ImageReply) MsgType() string { return "image" }

// MsgType returns "voice".
func (VoiceReply) MsgType() string { return "voice" }

// MsgType returns "video".
func (VideoReply) MsgType() string { return "video" }

// MsgType returns "music".
func (MusicReply) MsgType() string { return "music" }

// MsgType returns "news".
func (NewsReply) MsgType() string { return "news" }

// MsgType returns "transfer_customer_service".
func (TransferReply) MsgType() string { return "transfer_customer_service" }

// MsgType returns "transfer_biz_ai_ivr".
func (AIReply) MsgType() string { return "transfer_biz_ai_ivr" }

// Limits of passive replies. A text of 2048 bytes makes WeChat show a fault to the fan.
const (
	DefaultReplyTextBytes = 2047
	DefaultReplyArticles  = 1
	MaxReplyArticles      = 8
)

// ReplyLimits bounds a passive reply. A zero field takes its default.
type ReplyLimits struct {
	// TextBytes is the size of a text in UTF-8.
	TextBytes int
	// Articles is the number of articles in a news reply, at most MaxReplyArticles. More than one is
	// shown after menu clicks and follows only, if at all.
	Articles int
}

func (l ReplyLimits) orDefaults() ReplyLimits {
	return ReplyLimits{
		TextBytes: bounded(l.TextBytes, DefaultReplyTextBytes, MaxBody),
		Articles:  bounded(l.Articles, DefaultReplyArticles, MaxReplyArticles),
	}
}

// Validate reports the first field that makes WeChat refuse the reply, as fault.Invalid. The addresses
// are not checked here: CheckBody is enough for a reply without them.
func (r Reply) Validate(limits ReplyLimits) error {
	switch {
	case r.ToUserName == "":
		return missing("to_user_name")
	case r.FromUserName == "":
		return missing("from_user_name")
	case r.CreateTime <= 0:
		return missing("create_time")
	}
	return CheckBody(r.Body, limits)
}

// CheckBody reports the first wrong field of a reply that has no addresses yet, as fault.Invalid.
func CheckBody(body ReplyBody, limits ReplyLimits) error {
	if body == nil {
		return missing("body")
	}
	return body.check(limits.orDefaults())
}

func missing(field string) error { return fault.Errorf(fault.Invalid, "%s: required", field) }

func (t TextReply) check(limits ReplyLimits) error {
	switch {
	case !utf8.ValidString(t.Content):
		return fault.New(fault.Invalid, "text.content: not UTF-8")
	case IsBlank(t.Content):
		return missing("text.content")
	case len(t.Content) > limits.TextBytes:
		return fault.Errorf(fault.Invalid, "text.content: at most %d bytes, has %d", limits.TextBytes, len(t.Content))
	}
	return nil
}

// IsBlank reports whether a fan would see nothing of s: WeChat calls such a reply malformed.
func IsBlank(s string) bool {
	return strings.TrimFunc(s, func(r rune) bool {
		return isControl(r) || r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == 0xfffe || r == 0xffff
	}) == ""
}

func (i ImageReply) check(ReplyLimits) error { return requireText("image.media_id", i.MediaID) }

func (v VoiceReply) check(ReplyLimits) error { return requireText("voice.media_id", v.MediaID) }

func (v VideoReply) check(ReplyLimits) error { return requireText("video.media_id", v.MediaID) }

func (m MusicReply) check(ReplyLimits) error {
	return requireText("music.thumb_media_id", m.ThumbMediaID)
}

func (n NewsReply) check(limits ReplyLimits) error {
	if len(n.Articles) == 0 {
		return missing("news.articles")
	}
	if len(n.Articles) > limits.Articles {
		return fault.Errorf(fault.Invalid, "news.articles: at most %d, has %d", limits.Articles, len(n.Articles))
	}
	for i, a := range n.Articles {
		at := "news.articles[" + strconv.Itoa(i) + "]"
		if err := requireText(at+".title", a.Title); err != nil {
			return err
		}
		if err := requireText(at+".url", a.URL); err != nil {
			return err
		}
	}
	return nil
}

func (TransferReply) check(ReplyLimits) error { return nil }

func (AIReply) check(ReplyLimits) error { return nil }

func requireText(field, value string) error {
	if IsBlank(value) {
		return missing(field)
	}
	return nil
}
