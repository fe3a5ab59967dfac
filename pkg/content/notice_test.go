package content_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

func values(pairs ...string) map[string]*eventv1.TemplateValue {
	out := map[string]*eventv1.TemplateValue{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = &eventv1.TemplateValue{Value: pairs[i+1]}
	}
	return out
}

func template(t *eventv1.TemplateContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Template{Template: t}}
}

func subscription(s *eventv1.SubscribeContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Subscribe{Subscribe: s}}
}

func oneTime(o *eventv1.OneTimeContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_OneTime{OneTime: o}}
}

func typing(cancel bool) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Typing{Typing: &eventv1.TypingContent{Cancel: cancel}}}
}

// TestNoticesBothWays: the JSON that callers write, what it becomes, and what WeChat gets.
func TestNoticesBothWays(t *testing.T) {
	page := &eventv1.MiniProgramPath{Appid: "wx1", PagePath: "pages/index"}
	tests := map[string]struct {
		in, out string
		want    *eventv1.Content
	}{
		"template": {
			in:   `{"touser":"o_x","msgtype":"template","template":{"template_id":"T","url":"http://u","miniprogram":{"appid":"wx1","pagepath":"pages/index"},"data":{"thing1":{"value":"发货 & <b>"},"number2":{"value":3}}}}`,
			out:  `{"touser":"o_x","template_id":"T","url":"http://u","miniprogram":{"appid":"wx1","pagepath":"pages/index"},"client_msg_id":"id-1","data":{"number2":{"value":"3"},"thing1":{"value":"发货 & <b>"}}}`,
			want: template(&eventv1.TemplateContent{TemplateId: "T", Url: "http://u", MiniProgram: page, Data: values("thing1", "发货 & <b>", "number2", "3")}),
		},
		"template with an id of its own": {
			in:   `{"touser":"o_x","msgtype":"template","template":{"template_id":"T","client_msg_id":"mine","data":{"a":{"value":"x","color":"#ff0000"}}}}`,
			out:  `{"touser":"o_x","template_id":"T","client_msg_id":"mine","data":{"a":{"value":"x","color":"#ff0000"}}}`,
			want: template(&eventv1.TemplateContent{TemplateId: "T", ClientMsgId: "mine", Data: map[string]*eventv1.TemplateValue{"a": {Value: "x", Color: "#ff0000"}}}),
		},
		"subscription of a Mini Program": {
			in:   `{"touser":"o_x","msgtype":"subscribe","subscribe":{"template_id":"T","page":"pages/a","miniprogram_state":"trial","lang":"zh_CN","data":{"phrase3":{"value":"已发货"}}}}`,
			out:  `{"touser":"o_x","template_id":"T","page":"pages/a","miniprogram_state":"trial","lang":"zh_CN","data":{"phrase3":{"value":"已发货"}}}`,
			want: subscription(&eventv1.SubscribeContent{TemplateId: "T", Page: "pages/a", MiniProgramState: "trial", Lang: "zh_CN", Data: values("phrase3", "已发货")}),
		},
		"one-time subscription": {
			in:   `{"touser":"o_x","msgtype":"one_time","one_time":{"template_id":"T","scene":"7","title":"到货","data":{"content":{"value":"有货了","color":"#00ff00"}}}}`,
			out:  `{"touser":"o_x","template_id":"T","scene":"7","title":"到货","data":{"content":{"value":"有货了","color":"#00ff00"}}}`,
			want: oneTime(&eventv1.OneTimeContent{TemplateId: "T", Scene: 7, Title: "到货", Content: &eventv1.TemplateValue{Value: "有货了", Color: "#00ff00"}}),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			openid, c, kfAccount, err := content.FromJSON([]byte(tt.in))
			require.NoError(t, err)
			require.Equal(t, "o_x", openid)
			require.Empty(t, kfAccount)
			requireProto(t, tt.want, c)
			require.False(t, content.IsKf(c))
			out, err := content.Notice(c, openid, "id-1")
			require.NoError(t, err)
			require.Equal(t, tt.out, string(out))
			_, err = content.KfMessage(c, openid, "")
			require.ErrorContains(t, err, "not a message of the customer-service API")
			_, _, _, err = content.FromKfJSON([]byte(tt.in))
			require.NoError(t, err, "for the customer-service API an unknown msgtype is passed on")
		})
	}
}

