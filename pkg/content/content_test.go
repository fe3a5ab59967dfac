package content_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

func text(s string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}
}

func image(id string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: id}}}
}

func voice(id string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Voice{Voice: &eventv1.VoiceContent{MediaId: id}}}
}

func video(v *eventv1.VideoContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Video{Video: v}}
}

func music(m *eventv1.MusicContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Music{Music: m}}
}

func news(articles ...*eventv1.Article) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_News{News: &eventv1.NewsContent{Articles: articles}}}
}

func menu(items ...*eventv1.MenuItem) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Menu{Menu: &eventv1.MenuContent{Head: "满意吗？", Items: items, Tail: "谢谢"}}}
}

func miniPage(m *eventv1.MiniProgramContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_MiniProgram{MiniProgram: m}}
}

func link(l *eventv1.LinkContent) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Link{Link: l}}
}

func transfer(kfAccount string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{KfAccount: kfAccount}}}
}

func raw(msgType, json string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Raw{Raw: &eventv1.RawContent{MsgType: msgType, Json: json}}}
}

var (
	article    = &eventv1.Article{Title: "T", Description: "D", PicUrl: "p", Url: "u"}
	fullVideo  = &eventv1.VideoContent{MediaId: "M", ThumbMediaId: "TH", Title: "T", Description: "D"}
	fullMusic  = &eventv1.MusicContent{Title: "T", Description: "D", MusicUrl: "u", HqMusicUrl: "h", ThumbMediaId: "TH"}
	linkedPage = &eventv1.MiniProgramContent{Title: "T", Appid: "wx1", PagePath: "pages/index", ThumbMediaId: "TH"}
	ownPage    = &eventv1.MiniProgramContent{Title: "T", PagePath: "pages/index", ThumbMediaId: "TH"}
	fullLink   = &eventv1.LinkContent{Title: "T", Description: "D", Url: "u", ThumbUrl: "t"}
	yes, no    = &eventv1.MenuItem{Id: "101", Content: "满意"}, &eventv1.MenuItem{Id: "102", Content: "不满意"}
	kfBodies   = map[string]string{
		"text":             `{"touser":"o_x","msgtype":"text","text":{"content":"a <a href=\"http://x?a=1&b=2\">点</a>\n"}}`,
		"image":            `{"touser":"o_x","msgtype":"image","image":{"media_id":"M"}}`,
		"voice":            `{"touser":"o_x","msgtype":"voice","voice":{"media_id":"M"}}`,
		"video":            `{"touser":"o_x","msgtype":"video","video":{"media_id":"M","thumb_media_id":"TH","title":"T","description":"D"}}`,
		"music":            `{"touser":"o_x","msgtype":"music","music":{"title":"T","description":"D","musicurl":"u","hqmusicurl":"h","thumb_media_id":"TH"}}`,
		"news":             `{"touser":"o_x","msgtype":"news","news":{"articles":[{"title":"T","description":"D","url":"u","picurl":"p"}]}}`,
		"msgmenu":          `{"touser":"o_x","msgtype":"msgmenu","msgmenu":{"head_content":"满意吗？","list":[{"id":"101","content":"满意"},{"id":"102","content":"不满意"}],"tail_content":"谢谢"}}`,
		"miniprogrampage":  `{"touser":"o_x","msgtype":"miniprogrampage","miniprogrampage":{"title":"T","appid":"wx1","pagepath":"pages/index","thumb_media_id":"TH"}}`,
		"own page":         `{"touser":"o_x","msgtype":"miniprogrampage","miniprogrampage":{"title":"T","pagepath":"pages/index","thumb_media_id":"TH"}}`,
		"link":             `{"touser":"o_x","msgtype":"link","link":{"title":"T","description":"D","url":"u","thumb_url":"t"}}`,
		"mpnews":           `{"touser":"o_x","msgtype":"mpnews","mpnews":{"media_id":"M"}}`,
		"mpnewsarticle":    `{"touser":"o_x","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"A"}}`,
		"wxcard":           `{"touser":"o_x","msgtype":"wxcard","wxcard":{"card_id":"C"}}`,
		"text made by AI":  `{"touser":"o_x","msgtype":"text","aimsgcontext":{"is_ai_msg":1},"text":{"content":"x"}}`,
		"type of tomorrow": `{"touser":"o_x","msgtype":"hologram","hologram":{"media_id":"M"}}`,
	}
	kfContents = map[string]*eventv1.Content{
		"text":             text("a <a href=\"http://x?a=1&b=2\">点</a>\n"),
		"image":            image("M"),
		"voice":            voice("M"),
		"video":            video(fullVideo),
		"music":            music(fullMusic),
		"news":             news(article),
		"msgmenu":          menu(yes, no),
		"miniprogrampage":  miniPage(linkedPage),
		"own page":         miniPage(ownPage),
		"link":             link(fullLink),
		"mpnews":           {Body: &eventv1.Content_MpNews{MpNews: &eventv1.MpNewsContent{MediaId: "M"}}},
		"mpnewsarticle":    {Body: &eventv1.Content_MpArticle{MpArticle: &eventv1.MpArticleContent{ArticleId: "A"}}},
		"wxcard":           {Body: &eventv1.Content_Card{Card: &eventv1.CardContent{CardId: "C"}}},
		"text made by AI":  raw("text", `{"aimsgcontext":{"is_ai_msg":1},"msgtype":"text","text":{"content":"x"}}`),
		"type of tomorrow": raw("hologram", `{"hologram":{"media_id":"M"},"msgtype":"hologram"}`),
	}
)

