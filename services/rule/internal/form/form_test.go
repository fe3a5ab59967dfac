package form_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/rule/internal/form"
)

var now = time.UnixMilli(1_700_000_000_000)

func repair() *form.Spec {
	return &form.Spec{
		Questions: []form.Question{
			{Name: "phone", Ask: "手机号？", Kind: form.Mobile},
			{Name: "product", Ask: "哪个产品？", Kind: form.Choice, Choices: []string{"空调", "洗衣机"}},
			{Name: "serial", Ask: "序列号？", Kind: form.Text, Regex: `[A-Z]{2}\d{4}`, Error: "序列号不对。"},
		},
		Expires: 30 * time.Minute, Tries: 2, Cancel: form.DefaultCancel, Leave: []string{"人工"}, Cancelled: "好的", GivenUp: "算了",
		Confirm: "{{form.phone}}，对吗？", Yes: form.DefaultYes, No: form.DefaultNo,
	}
}

// walk answers a form with texts and returns the last step.
func walk(t *testing.T, s *form.Spec, answers ...string) form.Step {
	t.Helper()
	step := s.Begin("repair", "e0", now)
	for _, answer := range answers {
		require.Equal(t, form.Asked, step.Outcome, "before %s", answer)
		step = s.Answer(step.State, form.Message{Kind: "text", Text: answer, ID: answer}, now)
	}
	return step
}

func TestAFormIsFilledInAndConfirmed(t *testing.T) {
	step := walk(t, repair())
	require.Equal(t, []string{"手机号？"}, step.Say)
	step = walk(t, repair(), "１３８ 0013-8000")
	require.Equal(t, []string{"哪个产品？\n1. 空调\n2. 洗衣机"}, step.Say)
	step = walk(t, repair(), "13800138000", "2", "AB1234")
	require.Equal(t, []string{"{{form.phone}}，对吗？"}, step.Say)
	step = walk(t, repair(), "13800138000", "２", "AB1234", "是。")
	require.Equal(t, form.Done, step.Outcome)
	require.Equal(t, map[string]string{"phone": "13800138000", "product": "洗衣机", "serial": "AB1234"}, step.State.GetAnswers())
}

func TestAWrongAnswerIsAskedAgainAndNotForEver(t *testing.T) {
	step := walk(t, repair(), "12345")
	require.Equal(t, []string{"请回复 11 位手机号码。", "手机号？"}, step.Say)
	step = walk(t, repair(), "12345", "67890")
	require.Equal(t, form.GivenUp, step.Outcome)
	require.Equal(t, []string{"算了"}, step.Say)
	step = walk(t, repair(), "12345", "13800138000", "1", "XX")
	require.Equal(t, []string{"序列号不对。", "序列号？"}, step.Say, "a right answer gives the tries back")
}

func TestAFanCanCancelLeaveAndBeginAgain(t *testing.T) {
	require.Equal(t, form.Cancelled, walk(t, repair(), "13800138000", " 取消。").Outcome)
	require.Equal(t, form.Left, walk(t, repair(), "人工").Outcome)
	step := walk(t, repair(), "13800138000", "1", "AB1234", "不对")
	require.Equal(t, []string{"手机号？"}, step.Say)
	require.Empty(t, step.State.GetAnswers())
	full := []string{"13800138000", "1", "AB1234", "不"}
	all := append(append(append(append([]string{}, full...), full...), full...), full...)
	require.Equal(t, form.GivenUp, walk(t, repair(), all...).Outcome)
	require.Equal(t, form.GivenUp, walk(t, repair(), "13800138000", "1", "AB1234", "也许", "大概").Outcome)
}

func TestAFormExpiresAndEveryAnswerRenewsIt(t *testing.T) {
	s := repair()
	state := s.Begin("repair", "e0", now).State
	require.Equal(t, form.Expired, s.Answer(state, form.Message{Text: "13800138000"}, now.Add(30*time.Minute)).Outcome)
	later := s.Answer(state, form.Message{Text: "13800138000"}, now.Add(29*time.Minute)).State
	require.Equal(t, form.Asked, s.Answer(later, form.Message{Text: "1"}, now.Add(58*time.Minute)).Outcome)
	require.Empty(t, state.GetAnswers(), "the state before is as it was")
	shorter := &form.Spec{Questions: s.Questions[:1], Expires: time.Hour, Tries: 1}
	later.Question = 2
	require.Equal(t, form.Expired, shorter.Answer(later, form.Message{Text: "x"}, now).Outcome, "the form was changed since")
}

func TestAnswersAreCheckedByTheirKind(t *testing.T) {
	tests := []struct {
		kind      form.Kind
		message   form.Message
		want      string
		wantWrong bool
	}{
		{form.Number, form.Message{Text: "１.5"}, "1.5", false},
		{form.Number, form.Message{Text: "Inf"}, "", true},
		{form.Number, form.Message{Text: "NaN"}, "", true},
		{form.Integer, form.Message{Text: "42"}, "42", false},
		{form.Integer, form.Message{Text: "4.2"}, "", true},
		{form.Mobile, form.Message{Text: "+8613800138000"}, "13800138000", false},
		{form.Mobile, form.Message{Text: "23800138000"}, "", true},
		{form.Email, form.Message{Text: "a@example.com"}, "a@example.com", false},
		{form.Email, form.Message{Text: "A <a@example.com>"}, "", true},
		{form.Date, form.Message{Text: "2026年2月3日"}, "2026-02-03", false},
		{form.Date, form.Message{Text: "2026-02-30"}, "", true},
		{form.Text, form.Message{Text: "  你好 "}, "你好", false},
		{form.Text, form.Message{Text: strings.Repeat("x", 501)}, "", true},
		{form.Text, form.Message{Kind: "image", MediaID: "M"}, "", true},
		{form.Image, form.Message{Kind: "image", MediaID: "M"}, "M", false},
		{form.Image, form.Message{Kind: "text", Text: "M"}, "", true},
		{form.Location, form.Message{Kind: "location", Label: "北京"}, "北京", false},
	}
	for _, tt := range tests {
		s := &form.Spec{Questions: []form.Question{{Name: "q", Ask: "?", Kind: tt.kind}}, Expires: time.Hour, Tries: 1}
		step := s.Answer(s.Begin("r", "", now).State, tt.message, now)
		if tt.wantWrong {
			require.Equal(t, form.GivenUp, step.Outcome, "%s %+v", tt.kind, tt.message)
			continue
		}
		require.Equal(t, form.Done, step.Outcome, "%s %+v", tt.kind, tt.message)
		require.Equal(t, tt.want, step.State.GetAnswers()["q"])
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("13800138000", "1", "是")
	f.Add("取消", "", "\xff")
	f.Fuzz(func(t *testing.T, one, two, three string) {
		s := repair()
		step := s.Begin("repair", "e", now)
		for _, text := range []string{one, two, three} {
			step = s.Answer(step.State, form.Message{Kind: "text", Text: text}, now)
			if step.Outcome != form.Asked {
				return
			}
			require.NotNil(t, step.State)
			require.NotEmpty(t, step.Say)
			require.LessOrEqual(t, int(step.State.GetQuestion()), len(s.Questions))
		}
	})
}
