package wechat_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

func parse(t testing.TB, body string) *wechat.Push {
	t.Helper()
	p, err := wechat.Parse([]byte(body), wechat.Limits{})
	require.NoError(t, err)
	return p
}

// event returns an event push with the given name and extra elements.
func event(name, elements string) string {
	return "<xml><ToUserName>gh_x</ToUserName><FromUserName>o_x</FromUserName><CreateTime>1700000000</CreateTime>" +
		"<MsgType>event</MsgType><Event>" + name + "</Event>" + elements + "</xml>"
}

func message(msgType, elements string) string {
	return "<xml><ToUserName>gh_x</ToUserName><FromUserName>o_x</FromUserName><CreateTime>1700000000</CreateTime>" +
		"<MsgType>" + msgType + "</MsgType>" + elements + "<MsgId>1</MsgId></xml>"
}

func TestPayloadOfVectors(t *testing.T) {
	tests := map[string]any{
		"inbound/chanxuehong_365_text.xml":           wechat.Text{Content: "hhhhhjjjjjjjjj"},
		"inbound/doc_text_msgdataid_idx.xml":         wechat.Text{Content: "this is a test", ArticleID: "xxxx", ArticleIndex: "xxxx"},
		"inbound/wxjava_015_text_subscribe.xml":      wechat.Text{Content: "this is a test"},
		"synthetic/cdata_split.xml":                  wechat.Text{Content: "a]]>b"},
		"synthetic/duplicate_field.xml":              wechat.Text{Content: "first"},
		"inbound/doc_mini_image.json":                wechat.Media{PicURL: "this is a url", MediaID: "media_id"},
		"inbound/doc_voice_recognition_16k.xml":      wechat.Media{MediaID: "media_id", Format: "Format", Recognition: "腾讯微信团队", ArticleID: "xxxx", ArticleIndex: "xxxx", MediaID16K: "media_id_16k"},
		"inbound/wechatpy_112_video.xml":             wechat.Media{MediaID: "media_id", ThumbMediaID: "thumb_media_id"},
		"inbound/wechatpy_113_location.xml":          wechat.Location{Latitude: 23.134521, Longitude: 113.358803, Scale: 20, Label: "位置信息"},
		"inbound/wechatpy_083_event_location.xml":    wechat.Location{Latitude: 23.137466, Longitude: 113.352425, Precision: 119.38504},
		"inbound/werobot_298_link.xml":               wechat.Link{Title: "WeRoBot", Description: "Link to WeRoBot", URL: "https://github.com/whtsky/WeRoBot"},
		"inbound/doc_mini_miniprogrampage.json":      wechat.MiniProgramPage{Title: "title", AppID: "appid", PagePath: "path"},
		"inbound/wechatpy_128_device_text.xml":       wechat.Device{DeviceType: "123", DeviceID: "123", SessionID: "123", OpenID: "123", Content: "MTIz"},
		"inbound/wechatpy_129_device_event_bind.xml": wechat.Device{DeviceType: "123", DeviceID: "123", SessionID: "123", OpenID: "123", Content: "MTIz"},
		"inbound/wechatpy_122_notsure.xml":           nil,

		"inbound/chanxuehong_361_event_subscribe.xml":    wechat.Follow{},
		"inbound/easywechat_388_event_subscribe.xml":     wechat.Follow{Source: wechat.FollowQR, Key: "123123", Ticket: "TICKET"},
		"inbound/wechatpy_116_event_subscribe.xml":       wechat.Follow{Source: wechat.FollowPayment, Key: "4008072001201701105817415015"},
		"inbound/wechatpy_123_event_subscribe.xml":       wechat.Follow{Source: wechat.FollowBarcode, Key: "keystandard|keystr"},
		"inbound/wechatpy_124_event_subscribe.xml":       wechat.Follow{Source: wechat.FollowImage, Key: "keystandard|keystr"},
		"inbound/wechatpy_118_event_scan.xml":            wechat.Scan{Scene: "123123", Ticket: "TICKET"},
		"inbound/doc_view_menuid.xml":                    wechat.MenuView{Target: "https://example.com/a?b=1&c=2", MenuID: "400187215"},
		"inbound/werobot_259_event_scancode_push.xml":    wechat.ScanCode{Type: "qrcode", Result: "http://www.qq.com"},
		"inbound/wechatpy_089_event_pic_sysphoto.xml":    wechat.Pictures{Count: 1, MD5: []string{"1b5f7c23b5bf75682a53e7b6d163e185"}},
		"inbound/werobot_308_event_pic_sysphoto.xml":     wechat.Pictures{Count: 2, MD5: []string{"1b5f7c23b5bf75682a53e7b6d163e185", "233"}},
		"inbound/wechatpy_092_event_location_select.xml": wechat.Location{Latitude: 23, Longitude: 113, Scale: 15, Label: "广州市海珠区客村艺苑路 106号"},

		"inbound/wechatpy_097_event_templatesendjobfinish.xml": wechat.TemplateJob{MsgID: "200163836", Status: "success", Result: wechat.TemplateDelivered},
		"inbound/werobot_329_event_templatesendjobfinish.xml":  wechat.TemplateJob{MsgID: "200163840", Status: "failed: system failed", Result: wechat.TemplateSystemFailed},
		"inbound/doc_publishjobfinish_fail.xml":                wechat.PublishJob{PublishID: "2247503051", Status: 2, FailedIndexes: []int{1, 2}},
		"inbound/wxjava_001_event_publishjobfinish.xml": wechat.PublishJob{
			PublishID: "2247503051", ArticleID: "b5O2OUs25HBxRceL7hfReg-U9QGeq9zQjiDvy WP4Hq4",
			Articles: []wechat.ArticleURL{{Index: 1, URL: "ARTICLE_URL"}, {Index: 2, URL: "ARTICLE_URL_2"}},
		},
		"inbound/doc_kf_close_session_closetype.xml":       wechat.KfSession{KfAccount: "test1@test", CloseType: "KF"},
		"inbound/wechatpy_096_event_kf_switch_session.xml": wechat.KfSession{KfAccount: "test2@test", FromKfAccount: "test1@test"},
		"inbound/wxjava_018_event_subscribe_msg_popup_event.xml": wechat.SubscribeMessages{Items: []wechat.SubscribeMessage{
			{TemplateID: "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", Decision: "accept", PopupScene: "2"},
			{TemplateID: "9nLIlbOQZC5Y89AZteFEux3WCXRRRG5Wfzkpssu4bLI", Decision: "reject", PopupScene: "2"},
		}},
		"inbound/wxjava_006_event_subscribe_msg_popup_event.json":  wechat.SubscribeMessages{Items: []wechat.SubscribeMessage{{TemplateID: "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", Decision: "accept", PopupScene: "0"}}},
		"inbound/wxjava_007_event_subscribe_msg_popup_event.json":  wechat.SubscribeMessages{Items: []wechat.SubscribeMessage{{TemplateID: "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", Decision: "accept", PopupScene: "0"}}},
		"inbound/wxjava_010_event_subscribe_msg_change_event.json": wechat.SubscribeMessages{Items: []wechat.SubscribeMessage{{TemplateID: "BEwX0BOT3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", Decision: "reject"}}},
		"inbound/wxjava_012_event_subscribe_msg_sent_event.json":   wechat.SubscribeMessages{Items: []wechat.SubscribeMessage{{TemplateID: "BEwX0BO-T3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", MsgID: "1864323726461255680", ErrorStatus: "success"}}},
		"thirdparty/easywechat_392_component_verify_ticket.xml":    wechat.Authorization{AppID: "some_appid", Ticket: "some_verify_ticket"},
		"thirdparty/easywechat_390_unauthorized.xml":               wechat.Authorization{AppID: "第三方平台appid", AuthorizerAppID: "公众号appid"},
		"inbound/doc_checkcontainerpath.json":                      nil,
		"inbound/doc_debug_demo.json":                              nil,
	}
	for file, want := range tests {
		t.Run(file, func(t *testing.T) {
			require.Equal(t, want, parse(t, string(readVector(t, file))).Payload())
		})
	}
}

