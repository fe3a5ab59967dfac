package push_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/push"
)

const (
	token = "PushToken"
	key   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	appID = "wx0000000000000001"
	ghID  = "gh_000000000001"
)

func newAccount(t testing.TB, change func(*account.Account)) *push.Account {
	t.Helper()
	a := account.Account{
		Name: "shop", AppID: appID, OriginalID: ghID, Kind: account.KindService, Mode: account.ModeSecure,
		Token: secret.New(token), EncodingAESKey: secret.New(key), Reply: account.ReplyPassive,
	}
	if change != nil {
		change(&a)
	}
	a.SetDefaults()
	opened, err := push.NewAccount(a, push.Options{})
	require.NoError(t, err)
	return opened
}

func sealed(t testing.TB, format wechat.Format, body string) (wechat.Query, []byte) {
	t.Helper()
	cipher, err := wechat.NewCipher(key, appID, nil)
	require.NoError(t, err)
	q, outer, err := cipher.SealPush(wechat.Seal{Format: format, Token: token, Timestamp: 1700000000, Nonce: "n"}, ghID, []byte(body))
	require.NoError(t, err)
	return q, outer
}

func plainQuery() wechat.Query {
	return wechat.Query{Timestamp: "1700000000", Nonce: "n", Signature: wechat.Sign(token, "1700000000", "n")}
}

// xml returns a push with further elements.
func xml(elements string) string {
	return "<xml><ToUserName>" + ghID + "</ToUserName><FromUserName>o_fan</FromUserName><CreateTime>1700000000</CreateTime>" + elements + "</xml>"
}

