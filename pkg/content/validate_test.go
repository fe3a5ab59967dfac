package content_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		name, want string
		c          *eventv1.Content
	}{
		{"nil", "content: required", nil},
		{"empty", "content: required", &eventv1.Content{}},
		{"blank text", "text.content: required", text(" \n")},
		{"text of control characters", "text.content: required", text("\x07")},
		{"nil inside", "text.content: required", &eventv1.Content{Body: &eventv1.Content_Text{}}},
		{"long text", "text.content: at most 65536 bytes", text(strings.Repeat("x", 65<<10))},
		{"image", "image.media_id: required", image("")},
		{"voice", "voice.media_id: required", voice("")},
		{"video", "video.media_id: required", video(nil)},
		{"music", "music.thumb_media_id: required", music(&eventv1.MusicContent{Title: "T"})},
		{"no article", "news.articles: 1 to 8 articles, has 0", news()},
		{"bad articles", "news.articles[0].url: required; news.articles[1].title: required; news.articles[1].url: required", news(&eventv1.Article{Title: "T"}, &eventv1.Article{})},
		{"no item", "menu.items: 1 to 100 items, has 0", menu()},
		{"same item twice", "menu.items[1].id: used twice", menu(yes, yes)},
		{"page", "mini_program.title: required; mini_program.page_path: required; mini_program.thumb_media_id: required", miniPage(nil)},
		{"link", "link.title: required; link.url: required", link(nil)},
		{"raw without type", "raw.msg_type: required", raw("", "{}")},
		{"raw without JSON", "raw.json: must be a JSON object", raw("x", "")},
		{"raw list", "raw.json: must be a JSON object", raw("x", "[]")},
		{"raw null", "raw.json: must be a JSON object", raw("x", "null")},
		{"raw with addresses", "raw.json.touser: must not be set; raw.json.customservice: must not be set", raw("x", `{"touser":"o","customservice":{}}`)},
		{"raw of another type", "raw.json.msgtype: must be msg_type", raw("x", `{"msgtype":"y"}`)},
		{"large raw", "raw.json: at most 65536 bytes", raw("x", `{"a":"`+strings.Repeat("x", 65<<10)+`"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := content.Validate(tt.c)
			require.EqualError(t, err, tt.want)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			problems, ok := errors.AsType[content.FieldErrors](err)
			require.True(t, ok)
			require.NotEmpty(t, problems[0].Path)
			_, err = content.KfMessage(tt.c, "o_x", "")
			require.Error(t, err)
		})
	}
}

// TestWhatGoesWhere is the table of protocol d and e.1: which types each kind of account may send on
// which route.
func TestWhatGoesWhere(t *testing.T) {
	const (
		service = eventv1.AccountKind_ACCOUNT_KIND_SERVICE
		mini    = eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	)
	contents := map[string]*eventv1.Content{"transfer": transfer("")}
	for name, c := range kfContents {
		contents[name] = c
	}
	allowed := map[string]struct{ kf, passive, miniKf, miniPassive bool }{
		"text": {true, true, true, false}, "image": {true, true, true, false}, "voice": {true, true, false, false},
		"video": {true, true, false, false}, "music": {true, true, false, false}, "news": {true, true, false, false},
		"msgmenu": {true, false, false, false}, "miniprogrampage": {true, false, false, false},
		"own page": {false, false, true, false}, "link": {false, false, true, false}, "mpnews": {true, false, false, false},
		"mpnewsarticle": {true, false, false, false}, "wxcard": {true, false, false, false},
		"text made by AI": {true, false, true, false}, "type of tomorrow": {true, false, true, false},
		"transfer": {false, true, false, true},
	}
	require.Len(t, allowed, len(contents))
	for name, c := range contents {
		want := allowed[name]
		check := func(target content.Target) bool { return content.ValidateFor(c, target) == nil }
		require.Equal(t, want.kf, check(content.Target{Route: content.RouteKf, Account: service}), name)
		require.Equal(t, want.passive, check(content.Target{Route: content.RoutePassive, Account: service}), name)
		require.Equal(t, want.miniKf, check(content.Target{Route: content.RouteKf, Account: mini}), name)
		require.Equal(t, want.miniPassive, check(content.Target{Route: content.RoutePassive, Account: mini}), name)
		require.NoError(t, content.Validate(c), name)
	}
}

func TestTargetReasons(t *testing.T) {
	const mini = eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	for want, check := range map[string]error{
		"native_transfer: passive replies only":                                      content.ValidateFor(transfer(""), content.Target{Route: content.RouteKf}),
		"news.articles: at most 1, has 2":                                            content.ValidateFor(news(article, article), content.Target{Route: content.RouteKf}),
		"text.content: at most 2047 bytes, has 2048":                                 content.ValidateFor(text(strings.Repeat("x", 2048)), content.Target{Route: content.RoutePassive}),
		"text.content: at most 10 bytes, has 11":                                     content.ValidateFor(text(strings.Repeat("x", 11)), content.Target{Route: content.RoutePassive, Passive: wechat.ReplyLimits{TextBytes: 10}}),
		"menu: customer-service API only":                                            content.ValidateFor(menu(yes), content.Target{Route: content.RoutePassive}),
		"text: Mini Programs have no passive replies but native_transfer":            content.ValidateFor(text("x"), content.Target{Route: content.RoutePassive, Account: mini}),
		"voice: Official Accounts only":                                              content.ValidateFor(voice("M"), content.Target{Account: mini}),
		"mini_program.appid: a Mini Program sends only its own pages, without appid": content.ValidateFor(miniPage(linkedPage), content.Target{Account: mini}),
		"mini_program.appid: required":                                               content.ValidateFor(miniPage(ownPage), content.Target{Account: eventv1.AccountKind_ACCOUNT_KIND_SUBSCRIPTION}),
		"link: Mini Programs only":                                                   content.ValidateFor(link(fullLink), content.Target{Account: eventv1.AccountKind_ACCOUNT_KIND_SERVICE}),
	} {
		require.EqualError(t, check, want)
		require.Equal(t, fault.Invalid, fault.KindOf(check))
	}
	require.NoError(t, content.ValidateFor(news(article, article), content.Target{Route: content.RoutePassive, Passive: wechat.ReplyLimits{Articles: 8}}))
}

func TestKfMessageNeedsAnAddress(t *testing.T) {
	_, err := content.KfMessage(text("x"), "", "")
	require.EqualError(t, err, "touser: required")
}