func requireProto(t *testing.T, want, got *eventv1.Content) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v, got %v", want, got)
}

// TestKfBothWays: every message type, written as WeChat wants it and read back.
func TestKfBothWays(t *testing.T) {
	require.Len(t, kfContents, len(kfBodies))
	for name, body := range kfBodies {
		t.Run(name, func(t *testing.T) {
			want := kfContents[name]
			got, err := content.KfMessage(want, "o_x", "")
			require.NoError(t, err)
			require.Equal(t, body, string(got))
			openid, c, kfAccount, err := content.FromKfJSON(got)
			require.NoError(t, err)
			require.Equal(t, "o_x", openid)
			require.Empty(t, kfAccount)
			requireProto(t, want, c)
			require.NoError(t, content.Validate(c))
		})
	}
}

func TestKfAccountBothWays(t *testing.T) {
	for name, c := range kfContents {
		t.Run(name, func(t *testing.T) {
			body, err := content.KfMessage(c, "o_x", "test1@test")
			require.NoError(t, err)
			require.Contains(t, string(body), `"customservice":{"kf_account":"test1@test"}`)
			openid, got, kfAccount, err := content.FromKfJSON(body)
			require.NoError(t, err)
			require.Equal(t, "o_x", openid)
			require.Equal(t, "test1@test", kfAccount)
			requireProto(t, c, got)
		})
	}
}

