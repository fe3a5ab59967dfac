package message_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/message"
)

func text(s string) *senderv1.CampaignMessage {
	return &senderv1.CampaignMessage{Content: &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}}
}

func TestVariablesOfEveryKindOfText(t *testing.T) {
	m := &senderv1.CampaignMessage{KfAccount: "{{desk}}@shop", Content: &eventv1.Content{Body: &eventv1.Content_News{News: &eventv1.NewsContent{
		Articles: []*eventv1.Article{{Title: "{{ name }}，您好", Url: "https://example.com/?o={{order}}"}, {Title: "{{name}}"}}}}}}
	names, err := message.Variables(m)
	require.NoError(t, err)
	require.Equal(t, []string{"desk", "name", "order"}, names)

	before := proto.CloneOf(m)
	filled := message.Fill(m, names, []string{"kf1", "小王", "42"})
	require.True(t, proto.Equal(before, m), "the message of the campaign stays as it was")
	require.Equal(t, "kf1@shop", filled.GetKfAccount())
	require.Equal(t, "小王，您好", filled.GetContent().GetNews().GetArticles()[0].GetTitle())
	require.Equal(t, "https://example.com/?o=42", filled.GetContent().GetNews().GetArticles()[0].GetUrl())
	require.Equal(t, "小王", filled.GetContent().GetNews().GetArticles()[1].GetTitle())
}

func TestVariablesOfTemplates(t *testing.T) {
	m := &senderv1.CampaignMessage{Content: &eventv1.Content{Body: &eventv1.Content_Template{Template: &eventv1.TemplateContent{
		TemplateId: "t1", Data: map[string]*eventv1.TemplateValue{"thing1": {Value: "{{item}}"}, "time2": {Value: "10:00"}}}}}}
	names, err := message.Variables(m)
	require.NoError(t, err)
	require.Equal(t, []string{"item"}, names)
	filled := message.Fill(m, names, []string{"雨伞"})
	require.Equal(t, "雨伞", filled.GetContent().GetTemplate().GetData()["thing1"].GetValue())
	require.Equal(t, "{{item}}", m.GetContent().GetTemplate().GetData()["thing1"].GetValue())
}

func TestValuesCannotBreakOutOfRawJSON(t *testing.T) {
	m := &senderv1.CampaignMessage{Content: &eventv1.Content{Body: &eventv1.Content_Raw{Raw: &eventv1.RawContent{MsgType: "text", Json: `{"text":{"content":"{{a}}"}}`}}}}
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.String().Draw(rt, "value")
		filled := message.Fill(m, []string{"a"}, []string{value})
		var got struct{ Text struct{ Content string } }
		require.NoError(rt, json.Unmarshal([]byte(filled.GetContent().GetRaw().GetJson()), &got))
		require.Equal(rt, value, got.Text.Content)
	})
}

func TestBadVariablesAreNamed(t *testing.T) {
	for _, bad := range []string{"{{", "{{a", "{{}}", "{{1a}}", "{{a b}}", "{{a-b}}"} {
		_, err := message.Variables(text("hello " + bad))
		require.Equal(t, fault.Invalid, fault.KindOf(err), bad)
	}
}

func TestValuesAreNotFilledInTwice(t *testing.T) {
	filled := message.Fill(text("{{a}}{{b}}"), []string{"a", "b"}, []string{"{{b}}", "x"})
	require.Equal(t, "{{b}}x", filled.GetContent().GetText().GetContent())
}

func TestAMessageWithoutVariablesIsUsedAsItIs(t *testing.T) {
	m := text("hello")
	require.Same(t, m, message.Fill(m, nil, nil))
}