func TestMassJobPayload(t *testing.T) {
	job := parse(t, string(readVector(t, "inbound/wechatpy_086_event_masssendjobfinish.xml"))).Payload().(wechat.MassJob)
	require.Equal(t, "1000001625", job.MsgID)
	require.Equal(t, 30003, job.Code)
	require.False(t, job.Succeeded)
	require.Equal(t, "originality check: judged a reprint", job.Reason())
	require.Equal(t, "2", job.CopyrightState)
	require.Len(t, job.Copyright, 2)
	require.Equal(t, wechat.CopyrightResult{
		Index: 2, UserDeclareState: "0", AuditState: "2", OriginalArticleURL: "Url_2", OriginalArticleType: "1",
		CanReprint: true, NeedReplaceContent: true, NeedShowReprintSource: true,
	}, job.Copyright[1])
	require.Equal(t, []wechat.ArticleURL{{Index: 1, URL: "Url"}}, job.Articles)
}

func TestMassJobStatus(t *testing.T) {
	for status, want := range map[string]wechat.MassJob{
		"send success": {Succeeded: true}, "sendsuccess": {Succeeded: true}, "send fail": {},
		"err(10001)": {Code: 10001}, "err( 20004 )": {Code: 20004}, "err(x)": {}, "": {},
	} {
		p := parse(t, event("MASSSENDJOBFINISH", "<MsgID>7</MsgID><Status>"+status+"</Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount>"))
		job := p.Payload().(wechat.MassJob)
		require.Equal(t, want.Succeeded, job.Succeeded, status)
		require.Equal(t, want.Code, job.Code, status)
		require.EqualValues(t, 100, job.TotalCount)
		require.Equal(t, job.FilterCount, job.SentCount+job.ErrorCount)
	}
}

