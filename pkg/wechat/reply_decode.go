package wechat

import (
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// DecodeReply reads a passive reply as WeChat would: it is for those who play WeChat, and for tests.
// It does not validate: an empty text is returned as such.
func DecodeReply(body []byte, limits Limits) (Reply, Format, error) {
	doc := new(document)
	format, err := doc.parse(body, limits)
	if err != nil {
		return Reply{}, 0, err
	}
	root := Tree{doc: doc}
	r := Reply{
		ToUserName:   trimmed(root, "ToUserName"),
		FromUserName: trimmed(root, "FromUserName"),
		CreateTime:   parseInt(root.Child("CreateTime").Text()),
		Body:         replyBodyOf(root),
	}
	if r.Body == nil {
		return Reply{}, 0, fault.New(fault.Invalid, "decode reply: unknown MsgType")
	}
	return r, format, nil
}

func replyBodyOf(root Tree) ReplyBody {
	switch strings.ToLower(trimmed(root, "MsgType")) {
	case typeText:
		return TextReply{Content: root.Child("Content").Text()}
	case "image":
		return ImageReply{MediaID: mediaIDOf(root, "Image")}
	case "voice":
		return VoiceReply{MediaID: mediaIDOf(root, "Voice")}
	case "video":
		v := root.Child("Video")
		return VideoReply{
			MediaID:     mediaIDOf(root, "Video"),
			Title:       v.Child("Title").Text(),
			Description: v.Child("Description").Text(),
		}
	case "music":
		m := root.Child("Music")
		return MusicReply{
			Title:        m.Child("Title").Text(),
			Description:  m.Child("Description").Text(),
			MusicURL:     trimmed(m, "MusicUrl"),
			HQMusicURL:   trimmed(m, "HQMusicUrl"),
			ThumbMediaID: trimmed(m, "ThumbMediaId"),
		}
	case "news":
		return newsReplyOf(root)
	case "transfer_customer_service":
		return TransferReply{KfAccount: trimmed(root.Child("TransInfo"), "KfAccount")}
	case "transfer_biz_ai_ivr":
		return AIReply{}
	default:
		return nil
	}
}

// mediaIDOf reads MediaId below name, or directly below the root as some SDKs write it.
func mediaIDOf(root Tree, name string) string {
	if wrapper := root.Child(name); wrapper.Exists() {
		return trimmed(wrapper, "MediaId")
	}
	return trimmed(root, "MediaId")
}

func newsReplyOf(root Tree) NewsReply {
	var n NewsReply
	for item := range listOf(root, "Articles") {
		n.Articles = append(n.Articles, Article{
			Title:       item.Child("Title").Text(),
			Description: item.Child("Description").Text(),
			PicURL:      trimmed(item, "PicUrl"),
			URL:         trimmed(item, "Url"),
		})
	}
	return n
}
