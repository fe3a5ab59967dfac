package rule_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule"
)

func oneRule(keyword string) []byte {
	return []byte(fmt.Sprintf("rules:\n  - {name: %s, match: {contains: [%s]}, do: [{reply: about %s}]}\n", keyword, keyword, keyword))
}

func TestAPublicationDecidesOnEveryReplica(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.replica("rule-a", ""), r.replica("rule-b", "")
	first, second := r.api(one), r.api(two)

	_, err := first.GetRuleSet(t.Context(), &rulev1.GetRuleSetRequest{})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	published, err := first.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("apple"), Note: "fruit"})
	require.NoError(t, err)
	require.True(t, published.GetRuleSet().GetLive())
	require.EqualValues(t, 1, published.GetRuleSet().GetRules())

	would := func(c rulev1.RuleServiceClient, text string) string {
		answer, err := c.DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: text})
		require.NoError(t, err)
		return answer.GetRule()
	}
	require.Equal(t, "apple", would(first, "an apple"), "at once where it was published")
	require.Eventually(t, func() bool { return would(second, "an apple") == "apple" }, patience, 5*time.Millisecond)

	again, err := second.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("apple")})
	require.NoError(t, err)
	require.True(t, again.GetUnchanged())
	_, err = second.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("pear"), ExpectedVersion: "other-1"})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	newer, err := second.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("pear"), ExpectedVersion: again.GetRuleSet().GetVersion()})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return would(first, "an apple") == "" && would(first, "a pear") == "pear" }, patience, 5*time.Millisecond)

	back, err := first.RollBackRuleSet(t.Context(), &rulev1.RollBackRuleSetRequest{Version: published.GetRuleSet().GetVersion()})
	require.NoError(t, err)
	require.Equal(t, published.GetRuleSet().GetVersion(), back.GetRuleSet().GetVersion())
	require.Eventually(t, func() bool { return would(second, "an apple") == "apple" }, patience, 5*time.Millisecond)
	live, err := second.GetRuleSet(t.Context(), &rulev1.GetRuleSetRequest{})
	require.NoError(t, err)
	require.Equal(t, oneRule("apple"), live.GetYaml())
	listed, err := second.ListRuleSets(t.Context(), &rulev1.ListRuleSetsRequest{})
	require.NoError(t, err)
	require.Len(t, listed.GetRuleSets(), 2)
	require.Equal(t, newer.GetRuleSet().GetVersion(), listed.GetRuleSets()[0].GetVersion())
	require.False(t, listed.GetRuleSets()[0].GetLive())
	require.True(t, listed.GetRuleSets()[1].GetLive())
	_, err = first.RollBackRuleSet(t.Context(), &rulev1.RollBackRuleSetRequest{Version: "none"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	// And it is what decides.
	rec := r.record(r.push(r.text("ackonly", "o_fan", "apple?")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Equal(t, published.GetRuleSet().GetVersion(), rec.GetRuleSetVersion())
	r.settled()
}

func TestMistakesAreRefusedWithTheirPaths(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api := r.api(r.replica("rule-a", ""))
	_, err := api.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: []byte(
		"rules:\n  - {name: a, account: nobody, match: {regex: ['(']}, do: [{transfer: native}]}\n  - {on: subscribe, do: [{transfer: native}]}\n")})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, part := range []string{
		`rules[0].account: there is no account "nobody"`, "rules[0].match.regex[0]: ", "rules[1].do[0].transfer: native works for messages only",
	} {
		require.ErrorContains(t, err, part)
	}
	_, err = api.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("a"), Note: strings.Repeat("x", 501)})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestADryRunExplainsItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	demo, err := os.ReadFile("testdata/demo.yaml")
	require.NoError(t, err)
	api := r.api(r.replica("rule-a", "testdata/demo.yaml"))

	tests := []struct {
		name    string
		req     *rulev1.DryRunRequest
		route   rulev1.Route
		rule    string
		matched string
		text    string
		queue   string
	}{
		{"greeting", &rulev1.DryRunRequest{Account: "shop", Text: "ＨＥＬＬＯ"}, rulev1.Route_ROUTE_PASSIVE, "greeting", "ＨＥＬＬＯ", "你好！", ""},
		{"greeting on an ack account", &rulev1.DryRunRequest{Account: "ackonly", Text: "你好"}, rulev1.Route_ROUTE_ASYNC, "greeting", "你好", "你好！", ""},
		{"returns", &rulev1.DryRunRequest{Account: "shop", Text: "我要退货"}, rulev1.Route_ROUTE_PASSIVE, "returns", "退货", "正在为您转接", "aftersales"},
		{"human", &rulev1.DryRunRequest{Account: "shop", Text: "转人工"}, rulev1.Route_ROUTE_NATIVE, "human", "人工", "", ""},
		{"order", &rulev1.DryRunRequest{Account: "shop", Text: "查 so12345678"}, rulev1.Route_ROUTE_PASSIVE, "order", "so12345678", "您的订单", ""},
		{"image", &rulev1.DryRunRequest{Account: "shop", On: "image"}, rulev1.Route_ROUTE_PASSIVE, "image", "", "图片", ""},
		{"image of a Mini Program", &rulev1.DryRunRequest{Account: "mini", On: "image"}, rulev1.Route_ROUTE_ASYNC, "image", "", "图片", ""},
		{"follow", &rulev1.DryRunRequest{Account: "shop", On: "subscribe"}, rulev1.Route_ROUTE_PASSIVE, "welcome", "", "感谢关注", ""},
		{"menu", &rulev1.DryRunRequest{Account: "shop", On: "click", EventKey: "DEALS"}, rulev1.Route_ROUTE_PASSIVE, "deals", "DEALS", "", ""},
		{"anything else", &rulev1.DryRunRequest{Account: "stretch", Text: "??"}, rulev1.Route_ROUTE_NATIVE, "unknown", "", "", ""},
		{"an event without rules", &rulev1.DryRunRequest{Account: "shop", On: "event:user_get_card"}, rulev1.Route_ROUTE_NONE, "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := api.DryRun(t.Context(), tt.req)
			require.NoError(t, err)
			require.Equal(t, tt.route, got.GetRoute())
			require.Equal(t, tt.rule, got.GetRule())
			require.Equal(t, tt.matched, got.GetMatched())
			require.Equal(t, tt.queue, got.GetQueue())
			if tt.text != "" {
				require.Contains(t, got.GetReplies()[0].GetText().GetContent(), tt.text)
			}
			if tt.rule != "" {
				require.Equal(t, tt.rule, got.GetCandidates()[0].GetRule())
				require.Equal(t, "won", got.GetCandidates()[0].GetOutcome())
			}
		})
	}
	t.Run("why the others lost", func(t *testing.T) {
		got, err := api.DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: "退货找人工"})
		require.NoError(t, err)
		var why []string
		for _, c := range got.GetCandidates() {
			why = append(why, c.GetRule()+": "+c.GetOutcome())
		}
		require.Equal(t, []string{
			"human: won", "returns: lower priority than human (40 < 60)", "unknown: lower priority than human (-100 < 60)",
		}, why)
	})
	t.Run("another file", func(t *testing.T) {
		got, err := api.DryRun(t.Context(), &rulev1.DryRunRequest{Account: "shop", Text: "x", Yaml: []byte(
			"rules:\n  - {name: hook, match: any, do: [{webhook: {url: 'http://127.0.0.1:1/'}}]}")})
		require.NoError(t, err)
		require.Equal(t, rulev1.Route_ROUTE_PASSIVE, got.GetRoute())
		require.Empty(t, got.GetReplies())
		require.Equal(t, "won; its webhook is not called in a dry run", got.GetCandidates()[0].GetOutcome())
		require.Empty(t, got.GetVersion())
	})
	for name, req := range map[string]*rulev1.DryRunRequest{
		"account": {Account: "nobody"}, "kind": {Account: "shop", On: "emoji"}, "file": {Account: "shop", Yaml: []byte("rules: 1")},
	} {
		_, err := api.DryRun(t.Context(), req)
		require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err), name)
	}
	live, err := api.GetRuleSet(t.Context(), &rulev1.GetRuleSetRequest{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(demo, live.GetYaml()), "a dry run changes nothing")
}