func TestTemplateJobStatus(t *testing.T) {
	for status, want := range map[string]wechat.TemplateResult{
		"success": wechat.TemplateDelivered, "failed:user block": wechat.TemplateUserBlocked,
		"failed: user block": wechat.TemplateUserBlocked, "failed: system failed": wechat.TemplateSystemFailed,
		"failed:system failed": wechat.TemplateSystemFailed, "failed": wechat.TemplateFailed, "": wechat.TemplateFailed,
	} {
		p := parse(t, event("TEMPLATESENDJOBFINISH", "<MsgID>7</MsgID><Status>"+status+"</Status>"))
		require.Equal(t, want, p.Payload().(wechat.TemplateJob).Result, status)
	}
}

func TestPushesWithoutAVector(t *testing.T) {
	t.Run("tap on a menu message", func(t *testing.T) {
		p := parse(t, message("text", "<Content> 满意 </Content><bizmsgmenuid>101</bizmsgmenuid><BusinessId>7</BusinessId>"))
		require.Equal(t, wechat.Text{Content: " 满意 ", MenuID: "101", BusinessID: "7"}, p.Payload())
	})
	t.Run("file", func(t *testing.T) {
		p := parse(t, message("file", "<Title>a.pdf</Title><Description/><FileKey>K</FileKey><FileMd5>M</FileMd5><FileTotalLen>123</FileTotalLen>"))
		require.True(t, p.Known)
		require.Equal(t, wechat.File{Title: "a.pdf", FileKey: "K", MD5: "M", Size: 123}, p.Payload())
	})
	t.Run("enter a Mini Program's desk, null session", func(t *testing.T) {
		p := parse(t, `{"ToUserName":"gh_x","FromUserName":"o_x","CreateTime":"1700000000","MsgType":"event","Event":"user_enter_tempsession","SessionFrom":null}`)
		require.Equal(t, wechat.TempSession{}, p.Payload())
		require.Equal(t, wechat.KindEvent, p.Kind())
		require.False(t, p.AcceptsPassive(true))
	})
	t.Run("fan changed personal data, lower-case names", func(t *testing.T) {
		p := parse(t, event("user_info_modified", "<openid>o_real</openid><appid>wx1</appid>"))
		require.Equal(t, "o_real", p.OpenID)
		require.Equal(t, "o_x", p.FromUserName)
		require.Equal(t, wechat.UserData{OpenID: "o_real", AppID: "wx1"}, p.Payload())
	})
	t.Run("fan withdrew personal data, official sample with its typos", func(t *testing.T) {
		p := parse(t, `{"ToUserName":"gh_x","FromUserName":"system","CreateTime":1626857200,"MsgType":"event","Event":"user_authorization_revoke"," OpenID":"o_real","AppID ":"wx1","RevokeInfo":"1,2",}`)
		require.Equal(t, "o_real", p.OpenID)
		require.Equal(t, wechat.UserData{OpenID: "o_real", AppID: "wx1", Revoked: []string{"1", "2"}}, p.Payload())
	})
	t.Run("OpenID in a message is not the fan", func(t *testing.T) {
		require.Equal(t, "o_x", parse(t, message("text", "<OpenID>o_other</OpenID><Content>x</Content>")).OpenID)
	})
	t.Run("publish under its other name", func(t *testing.T) {
		p := parse(t, event("FREEPUBLISHJOBFINISH", "<PublishEventInfo><publish_id>1</publish_id></PublishEventInfo>"))
		require.Equal(t, wechat.PublishJob{PublishID: "1", Status: -1}, p.Payload())
		require.Equal(t, wechat.KindJob, p.Kind())
	})
	t.Run("lists in JSON without item", func(t *testing.T) {
		p := parse(t, `{"FromUserName":"o_x","MsgType":"event","Event":"MASSSENDJOBFINISH","ArticleUrlResult":{"Count":1,"ResultList":[{"ArticleIdx":1,"ArticleUrl":"u"}]}}`)
		require.Equal(t, []wechat.ArticleURL{{Index: 1, URL: "u"}}, p.Payload().(wechat.MassJob).Articles)
	})
	t.Run("blanks around protocol fields", func(t *testing.T) {
		p := parse(t, event("\n<![CDATA[ SCAN ]]>\n", "<EventKey> 7 </EventKey>"))
		require.Equal(t, wechat.KindScan, p.Kind())
		require.Equal(t, "7", p.EventKey)
	})
	t.Run("ids in three spellings", func(t *testing.T) {
		for _, name := range []string{"MsgId", "MsgID", "msgid"} {
			p := parse(t, `{"FromUserName":"o_x","MsgType":"text","`+name+`":18446744073709551615}`)
			require.Equal(t, "18446744073709551615", p.MsgID, name)
		}
	})
	t.Run("Mini Program family nobody documented yet", func(t *testing.T) {
		require.True(t, parse(t, event("xpay_goods_deliver_notify", "")).Known)
		require.False(t, parse(t, event("wxa_2030", "")).Known)
	})
}

