package autoreply_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/autoreply"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

func convert(t *testing.T, answer string) (*autoreply.Converted, map[string]string) {
	t.Helper()
	got, err := autoreply.Convert([]byte(answer), "shop")
	require.NoError(t, err)
	_, err = ruleset.Parse(got.File, ruleset.Options{})
	require.NoError(t, err)
	lost := map[string]string{}
	for _, l := range got.LeftOut {
		lost[l.Path] += l.Reason
	}
	return got, lost
}

// unknown is a fan about whom nothing is known.
func unknown() *rulev1.FanRecord { return &rulev1.FanRecord{} }

func TestTheSampleOfWeChatIsCarriedOver(t *testing.T) {
	t.Parallel()
	sample, err := os.ReadFile("testdata/wechatpy_get_current_autoreply_info.json")
	require.NoError(t, err)
	got, lost := convert(t, string(sample))
	require.Equal(t, 5, got.Rules)

	file, err := ruleset.Parse(got.File, ruleset.Options{})
	require.NoError(t, err)
	set, err := ruleset.Compile("", file)
	require.NoError(t, err)
	decide := func(kind, text string) (string, []string) {
		in, ok := ruleset.InputFor("shop", kind, text, "")
		require.True(t, ok)
		found, _ := set.Find(in, ruleset.Facts{Now: time.Now(), Fan: unknown})
		rule := found.Rule
		if rule == nil {
			return "", nil
		}
		var replies []string
		for _, a := range rule.Actions {
			c, err := a.Content()
			require.NoError(t, err)
			switch {
			case c.GetText() != nil:
				replies = append(replies, c.GetText().GetContent())
			case c.GetNews() != nil:
				replies = append(replies, "news "+c.GetNews().GetArticles()[0].GetTitle())
			case c.GetVoice() != nil:
				replies = append(replies, "voice "+c.GetVoice().GetMediaId()[:5])
			}
		}
		return rule.Name, replies
	}
	for _, tt := range []struct {
		kind, text, rule string
		replies          []string
	}{
		{"subscribe", "", "shop: follow", []string{"Thanks for your attention!"}},
		{"text", "my text测试?", "shop: autoreply-text", []string{"hello!text!"}},
		{"text", "news测试", "shop: autoreply-news", []string{"news it's news", "news MULTI_NEWS"}},
		{"text", "a voice测试", "shop: autoreply-voice", []string{"voice NESsx"}},
		{"text", "anything", "shop: default", []string{"Hello, this is autoreply!"}},
		{"image", "", "shop: default", []string{"Hello, this is autoreply!"}},
	} {
		name, replies := decide(tt.kind, tt.text)
		require.Equal(t, tt.rule, name, tt.text)
		require.Equal(t, tt.replies, replies, tt.text)
	}

	list := "keyword_autoreply_info.list"
	require.Contains(t, lost[list+"[0].reply_list_info[1].news_info.list[1]"], "one article")
	require.Contains(t, lost[list+"[0].reply_list_info[0].news_info.list[0]"], "author")
	require.Contains(t, lost[list+"[1].reply_list_info[0]"], "three days")
	require.Contains(t, lost[list+"[3].reply_list_info[0]"], "link to the video")
	require.Contains(t, lost[list+"[3]"], "no reply is left")
	require.NotContains(t, lost, "message_default_autoreply_info")
	require.Contains(t, string(got.File), `"cooldown":"1h"`, "WeChat sends the default reply once an hour")
}

