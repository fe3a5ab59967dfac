package codec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

func TestCustomMessages(t *testing.T) {
	tests := []struct {
		name string
		body string
		mini bool
		code int // 0: accepted
	}{
		{"text", `{"touser":"o1","msgtype":"text","text":{"content":"<a href=\"x\">你好</a>"}}`, false, 0},
		{"text of an agent", `{"touser":"o1","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@b"}}`, false, 0},
		{"text with a line separator as Go escapes it", `{"touser":"o1","msgtype":"text","text":{"content":"a\u2028b\u0007"}}`, false, 0},
		{"text with an escaped backslash before u", `{"touser":"o1","msgtype":"text","text":{"content":"c:\\users"}}`, false, 0},
		{"escaped CJK", `{"touser":"o1","msgtype":"text","text":{"content":"\u4f60"}}`, false, 40033},
		{"escaped angle bracket", `{"touser":"o1","msgtype":"text","text":{"content":"\u003ca"}}`, false, 40033},
		{"invalid UTF-8", "{\"touser\":\"o1\",\"msgtype\":\"text\",\"text\":{\"content\":\"\xff\"}}", false, 40033},
		{"text too long", `{"touser":"o1","msgtype":"text","text":{"content":"` + strings.Repeat("x", 2049) + `"}}`, false, 45002},
		{"empty text", `{"touser":"o1","msgtype":"text","text":{"content":""}}`, false, 44004},
		{"image", `{"touser":"o1","msgtype":"image","image":{"media_id":"m"}}`, true, 0},
		{"image without id", `{"touser":"o1","msgtype":"image","image":{}}`, false, 40007},
		{"voice in a Mini Program", `{"touser":"o1","msgtype":"voice","voice":{"media_id":"m"}}`, true, 40008},
		{"video", `{"touser":"o1","msgtype":"video","video":{"media_id":"m","title":"t"}}`, false, 0},
		{"music without thumb", `{"touser":"o1","msgtype":"music","music":{"musicurl":"u"}}`, false, 40007},
		{"one article", `{"touser":"o1","msgtype":"news","news":{"articles":[{"title":"a"}]}}`, false, 0},
		{"two articles", `{"touser":"o1","msgtype":"news","news":{"articles":[{"title":"a"},{"title":"b"}]}}`, false, 45008},
		{"menu", `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"head_content":"h","list":[{"id":"101","content":"满意"},{"id":102,"content":"no"}]}}`, false, 0},
		{"menu without items", `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"head_content":"h"}}`, false, 45098},
		{"menu with an empty item", `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"list":[{"id":"1","content":""}]}}`, false, 45099},
		{"card of a Mini Program", `{"touser":"o1","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","appid":"wx1","pagepath":"p","thumb_media_id":"m"}}`, false, 0},
		{"card without appid", `{"touser":"o1","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","thumb_media_id":"m"}}`, false, 40013},
		{"own card in a Mini Program", `{"touser":"o1","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","thumb_media_id":"m"}}`, true, 0},
		{"link in an Official Account", `{"touser":"o1","msgtype":"link","link":{"title":"t"}}`, false, 40008},
		{"link in a Mini Program", `{"touser":"o1","msgtype":"link","link":{"title":"t"}}`, true, 0},
		{"unknown type", `{"touser":"o1","msgtype":"hologram"}`, false, 40008},
		{"no recipient", `{"msgtype":"text","text":{"content":"x"}}`, false, 40003},
		{"broken JSON", `{"touser":`, false, 47001},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := codec.ParseCustom([]byte(tc.body), tc.mini)
			if tc.code == 0 {
				require.NoError(t, err)
				require.Equal(t, "o1", got.ToUser)
				require.NotEmpty(t, got.Content.Type)
				return
			}
			var r *codec.RefusedError
			require.ErrorAs(t, err, &r)
			require.Equal(t, tc.code, r.Code)
		})
	}
}

func TestMenuIDsMayBeNumbers(t *testing.T) {
	got, err := codec.ParseCustom([]byte(`{"touser":"o1","msgtype":"msgmenu","msgmenu":{"list":[{"id":102,"content":"no"}]}}`), false)
	require.NoError(t, err)
	require.Equal(t, []codec.MenuItem{{ID: "102", Text: "no"}}, got.Content.Menu.Items)
}

func FuzzParseCustom(f *testing.F) {
	f.Add([]byte(`{"touser":"o1","msgtype":"text","text":{"content":"x"}}`), true)
	f.Add([]byte(`{"touser":"o1","msgtype":"msgmenu","msgmenu":{"list":[{"id":{},"content":"no"}]}}`), false)
	f.Add([]byte(`\u`), false)
	f.Fuzz(func(t *testing.T, body []byte, mini bool) {
		_, err := codec.ParseCustom(body, mini)
		var r *codec.RefusedError
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("error is not a RefusedError: %v", err)
		}
	})
}