// TestPassiveBothWays: every type that has a passive form.
func TestPassiveBothWays(t *testing.T) {
	for name, c := range map[string]*eventv1.Content{
		"text": text("x"), "image": image("M"), "voice": voice("M"), "music": music(fullMusic), "news": news(article),
		"video":    video(&eventv1.VideoContent{MediaId: "M", Title: "T", Description: "D"}),
		"transfer": transfer(""), "transfer to an agent": transfer("a@b"),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := content.Passive(c)
			require.NoError(t, err)
			require.Equal(t, content.MsgType(c), r.Body.MsgType())
			r.ToUserName, r.FromUserName, r.CreateTime = "o_x", "gh_x", 1
			for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
				encoded, err := wechat.EncodeReply(format, r)
				require.NoError(t, err)
				decoded, _, err := wechat.DecodeReply(encoded, wechat.Limits{})
				require.NoError(t, err)
				back, err := content.FromPassive(decoded)
				require.NoError(t, err)
				requireProto(t, c, back)
			}
		})
	}
	t.Run("a cover is for the API only", func(t *testing.T) {
		r, err := content.Passive(video(fullVideo))
		require.NoError(t, err)
		require.Equal(t, wechat.VideoReply{MediaID: "M", Title: "T", Description: "D"}, r.Body)
	})
	for _, name := range []string{"msgmenu", "miniprogrampage", "link", "mpnews"} {
		_, err := content.Passive(kfContents[name])
		require.ErrorContains(t, err, ": customer-service API only")
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	_, err := content.Passive(nil)
	require.EqualError(t, err, "content: required")
	_, err = content.FromPassive(wechat.Reply{Body: wechat.AIReply{}})
	require.Error(t, err)
	_, err = content.FromPassive(wechat.Reply{})
	require.Error(t, err)
}

func TestMsgType(t *testing.T) {
	for name, c := range kfContents {
		got := content.MsgType(c)
		require.Contains(t, kfBodies[name], `"msgtype":"`+got+`"`)
	}
	require.Empty(t, content.MsgType(nil))
	require.Equal(t, "transfer_customer_service", content.MsgType(transfer("")))
}

func TestTextsStayReadable(t *testing.T) {
	body, err := content.KfMessage(text("<&>\u2028你😀\"\\"), "o_x", "")
	require.NoError(t, err)
	require.Equal(t, "{\"touser\":\"o_x\",\"msgtype\":\"text\",\"text\":{\"content\":\"<&>\u2028你😀\\\"\\\\\"}}", string(body))
	_, c, _, err := content.FromKfJSON([]byte(`{"touser":"o_x","msgtype":"text","text":{"content":"\u4f60\u0007\u597d"}}`))
	require.NoError(t, err)
	requireProto(t, text("你好"), c)
	_, c, _, err = content.FromKfJSON([]byte(`{"touser":"o_x","msgtype":"x","x":{"y":"\u4f60\u0007\u597d\u0022"}}`))
	require.NoError(t, err)
	requireProto(t, raw("x", `{"msgtype":"x","x":{"y":"你好\""}}`), c)
}

func TestNumbersAsMenuIDs(t *testing.T) {
	_, c, _, err := content.FromKfJSON([]byte(`{"touser":"o_x","msgtype":"msgmenu","msgmenu":{"head_content":"满意吗？","list":[{"id":101,"content":"满意"},{"id":"102","content":"不满意"}],"tail_content":"谢谢"}}`))
	require.NoError(t, err)
	requireProto(t, menu(yes, no), c)
}

