package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// Push describes what a fan does, or an event that WeChat itself raises.
type Push struct {
	Account string `json:"account"`
	OpenID  string `json:"openid"`
	// Type is a message type (text, image, …) or the name of an event (subscribe, CLICK, …). Names that are not known are events.
	Type string `json:"type"`
	// Fields replace or extend the elements of the type. Values are texts, numbers, objects and lists of them.
	// "MsgType" turns an unknown type into a message.
	Fields map[string]any `json:"fields,omitempty"`
	// MsgID replaces the message id that WeChat would give; two fans may share one.
	MsgID string `json:"msg_id,omitempty"`
	// PreviousKeys seals the push with the token and key before their last change.
	PreviousKeys bool `json:"previous_keys,omitempty"`
	// Scheduled is the time from which latency counts; zero means when the push starts.
	Scheduled time.Time `json:"-"`
}

// builder gives the elements of a type besides the common ones.
type builder func(b *build) codec.Fields

type build struct{ push Push }

// get returns the text of a field that the caller gave, or a default.
func (b *build) get(name, otherwise string) string {
	switch v := b.push.Fields[name].(type) {
	case string:
		return v
	case nil:
		return otherwise
	default:
		return fmt.Sprint(v)
	}
}

// withMedia fills in a medium for messages that name none.
func (p Push) withMedia(media func(account, typ string) (id, url string)) Push {
	typ := map[string]string{"image": "image", "voice": "voice", "video": "video", "shortvideo": "video"}[p.Type]
	if typ == "" || media == nil || p.Fields["MediaId"] != nil {
		return p
	}
	id, url := media(p.Account, typ)
	p.Fields = maps.Clone(p.Fields)
	if p.Fields == nil {
		p.Fields = map[string]any{}
	}
	p.Fields["MediaId"] = id
	if typ == "image" {
		p.Fields["PicUrl"] = url
	}
	return p
}

// texts returns elements with defaults, given as name, value, name, value…
func (b *build) texts(pairs ...string) codec.Fields {
	var f codec.Fields
	for i := 0; i+1 < len(pairs); i += 2 {
		f = append(f, codec.Field{Name: pairs[i], Value: b.get(pairs[i], pairs[i+1])})
	}
	return f
}

func texts(pairs ...string) builder {
	return func(b *build) codec.Fields { return b.texts(pairs...) }
}

// with returns the first builder's elements and a nested one.
func with(first builder, name string, value any) builder {
	return func(b *build) codec.Fields { return append(first(b), codec.Field{Name: name, Value: value}) }
}

var messages = map[string]builder{
	"text":  texts("Content", "hi"),
	"image": texts("PicUrl", "", "MediaId", ""),
	"voice": func(b *build) codec.Fields {
		return b.texts("MediaId", "", "Format", "amr", "MediaId16K", b.get("MediaId", "")+"16k")
	},
	"video":      texts("MediaId", "", "ThumbMediaId", "thumb"),
	"shortvideo": texts("MediaId", "", "ThumbMediaId", "thumb"),
	"location": func(b *build) codec.Fields {
		f := codec.Fields{{Name: "Location_X", Value: codec.Number("31.194190")}, {Name: "Location_Y", Value: codec.Number("121.320570")},
			{Name: "Scale", Value: int64(16)}}
		return append(f, b.texts("Label", "上海虹桥国际机场")...)
	},
	"link":            texts("Title", "wxbus", "Description", "an event bus", "Url", "https://example.com/"),
	"miniprogrampage": texts("Title", "card", "AppId", "wx0000000000000000", "PagePath", "pages/index", "ThumbUrl", "", "ThumbMediaId", ""),
	"file":            texts("Title", "a.pdf", "Description", "", "FileKey", "key", "FileMd5", "d41d8cd98f00b204e9800998ecf8427e", "FileTotalLen", "1024"),
}

var (
	scanCode = codec.Fields{{Name: "ScanType", Value: "qrcode"}, {Name: "ScanResult", Value: "1"}}
	pictures = codec.Fields{{Name: "Count", Value: int64(1)},
		{Name: "PicList", Value: codec.Fields{{Name: "item", Value: codec.Fields{{Name: "PicMd5Sum", Value: "1b5f7c23b5bf75682a53e7b6d163e185"}}}}}}
	place = codec.Fields{{Name: "Location_X", Value: "31.19419"}, {Name: "Location_Y", Value: "121.32057"}, {Name: "Scale", Value: "15"},
		{Name: "Label", Value: "上海市闵行区"}, {Name: "Poiname", Value: ""}}
	noCopyright = codec.Fields{{Name: "Count", Value: int64(0)}, {Name: "ResultList", Value: codec.Fields{}}, {Name: "CheckState", Value: int64(0)}}
	noArticles  = codec.Fields{{Name: "Count", Value: int64(0)}, {Name: "ResultList", Value: codec.Fields{}}}
	published   = codec.Fields{{Name: "publish_id", Value: "2247503051"}, {Name: "publish_status", Value: int64(0)}, {Name: "article_id", Value: "article"},
		{Name: "article_detail", Value: codec.Fields{{Name: "count", Value: int64(1)},
			{Name: "item", Value: codec.Fields{{Name: "idx", Value: int64(1)}, {Name: "article_url", Value: "https://example.com/"}}}}}}
)

