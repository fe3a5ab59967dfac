package ruleset_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

func parse(t *testing.T, file string) *ruleset.File {
	t.Helper()
	rules, err := ruleset.Parse([]byte(file), ruleset.Options{})
	require.NoError(t, err)
	return rules
}

func TestAFileIsReadAsWritten(t *testing.T) {
	rules := parse(t, `
fold: {ignore_traditional: true}
rules:
  - name: returns
    account: [shop, club]
    priority: 40
    match: {contains: [退货, 2024], regex: '单号\d+', fold: {ignore_case: false}}
    do:
      - reply: 稍等
      - reply: {image: MEDIA}
      - transfer: {queue: aftersales}
      - tag: [returns, vip]
  - on: [subscribe, event:user_get_card]
    do: [none]
  - name: slow
    on: any_message
    match: any
    do: [{webhook: {url: "https://example.com/hook", timeout: 8s}}]
`).Rules
	require.Len(t, rules, 3)
	require.Equal(t, "returns", rules[0].Name)
	require.Equal(t, []string{"shop", "club"}, rules[0].Accounts)
	require.EqualValues(t, 40, rules[0].Priority)
	require.Equal(t, []string{"text"}, rules[0].On)
	require.Equal(t, ruleset.Match{
		Contains: []string{"退货", "2024"}, Regex: []string{`单号\d+`}, Fold: match.FoldWidth | match.FoldHan,
	}, rules[0].Match)
	require.Equal(t, "aftersales", rules[0].Actions[2].Queue)
	require.Equal(t, []string{"returns", "vip"}, rules[0].Actions[3].Tags)
	require.Equal(t, "rule 2", rules[1].Name)
	require.True(t, rules[1].Match.Any, "an event needs no match")
	require.True(t, rules[1].Actions[0].None)
	require.Equal(t, &ruleset.Webhook{URL: "https://example.com/hook", Timeout: 8 * time.Second}, rules[2].Actions[0].Webhook)
}

func TestEveryReplyOfTheReferenceIsRead(t *testing.T) {
	tests := []struct {
		do   string
		want *eventv1.Content
	}{
		{`reply: 你好`, &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "你好"}}}},
		{`reply: {text: "a\nb"}`, &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "a\nb"}}}},
		{`reply: {image: M1}`, &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: "M1"}}}},
		{`reply: {voice: {media_id: M1}}`, &eventv1.Content{Body: &eventv1.Content_Voice{Voice: &eventv1.VoiceContent{MediaId: "M1"}}}},
		{
			`reply: {video: {media_id: M1, thumb_media_id: M2, title: T, description: D}}`,
			&eventv1.Content{Body: &eventv1.Content_Video{Video: &eventv1.VideoContent{MediaId: "M1", ThumbMediaId: "M2", Title: "T", Description: "D"}}},
		},
		{
			`reply: {music: {title: T, description: D, music_url: "http://m", hq_music_url: "https://h", thumb_media_id: M}}`,
			&eventv1.Content{Body: &eventv1.Content_Music{Music: &eventv1.MusicContent{Title: "T", Description: "D", MusicUrl: "http://m", HqMusicUrl: "https://h", ThumbMediaId: "M"}}},
		},
		{
			`reply: {news: [{title: T, description: D, url: "https://u", pic_url: "https://p"}]}`,
			&eventv1.Content{Body: &eventv1.Content_News{News: &eventv1.NewsContent{Articles: []*eventv1.Article{{Title: "T", Description: "D", Url: "https://u", PicUrl: "https://p"}}}}},
		},
		{
			`reply: {menu: {head: H, items: [{id: "1", content: 满意}], tail: L}}`,
			&eventv1.Content{Body: &eventv1.Content_Menu{Menu: &eventv1.MenuContent{Head: "H", Tail: "L", Items: []*eventv1.MenuItem{{Id: "1", Content: "满意"}}}}},
		},
		{
			`reply: {miniprogram: {title: T, appid: wx1, page_path: pages/index, thumb_media_id: M}}`,
			&eventv1.Content{Body: &eventv1.Content_MiniProgram{MiniProgram: &eventv1.MiniProgramContent{Title: "T", Appid: "wx1", PagePath: "pages/index", ThumbMediaId: "M"}}},
		},
		{
			`reply: {link: {title: T, description: D, url: "https://u", thumb_url: "https://p"}}`,
			&eventv1.Content{Body: &eventv1.Content_Link{Link: &eventv1.LinkContent{Title: "T", Description: "D", Url: "https://u", ThumbUrl: "https://p"}}},
		},
		{`transfer: native`, &eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{}}}},
		{
			`transfer: {native: {kf_account: test1@test}}`,
			&eventv1.Content{Body: &eventv1.Content_NativeTransfer{NativeTransfer: &eventv1.NativeTransfer{KfAccount: "test1@test"}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.do, func(t *testing.T) {
			rules := parse(t, "rules:\n  - match: any\n    do:\n      - "+tt.do+"\n")
			got, err := rules.Rules[0].Actions[0].Content()
			require.NoError(t, err)
			require.True(t, proto.Equal(tt.want, got), "got %v", got)
		})
	}
}

