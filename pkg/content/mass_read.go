package content

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// MaxMassBody bounds the body of a mass message: the longest list of fans and an article.
const MaxMassBody = 2 << 20

// MassFromJSON reads the body of mass/sendall or of mass/send: which of both follows from its target, a filter or a list of
// openids in touser. The errors are FieldErrors with the paths of the JSON, for example "filter.tag_id: must be a number".
func MassFromJSON(body []byte) (*senderv1.MassMessage, error) {
	m, _, err := massFromJSON(body, massTarget)
	return m, err
}

// PreviewFromJSON reads the body of mass/preview: a message, and who looks at it, by openid in touser or by WeChat id in
// towxname.
func PreviewFromJSON(body []byte) (m *senderv1.MassMessage, openid, wechatName string, err error) {
	m, to, err := massFromJSON(body, nil)
	return m, to.openid, to.name, err
}

// onlooker is who looks at a preview.
type onlooker struct{ openid, name string }

// massFromJSON reads a message; target reads whom it goes to, nil reads an onlooker.
func massFromJSON(body []byte, target func(*object, *senderv1.MassMessage)) (m *senderv1.MassMessage, to onlooker, err error) {
	if len(body) > MaxMassBody {
		return nil, to, FieldErrors{{"body", "larger than 2 MiB"}}.err()
	}
	var members map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &members) != nil || members == nil {
		return nil, to, FieldErrors{{"body", "must be a JSON object in UTF-8"}}.err()
	}
	var p FieldErrors
	root := object{members: members, problems: &p}
	m = &senderv1.MassMessage{SendIgnoreReprint: root.truth("send_ignore_reprint")}
	if target != nil {
		target(&root, m)
	} else {
		to = onlooker{root.text("touser"), root.text("towxname")}
		if to == (onlooker{}) {
			p.add("touser", "required: the openid of who looks, or their WeChat id in towxname")
		}
	}
	root.massContent(m)
	root.rejectOthers()
	if len(p) == 0 {
		p = massPaths(ValidateMass(m, target != nil))
	}
	if len(p) > 0 {
		return nil, onlooker{}, p.err()
	}
	return m, to, nil
}

// massTarget reads the filter or the list.
func massTarget(o *object, m *senderv1.MassMessage) {
	filter := o.object("filter")
	openids, listed := o.texts("touser", MaxMassList)
	switch {
	case filter.members != nil && listed:
		o.problems.add("touser", "stands beside filter: only one of them says who gets it")
	case listed:
		m.Target = &senderv1.MassMessage_Openids{Openids: &senderv1.MassOpenIDs{Openids: openids}}
	case filter.members == nil:
		if len(*o.problems) == 0 {
			o.problems.add("filter", `required: {"is_to_all":true} or {"tag_id":100}, or a list of %d to %d openids in touser`, MinMassList, MaxMassList)
		}
	case filter.flag("is_to_all"):
		m.Target = &senderv1.MassMessage_ToAll{ToAll: true}
		filter.textOrNumber("tag_id") // WeChat's own examples send an empty one
		filter.rejectOthers()
	default:
		m.Target = &senderv1.MassMessage_TagId{TagId: filter.number("tag_id")}
		filter.rejectOthers()
	}
}

// massContent reads the member that msgtype names.
func (o *object) massContent(m *senderv1.MassMessage) {
	msgType := o.text("msgtype")
	o.problems.require("msgtype", msgType)
	name := msgType
	if msgType == "image" {
		name = "images" // WeChat's own spelling
	}
	read, known := massReaders[msgType]
	switch {
	case msgType == "":
		return
	case !known:
		o.problems.add("msgtype", "must be text, image, voice, mpvideo, mpnews or wxcard")
		return
	}
	part := o.object(name)
	if part.members == nil {
		o.problems.add(name, "required")
		return
	}
	read(&part, m)
	part.rejectOthers()
}

var massReaders = map[string]func(*object, *senderv1.MassMessage){
	"text": func(o *object, m *senderv1.MassMessage) {
		m.Body = &senderv1.MassMessage_Text{Text: &eventv1.TextContent{Content: o.text("content")}}
	},
	"voice": func(o *object, m *senderv1.MassMessage) {
		m.Body = &senderv1.MassMessage_Voice{Voice: &eventv1.VoiceContent{MediaId: o.text("media_id")}}
	},
	"image": func(o *object, m *senderv1.MassMessage) {
		ids, _ := o.texts("media_ids", MaxMassImages)
		m.Body = &senderv1.MassMessage_Images{Images: &senderv1.MassImages{
			MediaIds: ids, Recommend: o.text("recommend"),
			NeedOpenComment: o.truth("need_open_comment"), OnlyFansCanComment: o.truth("only_fans_can_comment"),
		}}
	},
	"mpvideo": func(o *object, m *senderv1.MassMessage) {
		m.Body = &senderv1.MassMessage_Video{Video: &eventv1.VideoContent{
			MediaId: o.text("media_id"), Title: o.text("title"), Description: o.text("description"),
		}}
	},
	"mpnews": func(o *object, m *senderv1.MassMessage) {
		m.Body = &senderv1.MassMessage_MpNews{MpNews: &eventv1.MpNewsContent{MediaId: o.text("media_id")}}
	},
	"wxcard": func(o *object, m *senderv1.MassMessage) {
		m.Body = &senderv1.MassMessage_Card{Card: &eventv1.CardContent{CardId: o.text("card_id")}}
	},
}

// massNames turns paths of MassMessage into those of the JSON.
var massNames = strings.NewReplacer(
	"to_all", "filter.is_to_all", "tag_id", "filter.tag_id", "openids", "touser", "video.", "mpvideo.", "mp_news.", "mpnews.", "card.", "wxcard.",
)

func massPaths(err error) FieldErrors {
	found, _ := errors.AsType[FieldErrors](err)
	for i, problem := range found {
		found[i].Path = massNames.Replace(problem.Path)
	}
	return found
}

// texts reads a list of at most limit strings; given is false when it is absent.
func (o *object) texts(name string, limit int) (list []string, given bool) {
	value, ok := o.at(name)
	if !ok {
		return nil, false
	}
	var values []json.RawMessage
	if json.Unmarshal(value, &values) != nil {
		o.problems.add(o.path+name, "must be a list of strings")
		return nil, true
	}
	if len(values) > limit {
		o.problems.add(o.path+name, "at most %d, has %d", limit, len(values))
		return nil, true
	}
	list = make([]string, len(values))
	for i, value := range values {
		if json.Unmarshal(value, &list[i]) != nil || string(value) == "null" {
			o.problems.add(o.path+name+"["+strconv.Itoa(i)+"]", "must be a string")
		}
		list[i] = dropControl(list[i])
	}
	return list, true
}

// truth reads WeChat's 0 and 1, or true and false; absent and null are false.
func (o *object) truth(name string) bool {
	switch value, ok := o.at(name); {
	case !ok:
		return false
	case string(value) == "0", string(value) == "false":
		return false
	case string(value) == "1", string(value) == "true":
		return true
	default:
		o.problems.add(o.path+name, "must be 0 or 1")
		return false
	}
}

// number reads a whole number that must be there; WeChat takes it as a string too.
func (o *object) number(name string) int32 {
	text := o.textOrNumber(name)
	if text == "" {
		o.problems.add(o.path+name, "required")
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		o.problems.add(o.path+name, "must be a whole number")
	}
	return int32(n)
}
