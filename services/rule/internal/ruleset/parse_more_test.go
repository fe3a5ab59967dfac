package ruleset_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/condition"
	"github.com/wxbus/wxbus/services/rule/internal/form"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// everything uses every key of a rule file that is not in the demo rules.
const everything = `
places:
  stores:
    - {name: 朝阳店, latitude: 39.92, longitude: 116.44, address: 朝阳路 1 号, phone: "010-1"}
    - {name: 浦东店, latitude: 31.23, longitude: 121.54}
calendars:
  office: {timezone: Asia/Shanghai, weekdays: [mon-fri], hours: ["09:00-18:00"], holidays: ["2026-10-01..2026-10-07", 01-01], workdays: [2026-10-10]}
rules:
  - {name: poster, match: {scene: {exact: [p7], prefix: [p-]}}, do: [reply: "来自 {{event.scene}}"]}
  - {name: scene, match: {scene: x}, do: [none]}
  - {name: picture, match: {media: [image, file/pdf, voice/amr]}, do: [none]}
  - name: store
    match: {near: {places: stores, within: 5km}}
    do: [reply: "{{place.name}} {{place.distance}} {{place.phone | \"没有电话\"}}"]
  - name: conditions
    match: any
    when:
      timezone: Asia/Shanghai
      hours: ["22:00-06:00"]
      weekdays: [sat, sun]
      calendar: {outside: office}
      tags: {has: [vip], has_not: [blocked]}
      subscribed: {longer_than: 7d, shorter_than: 365d}
      language: [zh]
      cooldown: 6h
      once_per: day
      expr: 'text contains "a" and hour > 3'
    do:
      - reply: 一
      - {reply: 二, after: 2s}
      - webhook: {url: "https://example.com/", retries: 1, fallback: 稍后再试}
      - reply: {text: "{{webhook.price}} <a href=\"https://example.com/{{fan.openid}}\">看</a>"}
      - tag: [a, b]
      - untag: c
  - name: model
    match: any
    do:
      - chat: {provider: main, model: m, system: "今天 {{event.date}}", history: 4, remember: 30m, timeout: 8s, max_tokens: 200, fallback: 稍后再试}
  - name: repair
    match: {exact: [报修]}
    do:
      - reply: 好的
      - form:
          expires: 20m
          tries: 2
          cancel: [取消]
          leave: [人工]
          cancelled: 不填了
          given_up: 算了
          confirm: "{{form.phone}}？"
          yes: [是]
          no: [否]
          questions:
            - {name: phone, ask: 手机？, kind: mobile, error: 不对}
            - {name: what, ask: 什么？, choices: [空调, 洗衣机]}
            - {name: serial, ask: 序列号？, regex: '[A-Z]\d+'}
          done:
            - webhook: {url: "https://example.com/repair"}
            - reply: "收到，{{form.phone}}，单号 {{webhook.id}}"
            - tag: repair
`

func TestEverythingOfTheReferenceIsReadAndStored(t *testing.T) {
	file := parse(t, everything)
	rules := map[string]ruleset.Rule{}
	for _, r := range file.Rules {
		rules[r.Name] = r
	}
	require.Equal(t, []string{"subscribe", "scan"}, rules["poster"].On, "what a scene comes with")
	require.Equal(t, []string{"location"}, rules["store"].On)
	require.Equal(t, []string{"any_message"}, rules["picture"].On)
	require.Equal(t, []string{"p7"}, rules["poster"].Match.Scenes)
	require.Equal(t, []string{"p-"}, rules["poster"].Match.ScenePrefixes)
	require.Equal(t, &ruleset.Near{Places: "stores", Within: 5000}, rules["store"].Match.Near)
	require.True(t, rules["store"].Actions[0].Templated)

	conditions := rules["conditions"]
	require.Equal(t, 7*condition.Day, conditions.When.OlderThan)
	require.Equal(t, 2*time.Second, conditions.Actions[1].After)
	require.False(t, conditions.Actions[1].Templated)
	require.Equal(t, 1, conditions.Actions[2].Webhook.Retries)
	require.Equal(t, []string{"c"}, conditions.Actions[5].Untag)
	require.Equal(t, 4, rules["model"].Actions[0].Chat.Turns)
	repair := rules["repair"]
	require.Equal(t, form.Choice, repair.Form().Questions[1].Kind)
	require.Len(t, repair.Form().Done, 3)

	encoded, err := ruleset.Encode(file)
	require.NoError(t, err)
	stored, err := ruleset.Open(string(encoded), nil)
	require.NoError(t, err)
	decoded := stored.File()
	require.Equal(t, file.Rules, decoded.Rules)
	require.Equal(t, file.Calendars, decoded.Calendars)
	require.Equal(t, file.Places, decoded.Places)
	set, err := stored.Compile("v", nil, nil)
	require.NoError(t, err)
	require.Equal(t, repair, *set.RuleWithForm("repair"))
	require.Nil(t, set.RuleWithForm("model"))
}