// events has the elements of every event of section c.2 that has any; the key is the lower-case name.
var events = map[string]builder{
	"subscribe":              texts("EventKey", ""),
	"unsubscribe":            texts("EventKey", ""),
	"scan":                   texts("EventKey", "1", "Ticket", "gQTICKET"),
	"location":               locationEvent,
	"click":                  texts("EventKey", "KEY"),
	"view":                   texts("EventKey", "https://example.com/", "MenuId", "1"),
	"view_miniprogram":       texts("EventKey", "pages/index", "MenuId", "1"),
	"scancode_push":          with(texts("EventKey", "KEY"), "ScanCodeInfo", scanCode),
	"scancode_waitmsg":       with(texts("EventKey", "KEY"), "ScanCodeInfo", scanCode),
	"pic_sysphoto":           with(texts("EventKey", "KEY"), "SendPicsInfo", pictures),
	"pic_photo_or_album":     with(texts("EventKey", "KEY"), "SendPicsInfo", pictures),
	"pic_weixin":             with(texts("EventKey", "KEY"), "SendPicsInfo", pictures),
	"location_select":        with(texts("EventKey", "KEY"), "SendLocationInfo", place),
	"user_enter_tempsession": texts("SessionFrom", ""),
	"enter":                  texts(),
	"templatesendjobfinish":  texts("MsgID", "1", "Status", "success"),
	"masssendjobfinish": func(b *build) codec.Fields {
		f := b.texts("MsgID", "1", "Status", "send success")
		for _, n := range []string{"TotalCount", "FilterCount", "SentCount", "ErrorCount"} {
			f = append(f, codec.Field{Name: n, Value: int64(0)})
		}
		return append(f, codec.Field{Name: "CopyrightCheckResult", Value: noCopyright}, codec.Field{Name: "ArticleUrlResult", Value: noArticles})
	},
	"publishjobfinish":   with(texts(), "PublishEventInfo", published),
	"kf_create_session":  texts("KfAccount", ""),
	"kf_close_session":   texts("KfAccount", ""),
	"kf_switch_session":  texts("FromKfAccount", "", "ToKfAccount", ""),
	"user_info_modified": texts("OpenID", "", "AppID", ""),
	"debug_demo":         texts("debug_str", "hello world"),

	"subscribe_msg_popup_event":       subscribeList("SubscribeMsgPopupEvent", "TemplateId", "template", "SubscribeStatusString", "accept", "PopupScene", "0"),
	"subscribe_msg_change_event":      subscribeList("SubscribeMsgChangeEvent", "TemplateId", "template", "SubscribeStatusString", "reject"),
	"subscribe_msg_sent_event":        subscribeList("SubscribeMsgSentEvent", "TemplateId", "template", "MsgID", "1", "ErrorCode", "0", "ErrorStatus", "success"),
	"user_authorization_revoke":       texts("OpenID", "", "AppID", "", "RevokeInfo", "1"),
	"user_authorization_cancellation": texts("OpenID", "", "AppID", ""),
	"qualification_verify_success":    texts("ExpiredTime", "1800000000"),
	"qualification_verify_fail":       texts("FailTime", "1700000000", "FailReason", "by time"),
	"naming_verify_success":           texts("ExpiredTime", "1800000000"),
	"naming_verify_fail":              texts("FailTime", "1700000000", "FailReason", "by time"),
	"annual_renew":                    texts("ExpiredTime", "1800000000"),
	"verify_expired":                  texts("ExpiredTime", "1800000000"),
	"user_get_card":                   texts("CardId", "card", "IsGiveByFriend", "0", "UserCardCode", "1"),
	"wxa_media_check":                 texts("appid", "", "trace_id", "1"),
}

func locationEvent(*build) codec.Fields {
	return codec.Fields{{Name: "Latitude", Value: codec.Number("31.194190")}, {Name: "Longitude", Value: codec.Number("121.320570")},
		{Name: "Precision", Value: codec.Number("119.385040")}}
}

// subscribeList has a wrapper element in XML and a flat list in JSON, where every value is a text.
func subscribeList(wrapper string, pairs ...string) builder {
	return func(b *build) codec.Fields {
		list := codec.Field{Name: "List", Value: b.texts(pairs...)}
		return codec.Fields{{Name: wrapper, Value: codec.Fields{list}}}
	}
}