func TestEventCarriesWhatThePushSays(t *testing.T) {
	tests := []struct {
		name, body string
		want       *eventv1.InboundEvent // the fields that differ from the common ones
	}{
		{
			"text", xml("<MsgType>text</MsgType><Content> hi </Content><MsgId>1</MsgId><bizmsgmenuid>7</bizmsgmenuid>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "text", MsgId: "1", AcceptsPassive: true, Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: " hi ", BizMsgMenuId: "7"}}},
		},
		{
			"voice", xml("<MsgType>voice</MsgType><MediaId>m</MediaId><Format>amr</Format><Recognition>你好</Recognition><MsgId>2</MsgId>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "voice", MsgId: "2", AcceptsPassive: true, Payload: &eventv1.InboundEvent_Media{Media: &eventv1.MediaMessage{MediaId: "m", Format: "amr", Recognition: "你好"}}},
		},
		{
			"file", xml("<MsgType>file</MsgType><Title>a.pdf</Title><FileKey>k</FileKey><MsgId>3</MsgId>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "file", MsgId: "3", AcceptsPassive: true, Payload: &eventv1.InboundEvent_Media{Media: &eventv1.MediaMessage{MediaId: "k", Title: "a.pdf"}}},
		},
		{
			"location", xml("<MsgType>location</MsgType><Location_X>23.1</Location_X><Location_Y>113.3</Location_Y><Scale>20</Scale><Label>广州</Label><MsgId>4</MsgId>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "location", MsgId: "4", AcceptsPassive: true, Payload: &eventv1.InboundEvent_Location{Location: &eventv1.Location{Latitude: 23.1, Longitude: 113.3, Scale: 20, Label: "广州"}}},
		},
		{
			"link", xml("<MsgType>link</MsgType><Title>t</Title><Description>d</Description><Url>u</Url><MsgId>5</MsgId>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "link", MsgId: "5", AcceptsPassive: true, Payload: &eventv1.InboundEvent_Link{Link: &eventv1.LinkMessage{Title: "t", Description: "d", Url: "u"}}},
		},
		{
			"page of a Mini Program", xml("<MsgType>miniprogrampage</MsgType><Title>t</Title><AppId>wx9</AppId><PagePath>p</PagePath><ThumbMediaId>m</ThumbMediaId><MsgId>6</MsgId>"),
			&eventv1.InboundEvent{Kind: 1, MsgType: "miniprogrampage", MsgId: "6", AcceptsPassive: true, Payload: &eventv1.InboundEvent_MiniProgramPage{MiniProgramPage: &eventv1.MiniProgramPage{Title: "t", Appid: "wx9", PagePath: "p", ThumbMediaId: "m"}}},
		},
		{
			"menu click", xml("<MsgType>event</MsgType><Event>CLICK</Event><EventKey>menu.help</EventKey>"),
			&eventv1.InboundEvent{Kind: 2, MsgType: "event", Event: "click", EventKey: "menu.help", AcceptsPassive: true},
		},
		{
			"scan of the menu", xml("<MsgType>event</MsgType><Event>scancode_waitmsg</Event><EventKey>k</EventKey><ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>r</ScanResult></ScanCodeInfo>"),
			&eventv1.InboundEvent{Kind: 2, MsgType: "event", Event: "scancode_waitmsg", EventKey: "k", AcceptsPassive: true, Payload: &eventv1.InboundEvent_ScanCode{ScanCode: &eventv1.ScanCode{ScanType: "qrcode", ScanResult: "r"}}},
		},
		{
			"scan", xml("<MsgType>event</MsgType><Event>SCAN</Event><EventKey>42</EventKey>"),
			&eventv1.InboundEvent{Kind: 3, MsgType: "event", Event: "scan", EventKey: "42", AcceptsPassive: true},
		},
		{
			"follow", xml("<MsgType>event</MsgType><Event>subscribe</Event><EventKey>qrscene_7</EventKey>"),
			&eventv1.InboundEvent{Kind: 4, MsgType: "event", Event: "subscribe", EventKey: "qrscene_7", AcceptsPassive: true},
		},
		{
			"unfollow", xml("<MsgType>event</MsgType><Event>unsubscribe</Event>"),
			&eventv1.InboundEvent{Kind: 5, MsgType: "event", Event: "unsubscribe"},
		},
		{
			"reported position", xml("<MsgType>event</MsgType><Event>LOCATION</Event><Latitude>23.1</Latitude><Longitude>113.3</Longitude><Precision>5</Precision>"),
			&eventv1.InboundEvent{Kind: 6, MsgType: "event", Event: "location", Payload: &eventv1.InboundEvent_Location{Location: &eventv1.Location{Latitude: 23.1, Longitude: 113.3, Precision: 5}}},
		},
		{
			"template job", xml("<MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>9</MsgID><Status>failed:user block</Status>"),
			&eventv1.InboundEvent{Kind: 7, MsgType: "event", Event: "templatesendjobfinish", MsgId: "9", Payload: &eventv1.InboundEvent_Job{Job: &eventv1.JobResult{JobId: "9", Status: "failed:user block"}}},
		},
		{
			"mass job", xml("<MsgType>event</MsgType><Event>MASSSENDJOBFINISH</Event><MsgID>10</MsgID><Status>sendsuccess</Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount>"),
			&eventv1.InboundEvent{Kind: 7, MsgType: "event", Event: "masssendjobfinish", MsgId: "10", Payload: &eventv1.InboundEvent_Job{Job: &eventv1.JobResult{JobId: "10", Status: "sendsuccess", TotalCount: 100, FilterCount: 80, SentCount: 75, ErrorCount: 5}}},
		},
		{
			"publish job", xml("<MsgType>event</MsgType><Event>PUBLISHJOBFINISH</Event><PublishEventInfo><publish_id>11</publish_id><publish_status>0</publish_status></PublishEventInfo>"),
			&eventv1.InboundEvent{Kind: 7, MsgType: "event", Event: "publishjobfinish", Payload: &eventv1.InboundEvent_Job{Job: &eventv1.JobResult{JobId: "11", Status: "0"}}},
		},
		{
			"native session", xml("<MsgType>event</MsgType><Event>kf_switch_session</Event><FromKfAccount>a@x</FromKfAccount><ToKfAccount>b@x</ToKfAccount>"),
			&eventv1.InboundEvent{Kind: 8, MsgType: "event", Event: "kf_switch_session", Payload: &eventv1.InboundEvent_KfSession{KfSession: &eventv1.KfSession{KfAccount: "b@x", FromKfAccount: "a@x"}}},
		},
		{
			"session of a Mini Program", xml("<MsgType>event</MsgType><Event>user_enter_tempsession</Event><SessionFrom>page</SessionFrom>"),
			&eventv1.InboundEvent{Kind: 9, MsgType: "event", Event: "user_enter_tempsession", Payload: &eventv1.InboundEvent_SessionFrom{SessionFrom: "page"}},
		},
		{
			"platform event about a fan", xml("<MsgType>event</MsgType><Event>user_authorization_revoke</Event><OpenID>o_real</OpenID>"),
			&eventv1.InboundEvent{Kind: 9, MsgType: "event", Event: "user_authorization_revoke", Openid: "o_real"},
		},
	}
	a := newAccount(t, nil)
	at := push.Arrival{Received: time.UnixMilli(1_700_000_001_234), Deadline: time.UnixMilli(1_700_000_005_734), Instance: "gw", Partition: 3}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			q, body := sealed(t, wechat.XML, tc.body)
			p, err := a.Open(q, body)
			require.NoError(t, err)
			common := &eventv1.InboundEvent{
				Id: p.DedupeKey("shop"), Account: "shop", Appid: appID, ToUser: ghID, Openid: "o_fan", CreateTime: 1700000000,
				ReceivedUnixMs: 1_700_000_001_234, PassiveDeadlineUnixMs: 1_700_000_005_734, GatewayInstance: "gw", Partition: 3,
				AccountKind: eventv1.AccountKind_ACCOUNT_KIND_SERVICE, ReplyMode: eventv1.ReplyMode_REPLY_MODE_PASSIVE,
				RawFormat: eventv1.BodyFormat_BODY_FORMAT_XML, Raw: []byte(tc.body),
			}
			proto.Merge(common, tc.want)
			got := p.Event(at)
			require.True(t, proto.Equal(common, got), "want %v\ngot  %v", common, got)
			require.Equal(t, tc.want.GetAcceptsPassive(), p.AcceptsPassive)
		})
	}
}

func TestEventOfNobodyWhoWaits(t *testing.T) {
	q, body := sealed(t, wechat.JSON, `{"ToUserName":"gh_000000000001","FromUserName":"o_fan","CreateTime":1700000000,"MsgType":"text","Content":"hi","MsgId":1}`)
	p, err := newAccount(t, nil).Open(q, body)
	require.NoError(t, err)
	e := p.Event(push.Arrival{Received: time.UnixMilli(1), Instance: "gw"})
	require.Empty(t, e.GetGatewayInstance())
	require.Zero(t, e.GetPassiveDeadlineUnixMs())
	require.Equal(t, eventv1.BodyFormat_BODY_FORMAT_JSON, e.GetRawFormat())
}

func TestRecipient(t *testing.T) {
	to := func(name string) string {
		return strings.Replace(xml("<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId>"), ghID, name, 1)
	}
	tests := []struct {
		name, to, originalID string
		ok                   bool
	}{
		{"original id", ghID, ghID, true},
		{"appid of a cloud push", appID, ghID, true},
		{"somebody else", "gh_other", ghID, false},
		{"anybody when none is configured", "gh_other", "", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			q, body := sealed(t, wechat.XML, to(tc.to))
			_, err := newAccount(t, func(a *account.Account) { a.OriginalID = tc.originalID }).Open(q, body)
			if tc.ok {
				require.NoError(t, err)
				return
			}
			failed, ok := errors.AsType[*push.Error](err)
			require.True(t, ok)
			require.Equal(t, push.ReasonRecipient, failed.Reason)
			require.False(t, failed.Authentic, "it is authentic, and not ours to keep")
		})
	}
}

func TestPlaintextAccountTakesEncryptedPushesToo(t *testing.T) {
	a := newAccount(t, func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true })
	text := xml("<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId>")
	_, err := a.Open(plainQuery(), []byte(text))
	require.NoError(t, err)
	q, body := sealed(t, wechat.XML, text)
	p, err := a.Open(q, body)
	require.NoError(t, err)
	reply, _, err := p.Reply(&eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hi"}}}, time.Unix(1700000001, 0))
	require.NoError(t, err)
	require.Contains(t, string(reply), "<Encrypt>", "an encrypted push gets an encrypted answer")
}

func TestReplyIsTheSameForEveryAttempt(t *testing.T) {
	a := newAccount(t, func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true })
	p, err := a.Open(plainQuery(), []byte(xml("<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId>")))
	require.NoError(t, err)
	c := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hi"}}}
	first, _, err := p.Reply(c, time.Unix(1700000001, 0))
	require.NoError(t, err)
	second, contentType, err := p.Reply(c, time.Unix(1700000009, 0))
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	require.Equal(t, "text/xml; charset=utf-8", contentType)
	require.Contains(t, string(first), "<CreateTime>1700000000</CreateTime>")
	require.Contains(t, string(first), "<ToUserName><![CDATA[o_fan]]></ToUserName>")
}