func TestFromKfJSONRefuses(t *testing.T) {
	tests := map[string]string{
		``:                 "body: must be a JSON object",
		`null`:             "body: must be a JSON object",
		`[]`:               "body: must be a JSON object",
		`{} {}`:            "body: must be a JSON object",
		"{\"a\":\"\xff\"}": "body: not UTF-8",
		`{"x":"` + strings.Repeat("x", 64<<10) + `"}`: "body: larger than 64 KiB",
		`{}`: "touser: required; msgtype: required",
		`{"touser":1,"msgtype":"text","text":{"content":"x"}}`:                                                    "touser: must be a string; touser: required",
		`{"touser":"o_x","msgtype":"hologram"}`:                                                                   "msgtype: is unknown, and there is no member of that name with the content",
		`{"touser":"o_x","msgtype":"text"}`:                                                                       "text: required",
		`{"touser":"o_x","msgtype":"text","text":null}`:                                                           "text: required",
		`{"touser":"o_x","msgtype":"text","text":"hi"}`:                                                           "text: must be an object; text: required",
		`{"touser":"o_x","msgtype":"text","text":{}}`:                                                             "text.content: required",
		`{"touser":"o_x","msgtype":"text","text":{"content":" "}}`:                                                "text.content: required",
		`{"touser":"o_x","msgtype":"text","text":{"content":1}}`:                                                  "text.content: must be a string",
		`{"touser":"o_x","msgtype":"text","text":{"content":"x","contents":"y"}}`:                                 "text.contents: unknown field",
		`{"touser":"o_x","msgtype":"text","text":{"content":"x"},"image":{},"b":1}`:                               "b: unknown field; image: unknown field",
		`{"touser":"o_x","msgtype":"text","text":{"content":"x"},"customservice":{}}`:                             "customservice.kf_account: required",
		`{"touser":"o_x","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a","b":1}}`:       "customservice.b: unknown field",
		`{"touser":"o_x","msgtype":"image","image":{}}`:                                                           "image.media_id: required",
		`{"touser":"o_x","msgtype":"music","music":{"title":"T"}}`:                                                "music.thumb_media_id: required",
		`{"touser":"o_x","msgtype":"news","news":{}}`:                                                             "news.articles: 1 to 8 articles, has 0",
		`{"touser":"o_x","msgtype":"news","news":{"articles":{}}}`:                                                "news.articles: must be a list",
		`{"touser":"o_x","msgtype":"news","news":{"articles":[1]}}`:                                               "news.articles[0]: must be an object",
		`{"touser":"o_x","msgtype":"news","news":{"articles":[{"title":"T","link":"u"}]}}`:                        "news.articles[0].link: unknown field",
		`{"touser":"o_x","msgtype":"news","news":{"articles":[{"title":"T"}]}}`:                                   "news.articles[0].url: required",
		`{"touser":"o_x","msgtype":"news","news":{"articles":[{"title":"T","url":"u"},{"title":"T","url":"u"}]}}`: "news.articles: at most 1, has 2",
		`{"touser":"o_x","msgtype":"msgmenu","msgmenu":{"list":[]}}`:                                              "msgmenu.list: 1 to 100 items, has 0",
		`{"touser":"o_x","msgtype":"msgmenu","msgmenu":{"list":[{"id":"1"},{"id":"1","content":"x"}]}}`:           "msgmenu.list[0].content: required; msgmenu.list[1].id: used twice",
		`{"touser":"o_x","msgtype":"msgmenu","msgmenu":{"list":[{"id":true,"content":"x"}]}}`:                     "msgmenu.list[0].id: must be a string",
		`{"touser":"o_x","msgtype":"miniprogrampage","miniprogrampage":{"title":"T"}}`:                            "miniprogrampage.pagepath: required; miniprogrampage.thumb_media_id: required",
		`{"touser":"o_x","msgtype":"link","link":{"title":"T"}}`:                                                  "link.url: required",
		`{"touser":"o_x","msgtype":"wxcard","wxcard":{}}`:                                                         "wxcard.card_id: required",
		`{"touser":"o_x","msgtype":"mpnewsarticle","mpnewsarticle":{"media_id":"M"}}`:                             "mpnewsarticle.media_id: unknown field",
	}
	for body, want := range tests {
		t.Run(want, func(t *testing.T) {
			openid, c, kfAccount, err := content.FromKfJSON([]byte(body))
			require.EqualError(t, err, want)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Empty(t, openid)
			require.Nil(t, c)
			require.Empty(t, kfAccount)
		})
	}
}

func TestErrorsForHostileBodiesAreShort(t *testing.T) {
	var members []string
	for i := range 3000 {
		members = append(members, `"`+strings.Repeat("x", i%90)+string(rune('a'+i%26))+`":1`)
	}
	_, _, _, err := content.FromKfJSON([]byte(`{"touser":"o_x","msgtype":"text","text":{"content":"x"},` + strings.Join(members[:1000], ",") + `}`))
	require.Error(t, err)
	require.Less(t, len(err.Error()), 4096)
}
