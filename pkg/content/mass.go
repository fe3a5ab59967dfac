package content

import (
	"fmt"

	"github.com/wxbus/wxbus/pkg/wechat"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// Limits of a mass message (protocol g.3).
const (
	MinMassList   = 2
	MaxMassList   = 10_000
	MaxMassImages = 20
)

type massBody struct {
	Filter        *massFilter `json:"filter,omitempty"`
	ToUser        any         `json:"touser,omitempty"`
	ToName        string      `json:"towxname,omitempty"`
	MsgType       string      `json:"msgtype"`
	Text          *kfText     `json:"text,omitempty"`
	Voice         *kfMedia    `json:"voice,omitempty"`
	Images        *massImages `json:"images,omitempty"`
	Video         *kfVideo    `json:"mpvideo,omitempty"`
	News          *kfMedia    `json:"mpnews,omitempty"`
	Card          *kfCard     `json:"wxcard,omitempty"`
	IgnoreReprint int         `json:"send_ignore_reprint"`
	ClientID      string      `json:"clientmsgid,omitempty"`
}

type massFilter struct {
	ToAll bool  `json:"is_to_all"`
	TagID int32 `json:"tag_id,omitempty"`
}

type massImages struct {
	MediaIDs      []string `json:"media_ids"`
	Recommend     string   `json:"recommend,omitempty"`
	OpenComment   int      `json:"need_open_comment"`
	OnlyFansWrite int      `json:"only_fans_can_comment"`
}

// Mass returns a mass message as the body of mass/sendall, or of mass/send when its target is a list of fans. clientID
// makes a repetition within a day harmless.
func Mass(m *senderv1.MassMessage, clientID string) ([]byte, error) {
	if err := ValidateMass(m, true); err != nil {
		return nil, err
	}
	body := massContent(m)
	body.ClientID = clientID
	switch target := m.GetTarget().(type) {
	case *senderv1.MassMessage_Openids:
		body.ToUser = target.Openids.GetOpenids()
	case *senderv1.MassMessage_TagId:
		body.Filter = &massFilter{TagID: target.TagId}
	default:
		body.Filter = &massFilter{ToAll: true}
	}
	return wechat.EncodeJSON(body)
}

// MassPreview returns a mass message as the body of mass/preview for one fan, by WeChat id or by openid.
func MassPreview(m *senderv1.MassMessage, openid, wechatName string) ([]byte, error) {
	if err := ValidateMass(m, false); err != nil {
		return nil, err
	}
	body := massContent(m)
	if wechatName != "" {
		body.ToName = wechatName
	} else {
		body.ToUser = openid
	}
	return wechat.EncodeJSON(body)
}

func massContent(m *senderv1.MassMessage) massBody {
	var body massBody
	if m.GetSendIgnoreReprint() {
		body.IgnoreReprint = 1
	}
	switch b := m.GetBody().(type) {
	case *senderv1.MassMessage_Text:
		body.MsgType, body.Text = "text", &kfText{b.Text.GetContent()}
	case *senderv1.MassMessage_Voice:
		body.MsgType, body.Voice = "voice", &kfMedia{b.Voice.GetMediaId()}
	case *senderv1.MassMessage_Video:
		body.MsgType, body.Video = "mpvideo", &kfVideo{MediaID: b.Video.GetMediaId(), Title: b.Video.GetTitle(), Description: b.Video.GetDescription()}
	case *senderv1.MassMessage_MpNews:
		body.MsgType, body.News = "mpnews", &kfMedia{b.MpNews.GetMediaId()}
	case *senderv1.MassMessage_Card:
		body.MsgType, body.Card = "wxcard", &kfCard{b.Card.GetCardId()}
	case *senderv1.MassMessage_Images:
		body.MsgType = "image"
		body.Images = &massImages{
			MediaIDs: b.Images.GetMediaIds(), Recommend: b.Images.GetRecommend(),
			OpenComment: digit(b.Images.GetNeedOpenComment()), OnlyFansWrite: digit(b.Images.GetOnlyFansCanComment()),
		}
	}
	return body
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ValidateMass reports what is wrong with a mass message; target says whether it must have one. The errors are
// FieldErrors and fault.Invalid.
func ValidateMass(m *senderv1.MassMessage, target bool) error {
	var p FieldErrors
	if target {
		checkMassTarget(m, &p)
	}
	switch b := m.GetBody().(type) {
	case *senderv1.MassMessage_Text:
		p.require("text.content", b.Text.GetContent())
		if len(b.Text.GetContent()) > MaxMessage {
			p.add("text.content", "at most %d bytes", MaxMessage)
		}
	case *senderv1.MassMessage_Voice:
		p.require("voice.media_id", b.Voice.GetMediaId())
	case *senderv1.MassMessage_Video:
		p.require("video.media_id", b.Video.GetMediaId())
	case *senderv1.MassMessage_MpNews:
		p.require("mp_news.media_id", b.MpNews.GetMediaId())
	case *senderv1.MassMessage_Card:
		p.require("card.card_id", b.Card.GetCardId())
	case *senderv1.MassMessage_Images:
		if n := len(b.Images.GetMediaIds()); n == 0 || n > MaxMassImages {
			p.add("images.media_ids", "1 to %d images, has %d", MaxMassImages, n)
		}
		for i, id := range b.Images.GetMediaIds() {
			p.require(fmt.Sprintf("images.media_ids[%d]", i), id)
		}
	default:
		p.add("body", "required")
	}
	return p.err()
}

func checkMassTarget(m *senderv1.MassMessage, p *FieldErrors) {
	switch t := m.GetTarget().(type) {
	case *senderv1.MassMessage_ToAll:
		if !t.ToAll {
			p.add("to_all", "must be true")
		}
	case *senderv1.MassMessage_TagId:
		if t.TagId < 0 {
			p.add("tag_id", "must not be negative")
		}
	case *senderv1.MassMessage_Openids:
		list := t.Openids.GetOpenids()
		if n := len(list); n < MinMassList || n > MaxMassList {
			p.add("openids", "%d to %d fans, has %d", MinMassList, MaxMassList, n)
			return
		}
		seen := make(map[string]bool, len(list))
		for i, openid := range list {
			switch {
			case openid == "" || len(openid) > 128:
				p.add(fmt.Sprintf("openids[%d]", i), "must be 1 to 128 bytes")
			case seen[openid]:
				p.add(fmt.Sprintf("openids[%d]", i), "is there twice")
			}
			seen[openid] = true
		}
	default:
		p.add("target", "required")
	}
}
