package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// forged is a push that somebody else than WeChat sends.
type forged struct {
	account, token, key, appid string
	plain                      string
	body                       string            // replaces the envelope
	query                      map[string]string // replaces parameters
}

func text(openid, content string) string {
	return fmt.Sprintf("<xml><ToUserName><![CDATA[gh_%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName><CreateTime>%d</CreateTime>"+
		"<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content><MsgId>%d</MsgId></xml>", secureXML, openid, time.Now().Unix(), content, time.Now().UnixNano())
}

const sxmlAppID = "wx00000000000e2e01"

// post sends it to one gateway and returns status and body.
func (f forged) post(t *testing.T, gateway string) (int, string) {
	t.Helper()
	cipher, err := wechat.NewCipher(f.key, f.appid, rand.Reader)
	require.NoError(t, err)
	encrypted, err := cipher.Encrypt([]byte(f.plain))
	require.NoError(t, err)
	ts, nonce := fmt.Sprint(time.Now().Unix()), "n0nce"
	q := url.Values{"timestamp": {ts}, "nonce": {nonce}, "openid": {"oForged"}, "encrypt_type": {"aes"},
		"signature": {wechat.Sign(f.token, ts, nonce)}, "msg_signature": {wechat.Sign(f.token, ts, nonce, encrypted)}}
	for k, v := range f.query {
		q.Set(k, v)
	}
	body := f.body
	if body == "" {
		body = "<xml><ToUserName><![CDATA[gh_" + secureXML + "]]></ToUserName><Encrypt><![CDATA[" + encrypted + "]]></Encrypt></xml>"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/wx/"+f.account+"?"+q.Encode(), bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(answer)
}

// stored counts the events of a fan on the inbound stream.
func (w *world) stored(t *testing.T, openid string) uint64 {
	t.Helper()
	nc, err := nats.Connect(strings.Join(w.NATS, ","), w.Operator())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "INBOUND")
	require.NoError(t, err)
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("wx.in.*.*.*."+openid))
	require.NoError(t, err)
	var n uint64
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

const bomb = `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>` +
	`<xml><ToUserName>gh_sxml</ToUserName><Encrypt>&c;&c;&c;&c;</Encrypt></xml>`

var refused = map[string]func(*testing.T, *world){
	"forged and hostile pushes get one constant refusal, and nothing is stored": func(t *testing.T, w *world) {
		const anotherKey = "ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ"
		good := forged{account: secureXML, token: "token" + secureXML, key: key, appid: sxmlAppID}
		with := func(change func(*forged)) forged { f := good; change(&f); return f }
		cases := map[string]forged{
			"wrong signature":                   with(func(f *forged) { f.query = map[string]string{"msg_signature": strings.Repeat("0", 40)} }),
			"no signature":                      with(func(f *forged) { f.query = map[string]string{"msg_signature": "", "signature": ""} }),
			"wrong token":                       with(func(f *forged) { f.token = "stolen" }),
			"wrong appid in the ciphertext":     with(func(f *forged) { f.appid = "wx0000000000000bad" }),
			"a key from before the last change": with(func(f *forged) { f.key = anotherKey }),
			"plain body to a secure account":    with(func(f *forged) { f.query = map[string]string{"encrypt_type": ""}; f.body = text("oForged", "hi") }),
			"5 MB":                              with(func(f *forged) { f.body = "<xml><Encrypt>" + strings.Repeat("A", 5<<20) + "</Encrypt></xml>" }),
			"entity bomb":                       with(func(f *forged) { f.body = bomb }),
			"unknown account":                   with(func(f *forged) { f.account = "nobody" }),
		}
		answers := map[string]string{}
		for name, f := range cases {
			openid := "oForged" + strings.ReplaceAll(name, " ", "_")
			if f.plain == "" {
				f.plain = text(openid, "hi")
			}
			status, body := f.post(t, w.Gateways[0].URL)
			require.GreaterOrEqual(t, status, 400, name)
			require.Less(t, status, 500, name)
			require.Zero(t, w.stored(t, openid), name)
			answers[name] = body
		}
		for name, body := range answers {
			require.Equal(t, answers["wrong signature"], body, "the answer to %q tells more than the others", name)
		}
		require.Zero(t, w.stored(t, "oForged"))
	},
	"the key and the token from before the last change still work, and the answer uses them": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		previous := forged{account: secureXML, token: "oldtoken", key: oldKey, appid: sxmlAppID, plain: text(f.openid, "你好")}
		status, body := previous.post(t, w.Gateways[0].URL)
		require.Equal(t, http.StatusOK, status, body)
		require.EqualValues(t, 1, w.stored(t, f.openid))
		require.Contains(t, body, "<Encrypt>")
		start := strings.Index(body, "<Encrypt><![CDATA[") + len("<Encrypt><![CDATA[")
		encrypted := body[start : start+strings.Index(body[start:], "]]>")]
		cipher, err := wechat.NewCipher(oldKey, sxmlAppID, rand.Reader)
		require.NoError(t, err)
		plain, err := cipher.Decrypt(encrypted)
		require.NoError(t, err)
		require.Contains(t, string(plain), "你好，朋友")
	},
	"the address is verified with the echo, and only with a right signature": func(t *testing.T, w *world) {
		w.sim(t, http.MethodPost, "/sim/v1/accounts/"+secureXML+"/verify", map[string]any{}, nil)
		status, body := w.call(t, http.MethodGet, w.Gateways[0].URL+"/wx/"+secureXML+"?signature=bad&timestamp=1&nonce=2&echostr=12345", nil, nil)
		require.GreaterOrEqual(t, status, 400)
		require.NotContains(t, string(body), "12345")
	},
}