func TestWhatCannotBeCarriedOverIsListed(t *testing.T) {
	t.Parallel()
	rule := func(keyword, mode, replies string) string {
		return `{"is_add_friend_reply_open":0,"is_autoreply_open":1,"keyword_autoreply_info":{"list":[
			{"rule_name":"r","reply_mode":"` + mode + `","keyword_list_info":[` + keyword + `],"reply_list_info":[` + replies + `]}]}}`
	}
	const word, text = `{"type":"text","match_mode":"equal","content":"x"}`, `{"type":"text","content":"hi"}`
	at := "keyword_autoreply_info.list[0]"
	for _, tt := range []struct{ name, answer, path, reason string }{
		{"several at random", rule(word, "random_one", text+","+text), at + ".reply_list_info", "at random"},
		{"the other ones", rule(word, "random_one", text+","+text), at + ".reply_list_info[1]", "at random"},
		{"a picture as keyword", rule(`{"type":"img","content":"x"}`, "reply_all", text), at + ".keyword_list_info[0]", "cannot be matched"},
		{"an unknown match", rule(`{"type":"text","match_mode":"near","content":"x"}`, "reply_all", text), at + ".keyword_list_info[0]", "near"},
		{"an empty keyword", rule(`{"type":"text","match_mode":"equal","content":" "}`, "reply_all", text), at, "no keyword"},
		{"an unknown reply", rule(word, "reply_all", `{"type":"card","content":"x"}`), at + ".reply_list_info[0]", `"card"`},
		{"an empty reply", rule(word, "reply_all", `{"type":"text","content":""}`), at + ".reply_list_info[0]", "empty"},
		{"too many", rule(word, "reply_all", strings.Repeat(text+",", 5)+text), at + ".reply_list_info[5]", "at most"},
		{"too long", rule(word, "reply_all", `{"type":"text","content":"`+strings.Repeat("长", 1000)+`"}`), at, "rules refuse it"},
		{"an unknown mode", rule(word, "some", text), at + ".reply_mode", `"some"`},
		{"no article", rule(word, "reply_all", `{"type":"news"}`), at + ".reply_list_info[0]", "no article"},
		{"switched off", `{"is_add_friend_reply_open":0,"is_autoreply_open":"0","add_friend_autoreply_info":{"type":"text","content":"x"},"message_default_autoreply_info":{"type":"text","content":"x"}}`, "message_default_autoreply_info", "switched off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, lost := convert(t, tt.answer)
			require.Contains(t, lost[tt.path], tt.reason)
		})
	}
}

func TestTextsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	got, _ := convert(t, `{"is_autoreply_open":1,"message_default_autoreply_info":{"type":"text","content":"{{fan.name}} {{ x"}}`)
	file, err := ruleset.Parse(got.File, ruleset.Options{})
	require.NoError(t, err)
	set, err := ruleset.Compile("", file)
	require.NoError(t, err)
	in, ok := ruleset.InputFor("shop", "text", "?", "")
	require.True(t, ok)
	found, ok := set.Find(in, ruleset.Facts{Now: time.Now(), Fan: unknown})
	require.True(t, ok)
	require.Len(t, found.Rule.Actions, 1)
	require.Contains(t, string(got.File), `{{\"{{\"}}fan.name}} {{\"{{\"}} x`)
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	one := `{"rule_name":"` + strings.Repeat("名", 120) + `","reply_mode":"reply_all","keyword_list_info":[{"match_mode":"equal","content":"x"}],"reply_list_info":[{"type":"text","content":"x"}]}`
	got, lost := convert(t, `{"is_autoreply_open":1,"keyword_autoreply_info":{"list":[`+one+`,`+one+`,`+strings.ReplaceAll(one, "名", "")+`]}}`)
	require.Equal(t, 3, got.Rules)
	require.Contains(t, string(got.File), "(2)")
	require.Contains(t, string(got.File), "shop: keyword")
	require.Contains(t, lost["keyword_autoreply_info.list[0]"], "too long")
}

func TestOtherAnswersAreRefused(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", "[]", "{}", `{"errcode":48001,"errmsg":"api unauthorized"}`, `{"is_autoreply_open":2}`, `{"is_autoreply_open":1,"keyword_autoreply_info":[]}`} {
		_, err := autoreply.Convert([]byte(answer), "shop")
		require.Equal(t, fault.Invalid, fault.KindOf(err), answer)
	}
}

// FuzzConvert checks that whatever WeChat answers, the rules that come of it can be published.
func FuzzConvert(f *testing.F) {
	sample, err := os.ReadFile("testdata/wechatpy_get_current_autoreply_info.json")
	require.NoError(f, err)
	f.Add(sample)
	f.Add([]byte(`{"is_autoreply_open":"1","message_default_autoreply_info":{"type":"img","content":"MEDIA"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := autoreply.Convert(answer, "shop")
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		rules, err := ruleset.Parse(got.File, ruleset.Options{})
		require.NoError(t, err)
		require.Equal(t, got.Rules, rules.Len())
		_, err = ruleset.Compile("", rules)
		require.NoError(t, err)
	})
}