func TestMistakesOfTriggersConditionsAndTablesAreNamed(t *testing.T) {
	rule := func(more string) string { return "rules:\n  - {" + more + "}\n" }
	do := func(more string) string { return rule("match: any, do: [" + more + "]") }
	when := func(more string) string { return rule("match: any, do: [none], when: {" + more + "}") }
	tests := []struct{ file, want string }{
		{rule("match: {scene: qrscene_1}, do: [none]"), "rules[0].match.scene[0]: is written without qrscene_"},
		{rule("match: {scene: []}, do: [none]"), "rules[0].match.scene: must not be empty"},
		{rule("match: {scene: {}}, do: [none]"), "rules[0].match.scene: must name a scene"},
		{rule("on: text, match: {scene: a}, do: [none]"), "rules[0].match.scene: text has no scene"},
		{rule("match: {media: [png]}, do: [none]"), "rules[0].match.media[0]: must be image, voice"},
		{rule("match: {media: [image/png]}, do: [none]"), "rules[0].match.media[0]: must be image, voice"},
		{rule("on: text, match: {media: [image]}, do: [none]"), "rules[0].match.media: text has no media"},
		{rule("match: {near: {places: x, within: 5}}, do: [none]"), `rules[0].match.near.places: there is no table "x" under places`},
		{rule("match: {near: {places: x, within: 5}}, do: [none]"), "rules[0].match.near.within: must be a distance above zero like 500m"},
		{rule("match: {near: {}}, do: [none]"), "rules[0].match.near.places: is required"},
		{"places: {a: [{name: x, latitude: 91, longitude: 0}]}\nrules: []\n", "places.a[0].latitude: must be degrees from -90 to 90"},
		{"places: {a: [{name: x}]}\nrules: []\n", "places.a[0].latitude: is required"},
		{"places: {a: []}\nrules: []\n", "places.a: must hold at least one place"},
		{"places: {a: [{name: x, latitude: 1, longitude: 1, distance: 3}]}\nrules: []\n", "places.a[0].distance: unknown key"},
		{"calendars: {a: {timezone: Mars, hours: [9-18], holidays: [someday], weekdays: [m]}}\nrules: []\n", `calendars.a.timezone: "Mars" is not a time zone`},
		{"calendars: {a: {hours: [9-18]}}\nrules: []\n", "calendars.a.hours[0]: must be a span of the day like 09:00-18:00"},
		{"calendars: {a: {holidays: [someday]}}\nrules: []\n", "calendars.a.holidays[0]: must be a day like 2026-10-01"},
		{when(""), "rules[0].when: has no condition"},
		{when("calendar: x"), `rules[0].when.calendar: there is no calendar "x"`},
		{when("subscribed: {longer_than: 2d, shorter_than: 1d}"), "rules[0].when.subscribed: can never hold"},
		{when("cooldown: 2y"), "rules[0].when.cooldown: must be a time above zero and at most 366d, for example 30m, 6h or 7d"},
		{when("once_per: hour"), "rules[0].when.once_per: must be one of day, week, month, ever"},
		{when("expr: 'text +'"), "rules[0].when.expr: unexpected token"},
		{when("tags: {has: []}"), "rules[0].when.tags.has: must name at least one"},
		{do("{reply: a, after: 2s}"), "rules[0].do[0].after: is of the first reply"},
		{do("reply: a, {tag: b, after: 2s}"), "rules[0].do[1].after: belongs to a reply"},
		{do("reply: a, {reply: b, after: 31s}"), "rules[0].do[1].after: must be a time above zero and at most 30s"},
		{do("reply: a, {reply: b, after: 30s}, {reply: c, after: 30s}, {reply: d, after: 1s}"), "rules[0].do[3].after: makes the replies of the rule wait for more than 1m0s together"},
		{do("{after: 2s}"), "rules[0].do[0]: must be reply, transfer, webhook"},
		{do("webhook: {url: 'https://a', retries: 4}"), "rules[0].do[0].webhook.retries: must be a whole number from 0 to 3"},
		{do("chat: {history: 21}"), "rules[0].do[0].chat.history: must be a whole number from 0 to 20"},
		{rule("on: image, match: any, do: [chat: {}]"), "rules[0].do[0]: a chat model answers texts; image has none"},
		{do("chat: {}, chat: {}"), "rules[0].do[1]: is the second chat of the rule"},
	}
	for _, tt := range tests {
		_, err := ruleset.Parse([]byte(tt.file), ruleset.Options{})
		require.ErrorContains(t, err, tt.want, tt.file)
	}
}