// own elements of a list are not top-level ones.
var listElements = map[string]bool{"TemplateId": true, "SubscribeStatusString": true, "PopupScene": true, "ErrorCode": true, "ErrorStatus": true}

// Kinds returns the names of the message and event types that are known with their elements.
func Kinds() (messageTypes, eventTypes []string) {
	return slices.Sorted(maps.Keys(messages)), slices.Sorted(maps.Keys(events))
}

// kind tells what the push is.
func (p Push) kind() ledger.Kind {
	if t, ok := p.Fields["MsgType"].(string); ok && t != "" && t != "event" {
		return ledger.Kind{MsgType: t}
	}
	if messages[p.Type] != nil {
		_, tap := p.Fields["bizmsgmenuid"]
		return ledger.Kind{MsgType: p.Type, MenuTap: tap && p.Type == "text"}
	}
	return ledger.Kind{MsgType: "event", Event: p.Type}
}

var elementName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

func (p Push) validate() error {
	switch {
	case !elementName.MatchString(p.Type):
		return fmt.Errorf("type %.32q: must be a name", p.Type)
	case !openIDText.MatchString(p.OpenID):
		return errors.New("openid: must have 1 to 64 characters of A-Z a-z 0-9 _ -")
	}
	return validNames(p.Fields)
}

var openIDText = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func validNames(fields map[string]any) error {
	for name, v := range fields {
		if !elementName.MatchString(name) {
			return fmt.Errorf("fields: %.32q is not a name", name)
		}
		if nested, ok := v.(map[string]any); ok {
			if err := validNames(nested); err != nil {
				return err
			}
		}
	}
	return nil
}

// elements returns every element of the push in order.
func (p Push) elements(a codec.Account, o ledger.Opened, b *build) codec.Fields {
	k := p.kind()
	f := codec.Fields{{Name: "ToUserName", Value: a.OriginalID}, {Name: "FromUserName", Value: p.OpenID},
		{Name: "CreateTime", Value: o.CreateTime}, {Name: "MsgType", Value: k.MsgType}}
	make := messages[k.MsgType]
	if k.IsEvent() {
		f = append(f, codec.Field{Name: "Event", Value: k.Event})
		make = events[strings.ToLower(k.Event)]
	}
	if make != nil {
		f = append(f, make(b)...)
	}
	f = p.override(f)
	if !k.IsEvent() {
		f = append(f, codec.Field{Name: "MsgId", Value: messageID(o.MsgID)})
	}
	if a.Format == codec.FormatJSON {
		f = flatten(f)
	}
	return f
}

// messageID is bare where it is a number; some pushes have other ids (b).
func messageID(id string) any {
	if _, err := strconv.ParseUint(id, 10, 64); err == nil {
		return codec.Number(id)
	}
	return id
}

// flatten lifts the list of subscribe events out of its wrapper, as JSON pushes have it.
func flatten(f codec.Fields) codec.Fields {
	last := len(f) - 1
	if last >= 0 && strings.HasPrefix(f[last].Name, "SubscribeMsg") {
		if inner, ok := f[last].Value.(codec.Fields); ok {
			return append(f[:last:last], inner...)
		}
	}
	return f
}

// override replaces elements by the caller's fields and appends the others in the order of their names.
func (p Push) override(f codec.Fields) codec.Fields {
	isList := strings.HasPrefix(strings.ToLower(p.Type), "subscribe_msg_")
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		if name == "MsgType" || (isList && (listElements[name] || name == "MsgID")) {
			continue
		}
		var values []any
		if list, ok := p.Fields[name].([]any); ok {
			values = list
		} else {
			values = []any{p.Fields[name]}
		}
		at := slices.IndexFunc(f, func(x codec.Field) bool { return x.Name == name })
		if at >= 0 {
			f = slices.Delete(f, at, at+1)
		} else {
			at = len(f)
		}
		for i, v := range values {
			f = slices.Insert(f, at+i, codec.Field{Name: name, Value: toValue(v)})
		}
	}
	return f
}

// toValue turns a decoded JSON value into the value of a field.
func toValue(v any) any {
	switch x := v.(type) {
	case string:
		return x
	case int:
		return int64(x)
	case int64:
		return x
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return int64(x)
		}
		return codec.Number(strconv.FormatFloat(x, 'f', -1, 64))
	case json.Number:
		return codec.Number(x)
	case map[string]any:
		var f codec.Fields
		for _, name := range slices.Sorted(maps.Keys(x)) {
			list, ok := x[name].([]any)
			if !ok {
				list = []any{x[name]}
			}
			for _, item := range list {
				f = append(f, codec.Field{Name: name, Value: toValue(item)})
			}
		}
		return f
	default:
		return fmt.Sprint(v)
	}
}
