package ruleset_test

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
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
	stored, err := ruleset.Open(string(encoded), nil)
	require.NoError(t, err)
	decoded := stored.File()
	require.Equal(t, rules.Rules, decoded.Rules)
	require.Equal(t, rules.Places, decoded.Places)
	require.Equal(t, rules.Calendars, decoded.Calendars)

	_, err = ruleset.Open(string(encoded[:len(encoded)/2]), nil)
	require.Error(t, err)
}

// TestASetThatIsMadeBesideTheTrafficIsTheSameSet: in steps, and with rests between them.
func TestASetThatIsMadeBesideTheTrafficIsTheSameSet(t *testing.T) {
	rules := parse(t, string(bigFile(1000)))
	encoded, err := ruleset.Encode(rules)
	require.NoError(t, err)
	rests := rest.New()
	stored, err := ruleset.Open(string(encoded), rests)
	require.NoError(t, err)
	require.Equal(t, rules.Rules, stored.File().Rules)
	fast, err := stored.Compile("v", nil, nil)
	require.NoError(t, err)
	gentle, err := stored.Compile("v", nil, rests)
	require.NoError(t, err)
	require.Equal(t, fast, gentle)

	for n := range 50 {
		_, err := ruleset.Open(string(encoded[:len(encoded)*n/50]), nil)
		require.Error(t, err, "part %d of 50", n)
	}
}

// TestASetKeepsNoRuleOfTheOneBefore: what both sets share, and what was taken out of a set, is no part of its text.
func TestASetKeepsNoRuleOfTheOneBefore(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("rules:\n  - {name: key, account: shop, on: click, match: {event_key: [K]}, do: [{tag: t}]}\n" +
		"  - {name: code, on: scan, match: {scene: {exact: [s], prefix: [p]}}, do: [none]}\n")
	for i := range 2000 { // a text that is too large to share its place with others
		fmt.Fprintf(&rules, "  - {name: r%d, match: {exact: [e%d], prefix: [p%d], contains: [c%d]}, do: [{reply: a}]}\n", i, i, i, i)
	}
	encoded, err := ruleset.Encode(parse(t, rules.String()))
	require.NoError(t, err)
	gone := make(chan struct{})
	open := func() (text string) {
		text = string(encoded)
		runtime.AddCleanup(unsafe.StringData(text), func(struct{}) { close(gone) }, struct{}{})
		return text
	}
	before, names := func() (*ruleset.Set, []string) {
		stored, err := ruleset.Open(open(), nil)
		require.NoError(t, err)
		before, err := stored.Compile("1", nil, nil)
		require.NoError(t, err)
		for range before.CatchAll() {
			require.Fail(t, "no rule takes every text")
		}
		return before, before.Names()
	}()
	found, ok := before.Find(match.Input{Triggers: []string{"text"}, HasText: true, Text: "e7"}, ruleset.Facts{})
	require.True(t, ok)
	other, err := ruleset.Open(string(encoded), nil)
	require.NoError(t, err)
	after, err := other.Compile("2", before, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}, 30*time.Second, time.Millisecond, "the text of the set before is still in use")
	require.Equal(t, "r7", found.Rule.Name)
	require.Equal(t, names, after.Names())
}

// TestADamagedSetIsRefusedOrRead: whatever was changed in the bytes, nothing breaks later.
func TestADamagedSetIsRefusedOrRead(t *testing.T) {
	file, err := os.ReadFile("../../testdata/demo.yaml")
	require.NoError(t, err)
	rules := parse(t, everything)
	rules.Rules = append(rules.Rules, parse(t, string(file)).Rules...)
	whole, err := ruleset.Encode(rules)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		encoded := slices.Clone(whole)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			encoded[rapid.IntRange(0, len(encoded)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		stored, err := ruleset.Open(string(encoded), nil)
		if err != nil {
			return
		}
		require.Equal(t, stored.Len(), stored.File().Len())
		_, _ = stored.Compile("v", nil, nil)
	})
}

