package ruleset_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/rest"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

func TestEventsAreFoundByTheirKinds(t *testing.T) {
	rules := parse(t, `
rules:
  - {name: text, match: {contains: [退货]}, do: [none]}
  - {name: survey, match: {event_key: ["101"]}, do: [none]}
  - {name: spoken, on: voice, match: {contains: [退货]}, do: [none]}
  - {name: place, on: location, match: {contains: [北京]}, do: [none]}
  - {name: link, on: link, match: {prefix: [优惠]}, do: [none]}
  - {name: page, on: miniprogrampage, match: {exact: [商品]}, do: [none]}
  - {name: file, on: file, match: {contains: [.pdf]}, do: [none]}
  - {name: poster, on: [subscribe, scan], match: {event_key: ["7"]}, do: [none]}
  - {name: welcome, on: subscribe, do: [none]}
  - {name: bye, on: unsubscribe, do: [none]}
  - {name: deals, on: click, match: {event_key: [DEALS]}, do: [none]}
  - {name: camera, on: scancode_waitmsg, do: [none], priority: 1}
  - {name: menu, on: click, do: [none], priority: -1}
  - {name: opened, on: view, do: [none]}
  - {name: session, on: enter_session, match: {event_key: [from-page]}, do: [none]}
  - {name: position, on: location_report, do: [none]}
  - {name: card, on: "event:user_get_card", do: [none]}
  - {name: rest, on: any_message, match: any, do: [none], priority: -9}
`)
	set, err := ruleset.Compile("v1", rules)
	require.NoError(t, err)

	media := func(m *eventv1.MediaMessage) *eventv1.InboundEvent_Media {
		return &eventv1.InboundEvent_Media{Media: m}
	}
	tests := []struct {
		want string
		ev   *eventv1.InboundEvent
	}{
		{"text", &eventv1.InboundEvent{MsgType: "text", Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: "我要退货"}}}},
		{"survey", &eventv1.InboundEvent{MsgType: "text", Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: "满意", BizMsgMenuId: "101"}}}},
		{"spoken", &eventv1.InboundEvent{MsgType: "voice", Payload: media(&eventv1.MediaMessage{Recognition: "我想退货"})}},
		{"place", &eventv1.InboundEvent{MsgType: "location", Payload: &eventv1.InboundEvent_Location{Location: &eventv1.Location{Label: "北京市"}}}},
		{"link", &eventv1.InboundEvent{MsgType: "link", Payload: &eventv1.InboundEvent_Link{Link: &eventv1.LinkMessage{Title: "优惠活动"}}}},
		{"page", &eventv1.InboundEvent{MsgType: "miniprogrampage", Payload: &eventv1.InboundEvent_MiniProgramPage{MiniProgramPage: &eventv1.MiniProgramPage{Title: "商品"}}}},
		{"file", &eventv1.InboundEvent{MsgType: "file", Payload: media(&eventv1.MediaMessage{Title: "发票.PDF"})}},
		{"rest", &eventv1.InboundEvent{MsgType: "image", Payload: media(&eventv1.MediaMessage{Title: "x.pdf"})}},
		{"rest", &eventv1.InboundEvent{MsgType: "sticker"}},
		{"poster", &eventv1.InboundEvent{MsgType: "event", Event: "subscribe", EventKey: "qrscene_7"}},
		{"poster", &eventv1.InboundEvent{MsgType: "event", Event: "scan", EventKey: "7"}},
		{"welcome", &eventv1.InboundEvent{MsgType: "event", Event: "subscribe"}},
		{"bye", &eventv1.InboundEvent{MsgType: "event", Event: "unsubscribe"}},
		{"deals", &eventv1.InboundEvent{MsgType: "event", Event: "click", EventKey: "DEALS"}},
		{"menu", &eventv1.InboundEvent{MsgType: "event", Event: "pic_weixin", EventKey: "P"}},
		{"camera", &eventv1.InboundEvent{MsgType: "event", Event: "scancode_waitmsg", EventKey: "S"}},
		{"opened", &eventv1.InboundEvent{MsgType: "event", Event: "view", EventKey: "https://a"}},
		{"session", &eventv1.InboundEvent{MsgType: "event", Event: "user_enter_tempsession", Payload: &eventv1.InboundEvent_SessionFrom{SessionFrom: "from-page"}}},
		{"position", &eventv1.InboundEvent{MsgType: "event", Event: "location", Payload: &eventv1.InboundEvent_Location{Location: &eventv1.Location{Label: "北京"}}}},
		{"card", &eventv1.InboundEvent{MsgType: "event", Event: "user_get_card"}},
		{"", &eventv1.InboundEvent{MsgType: "event", Event: "user_del_card"}},
	}
	for _, tt := range tests {
		t.Run(tt.want+" "+tt.ev.GetMsgType()+tt.ev.GetEvent(), func(t *testing.T) {
			found, _ := set.FindEvent(tt.ev, nil)
			rule := found.Rule
			if tt.want == "" {
				require.Nil(t, rule)
				return
			}
			require.NotNil(t, rule)
			require.Equal(t, tt.want, rule.Name)
		})
	}
}

func TestAStoredSetIsTheSameSet(t *testing.T) {
	file, err := os.ReadFile("../../testdata/demo.yaml")
	require.NoError(t, err)
	rules := parse(t, string(file))
	encoded, err := ruleset.Encode(rules)
	require.NoError(t, err)
	decoded, err := ruleset.Decode(encoded)
	require.NoError(t, err)
	require.Equal(t, rules, decoded)

	_, err = ruleset.Decode(encoded[:len(encoded)/2])
	require.Error(t, err)
}

// TestASetThatIsMadeBesideTheTrafficIsTheSameSet: in parts, and with rests between the steps.
func TestASetThatIsMadeBesideTheTrafficIsTheSameSet(t *testing.T) {
	rules := parse(t, string(bigFile(1000)))
	encoded, err := ruleset.Encode(rules)
	require.NoError(t, err)
	rests := rest.New()
	decoded, err := ruleset.DecodeGently(encoded, rests)
	require.NoError(t, err)
	require.Equal(t, rules, decoded)
	fast, err := ruleset.Compile("v", rules)
	require.NoError(t, err)
	gentle, err := ruleset.CompileGently("v", decoded, rests)
	require.NoError(t, err)
	require.Equal(t, fast, gentle)

	for n := range 50 {
		_, err := ruleset.Decode(encoded[:len(encoded)*n/50])
		require.Error(t, err, "part %d of 50", n)
	}
}

// bigFile is a file of n rules of one keyword each.
func bigFile(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		word := make([]rune, 8)
		for j := range word {
			word[j] = rune(0x4E00 + r.IntN(3000))
		}
		fmt.Fprintf(&b, "  - name: rule-%d\n    match: {contains: [%s]}\n    do:\n      - reply: {text: 回复%d}\n", i, string(word), i)
	}
	return []byte(b.String())
}

func BenchmarkParse100k(b *testing.B) {
	file := bigFile(100_000)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ruleset.Parse(file, ruleset.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReload100k is what a replica does with a published set: decode and compile.
func BenchmarkReload100k(b *testing.B) {
	rules, err := ruleset.Parse(bigFile(100_000), ruleset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	encoded, err := ruleset.Encode(rules)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		decoded, err := ruleset.Decode(encoded)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ruleset.Compile("v", decoded); err != nil {
			b.Fatal(err)
		}
	}
}
