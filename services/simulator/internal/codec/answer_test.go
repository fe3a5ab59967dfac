package codec_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

const (
	fan    = "oSim_Fan0000000000000000001"
	aesKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

func account(format, mode string) codec.Account {
	return codec.Account{Name: "demo", AppID: "wx0000000000000001", OriginalID: "gh_demo", Kind: codec.KindService,
		Format: format, Mode: mode, Token: "tokenForTests", EncodingAESKey: aesKey, KfAPI: true}
}

func wire(t testing.TB, a codec.Account) *codec.Wire {
	t.Helper()
	w, err := codec.NewWire(a)
	require.NoError(t, err)
	return w
}

// sealed wraps a plain answer as a gateway would in secure mode.
func sealed(t testing.TB, a codec.Account, plain string) string {
	t.Helper()
	ciph, err := codec.NewCipher(a.EncodingAESKey, a.AppID)
	require.NoError(t, err)
	box := ciph.Seal([]byte(plain), [16]byte{9})
	f := codec.Fields{{Name: "Encrypt", Value: box}, {Name: "MsgSignature", Value: codec.Sign(a.Token, "1700000001", "n1", box)},
		{Name: "TimeStamp", Value: int64(1700000001)}, {Name: "Nonce", Value: "n1"}}
	if a.Format == codec.FormatJSON {
		return string(f.JSON())
	}
	return string(f.XML())
}

func reply(to, from, typ, rest string) string {
	return "<xml><ToUserName><![CDATA[" + to + "]]></ToUserName><FromUserName><![CDATA[" + from +
		"]]></FromUserName><CreateTime>1700000001</CreateTime><MsgType><![CDATA[" + typ + "]]></MsgType>" + rest + "</xml>"
}

func text(s string) string {
	return reply(fan, "gh_demo", "text", "<Content><![CDATA["+s+"]]></Content>")
}

func TestAnswersThatWeChatUnderstands(t *testing.T) {
	xmlSecure, xmlPlain := account("xml", "secure"), account("xml", "plaintext")
	tests := []struct {
		name    string
		account codec.Account
		body    string
		kind    codec.AnswerKind
		check   func(*testing.T, codec.Content)
	}{
		{"success in clear", xmlSecure, "success", codec.AnswerAck, nil},
		{"nothing at all", xmlSecure, "", codec.AnswerAck, nil},
		{"sealed text", xmlSecure, sealed(t, xmlSecure, text("hi]]]]><![CDATA[>there")), codec.AnswerReply, func(t *testing.T, c codec.Content) {
			require.Equal(t, "hi]]>there", c.Text)
		}},
		{"plain text in compatible mode", account("xml", "compatible"), text("hi"), codec.AnswerReply, nil},
		{"sealed text in compatible mode", account("xml", "compatible"), sealed(t, account("xml", "compatible"), text("hi")), codec.AnswerReply, nil},
		{"exactly 2048 bytes", xmlPlain, text(strings.Repeat("x", 2048)), codec.AnswerReply, nil},
		{"image", xmlPlain, reply(fan, "gh_demo", "image", "<Image><MediaId>m1</MediaId></Image>"), codec.AnswerReply, func(t *testing.T, c codec.Content) {
			require.Equal(t, "m1", c.MediaID)
		}},
		{"music", xmlPlain, reply(fan, "gh_demo", "music", "<Music><Title>t</Title><ThumbMediaId>m</ThumbMediaId></Music>"), codec.AnswerReply, nil},
		{"news shows its first article", xmlPlain, reply(fan, "gh_demo", "news", "<ArticleCount>2</ArticleCount><Articles><item><Title>a</Title></item><item><Title>b</Title></item></Articles>"), codec.AnswerReply, func(t *testing.T, c codec.Content) {
			require.Equal(t, []codec.Article{{Title: "a"}}, c.Articles)
		}},
		{"transfer to an agent", xmlPlain, reply(fan, "gh_demo", "transfer_customer_service", "<TransInfo><KfAccount>a@b</KfAccount></TransInfo>"), codec.AnswerTransfer, func(t *testing.T, c codec.Content) {
			require.Equal(t, "a@b", c.KfAccount)
		}},
		{"JSON text", account("json", "plaintext"), `{"ToUserName":"` + fan + `","FromUserName":"gh_demo","CreateTime":1700000001,"MsgType":"text","Content":"hi"}`, codec.AnswerReply, nil},
		{"sealed JSON", account("json", "secure"), sealed(t, account("json", "secure"), `{"ToUserName":"`+fan+`","FromUserName":"gh_demo","CreateTime":"1700000001","MsgType":"text","Content":"hi"}`), codec.AnswerReply, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := wire(t, tc.account).ParseAnswer([]byte(tc.body), codec.Expect{OpenID: fan})
			require.NoError(t, err)
			require.Equal(t, tc.kind, got.Kind)
			if tc.check != nil {
				tc.check(t, got.Content)
			}
		})
	}
}

