package rule_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/decide"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

var (
	fence = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	trial = regexp.MustCompile(`(?m)^# (?:try: |试：)(.+) => (.+)$`)
)

// Every example of the operator's guides, in both languages, is a rule file that is accepted, and answers as it says.
func TestGuideExamplesWork(t *testing.T) {
	for guide, least := range map[string]int{"operator.zh-CN.md": 5, "operator.en.md": 5} {
		text, err := os.ReadFile("../../docs/guides/" + guide)
		require.NoError(t, err)
		_, section, found := strings.Cut(string(text), "<!-- rules:begin -->")
		require.True(t, found)
		section, _, found = strings.Cut(section, "<!-- rules:end -->")
		require.True(t, found)
		examples := fence.FindAllStringSubmatch(section, -1)
		require.GreaterOrEqual(t, len(examples), least)
		for _, example := range examples {
			tryExample(t, guide, example[1])
		}
	}
}

func tryExample(t *testing.T, guide, yaml string) {
	t.Helper()
	file, err := ruleset.Parse([]byte(yaml), ruleset.Options{})
	require.NoError(t, err, "%s:\n%s", guide, yaml)
	set, err := ruleset.Compile("", file)
	require.NoError(t, err)
	now := time.Now()
	for _, line := range trial.FindAllStringSubmatch(yaml, -1) {
		ev := &eventv1.InboundEvent{
			Account: "shop", MsgType: "text", Kind: eventv1.EventKind_EVENT_KIND_MESSAGE, ReceivedUnixMs: now.UnixMilli(), AcceptsPassive: true,
			Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: line[1]}},
		}
		found, ok := set.FindEvent(ev, nil)
		require.True(t, ok, "%s: %s", guide, line[0])
		require.Equal(t, line[2], found.Rule.Name, "%s: %s", guide, line[0])
	}
	for i := range file.Rules {
		found := ruleset.Found{Rule: &file.Rules[i]}
		if near := file.Rules[i].Match.Near; near != nil {
			found.Place = &file.Places[near.Places][0]
		}
		ev := &eventv1.InboundEvent{Account: "shop", ReceivedUnixMs: now.UnixMilli()}
		seen, err := decide.Preview(decide.Imagined{Event: ev, Input: ruleset.InputOf(ev), Account: account.Account{Name: "shop"}, Found: found})
		require.NoError(t, err, file.Rules[i].Name)
		require.True(t, len(seen.Record.GetReplies())+len(seen.Asks) > 0 || seen.Record.GetQueue() != "", "%s: %s does nothing", guide, file.Rules[i].Name)
	}
}