func TestEveryMistakeIsNamedWithItsPathAndLine(t *testing.T) {
	tests := []struct {
		name string
		file string
		want []string
	}{
		{"an empty file", "", []string{"rules: the file is empty"}},
		{"not YAML", "rules: [", []string{"rules: yaml: line 1: did not find expected node content"}},
		{"two documents", "rules: []\n---\nrules: []", []string{"rules: a file holds one YAML document"}},
		{"no rules", "fold: {ignore_case: true}", []string{"rules: is required (line 1)"}},
		{"an unknown key at the top", "rule: []", []string{
			"rule: unknown key, want one of calendars, fold, places, rules (line 1)", "rules: is required (line 1)",
		}},
		{"many mistakes at once", `
rules:
  - name: one
    match: {contain: [退货]}
    prio: 3
    do: [{reply: {text: ""}}]
  - name: one
    on: [text, imgae]
    match: {regex: ['(', '.*']}
    do:
      - {reply: a, tag: b}
      - reply: {image: M, text: x}
`, []string{
			"rules[0].prio: unknown key, want one of account, do, match, name, on, priority, when (line 5)",
			"rules[0].match.contain: unknown key, want one of any, contains, event_key, exact, fold, media, near, prefix, regex, scene (line 4)",
			"rules[0].match: matches nothing: want any, or lists under exact, prefix, contains, regex, event_key, scene, media, near (line 4)",
			"rules[0].do[0].reply.text: must not be blank: none says nothing (line 6)",
			`rules[1].name: "one" is the name of the rule in line 3 too (line 7)`,
			`rules[1].on: "imgae" is not a kind; the kinds are any_message, click, enter_session, file, image, link, location, location_report, location_select, miniprogrampage, pic_photo_or_album, pic_sysphoto, pic_weixin, scan, scancode_push, scancode_waitmsg, shortvideo, subscribe, text, unsubscribe, video, view, voice and event:<name of the event in lower case> (line 8)`,
			"rules[1].match.regex[0]: error parsing regexp: missing closing ): `(` (line 9)",
			"rules[1].match.regex[1]: matches the empty text, so it would match everything: use any (line 9)",
			"rules[1].do[0]: does 2 things; make each its own item of the list (line 11)",
			"rules[1].do[1].reply: must hold one message, not 2; make each reply its own item of the list (line 12)",
		}},
		{"a text without match", "rules:\n  - do: [none]", []string{
			"rules[0].match: is required: any, or lists under exact, prefix, contains, regex, event_key, scene, media, near (line 2)",
		}},
		{"nothing to do", "rules:\n  - match: any\n  - match: any\n    do: []", []string{
			"rules[0].do: is required: a list of actions (line 2)", "rules[1].do: must have at least one action; none says nothing (line 4)",
		}},
		{"native on an event", "rules:\n  - on: [text, subscribe]\n    match: any\n    do: [transfer: native]", []string{
			"rules[0].do[0].transfer: native works for messages only, not on subscribe (line 4)",
		}},
		{"an answer to an unfollow", "rules:\n  - on: unsubscribe\n    do: [reply: bye]", []string{
			"rules[0].do[0]: nothing can be sent to a fan on unsubscribe (line 3)",
		}},
		{"a text for pictures", "rules:\n  - on: [image]\n    match: {contains: [cat], event_key: [k]}\n    do: [none]", []string{
			"rules[0].match.contains: image has no text to match; put it into a rule of its own with match: any (line 3)",
			"rules[0].match.event_key: image has no event_key to match; put it into a rule of its own with match: any (line 3)",
		}},
		{"a text that WeChat does not show", "rules:\n  - match: any\n    do: [reply: \"" + strings.Repeat("退", 683) + "\"]", []string{
			"rules[0].do[0].reply: is 2049 bytes long, WeChat shows at most 2047; split it into several replies (line 3)",
		}},
		{"blank patterns", "rules:\n  - match: {exact: ['  '], prefix: ''}\n    do: [none]", []string{
			"rules[0].match.exact[0]: must have 1 to 512 characters that are not all blank (line 2)",
			"rules[0].match.prefix[0]: must have 1 to 512 characters that are not all blank (line 2)",
		}},
		{"too many replies", "rules:\n  - match: any\n    do: [reply: a, reply: b, reply: c, reply: d, reply: e, reply: f]", []string{
			"rules[0].do[5]: is reply 6: WeChat allows 5 messages at most (line 3)",
		}},
		{"contradictions", "rules:\n  - match: any\n    do: [none, reply: a]\n  - match: any\n    do: [transfer: native, transfer: {queue: q}]\n  - match: any\n    do: [{webhook: {url: 'https://a'}}, {webhook: {url: 'https://b'}}]", []string{
			"rules[0].do: none says nothing, so it goes with tag and untag only (line 3)",
			"rules[1].do[1]: is the second transfer of the rule (line 5)",
			"rules[2].do[1]: is the second webhook of the rule (line 7)",
		}},
		{"bad webhooks", "rules:\n  - match: any\n    do: [webhook: {url: 'ftp://a', timeout: 1m}]\n  - match: any\n    do: [webhook: {timeout: soon}]", []string{
			"rules[0].do[0].webhook.timeout: must be a time above zero and at most 12s, for example 3s (line 3)",
			"rules[0].do[0].webhook.url: must be an http or https address (line 3)",
			"rules[1].do[0].webhook.timeout: must be a time above zero and at most 12s, for example 3s (line 5)",
			"rules[1].do[0].webhook.url: is required (line 5)",
		}},
		{"missing fields of replies", "rules:\n  - match: any\n    do: [reply: {music: {title: a}}, reply: {news: {title: a}}, reply: {menu: {head: a}}, reply: {image: {}}]", []string{
			"rules[0].do[0].reply.music.thumb_media_id: is required (line 3)",
			"rules[0].do[1].reply.news.url: is required (line 3)",
			"rules[0].do[2].reply.menu.items: must have at least one item (line 3)",
			"rules[0].do[3].reply.image.media_id: is required (line 3)",
		}},
		{"what only the sender would find", "rules:\n  - match: any\n    do: [reply: {menu: {items: [{id: a, content: x}, {id: a, content: y}]}}]", []string{
			"rules[0].do[0].reply: menu.items[1].id: used twice (line 3)",
		}},
		{"aliases", "rules:\n  - &a {match: any, do: [none]}\n  - *a", []string{"rules[1]: aliases are not supported (line 3)"}},
		{"the wrong shape", "rules:\n  - text\n  - {match: [any], do: none, priority: high, name: [x]}", []string{
			"rules[0]: must be a mapping with the keys account, do, match, name, on, priority, when (line 2)",
			"rules[1].priority: must be a whole number; the higher one wins (line 3)",
			"rules[1].name: must be a text (line 3)",
			"rules[1].match: must be a mapping with the keys any, contains, event_key, exact, fold, media, near, prefix, regex, scene (line 3)",
			"rules[1].do: must be a list (line 3)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ruleset.Parse([]byte(tt.file), ruleset.Options{})
			require.Error(t, err)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Equal(t, tt.want, strings.Split(err.Error(), "\n"))
		})
	}
}