func TestNewAccountNamesWhatIsWrong(t *testing.T) {
	tests := []struct {
		name   string
		change func(*account.Account)
		want   string
	}{
		{"plaintext without consent", func(a *account.Account) { a.Mode = account.ModePlaintext }, "account shop: mode plaintext"},
		{"no key", func(a *account.Account) { a.EncodingAESKey = secret.Value{} }, "account shop: encoding_aes_key: required"},
		{"short key", func(a *account.Account) { a.EncodingAESKey = secret.New("short") }, "account shop: encoding_aes_key: must be 43"},
		{"no token", func(a *account.Account) { a.Token = secret.Value{} }, "account shop: token: required"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			a := account.Account{Name: "shop", AppID: appID, Mode: account.ModeSecure, Token: secret.New(token), EncodingAESKey: secret.New(key)}
			tc.change(&a)
			_, err := push.NewAccount(a, push.Options{})
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.NotContains(t, err.Error(), token)
		})
	}
}

// FuzzOpen throws bytes at the way in. Nothing may panic, what is accepted can be stored, and an account
// whose token nobody knows accepts nothing.
func FuzzOpen(f *testing.F) {
	q, body := sealed(f, wechat.XML, xml("<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId>"))
	f.Add(q.Encode(), body)
	f.Add(plainQuery().Encode(), []byte(xml("<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId>")))
	f.Add("", []byte(`<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><xml>&a;</xml>`))
	f.Add("signature=&timestamp=&nonce=", []byte(`{"a":[[[[[[[[[]]]]]]]]]}`))
	plaintext := func(a *account.Account) { a.Mode, a.AllowInsecure = account.ModePlaintext, true }
	unknown := func(a *account.Account) { a.Token = secret.New("NobodyKnowsThis") }
	accounts := []*push.Account{newAccount(f, nil), newAccount(f, plaintext)}
	strangers := []*push.Account{newAccount(f, unknown), newAccount(f, func(a *account.Account) { plaintext(a); unknown(a) })}
	f.Fuzz(func(t *testing.T, raw string, body []byte) {
		query, err := wechat.ParseQuery(raw)
		if err != nil {
			return
		}
		for _, a := range strangers {
			if _, err := a.Open(query, bytes.Clone(body)); err == nil {
				t.Fatal("accepted without the token")
			}
		}
		for _, a := range accounts {
			p, err := a.Open(query, bytes.Clone(body))
			if err != nil {
				if _, ok := errors.AsType[*push.Error](err); !ok {
					t.Fatalf("%T", err)
				}
				continue
			}
			if !p.Probe {
				requireStorable(t, p)
			}
		}
	})
}