func TestMistakesOfTemplatesAndFormsAreNamed(t *testing.T) {
	form := func(more string) string {
		return "rules:\n  - match: any\n    do: [form: {" + more + "}]\n"
	}
	text := func(t string) string { return "rules:\n  - match: any\n    do:\n      - reply: {text: '" + t + "'}\n" }
	tests := []struct{ file, want string }{
		{text("{{fan.name}}"), "rules[0].do[0].reply.text: {{fan.name}} is not known; fan has language, openid, subscribed_days, tags"},
		{text("{{foo.bar}}"), "{{foo.bar}} is not known; variables begin with account, event, fan"},
		{text("{{place.name}}"), "{{place.name}} is there only for rules with match.near"},
		{text("{{form.a}}"), "{{form.a}} is there only within a form"},
		{text("{{webhook.a}}"), "{{webhook.a}} is there only after a webhook of the same list"},
		{text("{{fan.openid"), "rules[0].do[0].reply.text: at character 1: a variable ends with }}"},
		{text("{{fan.openid}}" + strings.Repeat("退", 683)), "has 2049 bytes without the variables, WeChat shows at most 2047"},
		{"rules:\n  - {match: any, do: [reply: {image: '{{fan.openid}}'}]}\n", "rules[0].do[0].reply: variables are for texts, titles and addresses only"},
		{"rules:\n  - {match: any, do: [reply: {news: {title: t, url: 'ftp://x/{{fan.openid}}'}}]}\n", "rules[0].do[0].reply.news.url: must be an http or https address"},
		{form(""), "rules[0].do[0].form.questions: is required"},
		{form("questions: [{name: a, ask: b}]"), "rules[0].do[0].form.done: is required"},
		{form("questions: [], done: [tag: x]"), "rules[0].do[0].form.questions: must hold at least one question"},
		{form("questions: [{name: 'a b', ask: b}], done: [tag: x]"), "form.questions[0].name: must be a name of letters"},
		{form("questions: [{name: a, ask: b}, {name: a, ask: b}], done: [tag: x]"), `form.questions[1].name: "a" is the name of an earlier question too`},
		{form("questions: [{name: a, ask: b, kind: phone}], done: [tag: x]"), "form.questions[0].kind: must be one of choice, date, email"},
		{form("questions: [{name: a, ask: b, kind: choice}], done: [tag: x]"), "form.questions[0].choices: belongs to kind choice"},
		{form("questions: [{name: a, ask: b, choices: [c]}], done: [tag: x]"), "form.questions[0].choices: must hold at least two choices"},
		{form("questions: [{name: a, ask: b, regex: '('}], done: [tag: x]"), "form.questions[0].regex: must be an expression of RE2"},
		{form("questions: [{name: a, ask: b}], done: [{chat: {}}]"), "form.done[0]: chat cannot be what follows a form"},
		{form("questions: [{name: a, ask: b}], done: [reply: '{{form.b}}']"), "form.done[0].reply.text: {{form.b}} is not known; form has a"},
		{"rules:\n  - match: any\n    do: [{form: {questions: [{name: a, ask: b}], done: [tag: x]}}, {tag: y}]\n", "rules[0].do[0]: form is the last action of a list"},
		{"rules:\n  - match: any\n    do: [{transfer: {queue: q}}, {form: {questions: [{name: a, ask: b}], done: [tag: x]}}]\n", "rules[0].do[1]: a fan who is handed over is asked nothing"},
	}
	for _, tt := range tests {
		_, err := ruleset.Parse([]byte(tt.file), ruleset.Options{})
		require.ErrorContains(t, err, tt.want, tt.file)
	}
}