func TestTheFirstMistakesOfAHopelessFileAreEnough(t *testing.T) {
	_, err := ruleset.Parse([]byte("rules:\n"+strings.Repeat("  - {}\n", 100)), ruleset.Options{})
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 26)
	require.Equal(t, "and 175 more", lines[25])
}

func TestAPublisherRefusesUnknownAccountsAndForbiddenWebhooks(t *testing.T) {
	_, err := ruleset.Parse([]byte("rules:\n  - {account: shopp, match: any, do: [webhook: {url: 'http://a'}]}"), ruleset.Options{
		Account:  func(string) (eventv1.AccountKind, bool) { return 0, false },
		CheckURL: func(string) error { return errors.New("must be https") },
	})
	require.ErrorContains(t, err, `rules[0].account: there is no account "shopp" (line 2)`)
	require.ErrorContains(t, err, "rules[0].do[0].webhook.url: must be https (line 2)")
}

func TestRepliesSuitTheAccountsThatARuleNames(t *testing.T) {
	_, err := ruleset.Parse([]byte("rules:\n  - {account: mini, match: any, do: [reply: a, reply: {voice: M}]}"), ruleset.Options{
		Account: func(string) (eventv1.AccountKind, bool) { return eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM, true },
	})
	require.EqualError(t, err, "rules[0].do[1].reply: voice: Official Accounts only (line 2)")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("rules:\n  - {name: a, match: {contains: [b], regex: ['c\\d']}, do: [{reply: {text: d}}, {tag: e}]}\n"))
	f.Add([]byte("fold: {ignore_case: no}\nrules:\n  - on: [click]\n    match: {event_key: [K]}\n    do: [{webhook: {url: 'https://h', timeout: 3s}}]\n"))
	f.Add([]byte("rules: &a [*a]"))
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, file []byte) {
		rules, err := ruleset.Parse(file, ruleset.Options{})
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		_, err = ruleset.Compile("v", rules)
		require.NoError(t, err, "what is accepted can be compiled")
		encoded, err := ruleset.Encode(rules)
		require.NoError(t, err)
		stored, err := ruleset.Open(string(encoded), nil)
		require.NoError(t, err)
		require.Equal(t, rules.Rules, stored.File().Rules)
	})
}