func TestKindAndPassive(t *testing.T) {
	tests := []struct {
		body     string
		kind     wechat.Kind
		official bool
		mini     bool
	}{
		{message("text", ""), wechat.KindMessage, true, true},
		{message("IMAGE", ""), wechat.KindMessage, true, true},
		{message("brand_new", ""), wechat.KindMessage, false, false},
		{message("device_text", ""), wechat.KindEvent, false, false},
		{message("hardware", ""), wechat.KindEvent, false, false},
		{event("CLICK", ""), wechat.KindClick, true, false},
		{event("scancode_push", ""), wechat.KindClick, true, false},
		{event("scancode_waitmsg", ""), wechat.KindClick, true, false},
		{event("pic_sysphoto", ""), wechat.KindClick, true, false},
		{event("pic_photo_or_album", ""), wechat.KindClick, true, false},
		{event("pic_weixin", ""), wechat.KindClick, true, false},
		{event("location_select", ""), wechat.KindClick, true, false},
		{event("scan", ""), wechat.KindScan, true, false},
		{event("subscribe", ""), wechat.KindSubscribe, true, false},
		{event("unsubscribe", ""), wechat.KindUnsubscribe, false, false},
		{event("LOCATION", ""), wechat.KindLocation, false, false},
		{event("TEMPLATESENDJOBFINISH", ""), wechat.KindJob, false, false},
		{event("PUBLISHJOBFINISH", ""), wechat.KindJob, false, false},
		{event("kf_create_session", ""), wechat.KindKf, false, false},
		{event("kf_switch_session", ""), wechat.KindKf, false, false},
		{event("VIEW", ""), wechat.KindEvent, false, false},
		{event("view_miniprogram", ""), wechat.KindEvent, false, false},
		{event("subscribe_msg_sent_event", ""), wechat.KindEvent, false, false},
		{event("user_enter_tempsession", ""), wechat.KindEvent, false, false},
		{event("brand_new_event", ""), wechat.KindEvent, false, false},
		{event("", ""), wechat.KindEvent, false, false},
	}
	for _, tt := range tests {
		p := parse(t, tt.body)
		require.Equal(t, tt.kind, p.Kind(), tt.body)
		require.Equal(t, tt.official, p.AcceptsPassive(false), tt.body)
		require.Equal(t, tt.mini, p.AcceptsPassive(true), tt.body)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		body string
		want error
	}{
		"nothing":                   {"", wechat.ErrFormat},
		"text":                      {"hello", wechat.ErrFormat},
		"JSON array":                {"[{}]", wechat.ErrFormat},
		"no type in XML":            {"<xml><FromUserName>o_x</FromUserName></xml>", wechat.ErrNotPush},
		"no type in JSON":           {"{}", wechat.ErrNotPush},
		"another action":            {`{"action":"Other"}`, wechat.ErrNotPush},
		"no sender":                 {"<xml><MsgType>text</MsgType></xml>", wechat.ErrNoSender},
		"blank sender":              {"<xml><MsgType>text</MsgType><FromUserName> </FromUserName></xml>", wechat.ErrNoSender},
		"too large":                 {message("text", strings.Repeat(" ", 64<<10)), wechat.ErrTooLarge},
		"too deep in XML":           {message("text", strings.Repeat("<a>", 8)+strings.Repeat("</a>", 8)), wechat.ErrTooDeep},
		"too deep in JSON":          {`{"a":` + strings.Repeat(`{"b":`, 8) + "1" + strings.Repeat("}", 9), wechat.ErrTooDeep},
		"deep arrays in JSON":       {`{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", nil},
		"too many elements":         {message("text", strings.Repeat("<a/>", 256)), wechat.ErrTooMany},
		"too many elements in JSON": {`{"a":[` + strings.Repeat("1,", 300) + "1]}", wechat.ErrTooMany},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := wechat.Parse([]byte(tt.body), wechat.Limits{})
			require.Error(t, err)
			require.Nil(t, p)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
		})
	}
}

func TestLimitsCanBeRaisedUpToTheHardOnes(t *testing.T) {
	big := []byte(message("text", "<Content>"+strings.Repeat("x", 100<<10)+"</Content>"))
	_, err := wechat.Parse(big, wechat.Limits{})
	require.ErrorIs(t, err, wechat.ErrTooLarge)
	_, err = wechat.Parse(big, wechat.Limits{Bytes: 200 << 10})
	require.NoError(t, err)
	huge := []byte(message("text", "<Content>"+strings.Repeat("x", wechat.MaxBody)+"</Content>"))
	_, err = wechat.Parse(huge, wechat.Limits{Bytes: 10 << 20})
	require.ErrorIs(t, err, wechat.ErrTooLarge)

	deep := []byte(message("text", strings.Repeat("<a>", 20)+strings.Repeat("</a>", 20)))
	_, err = wechat.Parse(deep, wechat.Limits{Depth: 21})
	require.NoError(t, err)
	deeper := []byte(message("text", strings.Repeat("<a>", 40)+strings.Repeat("</a>", 40)))
	_, err = wechat.Parse(deeper, wechat.Limits{Depth: 1000})
	require.ErrorIs(t, err, wechat.ErrTooDeep)
}

// TestLargestDocumentedPushFits: a mass job of eight articles, checked for copyright.
func TestLargestDocumentedPushFits(t *testing.T) {
	article := `<item><ArticleIdx>1</ArticleIdx><UserDeclareState>0</UserDeclareState><AuditState>2</AuditState>` +
		`<OriginalArticleUrl><![CDATA[http://mp.weixin.qq.com/s?__biz=x&mid=1&idx=1&sn=y]]></OriginalArticleUrl><OriginalArticleType>1</OriginalArticleType>` +
		`<CanReprint>1</CanReprint><NeedReplaceContent>1</NeedReplaceContent><NeedShowReprintSource>1</NeedShowReprintSource></item>` + "\n"
	url := `<item><ArticleIdx>1</ArticleIdx><ArticleUrl><![CDATA[http://mp.weixin.qq.com/s?x]]></ArticleUrl></item>` + "\n"
	job := parse(t, event("MASSSENDJOBFINISH", "<CopyrightCheckResult><Count>8</Count><ResultList>"+strings.Repeat(article, 8)+
		"</ResultList><CheckState>2</CheckState></CopyrightCheckResult><ArticleUrlResult><Count>8</Count><ResultList>"+strings.Repeat(url, 8)+
		"</ResultList></ArticleUrlResult>")).Payload().(wechat.MassJob)
	require.Len(t, job.Copyright, 8)
	require.Len(t, job.Articles, 8)
}
