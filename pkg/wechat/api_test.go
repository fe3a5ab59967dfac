package wechat_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

func TestToken(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_token.json")))
	token, err := c.Token(t.Context(), "wx1", "s&1")
	require.NoError(t, err)
	require.Equal(t, wechat.AccessToken{Value: "1234567890", ExpiresAt: clock.Add(2 * time.Hour)}, token)
	require.Equal(t, recorded{Method: "GET", Path: "/cgi-bin/token", Query: "appid=wx1&grant_type=client_credential&secret=s%261"}, *got)
}

func TestStableToken(t *testing.T) {
	c, got := recording(t, `{"access_token":"abc","expires_in":"345"}`)
	token, err := c.StableToken(t.Context(), "wx1", "s<1", true)
	require.NoError(t, err)
	require.Equal(t, wechat.AccessToken{Value: "abc", ExpiresAt: clock.Add(345 * time.Second)}, token)
	require.Equal(t, "POST", got.Method)
	require.Equal(t, "/cgi-bin/stable_token", got.Path)
	require.Empty(t, got.Query)
	require.Equal(t, "application/json; charset=utf-8", got.ContentType)
	require.Equal(t, `{"appid":"wx1","force_refresh":true,"grant_type":"client_credential","secret":"s<1"}`, got.Body)
}

func TestTokenRefusals(t *testing.T) {
	tests := []struct {
		name, body string
		class      wechat.Class
	}{
		{"wrong secret", `{"errcode":40001,"errmsg":"invalid credential"}`, wechat.ClassAccount},
		{"secret invalid", `{"errcode":40125}`, wechat.ClassAccount},
		{"address not listed", `{"errcode":40164,"errmsg":"invalid ip 1.2.3.4, not in whitelist rid: x"}`, wechat.ClassAccount},
		{"administrator must confirm", `{"errcode":89503}`, wechat.ClassConfirm},
		{"busy", `{"errcode":-1}`, wechat.ClassTransient},
		{"no token in it", `{"expires_in":7200}`, wechat.ClassUnknown},
		{"no life in it", `{"access_token":"x"}`, wechat.ClassUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := answering(t, 200, tt.body).Token(t.Context(), "wx1", "s")
			require.Error(t, err)
			require.Equal(t, tt.class, wechat.ClassOf(err))
		})
	}
}

func TestJSTicket(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_ticket_getticket.json")))
	ticket, err := c.JSTicket(t.Context(), "tok", "jsapi")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(ticket.Value, "bxLdikRXVbTPdHSM"))
	require.Equal(t, clock.Add(2*time.Hour), ticket.ExpiresAt)
	require.Equal(t, recorded{Method: "GET", Path: "/cgi-bin/ticket/getticket", Query: "access_token=tok&type=jsapi"}, *got)
}

func TestCustomSendLeavesTextReadable(t *testing.T) {
	c, got := recording(t, `{"errcode":0,"errmsg":"ok"}`)
	body := `{"touser":"o_x","msgtype":"text","text":{"content":"\u4f60\u597d <a href=\"http://x?a=1&b=2\">\u70b9</a> \ud83d\ude00\u0007\u000a\u0022"}}`
	require.NoError(t, c.CustomSend(t.Context(), "tok", []byte(body)))
	require.Equal(t, `{"touser":"o_x","msgtype":"text","text":{"content":"你好 <a href=\"http://x?a=1&b=2\">点</a> 😀\n\""}}`, got.Body)
	require.Equal(t, "access_token=tok", got.Query)
}

func TestTyping(t *testing.T) {
	c, got := recording(t, `{"errcode":0}`)
	require.NoError(t, c.Typing(t.Context(), "tok", "o_x", true))
	require.Equal(t, `{"command":"Typing","touser":"o_x"}`, got.Body)
	require.NoError(t, c.Typing(t.Context(), "tok", "o_x", false))
	require.Equal(t, `{"command":"CancelTyping","touser":"o_x"}`, got.Body)
	for _, code := range []string{"45072", "45080", "45081"} {
		require.NoError(t, answering(t, 200, `{"errcode":`+code+`}`).Typing(t.Context(), "tok", "o_x", true))
	}
	require.Error(t, answering(t, 200, `{"errcode":45015}`).Typing(t.Context(), "tok", "o_x", true))
}

func TestCallbackIPs(t *testing.T) {
	c, got := recording(t, `{"ip_list":["127.0.0.1","101.226.103.0/25","2402:4e00::/32","nonsense"]}`)
	prefixes, err := c.CallbackIPs(t.Context(), "tok")
	require.NoError(t, err)
	require.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("101.226.103.0/25"), netip.MustParsePrefix("2402:4e00::/32"),
	}, prefixes)
	require.Equal(t, "/cgi-bin/getcallbackip", got.Path)
	_, err = c.APIDomainIPs(t.Context(), "tok")
	require.NoError(t, err)
	require.Equal(t, "/cgi-bin/get_api_domain_ip", got.Path)
}

func TestCallbackCheck(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_callback_check.json")))
	report, err := c.CallbackCheck(t.Context(), "tok", "all", "DEFAULT")
	require.NoError(t, err)
	require.Len(t, report.DNS, 2)
	require.Equal(t, "UNICOM", report.DNS[0].Operator)
	require.Equal(t, "23.079ms", report.Ping[0].Time)
	require.Equal(t, `{"action":"all","check_operator":"DEFAULT"}`, got.Body)
}