func requireStorable(t *testing.T, p *push.Push) {
	e := p.Event(push.Arrival{Received: time.UnixMilli(1)})
	if _, err := topology.SubjectInbound("shop", 0, e.GetKind(), e.GetOpenid()); err != nil {
		t.Fatalf("an accepted push has no subject: %v", err)
	}
	if _, err := proto.Marshal(e); err != nil {
		t.Fatalf("an accepted push cannot be encoded: %v", err)
	}
}

// codecPath returns verify, decrypt, parse and encode of one push in secure mode: what the gateway does
// between reading a body and handing the event to the bus.
func codecPath(t testing.TB, format wechat.Format) func() error {
	const text = "请问周末营业吗？我想预约星期六下午三点。"
	body := xml("<MsgType>text</MsgType><Content>" + text + "</Content><MsgId>6260957665266699303</MsgId>")
	if format == wechat.JSON {
		body = fmt.Sprintf(`{"ToUserName":%q,"FromUserName":"o_fan","CreateTime":1700000000,"MsgType":"text","Content":%q,"MsgId":6260957665266699303}`, ghID, text)
	}
	a := newAccount(t, nil)
	q, outer := sealed(t, format, body)
	raw := q.Encode()
	return func() error {
		query, err := wechat.ParseQuery(raw)
		if err != nil {
			return err
		}
		p, err := a.Open(query, outer)
		if err != nil {
			return err
		}
		e := p.Event(push.Arrival{Received: time.UnixMilli(1_700_000_001_234), Partition: 1})
		if _, err := topology.SubjectInbound(e.GetAccount(), e.GetPartition(), e.GetKind(), e.GetOpenid()); err != nil {
			return err
		}
		_, err = proto.Marshal(e)
		return err
	}
}

func TestCodecPathStaysWithinItsBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
		run := codecPath(t, format)
		require.NoError(t, run())
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _ = run() }), 15.0, "allocations for %v", format)
	}
}

func BenchmarkCodecPath(b *testing.B) {
	for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
		b.Run(format.String(), func(b *testing.B) {
			run := codecPath(b, format)
			b.ReportAllocs()
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