func TestTheRulesFileIsPublishedWhenItHasChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	file := r.rules(string(oneRule("apple")))
	live := func(s *rule.Service) *rulev1.RuleSetInfo {
		got, err := r.api(s).GetRuleSet(t.Context(), &rulev1.GetRuleSetRequest{})
		require.NoError(t, err)
		return got.GetRuleSet()
	}
	restart := func(name string) *rule.Service { return r.replica(name, file) }
	one := restart("start-1")
	apple := live(one)
	require.Equal(t, "rules_file", apple.GetNote())
	require.Equal(t, apple.GetVersion(), live(restart("start-2")).GetVersion(), "the same file is no news")

	require.NoError(t, os.WriteFile(file, oneRule("pear"), 0o600))
	pear := live(restart("start-3"))
	require.NotEqual(t, apple.GetVersion(), pear.GetVersion())

	_, err := r.api(one).RollBackRuleSet(t.Context(), &rulev1.RollBackRuleSetRequest{Version: apple.GetVersion()})
	require.NoError(t, err)
	require.Equal(t, apple.GetVersion(), live(restart("start-4")).GetVersion(), "a roll-back survives a restart")

	_, err = r.api(one).PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: oneRule("plum")})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, oneRule("fig"), 0o600))
	require.EqualValues(t, 1, live(restart("start-5")).GetRules())
	got, err := r.api(one).GetRuleSet(t.Context(), &rulev1.GetRuleSetRequest{})
	require.NoError(t, err)
	require.Equal(t, oneRule("plum"), got.GetYaml(), "rules that were published by hand win over the file")
}

func TestAWrongRulesFileStopsTheStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	service, err := rule.New(testConfig(), rule.Deps{
		Accounts: r.accts, Bus: r.env.Conn, Topology: r.env.Topology, Decisions: r.store, Sender: noSender{},
		RulesFile: r.rules("rules: [{}]"), Tel: r.tel.Telemetry,
	})
	require.NoError(t, err)
	require.ErrorContains(t, service.Start(t.Context()), "rules[0].do: is required")
	require.NoError(t, service.Stop(t.Context()))
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	require.NoError(t, rule.DefaultConfig().Validate())
	err := rule.Config{MinTimeLeft: -1, SendPatience: -1}.Validate()
	for _, path := range []string{"attempt_timeout: ", "min_time_left: ", "send_patience: ", "max_in_flight: ", "webhook.timeout: ", "slow_actions: "} {
		require.ErrorContains(t, err, path)
	}
	chats := rule.DefaultConfig()
	chats.Chat.Providers = []rule.ChatProvider{{Name: "a", BaseURL: "http://10.0.0.5/v1", DailyTokens: -1}, {Name: "a", BaseURL: "https://10.0.0.5/v1", Model: "m"}}
	err = chats.Validate()
	for _, mistake := range []string{
		"chat.providers[0].base_url: must be https, or list it under rule.chat.private_bases", "chat.providers[0].model: is required",
		"chat.providers[0].daily_tokens: ", "chat.providers[1].name: must be set and unique",
		"chat.providers[1].base_url: is a private address; list it under rule.chat.private_bases to allow it",
	} {
		require.ErrorContains(t, err, mistake)
	}
	chats.Chat.Providers = []rule.ChatProvider{{Name: "a", BaseURL: "http://10.0.0.5/v1", Model: "m"}}
	chats.Chat.PrivateBases = []string{"http://10.0.0.5/v1"}
	require.NoError(t, chats.Validate())
	_, err = rule.New(rule.DefaultConfig(), rule.Deps{Accounts: &account.Directory{}})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
