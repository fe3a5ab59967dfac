package wechat_test

import (
	"bytes"
	"encoding/xml"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

const textPush = `<xml><ToUserName><![CDATA[gh_21ee2dc92d7d]]></ToUserName>
<FromUserName><![CDATA[os-IKuHd9pJ6xsn4mS7GyL4HxqI4]]></FromUserName>
<CreateTime>1457742803</CreateTime>
<MsgType><![CDATA[text]]></MsgType>
<Content><![CDATA[请问周末营业吗？我想预约星期六下午三点。]]></Content>
<MsgId>6260957665266699303</MsgId>
</xml>`

const textPushJSON = `{"ToUserName":"gh_21ee2dc92d7d","FromUserName":"os-IKuHd9pJ6xsn4mS7GyL4HxqI4",` +
	`"CreateTime":1457742803,"MsgType":"text","Content":"请问周末营业吗？我想预约星期六下午三点。","MsgId":6260957665266699303}`

const benchKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func sealedPush(t testing.TB, format wechat.Format, push string) (*wechat.Keyring, wechat.Query, []byte) {
	t.Helper()
	cfg := wechat.KeyringConfig{AppID: "wx2c2769f8efd9abc2", Token: "benchtoken", EncodingAESKey: benchKey}
	keyring, err := wechat.NewKeyring(cfg)
	require.NoError(t, err)
	c, err := wechat.NewCipher(benchKey, cfg.AppID, nil)
	require.NoError(t, err)
	seal := wechat.Seal{Format: format, Token: cfg.Token, Timestamp: 1457742803, Nonce: "415670741"}
	q, body, err := c.SealPush(seal, "gh_21ee2dc92d7d", []byte(push))
	require.NoError(t, err)
	return keyring, q, body
}

// BenchmarkCodec is what the gateway does with a push between reading and publishing it.
func BenchmarkCodec(b *testing.B) {
	for _, bench := range []struct {
		name   string
		format wechat.Format
		push   string
	}{
		{"xml_secure_text", wechat.XML, textPush},
		{"json_secure_text", wechat.JSON, textPushJSON},
	} {
		b.Run(bench.name, func(b *testing.B) {
			keyring, q, body := sealedPush(b, bench.format, bench.push)
			raw := q.Encode()
			b.ReportAllocs()
			for b.Loop() {
				q, err := wechat.ParseQuery(raw)
				if err != nil {
					b.Fatal(err)
				}
				opened, err := keyring.Open(q, body, wechat.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				p, err := wechat.Parse(opened.Plain, wechat.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if p.DedupeKey("main") == "" || p.Kind() != wechat.KindMessage {
					b.Fatal("not a message")
				}
				if text, ok := p.Payload().(wechat.Text); !ok || text.Content == "" {
					b.Fatal("no text")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct{ name, push string }{{"xml", textPush}, {"json", textPushJSON}} {
		b.Run(bench.name, func(b *testing.B) {
			body := []byte(bench.push)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wechat.Parse(body, wechat.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStdlibXML is the price of encoding/xml for the same push.
func BenchmarkStdlibXML(b *testing.B) {
	type push struct {
		ToUserName, FromUserName, MsgType, Content string
		MsgID                                      string `xml:"MsgId"`
		CreateTime                                 int64
	}
	b.ReportAllocs()
	for b.Loop() {
		var p push
		if err := xml.NewDecoder(bytes.NewReader([]byte(textPush))).Decode(&p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealedReply(b *testing.B) {
	keyring, q, body := sealedPush(b, wechat.XML, textPush)
	opened, err := keyring.Open(q, body, wechat.Limits{})
	require.NoError(b, err)
	r := wechat.Reply{
		ToUserName: "os-IKuHd9pJ6xsn4mS7GyL4HxqI4", FromUserName: "gh_21ee2dc92d7d", CreateTime: 1457742804,
		Body: wechat.TextReply{Content: "周末照常营业，已经为您登记星期六下午三点。"},
	}
	b.ReportAllocs()
	for b.Loop() {
		reply, err := wechat.EncodeReply(wechat.XML, r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := keyring.Seal(opened, reply, 1457742804, "n"); err != nil {
			b.Fatal(err)
		}
	}
}
