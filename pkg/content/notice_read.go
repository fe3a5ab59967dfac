package content

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// noticeReaders holds a reader for each msgtype that is not one of message/custom/send but of this
// system: typing, template, subscribe and one_time. The members are those of WeChat's own APIs.
var noticeReaders = map[string]func(*object) *eventv1.Content{
	"typing": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Typing{Typing: &eventv1.TypingContent{Cancel: o.flag("cancel")}}}
	},
	"template": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Template{Template: &eventv1.TemplateContent{
			TemplateId: o.text("template_id"), Url: o.text("url"), MiniProgram: o.page("miniprogram"),
			Data: o.values("data"), ClientMsgId: o.text("client_msg_id"),
		}}}
	},
	"subscribe": func(o *object) *eventv1.Content {
		return &eventv1.Content{Body: &eventv1.Content_Subscribe{Subscribe: &eventv1.SubscribeContent{
			TemplateId: o.text("template_id"), Page: o.text("page"), MiniProgram: o.page("miniprogram"),
			Data: o.values("data"), MiniProgramState: o.text("miniprogram_state"), Lang: o.text("lang"),
		}}}
	},
	"one_time": func(o *object) *eventv1.Content {
		c := &eventv1.OneTimeContent{
			TemplateId: o.text("template_id"), Url: o.text("url"), MiniProgram: o.page("miniprogram"), Title: o.text("title"),
		}
		if scene := o.textOrNumber("scene"); scene != "" {
			n, err := strconv.ParseInt(scene, 10, 32)
			if err != nil {
				o.problems.add(o.path+"scene", "must be a number")
			}
			c.Scene = int32(n)
		}
		data := o.object("data")
		if data.members != nil {
			c.Content = data.value("content")
			data.rejectOthers()
		}
		return &eventv1.Content{Body: &eventv1.Content_OneTime{OneTime: c}}
	},
}

// page reads a page of a Mini Program; absent gives nil.
func (o *object) page(name string) *eventv1.MiniProgramPath {
	part := o.object(name)
	if part.members == nil {
		return nil
	}
	p := &eventv1.MiniProgramPath{Appid: part.text("appid"), PagePath: part.text("pagepath")}
	part.rejectOthers()
	return p
}

// values reads the fields of a template.
func (o *object) values(name string) map[string]*eventv1.TemplateValue {
	part := o.object(name)
	if len(part.members) > MaxFields {
		o.problems.add(o.path+name, "at most %d, has %d", MaxFields, len(part.members))
		return nil
	}
	out := make(map[string]*eventv1.TemplateValue, len(part.members))
	for _, field := range slices.Sorted(maps.Keys(part.members)) {
		out[dropControl(field)] = part.value(field)
	}
	return out
}

// value reads {"value": …}; a number is taken as it is spelled.
func (o *object) value(name string) *eventv1.TemplateValue {
	part := object{path: o.path + shortened(name) + ".", problems: o.problems}
	raw, ok := o.at(name)
	if !ok || json.Unmarshal(raw, &part.members) != nil || part.members == nil {
		o.problems.add(o.path+shortened(name), "must be an object with value")
		return nil
	}
	v := &eventv1.TemplateValue{Value: part.textOrNumber("value"), Color: part.text("color")}
	part.rejectOthers()
	return v
}

// flag reads true or false; absent and null are false.
func (o *object) flag(name string) bool {
	value, ok := o.at(name)
	if !ok {
		return false
	}
	var b bool
	if json.Unmarshal(value, &b) != nil {
		o.problems.add(o.path+name, "must be true or false")
	}
	return b
}

// noticeNames turns paths of a notice into those of its JSON.
var noticeNames = strings.NewReplacer(
	"mini_program.", "miniprogram.", "page_path", "pagepath", "mini_program_state", "miniprogram_state", "one_time.content", "one_time.data.content",
)
