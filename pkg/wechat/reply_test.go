package wechat_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

func reply(body wechat.ReplyBody) wechat.Reply {
	return wechat.Reply{ToUserName: "o_x", FromUserName: "gh_x", CreateTime: 1700000001, Body: body}
}

// TestEncodeReplyForms pins the bytes of every type in both formats.
func TestEncodeReplyForms(t *testing.T) {
	const (
		xmlHead  = "<xml><ToUserName><![CDATA[o_x]]></ToUserName><FromUserName><![CDATA[gh_x]]></FromUserName><CreateTime>1700000001</CreateTime><MsgType><![CDATA["
		jsonHead = `{"ToUserName":"o_x","FromUserName":"gh_x","CreateTime":1700000001,"MsgType":"`
	)
	tests := []struct {
		name              string
		body              wechat.ReplyBody
		wantXML, wantJSON string
	}{
		{"text", wechat.TextReply{Content: "hello"},
			"text]]></MsgType><Content><![CDATA[hello]]></Content></xml>", `text","Content":"hello"}`},
		{"text with markup", wechat.TextReply{Content: "a]]>b <a href=\"http://x?a=1&b=2\">点</a>\n"},
			"text]]></MsgType><Content><![CDATA[a]]]]><![CDATA[>b <a href=\"http://x?a=1&b=2\">点</a>\n]]></Content></xml>",
			`text","Content":"a]]>b <a href=\"http://x?a=1&b=2\">点</a>\n"}`},
		{"image", wechat.ImageReply{MediaID: "M"},
			"image]]></MsgType><Image><MediaId><![CDATA[M]]></MediaId></Image></xml>", `image","Image":{"MediaId":"M"}}`},
		{"voice", wechat.VoiceReply{MediaID: "M"},
			"voice]]></MsgType><Voice><MediaId><![CDATA[M]]></MediaId></Voice></xml>", `voice","Voice":{"MediaId":"M"}}`},
		{"video without texts", wechat.VideoReply{MediaID: "M"},
			"video]]></MsgType><Video><MediaId><![CDATA[M]]></MediaId></Video></xml>", `video","Video":{"MediaId":"M"}}`},
		{"video", wechat.VideoReply{MediaID: "M", Title: "T", Description: "D"},
			"video]]></MsgType><Video><MediaId><![CDATA[M]]></MediaId><Title><![CDATA[T]]></Title><Description><![CDATA[D]]></Description></Video></xml>",
			`video","Video":{"MediaId":"M","Title":"T","Description":"D"}}`},
		{"music", wechat.MusicReply{MusicURL: "u", ThumbMediaID: "M"},
			"music]]></MsgType><Music><MusicUrl><![CDATA[u]]></MusicUrl><ThumbMediaId><![CDATA[M]]></ThumbMediaId></Music></xml>",
			`music","Music":{"MusicUrl":"u","ThumbMediaId":"M"}}`},
		{"news", wechat.NewsReply{Articles: []wechat.Article{{Title: "T", URL: "u"}}},
			"news]]></MsgType><ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[T]]></Title><Description><![CDATA[]]></Description><PicUrl><![CDATA[]]></PicUrl><Url><![CDATA[u]]></Url></item></Articles></xml>",
			`news","ArticleCount":1,"Articles":[{"Title":"T","Description":"","PicUrl":"","Url":"u"}]}`},
		{"transfer", wechat.TransferReply{}, "transfer_customer_service]]></MsgType></xml>", `transfer_customer_service"}`},
		{"transfer to one agent", wechat.TransferReply{KfAccount: "a@b"},
			"transfer_customer_service]]></MsgType><TransInfo><KfAccount><![CDATA[a@b]]></KfAccount></TransInfo></xml>",
			`transfer_customer_service","TransInfo":{"KfAccount":"a@b"}}`},
		{"built-in AI", wechat.AIReply{}, "transfer_biz_ai_ivr]]></MsgType></xml>", `transfer_biz_ai_ivr"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for format, want := range map[wechat.Format]string{wechat.XML: xmlHead + tt.wantXML, wechat.JSON: jsonHead + tt.wantJSON} {
				got, err := wechat.EncodeReply(format, reply(tt.body))
				require.NoError(t, err)
				require.Equal(t, want, string(got))
				decoded, gotFormat, err := wechat.DecodeReply(got, wechat.Limits{})
				require.NoError(t, err)
				require.Equal(t, format, gotFormat)
				require.Equal(t, reply(tt.body), decoded)
			}
		})
	}
}

func TestEncodeReplyRefuses(t *testing.T) {
	article := wechat.Article{Title: "T", URL: "u"}
	tests := []struct {
		want  string
		reply wechat.Reply
	}{
		{"to_user_name: required", wechat.Reply{FromUserName: "gh_x", CreateTime: 1, Body: wechat.AIReply{}}},
		{"from_user_name: required", wechat.Reply{ToUserName: "o_x", CreateTime: 1, Body: wechat.AIReply{}}},
		{"create_time: required", wechat.Reply{ToUserName: "o_x", FromUserName: "gh_x", Body: wechat.AIReply{}}},
		{"body: required", reply(nil)},
		{"text.content: required", reply(wechat.TextReply{})},
		{"text.content: required", reply(wechat.TextReply{Content: " \r\n\t"})},
		{"text.content: required", reply(wechat.TextReply{Content: "\x00\x08"})},
		{"text.content: not UTF-8", reply(wechat.TextReply{Content: "\xff"})},
		{"text.content: at most 2047 bytes, has 2048", reply(wechat.TextReply{Content: strings.Repeat("x", 2048)})},
		{"text.content: at most 2047 bytes, has 2049", reply(wechat.TextReply{Content: strings.Repeat("你", 683)})},
		{"image.media_id: required", reply(wechat.ImageReply{})},
		{"voice.media_id: required", reply(wechat.VoiceReply{MediaID: " "})},
		{"video.media_id: required", reply(wechat.VideoReply{Title: "T"})},
		{"music.thumb_media_id: required", reply(wechat.MusicReply{Title: "T"})},
		{"news.articles: required", reply(wechat.NewsReply{})},
		{"news.articles: at most 1, has 2", reply(wechat.NewsReply{Articles: []wechat.Article{article, article}})},
		{"news.articles[0].title: required", reply(wechat.NewsReply{Articles: []wechat.Article{{URL: "u"}}})},
		{"news.articles[0].url: required", reply(wechat.NewsReply{Articles: []wechat.Article{{Title: "T"}}})},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
				got, err := wechat.EncodeReply(format, tt.reply)
				require.EqualError(t, err, tt.want)
				require.Equal(t, fault.Invalid, fault.KindOf(err))
				require.Nil(t, got)
			}
		})
	}
}

func TestReplyLimits(t *testing.T) {
	_, err := wechat.EncodeReply(wechat.XML, reply(wechat.TextReply{Content: strings.Repeat("x", 2047)}))
	require.NoError(t, err)
	_, err = wechat.EncodeReply(wechat.XML, reply(wechat.TextReply{Content: strings.Repeat("你", 682)}))
	require.NoError(t, err)
	articles := make([]wechat.Article, 9)
	for i := range articles {
		articles[i] = wechat.Article{Title: "T", URL: "u"}
	}
	require.NoError(t, wechat.CheckBody(wechat.NewsReply{Articles: articles[:8]}, wechat.ReplyLimits{Articles: 100}))
	require.Error(t, wechat.CheckBody(wechat.NewsReply{Articles: articles}, wechat.ReplyLimits{Articles: 100}), "never more than eight")
	require.Error(t, wechat.CheckBody(wechat.TextReply{Content: "ab"}, wechat.ReplyLimits{TextBytes: 1}))
}

func TestAppendReplyAppends(t *testing.T) {
	got, err := wechat.AppendReply([]byte("before"), wechat.JSON, reply(wechat.AIReply{}), wechat.ReplyLimits{})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(got), `before{"ToUserName"`))
}

func TestDecodeReplyRefusesUnknownTypes(t *testing.T) {
	_, _, err := wechat.DecodeReply([]byte("<xml><MsgType>dance</MsgType></xml>"), wechat.Limits{})
	require.ErrorContains(t, err, "unknown MsgType")
	_, _, err = wechat.DecodeReply([]byte(wechat.Ack), wechat.Limits{})
	require.ErrorIs(t, err, wechat.ErrFormat)
}

func TestAppendJSONString(t *testing.T) {
	for in, want := range map[string]string{
		"":              `""`,
		"<a>&'":         `"<a>&'"`,
		"\"\\\n\r\t":    `"\"\\\n\r\t"`,
		"\x00\x08\x1fa": `"a"`,
		"你\u2028😀":      "\"你\u2028😀\"",
		"a\xffb\ufffd":  "\"a\ufffdb\ufffd\"",
		"\xf0\x9f\x98":  "\"\ufffd\ufffd\ufffd\"",
	} {
		require.Equal(t, want, string(wechat.AppendJSONString(nil, in)))
	}
}

func TestEncodeJSON(t *testing.T) {
	got, err := wechat.EncodeJSON(map[string]string{"a": "<a href=\"x?y=1&z=2\">你</a>\u2028\u2029\xff\x01\\u4f60"})
	require.NoError(t, err)
	require.Equal(t, "{\"a\":\"<a href=\\\"x?y=1&z=2\\\">你</a>\u2028\u2029\ufffd\\\\u4f60\"}", string(got))
	_, err = wechat.EncodeJSON(func() {})
	require.ErrorContains(t, err, "encode request")
}

func TestFormat(t *testing.T) {
	require.Equal(t, "text/xml; charset=utf-8", wechat.XML.ContentType())
	require.Equal(t, "application/json; charset=utf-8", wechat.JSON.ContentType())
	require.Equal(t, "unknown", wechat.Format(0).String())
}