func TestAnswersThatShowTheFaultPrompt(t *testing.T) {
	secure, plain, mini := account("xml", "secure"), account("xml", "plaintext"), account("json", "plaintext")
	mini.Kind = codec.KindMiniProgram
	stranger := account("xml", "secure")
	stranger.Token = "another"
	tests := []struct {
		name    string
		account codec.Account
		body    string
		expect  codec.Expect
		class   string
		detail  string
	}{
		{"plain reply in a secure account", secure, text("hi"), codec.Expect{OpenID: fan}, codec.ClassMalformed, "plain answer"},
		{"sealed reply in a plaintext account", plain, sealed(t, secure, text("hi")), codec.Expect{OpenID: fan}, codec.ClassMalformed, "encrypted answer"},
		{"wrong MsgSignature", secure, sealed(t, stranger, text("hi")), codec.Expect{OpenID: fan}, codec.ClassMalformed, "MsgSignature"},
		{"JSON in an XML account", plain, `{"MsgType":"text"}`, codec.Expect{OpenID: fan}, codec.ClassMalformed, "not xml"},
		{"success with a line feed", plain, "success\n", codec.Expect{OpenID: fan}, codec.ClassMalformed, "not xml"},
		{"an HTML error page", plain, "<html>502</html>", codec.Expect{OpenID: fan}, codec.ClassMalformed, "root element"},
		{"text too long", plain, text(strings.Repeat("x", 2049)), codec.Expect{OpenID: fan}, codec.ClassMalformed, "2049 bytes"},
		{"empty content", plain, text(""), codec.Expect{OpenID: fan}, codec.ClassMalformed, "no Content"},
		{"news without articles", plain, reply(fan, "gh_demo", "news", "<ArticleCount>0</ArticleCount><Articles></Articles>"), codec.Expect{OpenID: fan}, codec.ClassMalformed, "0 articles"},
		{"wrong article count", plain, reply(fan, "gh_demo", "news", "<ArticleCount>2</ArticleCount><Articles><item><Title>a</Title></item></Articles>"), codec.Expect{OpenID: fan}, codec.ClassMalformed, "ArticleCount"},
		{"unknown type", plain, reply(fan, "gh_demo", "hologram", ""), codec.Expect{OpenID: fan}, codec.ClassMalformed, "hologram"},
		{"another fan", plain, reply("oOther", "gh_demo", "text", "<Content>x</Content>"), codec.Expect{OpenID: fan}, codec.ClassWrongRecipient, "ToUserName"},
		{"another account", plain, reply(fan, "gh_other", "text", "<Content>x</Content>"), codec.Expect{OpenID: fan}, codec.ClassWrongRecipient, "FromUserName"},
		{"transfer on an event", plain, reply(fan, "gh_demo", "transfer_customer_service", ""), codec.Expect{OpenID: fan, Event: true}, codec.ClassMalformed, "on an event"},
		{"reply to unsubscribe", plain, text("bye"), codec.Expect{OpenID: fan, Event: true, NoReply: true}, codec.ClassMalformed, "takes no reply"},
		{"text in a Mini Program", mini, `{"ToUserName":"` + fan + `","FromUserName":"gh_demo","CreateTime":1,"MsgType":"text","Content":"hi"}`, codec.Expect{OpenID: fan}, codec.ClassMalformed, "Mini Program"},
		{"entity bomb", plain, `<!DOCTYPE x [<!ENTITY a "b">]><xml/>`, codec.Expect{OpenID: fan}, codec.ClassMalformed, "DOCTYPE"},
		{"two roots", plain, text("hi") + "<xml/>", codec.Expect{OpenID: fan}, codec.ClassMalformed, "second root"},
		{"no time", plain, strings.Replace(text("hi"), "1700000001", "", 1), codec.Expect{OpenID: fan}, codec.ClassMalformed, "CreateTime"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := wire(t, tc.account).ParseAnswer([]byte(tc.body), tc.expect)
			var p *codec.AnswerError
			require.ErrorAs(t, err, &p)
			require.Equal(t, tc.class, p.Class)
			require.Contains(t, p.Detail, tc.detail)
		})
	}
}

