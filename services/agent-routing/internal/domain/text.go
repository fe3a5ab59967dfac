package domain

import (
	"strings"
	"unicode/utf8"
)

// TextKind is an occasion for an automatic text. The numbers are those of the proto.
type TextKind uint8

// The occasions.
const (
	TextWelcome TextKind = iota + 1
	TextWaiting
	TextAssigned
	TextBusy
	TextNoAgent
	TextOffHours
	TextIdleWarning
	TextClosed
	TextSurvey
	TextSurveyThanks
)

var textNames = [...]string{
	TextWelcome: "welcome", TextWaiting: "waiting", TextAssigned: "assigned", TextBusy: "busy", TextNoAgent: "no_agent",
	TextOffHours: "off_hours", TextIdleWarning: "idle_warning", TextClosed: "closed", TextSurvey: "survey", TextSurveyThanks: "survey_thanks",
}

// String returns the name, which is the author of the message in the timeline.
func (k TextKind) String() string {
	if int(k) < len(textNames) {
		return textNames[k]
	}
	return ""
}

// Text is one automatic text of a group; an empty text means the default.
type Text struct {
	Kind    TextKind
	Enabled bool
	Zh, En  string
}

var defaultTexts = []Text{
	{TextWelcome, false, "您好，正在为您接入人工客服。", "Hello, we are connecting you to an agent."},
	{TextWaiting, true, "当前排队人数较多，您排在第 {position} 位，请稍候。", "All our agents are busy. You are number {position} in the queue."},
	{TextAssigned, true, "您好，我是客服{agent}，很高兴为您服务。", "Hello, this is {agent}. How can I help you?"},
	{TextBusy, true, "非常抱歉，客服暂时繁忙。请留言，我们会尽快回复您。", "We are sorry, all our agents are busy. Please leave a message and we will get back to you."},
	{TextNoAgent, true, "当前没有客服在线，请先描述您的问题，客服上线后会尽快回复。", "No agent is online at the moment. Please describe your question and we will answer as soon as possible."},
	{TextOffHours, true, "现在是非工作时间。请留言，我们将在 {next_open} 上班后回复您。", "We are closed at the moment. Please leave a message; we are back at {next_open}."},
	{TextIdleWarning, true, "您已有一段时间没有回复，{minutes} 分钟后会话将自动结束。如需继续，请回复任意内容。", "We have not heard from you for a while. This conversation ends in {minutes} minutes unless you write."},
	{TextClosed, true, "本次会话已结束，感谢您的咨询。", "This conversation has ended. Thank you for contacting us."},
	{TextSurvey, true, "本次会话已结束，请为本次服务评分：", "This conversation has ended. How was our service?"},
	{TextSurveyThanks, true, "感谢您的评价！", "Thank you for your feedback!"},
}

// DefaultTexts returns the texts that a group has unless it sets its own, one for each kind.
func DefaultTexts() []Text { return append([]Text(nil), defaultTexts...) }

// Say returns the text of a group for an occasion with its variables filled in, or "" when it is not to be sent.
func (g Group) Say(kind TextKind, language string, values map[string]string) string {
	if g.Implicit {
		return ""
	}
	text := defaultTexts[kind-1]
	for _, own := range g.Texts {
		if own.Kind == kind {
			text.Enabled = own.Enabled
			text.Zh, text.En = or(own.Zh, text.Zh), or(own.En, text.En)
		}
	}
	if !text.Enabled {
		return ""
	}
	chosen := text.Zh
	if !Chinese(language) {
		chosen = text.En
	}
	for name, value := range values {
		chosen = strings.ReplaceAll(chosen, "{"+name+"}", value)
	}
	return chosen
}

// SaysEnd tells whether fans are told that a conversation has ended, by the survey or by a text.
func (g Group) SaysEnd() bool {
	return g.Say(TextClosed, "", nil) != "" || g.Survey && g.Say(TextSurvey, "", nil) != ""
}

// KeptForEnd is how many messages of a fan's window are left for the end, of limit.
func (g Group) KeptForEnd(limit int) int {
	if !g.SaysEnd() {
		return 0
	}
	return limit
}

// Chinese tells whether a fan of that language gets Chinese texts; so does one of unknown language.
func Chinese(language string) bool { return language == "" || primary(language) == "zh" }

// AgentFor returns the name of an agent for fans of a language: a neutral word for an agent who has none, because the id is a log-in.
func AgentFor(m Member, language string) string {
	if m.Name != "" && m.Name != m.ID {
		return m.Name
	}
	if Chinese(language) {
		return "专员"
	}
	return "your agent"
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// ScoreText names a score in the survey, best first.
func ScoreText(score, best int, language string) string {
	if Chinese(language) {
		return scoreName([]string{"非常满意", "满意", "一般", "不满意", "非常不满意"}, score, best)
	}
	return scoreName([]string{"Very satisfied", "Satisfied", "Neutral", "Dissatisfied", "Very dissatisfied"}, score, best)
}

// scoreName spreads the scores over the names, so that the best has the first name and the worst the last.
func scoreName(names []string, score, best int) string {
	i := (best - score) * (len(names) - 1) / max(best-1, 1)
	return names[min(max(i, 0), len(names)-1)]
}

const (
	// MaxTextBytes is the number of bytes of one kept text; longer ones are cut between runes.
	MaxTextBytes = 4096
	maxPreview   = 100
)

// Cut shortens s to at most limit bytes between two runes and replaces what is not UTF-8 and NUL, because a text that
// cannot be stored would block the fan for ever.
func Cut(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Preview returns one line of at most 100 characters.
func Preview(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxPreview {
		return string(runes[:maxPreview])
	}
	return s
}