func TestConditionsAndPlacesDecideWhoWins(t *testing.T) {
	file := parse(t, `
places:
  stores:
    - {name: 朝阳店, latitude: 39.92, longitude: 116.44}
    - {name: 浦东店, latitude: 31.23, longitude: 121.54}
rules:
  - {name: vip, match: {contains: [退货]}, when: {tags: vip}, do: [none]}
  - {name: everybody, match: {contains: [退货]}, do: [none]}
  - {name: close, match: {near: {places: stores, within: 5km}}, do: [none]}
  - {name: far, match: {near: {places: stores}}, do: [none]}
  - {name: once, on: click, when: {once_per: day}, do: [none]}
`)
	set, err := ruleset.Compile("v", file)
	require.NoError(t, err)
	reads := 0
	find := func(ev *eventv1.InboundEvent, fan *rulev1.FanRecord) ruleset.Found {
		found, _ := set.FindEvent(ev, func() *rulev1.FanRecord { reads++; return fan })
		return found
	}
	text := &eventv1.InboundEvent{MsgType: "text", Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: "我要退货"}}}
	require.Equal(t, "vip", find(text, &rulev1.FanRecord{Tags: []string{"vip"}}).Rule.Name)
	require.Equal(t, "everybody", find(text, &rulev1.FanRecord{}).Rule.Name)
	require.Equal(t, "everybody", find(text, nil).Rule.Name)

	reads = 0
	at := func(latitude, longitude float64) *eventv1.InboundEvent {
		return &eventv1.InboundEvent{MsgType: "location", Payload: &eventv1.InboundEvent_Location{Location: &eventv1.Location{Latitude: latitude, Longitude: longitude}}}
	}
	found := find(at(39.93, 116.44), nil)
	require.Equal(t, "close", found.Rule.Name)
	require.Equal(t, "朝阳店", found.Place.Name)
	require.InDelta(t, 1112, found.Distance, 5)
	found = find(at(31.5, 121.54), nil)
	require.Equal(t, "far", found.Rule.Name)
	require.Equal(t, "浦东店", found.Place.Name)
	require.Zero(t, reads, "places need no look at the fan")

	click := &eventv1.InboundEvent{MsgType: "event", Event: "click", ReceivedUnixMs: time.Now().UnixMilli()}
	require.True(t, find(click, &rulev1.FanRecord{}).SilentUntil.After(time.Now()))

	candidates := set.Explain(ruleset.InputOf(text), ruleset.Facts{Now: time.Now()}, 5)
	require.Equal(t, "everybody", set.Rule(candidates[0].Hit).Name)
	require.Equal(t, `tags: the fan has no tag "vip"`, candidates[1].Failed)
}

func TestALongTextIsSplitAndAnEmptyOneLeftOut(t *testing.T) {
	content := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "{{event.text}}"}}}
	fill := func(value string, room int) []*eventv1.Content {
		return ruleset.Fill(content, func(template.Name) (string, bool) { return value, true }, room)
	}
	require.Len(t, fill(strings.Repeat("好。", 300), 5), 1)
	require.Empty(t, fill(" ", 5))
	double := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "{{event.text}}{{event.text}}"}}}
	parts := ruleset.Fill(double, func(template.Name) (string, bool) { return strings.Repeat("好。", 300), true }, 5)
	require.Len(t, parts, 2)
	for _, part := range parts {
		require.LessOrEqual(t, len(part.GetText().GetContent()), ruleset.MaxTextBytes)
		require.True(t, strings.HasSuffix(part.GetText().GetContent(), "。"))
	}
	require.Equal(t, "{{event.text}}", content.GetText().GetContent(), "the rule is as it was")
	news := &eventv1.Content{Body: &eventv1.Content_News{News: &eventv1.NewsContent{Articles: []*eventv1.Article{{Title: "{{event.text}}", Url: "{{webhook.url}}"}}}}}
	filled := ruleset.Fill(news, func(n template.Name) (string, bool) { return strings.Repeat("长", 400), true }, 1)[0]
	require.LessOrEqual(t, len(filled.GetNews().GetArticles()[0].GetTitle()), 512)
	require.Empty(t, filled.GetNews().GetArticles()[0].GetUrl())
}