func TestQuotaGet(t *testing.T) {
	c, got := recording(t, `{"errcode":0,"quota":{"daily_limit":500000,"used":"12","remain":499988},"rate_limit":{"call_count":10,"refresh_second":60}}`)
	quota, err := c.QuotaGet(t.Context(), "tok", "/cgi-bin/message/custom/send")
	require.NoError(t, err)
	require.Equal(t, wechat.Quota{DailyLimit: 500000, Used: 12, Remaining: 499988, Calls: 10, RefreshSeconds: 60}, quota)
	require.Equal(t, `{"cgi_path":"/cgi-bin/message/custom/send"}`, got.Body)
}

func TestKfSessions(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_customservice_kfsession_getsession.json")))
	session, err := c.KfSessionGet(t.Context(), "tok", "o_x")
	require.NoError(t, err)
	require.Equal(t, wechat.NativeSession{KfAccount: "test1@test", Since: time.Unix(123456789, 0)}, session)
	require.Equal(t, "access_token=tok&openid=o_x", got.Query)

	session, err = answering(t, 200, `{"kf_account":"","createtime":0}`).KfSessionGet(t.Context(), "tok", "o_x")
	require.NoError(t, err)
	require.Zero(t, session)

	require.NoError(t, c.KfSessionCreate(t.Context(), "tok", "a@b", "o_x"))
	require.Equal(t, recorded{
		Method: "POST", Path: "/customservice/kfsession/create", Query: "access_token=tok",
		Body: `{"kf_account":"a@b","openid":"o_x"}`, ContentType: "application/json; charset=utf-8",
	}, *got)
	require.NoError(t, c.KfSessionClose(t.Context(), "tok", "a@b", "o_x"))
	require.Equal(t, "/customservice/kfsession/close", got.Path)
	require.NoError(t, answering(t, 200, `{"errcode":65413}`).KfSessionClose(t.Context(), "tok", "a@b", "o_x"))
	err = answering(t, 200, `{"errcode":65414}`).KfSessionCreate(t.Context(), "tok", "a@b", "o_x")
	require.Equal(t, wechat.ClassRouted, wechat.ClassOf(err))
	err = answering(t, 200, `{"errcode":65415}`).KfSessionCreate(t.Context(), "tok", "a@b", "o_x")
	require.Equal(t, wechat.ClassAgentOffline, wechat.ClassOf(err))
}

func TestMediaUpload(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_media_upload.json")))
	media, err := c.MediaUpload(t.Context(), "tok", wechat.Upload{
		Type: "image", Filename: "猫\r\n\".jpg", ContentType: "image/jpeg", Content: strings.NewReader("JPEG"),
	})
	require.NoError(t, err)
	require.Equal(t, wechat.UploadedMedia{Type: "image", MediaID: "12345678", CreatedAt: time.Unix(123456789, 0)}, media)
	require.Equal(t, "access_token=tok&type=image", got.Query)

	_, params, err := mime.ParseMediaType(got.ContentType)
	require.NoError(t, err)
	part, err := multipart.NewReader(strings.NewReader(got.Body), params["boundary"]).NextPart()
	require.NoError(t, err)
	content, err := io.ReadAll(part)
	require.NoError(t, err)
	require.Equal(t, "JPEG", string(content))
	require.Equal(t, "media", part.FormName())
	require.Equal(t, "____.jpg", part.FileName())
	require.Equal(t, "image/jpeg", part.Header.Get("Content-Type"))

	thumb, err := answering(t, 200, `{"type":"thumb","thumb_media_id":"T","created_at":"1"}`).
		MediaUpload(t.Context(), "tok", wechat.Upload{Type: "thumb", Content: strings.NewReader("x")})
	require.NoError(t, err)
	require.Equal(t, "T", thumb.MediaID)
}

func TestMediaUploadRefusesEmptyAndLargeFiles(t *testing.T) {
	for _, size := range []int{0, wechat.MaxUpload + 1} {
		_, err := answering(t, 200, `{}`).MediaUpload(t.Context(), "tok", wechat.Upload{Type: "image", Content: bytes.NewReader(make([]byte, size))})
		require.ErrorContains(t, err, "content:")
	}
	_, err := answering(t, 200, `{"type":"image"}`).MediaUpload(t.Context(), "tok", wechat.Upload{Type: "image", Content: strings.NewReader("x")})
	require.ErrorContains(t, err, "without a media id")
}

func TestMediaGet(t *testing.T) {
	file := func(contentType, disposition, body string) *wechat.Client {
		return newClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := answer(r, 200, body)
			resp.Header.Set("Content-Type", contentType)
			if disposition != "" {
				resp.Header.Set("Content-Disposition", disposition)
			}
			return resp, nil
		}))
	}
	got, err := file("image/jpeg", `attachment; filename="a.jpg"`, "\xff\xd8 JPEG").MediaGet(t.Context(), "tok", "M")
	require.NoError(t, err)
	require.Equal(t, wechat.MediaFile{ContentType: "image/jpeg", Filename: "a.jpg", Content: []byte("\xff\xd8 JPEG")}, got)

	got, err = file("application/octet-stream", `attachment; filename="a.json"`, `{"errcode":40007}`).MediaGet(t.Context(), "tok", "M")
	require.NoError(t, err, "a file of a fan that looks like an error is a file")
	require.Equal(t, "a.json", got.Filename)

	got, err = file("text/plain", "", `{"video_url":"http://v"}`).MediaGet(t.Context(), "tok", "M")
	require.NoError(t, err)
	require.Equal(t, wechat.MediaFile{VideoURL: "http://v"}, got)

	_, err = file("text/plain", "", `{"errcode":40007,"errmsg":"invalid media_id"}`).MediaGet(t.Context(), "tok", "M")
	require.Equal(t, wechat.ClassMedia, wechat.ClassOf(err))
}
