// Package content translates one message for a fan, the protobuf Content, to and from what WeChat
// reads: a passive reply (protocol d) and the body of message/custom/send (protocol e.1).
//
// A Content does not say how it will be sent. [Validate] checks what every way needs, [ValidateFor]
// what one [Target] takes: not every type can be sent passively, and Mini Programs take few of them.
// All wrong fields are reported at once, each with its path, as [FieldErrors] of fault.Invalid.
package content

import (
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// MsgType returns the msgtype of message/custom/send for c, the MsgType of a native transfer, or the word
// of FromJSON for what has neither; "" for an empty content.
func MsgType(c *eventv1.Content) string {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		return "text"
	case *eventv1.Content_Image:
		return "image"
	case *eventv1.Content_Voice:
		return "voice"
	case *eventv1.Content_Video:
		return "video"
	case *eventv1.Content_Music:
		return "music"
	case *eventv1.Content_News:
		return "news"
	case *eventv1.Content_Menu:
		return "msgmenu"
	case *eventv1.Content_MiniProgram:
		return "miniprogrampage"
	case *eventv1.Content_Link:
		return "link"
	case *eventv1.Content_NativeTransfer:
		return "transfer_customer_service"
	case *eventv1.Content_MpNews:
		return "mpnews"
	case *eventv1.Content_MpArticle:
		return "mpnewsarticle"
	case *eventv1.Content_Card:
		return "wxcard"
	case *eventv1.Content_Typing:
		return "typing"
	case *eventv1.Content_Template:
		return "template"
	case *eventv1.Content_Subscribe:
		return "subscribe"
	case *eventv1.Content_OneTime:
		return "one_time"
	case *eventv1.Content_Raw:
		return b.Raw.GetMsgType()
	default:
		return ""
	}
}