func TestPreviousKeysSealAndOpen(t *testing.T) {
	a := account("xml", "secure")
	old := a
	a.PreviousToken, a.PreviousEncodingAESKey = old.Token, old.EncodingAESKey
	a.Token, a.EncodingAESKey = "newToken", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	w := wire(t, a)
	body := []byte(sealed(t, old, text("hi")))
	_, err := w.ParseAnswer(body, codec.Expect{OpenID: fan})
	require.Error(t, err, "the current keys did not seal this")
	_, err = w.ParseAnswer(body, codec.Expect{OpenID: fan, Previous: true})
	require.NoError(t, err)
}

func TestPushBodiesDecodeInEveryModeAndFormat(t *testing.T) {
	fields := codec.Fields{{Name: "ToUserName", Value: "gh_demo"}, {Name: "FromUserName", Value: fan}, {Name: "CreateTime", Value: int64(1700000000)},
		{Name: "MsgType", Value: "event"}, {Name: "Event", Value: "pic_weixin"}, {Name: "Text", Value: `<a href="x">&]]> 你好</a>`},
		{Name: "PicList", Value: codec.Fields{{Name: "item", Value: codec.Fields{{Name: "M", Value: "1"}}}, {Name: "item", Value: codec.Fields{{Name: "M", Value: "2"}}}}}}
	for _, format := range []string{"xml", "json"} {
		for _, mode := range []string{"plaintext", "compatible", "secure"} {
			t.Run(format+" "+mode, func(t *testing.T) {
				a := account(format, mode)
				w := wire(t, a)
				s := w.Seal(fields, [16]byte{1}, false)
				q := w.Query(s, fan, "1700000000", "n")
				require.Equal(t, codec.Sign(a.Token, "1700000000", "n"), q.Get("signature"))
				var outer struct{ Encrypt, Text, MsgType string }
				decode(t, format, s.Body, &outer)
				require.Equal(t, mode != "plaintext", outer.Encrypt != "")
				require.Equal(t, mode != "secure", outer.MsgType == "event")
				if outer.Encrypt == "" {
					require.False(t, q.Has("encrypt_type"))
					return
				}
				require.Equal(t, "aes", q.Get("encrypt_type"))
				require.Equal(t, codec.Sign(a.Token, "1700000000", "n", outer.Encrypt), q.Get("msg_signature"))
				ciph, err := codec.NewCipher(aesKey, a.AppID)
				require.NoError(t, err)
				plain, err := ciph.Open(outer.Encrypt)
				require.NoError(t, err)
				var inner struct{ Text string }
				decode(t, format, plain, &inner)
				require.Equal(t, `<a href="x">&]]> 你好</a>`, inner.Text)
			})
		}
	}
	require.Contains(t, string(fields.JSON()), `"PicList":{"item":[{"M":"1"},{"M":"2"}]}`)
}

func decode(t *testing.T, format string, body []byte, v any) {
	t.Helper()
	if format == "json" {
		require.NoError(t, json.Unmarshal(body, v))
		return
	}
	require.NoError(t, xml.Unmarshal(body, v))
}

func FuzzParseAnswer(f *testing.F) {
	secure := account("xml", "secure")
	wires := []*codec.Wire{wire(f, account("xml", "plaintext")), wire(f, account("json", "plaintext")), wire(f, account("xml", "compatible")), wire(f, secure)}
	f.Add([]byte(text("hi")))
	f.Add([]byte(`{"ToUserName":"x","Articles":[{"a":[1,[2]]}]}`))
	f.Add([]byte(sealed(f, secure, text("hi"))))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, w := range wires {
			answer, err := w.ParseAnswer(body, codec.Expect{OpenID: fan})
			var p *codec.AnswerError
			if err != nil && !errors.As(err, &p) {
				t.Fatalf("error is not a AnswerError: %v", err)
			}
			if err == nil && answer.Kind == 0 {
				t.Fatal("an answer without an error must have a kind")
			}
		}
	})
}
