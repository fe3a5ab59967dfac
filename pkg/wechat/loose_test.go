package wechat_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

func TestLooseInt(t *testing.T) {
	for text, want := range map[string]int64{
		`7`: 7, `"7"`: 7, `" 7 "`: 7, `-1`: -1, `null`: 0, `""`: 0, `7200.0`: 7200, `1e3`: 1000, `9223372036854775807`: 9223372036854775807,
	} {
		var n wechat.LooseInt
		require.NoError(t, json.Unmarshal([]byte(text), &n), text)
		require.EqualValues(t, want, n, text)
	}
	for _, text := range []string{`"x"`, `1.5`, `{}`, `true`, `1e40`} {
		var n wechat.LooseInt
		require.Error(t, json.Unmarshal([]byte(text), &n), text)
	}
}

func TestLooseString(t *testing.T) {
	for text, want := range map[string]string{`7`: "7", `"7"`: "7", `null`: "", `18446744073709551615`: "18446744073709551615", `"\u4f60"`: "你"} {
		s := wechat.LooseString("before")
		require.NoError(t, json.Unmarshal([]byte(text), &s), text)
		require.EqualValues(t, want, s, text)
	}
}

func TestScrub(t *testing.T) {
	u, err := url.Parse("https://user:pass@api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=S1#f")
	require.NoError(t, err)
	require.Equal(t, "https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=[redacted]#f", wechat.ScrubURL(u))
	require.Equal(t, "S1", u.Query().Get("secret"), "the URL itself is not changed")
	for text, want := range map[string]string{
		`Get "http://x/?access_token=abc&openid=o_x": EOF`: `Get "http://x/?access_token=[redacted]&openid=o_x": EOF`,
		`ACCESS_TOKEN=abc`: `ACCESS_TOKEN=[redacted]`,
		`component_access_token=a&authorizer_refresh_token=b`:        `component_access_token=[redacted]&authorizer_refresh_token=[redacted]`,
		`appsecret=a js_code=b session_key=c`:                        `appsecret=[redacted] js_code=[redacted] session_key=[redacted]`,
		`{"secret": "a\"b","appid":"wx1","component_appsecret":"c"}`: `{"secret":"[redacted]","appid":"wx1","component_appsecret":"[redacted]"}`,
		`errcode=40013&media_id=M`:                                   `errcode=40013&media_id=M`,
		`nothing to hide`:                                            `nothing to hide`,
	} {
		require.Equal(t, want, wechat.ScrubText(text))
	}
	require.Equal(t, "[redacted] and [redacted]", wechat.ScrubText("a/b+c and a%2Fb%2Bc", "a/b+c", ""))
}

func TestCallsThatCannotBeBuilt(t *testing.T) {
	for name, r := range map[string]wechat.Request{
		"method": {Path: "/x", Method: "BAD METHOD", Token: canary},
		"path":   {Path: "/\x7f", Token: canary},
	} {
		_, err := answering(t, 200, "{}").Call(t.Context(), r)
		requireCallError(t, err, wechat.OutcomeNotSent, wechat.ClassRequest)
		require.Contains(t, err.Error(), "build request", name)
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	p := parse(t, message("location", "<Location_X>NaN</Location_X><Location_Y>1e999</Location_Y><Scale>x</Scale>"))
	require.Equal(t, wechat.Location{}, p.Payload())
	require.Zero(t, parse(t, `{"FromUserName":"o","MsgType":"text","CreateTime":"yesterday"}`).CreateTime)
}