// TestAReloadTakesWhatItHasFromTheSetBefore: whatever was changed, what is taken and what is read give together the same
// set as reading everything.
func TestAReloadTakesWhatItHasFromTheSetBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := func(name, keyword, answer string) string {
			return fmt.Sprintf("  - {name: %q, match: {contains: [%q]}, do: [{reply: %q}]}\n", name, keyword, answer)
		}
		var lines []string
		for i := range rapid.IntRange(1, 150).Draw(t, "rules") {
			lines = append(lines, rule(fmt.Sprintf("r%d", i), fmt.Sprintf("k%d", i), "a"))
		}
		read := func(lines []string) ([]byte, *ruleset.File) {
			file, err := ruleset.Parse([]byte("rules:\n"+strings.Join(lines, "")), ruleset.Options{})
			require.NoError(t, err)
			encoded, err := ruleset.Encode(file)
			require.NoError(t, err)
			return encoded, file
		}
		encoded, _ := read(lines)
		stored, err := ruleset.Open(string(encoded), nil)
		require.NoError(t, err)
		before, err := stored.Compile("1", nil, nil)
		require.NoError(t, err)
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			at := rapid.IntRange(0, len(lines)-1).Draw(t, "at")
			name := fmt.Sprintf("n%d-%d", at, len(lines))
			switch rapid.SampledFrom([]string{"answer", "keyword", "insert", "delete"}).Draw(t, "change") {
			case "answer":
				lines[at] = strings.Replace(lines[at], `[{reply: "`, `[{reply: "new `, 1)
			case "keyword":
				lines[at] = strings.Replace(lines[at], `contains: ["`, `contains: ["new `, 1)
			case "insert":
				if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, fmt.Sprintf("%q", name)) }) {
					continue
				}
				lines = slices.Insert(lines, at, rule(name, "k", "b"))
			case "delete":
				if len(lines) > 1 {
					lines = slices.Delete(lines, at, at+1)
				}
			}
		}
		encoded, file := read(lines)
		stored, err = ruleset.Open(string(encoded), nil)
		require.NoError(t, err)
		require.Equal(t, file.Rules, stored.File().Rules)
		after, err := stored.Compile("2", before, nil)
		require.NoError(t, err)
		whole, err := ruleset.Compile("2", file)
		require.NoError(t, err)
		for range 20 {
			in := match.Input{Triggers: []string{"text"}, HasText: true, Text: rapid.SampledFrom([]string{"k1", "k12", "new k3", "k", "k200", "x k99"}).Draw(t, "text")}
			want, ok1 := whole.Find(in, ruleset.Facts{Now: time.Now()})
			got, ok2 := after.Find(in, ruleset.Facts{Now: time.Now()})
			require.Equal(t, ok1, ok2)
			require.Equal(t, want.Rule, got.Rule)
			require.Equal(t, want.Hit, got.Hit)
			require.Equal(t, whole.Explain(in, ruleset.Facts{}, 5), after.Explain(in, ruleset.Facts{}, 5))
		}
	})
}

// TestWhatIsStoredOfARuleIsPlain: what is written as JSON is written whole.
func TestWhatIsStoredOfARuleIsPlain(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		for _, marshaler := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
			require.False(t, of.Implements(marshaler) || reflect.PointerTo(of).Implements(marshaler), "%s writes itself", of)
		}
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(of.Elem())
		case reflect.Map:
			walk(of.Key())
			walk(of.Elem())
		case reflect.Struct:
			for i := range of.NumField() {
				f := of.Field(i)
				require.True(t, f.IsExported(), "%s.%s", of, f.Name)
				require.Empty(t, f.Tag.Get("json"), "%s.%s", of, f.Name)
				walk(f.Type)
			}
		case reflect.Interface, reflect.Func, reflect.Chan:
			require.Fail(t, "not plain", "%s", of)
		default: // numbers, strings and the like have nothing in them
		}
	}
	walk(reflect.TypeFor[ruleset.Rule]())
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

// BenchmarkReload100k is what a replica does with a published set: copy it, open it, and compile what the set before does not have.
func BenchmarkReload100k(b *testing.B) {
	encoded := func(text []byte) []byte {
		rules, err := ruleset.Parse(text, ruleset.Options{})
		require.NoError(b, err)
		encoded, err := ruleset.Encode(rules)
		require.NoError(b, err)
		return encoded
	}
	file := bigFile(100_000)
	load := func(encoded []byte, before *ruleset.Set) *ruleset.Set {
		stored, err := ruleset.Open(string(encoded), nil)
		require.NoError(b, err)
		set, err := stored.Compile("v", before, nil)
		require.NoError(b, err)
		return set
	}
	live := load(encoded(file), nil)
	for _, change := range []struct {
		name   string
		file   []byte
		before *ruleset.Set
	}{
		{"everything", file, nil},
		{"100 keywords", changed(file, 1000, "contains: [", "contains: [新"), live},
		{"100 answers", changed(file, 1000, "reply: {text: ", "reply: {text: 新"), live},
	} {
		b.Run(change.name, func(b *testing.B) {
			fresh := encoded(change.file)
			b.ReportAllocs()
			for b.Loop() {
				load(fresh, change.before)
			}
		})
	}
}

// changed replaces something in every so many lines of a file that have it.
func changed(file []byte, every int, what, by string) []byte {
	lines, n := strings.SplitAfter(string(file), "\n"), 0
	for i := range lines {
		if strings.Contains(lines[i], what) {
			if n++; n%every == 0 {
				lines[i] = strings.Replace(lines[i], what, by, 1)
			}
		}
	}
	return []byte(strings.Join(lines, ""))
}
