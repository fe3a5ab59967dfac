package content

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Limits of notices (protocol g.1, g.2).
const (
	// MaxFields is the number of fields of one notice; WeChat's templates have at most a dozen.
	MaxFields = 50
	// MaxFieldValue is the size of one value in bytes, where no rule of the field is tighter.
	MaxFieldValue = 2048
	// MaxClientMsgID is the size of client_msg_id in bytes.
	MaxClientMsgID = 64
	maxScene       = 10_000
	maxTitle       = 15
)

type noticePage struct {
	AppID    string `json:"appid"`
	PagePath string `json:"pagepath,omitempty"`
}

type noticeValue struct {
	Value string `json:"value"`
	Color string `json:"color,omitempty"`
}

type noticeBody struct {
	ToUser           string                 `json:"touser"`
	TemplateID       string                 `json:"template_id"`
	URL              string                 `json:"url,omitempty"`
	Page             string                 `json:"page,omitempty"`
	MiniProgram      *noticePage            `json:"miniprogram,omitempty"`
	ClientMsgID      string                 `json:"client_msg_id,omitempty"`
	MiniProgramState string                 `json:"miniprogram_state,omitempty"`
	Lang             string                 `json:"lang,omitempty"`
	Scene            string                 `json:"scene,omitempty"`
	Title            string                 `json:"title,omitempty"`
	Data             map[string]noticeValue `json:"data"`
}

// Notice returns a template, subscription or one-time message as the body of its API, in JSON that keeps
// every character as it is. clientMsgID makes a repetition of a template message harmless; a
// client_msg_id of the content itself wins.
func Notice(c *eventv1.Content, openid, clientMsgID string) ([]byte, error) {
	if openid == "" {
		return nil, FieldErrors{{"touser", "required"}}.err()
	}
	if err := ValidateFor(c, Target{Route: RouteSend}); err != nil {
		return nil, err
	}
	body := noticeBody{ToUser: openid}
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Template:
		t := b.Template
		body.TemplateID, body.URL, body.MiniProgram = t.GetTemplateId(), t.GetUrl(), pageOf(t.GetMiniProgram())
		body.Data, body.ClientMsgID = valuesOf(t.GetData()), clientMsgID
		if t.GetClientMsgId() != "" {
			body.ClientMsgID = t.GetClientMsgId()
		}
	case *eventv1.Content_Subscribe:
		s := b.Subscribe
		body.TemplateID, body.Page, body.MiniProgram = s.GetTemplateId(), s.GetPage(), pageOf(s.GetMiniProgram())
		body.MiniProgramState, body.Lang, body.Data = s.GetMiniProgramState(), s.GetLang(), valuesOf(s.GetData())
	case *eventv1.Content_OneTime:
		o := b.OneTime
		body.TemplateID, body.URL, body.MiniProgram = o.GetTemplateId(), o.GetUrl(), pageOf(o.GetMiniProgram())
		body.Scene, body.Title = fmt.Sprint(o.GetScene()), o.GetTitle()
		body.Data = valuesOf(map[string]*eventv1.TemplateValue{"content": o.GetContent()})
	default:
		return nil, FieldErrors{{fieldOf(c), "not a template, subscription or one-time message"}}.err()
	}
	return wechat.EncodeJSON(body)
}

func pageOf(p *eventv1.MiniProgramPath) *noticePage {
	if p == nil {
		return nil
	}
	return &noticePage{AppID: p.GetAppid(), PagePath: p.GetPagePath()}
}

func valuesOf(data map[string]*eventv1.TemplateValue) map[string]noticeValue {
	out := make(map[string]noticeValue, len(data))
	for name, v := range data {
		out[name] = noticeValue{v.GetValue(), v.GetColor()}
	}
	return out
}

func checkTemplate(t *eventv1.TemplateContent, p *FieldErrors) {
	p.require("template.template_id", t.GetTemplateId())
	checkPage("template.mini_program", t.GetMiniProgram(), p)
	checkData("template.data", t.GetData(), false, p)
	if len(t.GetClientMsgId()) > MaxClientMsgID {
		p.add("template.client_msg_id", "at most %d bytes", MaxClientMsgID)
	}
}

func checkSubscribe(s *eventv1.SubscribeContent, p *FieldErrors) {
	p.require("subscribe.template_id", s.GetTemplateId())
	checkPage("subscribe.mini_program", s.GetMiniProgram(), p)
	checkData("subscribe.data", s.GetData(), true, p)
	switch s.GetMiniProgramState() {
	case "", "formal", "trial", "developer":
	default:
		p.add("subscribe.mini_program_state", "must be formal, trial or developer")
	}
}

func checkOneTime(o *eventv1.OneTimeContent, p *FieldErrors) {
	p.require("one_time.template_id", o.GetTemplateId())
	checkPage("one_time.mini_program", o.GetMiniProgram(), p)
	if o.GetScene() < 0 || o.GetScene() > maxScene {
		p.add("one_time.scene", "must be 0 to %d", maxScene)
	}
	p.require("one_time.title", o.GetTitle())
	if utf8.RuneCountInString(o.GetTitle()) > maxTitle {
		p.add("one_time.title", "at most %d characters", maxTitle)
	}
	p.require("one_time.content.value", o.GetContent().GetValue())
	checkValue("one_time.content", "content", o.GetContent(), false, p)
}

func checkPage(path string, page *eventv1.MiniProgramPath, p *FieldErrors) {
	if page != nil {
		p.require(path+".appid", page.GetAppid())
	}
}

func checkData(path string, data map[string]*eventv1.TemplateValue, strict bool, p *FieldErrors) {
	if n := len(data); n == 0 || n > MaxFields {
		p.add(path, "1 to %d fields, has %d", MaxFields, n)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !fieldName.MatchString(name) {
			p.add(path, "the name of a field is letters, digits and _, at most 64")
			continue
		}
		checkValue(path+"."+name, name, data[name], strict, p)
	}
}

var (
	fieldName  = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	fieldClass = regexp.MustCompile(`^([a-z_]+?)[0-9]+$`)
	fieldColor = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)
)

// valueRules are WeChat's rules for the values of subscription messages, by the name of the field
// without its number (protocol g.2): the most characters.
var valueRules = map[string]int{
	"thing": 20, "number": 32, "letter": 32, "symbol": 5, "character_string": 32,
	"phone_number": 17, "car_number": 8, "name": 20, "phrase": 5,
}

// checkValue checks one value; strict applies the rules of subscription messages, where WeChat refuses
// the whole message for one value that is too long.
func checkValue(path, name string, v *eventv1.TemplateValue, strict bool, p *FieldErrors) {
	value := v.GetValue()
	if len(value) > MaxFieldValue {
		p.add(path+".value", "at most %d bytes", MaxFieldValue)
	}
	if v.GetColor() != "" && !fieldColor.MatchString(v.GetColor()) {
		p.add(path+".color", "must be #rrggbb")
	}
	if !strict {
		return
	}
	p.require(path+".value", value)
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		p.add(path+".value", "no line breaks and no control characters")
	}
	if m := fieldClass.FindStringSubmatch(name); m != nil {
		if most, ok := valueRules[m[1]]; ok && utf8.RuneCountInString(value) > most {
			p.add(path+".value", "at most %d characters", most)
		}
	}
}