func TestTypingFromJSON(t *testing.T) {
	_, c, _, err := content.FromJSON([]byte(`{"touser":"o_x","msgtype":"typing","typing":{"cancel":true}}`))
	require.NoError(t, err)
	requireProto(t, typing(true), c)
	require.Equal(t, "typing", content.MsgType(c))
}

func TestNoticesAreChecked(t *testing.T) {
	tests := map[string]string{
		`"template":{}`: "template.template_id: required; template.data: 1 to 50 fields, has 0",
		`"template":{"template_id":"T","data":{"a":1}}`:                                                                "template.data.a: must be an object with value",
		`"template":{"template_id":"T","data":{"a":{"value":"x","color":"red"}}}`:                                      "template.data.a.color: must be #rrggbb",
		`"template":{"template_id":"T","data":{"ä":{"value":"x"}}}`:                                                    "template.data: the name of a field is letters, digits and _, at most 64",
		`"template":{"template_id":"T","miniprogram":{"pagepath":"p"},"data":{"a":{"value":"x"}}}`:                     "template.miniprogram.appid: required",
		`"subscribe":{"template_id":"T","data":{"thing1":{"value":"` + strings.Repeat("好", 21) + `"}}}`:                "subscribe.data.thing1.value: at most 20 characters",
		`"subscribe":{"template_id":"T","data":{"phrase2":{"value":"一二三四五六"}}}`:                                        "subscribe.data.phrase2.value: at most 5 characters",
		`"subscribe":{"template_id":"T","data":{"thing1":{"value":"a\nb"}}}`:                                           "subscribe.data.thing1.value: no line breaks and no control characters",
		`"subscribe":{"template_id":"T","miniprogram_state":"beta","data":{"thing1":{"value":"a"}}}`:                   "subscribe.miniprogram_state: must be formal, trial or developer",
		`"one_time":{"template_id":"T","scene":10001,"title":"` + strings.Repeat("t", 16) + `"}`:                       "one_time.scene: must be 0 to 10000; one_time.title: at most 15 characters; one_time.data.content.value: required",
		`"one_time":{"template_id":"T","scene":"x","title":"t","data":{"content":{"value":"c"},"more":{"value":"x"}}}`: "one_time.scene: must be a number; one_time.data.more: unknown field",
		`"typing":{"cancel":1}`: "typing.cancel: must be true or false",
	}
	for body, want := range tests {
		t.Run(want, func(t *testing.T) {
			kind, _, _ := strings.Cut(strings.TrimPrefix(body, `"`), `"`)
			_, c, _, err := content.FromJSON([]byte(`{"touser":"o_x","msgtype":"` + kind + `",` + body + `}`))
			require.EqualError(t, err, want)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Nil(t, c)
		})
	}
}

func TestNoticesAndKindsOfAccounts(t *testing.T) {
	tmpl := template(&eventv1.TemplateContent{TemplateId: "T", Data: values("a", "b")})
	sub := subscription(&eventv1.SubscribeContent{TemplateId: "T", Data: values("a", "b")})
	withPage := subscription(&eventv1.SubscribeContent{TemplateId: "T", MiniProgram: &eventv1.MiniProgramPath{Appid: "wx1"}, Data: values("a", "b")})
	state := subscription(&eventv1.SubscribeContent{TemplateId: "T", MiniProgramState: "trial", Data: values("a", "b")})
	once := oneTime(&eventv1.OneTimeContent{TemplateId: "T", Title: "t", Content: &eventv1.TemplateValue{Value: "v"}})
	const official, feed, mini = eventv1.AccountKind_ACCOUNT_KIND_SERVICE, eventv1.AccountKind_ACCOUNT_KIND_SUBSCRIPTION, eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	for _, tt := range []struct {
		name                       string
		c                          *eventv1.Content
		service, feed, miniProgram bool
	}{
		{"template", tmpl, true, false, false},
		{"subscribe", sub, true, true, true},
		{"subscribe to a page of a Mini Program", withPage, true, true, false},
		{"subscribe with a state", state, false, false, true},
		{"one time", once, true, true, false},
		{"typing", typing(false), true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for kind, ok := range map[eventv1.AccountKind]bool{official: tt.service, feed: tt.feed, mini: tt.miniProgram} {
				err := content.ValidateFor(tt.c, content.Target{Route: content.RouteSend, Account: kind})
				require.Equal(t, ok, err == nil, "%s: %v", kind, err)
			}
			require.Error(t, content.ValidateFor(tt.c, content.Target{Route: content.RoutePassive}))
		})
	}
}
