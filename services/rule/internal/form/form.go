// Package form asks a fan questions, one message at a time, and checks the answers.
//
// It decides and stores nothing: Begin and Spec.Answer return the next state and what to say.
package form

import (
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
)

// Limits of a form.
const (
	MaxQuestions   = 20
	MaxChoices     = 20
	MaxAnswerBytes = 500
	MaxExpiry      = 24 * time.Hour
	DefaultExpiry  = 30 * time.Minute
	DefaultTries   = 3
	MaxTries       = 10
	maxRestarts    = 3
)

// Spec is a form as written. Its fields are plain, so that it can be stored.
type Spec struct {
	Questions []Question
	Expires   time.Duration
	Tries     int // answers to one question that may be wrong in a row
	// Cancel ends the form; Leave ends it too, and the rules decide about the message.
	Cancel, Leave []string
	// What is said when the form was cancelled, and when too many answers were wrong. Templates.
	Cancelled, GivenUp string
	// Confirm asks whether everything is right; "" asks nothing. A template.
	Confirm string
	Yes, No []string
}

// Question is one question.
type Question struct {
	Name    string
	Ask     string // a template
	Kind    Kind
	Regex   string // that the whole answer must match; "" for every answer of the kind
	Choices []string
	Error   string // said when the answer is wrong, before the question is asked again; a template
}

// Kind is what an answer must be.
type Kind string

// The kinds.
const (
	Text     Kind = "text"
	Number   Kind = "number"
	Integer  Kind = "integer"
	Mobile   Kind = "mobile"
	Email    Kind = "email"
	Date     Kind = "date"
	Image    Kind = "image"
	Location Kind = "location"
	Choice   Kind = "choice"
)

// errorOf is what is said about a wrong answer when the question has no text for it.
var errorOf = map[Kind]string{
	Text: "没有看懂，请再回答一次。", Number: "请回复一个数字。", Integer: "请回复一个整数。", Mobile: "请回复 11 位手机号码。", Email: "请回复电子邮箱地址。",
	Date: "请回复日期，例如 2026-11-28。", Image: "请发送一张图片。", Location: "请发送您的位置。", Choice: "请回复选项或它的序号。",
}

// Kinds returns the names of the kinds, sorted.
func Kinds() []string {
	var names []string
	for kind := range errorOf {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return names
}

// Default texts and words.
var (
	DefaultCancel    = []string{"取消", "cancel"}
	DefaultYes       = []string{"是", "是的", "确认", "对", "好", "yes", "y", "ok"}
	DefaultNo        = []string{"否", "不", "不对", "不是", "重填", "no", "n"}
	DefaultCancelled = "已取消。"
	DefaultGivenUp   = "没有看懂您的回答，已结束填写。"
)

// Message is what a fan sent.
type Message struct {
	Kind    string // text, image, location, …
	Text    string // of a text, or what was said in a voice
	MediaID string // of an image
	Label   string // of a location
	ID      string // of the event
}

// Outcome is what became of a message.
type Outcome uint8

// The outcomes.
const (
	// Asked means that the form goes on: Say is the next question.
	Asked Outcome = iota
	// Done means that every answer is there and confirmed.
	Done
	// Cancelled means that the fan does not want to go on.
	Cancelled
	// Left means that the fan wants something else: the rules decide about the message.
	Left
	// GivenUp means that too many answers were wrong.
	GivenUp
	// Expired means that the fan took too long: the rules decide about the message.
	Expired
)

// Step is what a message leads to.
type Step struct {
	Outcome Outcome
	State   *rulev1.FormState // of a form that goes on, and the last one of a form that is done
	Say     []string          // templates, joined by a newline
}

// Begin returns the first step of a form.
func (s *Spec) Begin(rule, event string, now time.Time) Step {
	state := &rulev1.FormState{Rule: rule, EventId: event, ExpiresUnixMs: now.Add(s.Expires).UnixMilli(), Answers: map[string]string{}}
	return s.ask(state)
}

// Answer returns the step after a message of the fan. state is not changed.
func (s *Spec) Answer(state *rulev1.FormState, m Message, now time.Time) Step {
	at := int(state.GetQuestion())
	if now.UnixMilli() >= state.GetExpiresUnixMs() || at < 0 || at > len(s.Questions) || at == len(s.Questions) && s.Confirm == "" {
		return Step{Outcome: Expired} // late, or the form was changed since
	}
	switch word := normal(m.Text); {
	case word != "" && oneOf(s.Cancel, word):
		return Step{Outcome: Cancelled, Say: []string{s.Cancelled}}
	case word != "" && oneOf(s.Leave, word):
		return Step{Outcome: Left}
	}
	next := &rulev1.FormState{
		Rule: state.GetRule(), Question: state.GetQuestion(), Answers: maps.Clone(state.GetAnswers()), Failures: state.GetFailures(),
		ExpiresUnixMs: now.Add(s.Expires).UnixMilli(), EventId: m.ID, Restarts: state.GetRestarts(),
	}
	if next.Answers == nil {
		next.Answers = map[string]string{}
	}
	if at == len(s.Questions) {
		return s.confirm(next, normal(m.Text))
	}
	question := &s.Questions[at]
	value, ok := question.value(m)
	if !ok {
		return s.again(next, question.complaint())
	}
	next.Answers[question.Name] = value
	next.Question, next.Failures = next.Question+1, 0
	return s.ask(next)
}

// ask asks the present question, or for confirmation after the last one.
func (s *Spec) ask(state *rulev1.FormState) Step {
	switch at := int(state.GetQuestion()); {
	case at < len(s.Questions):
		return Step{Outcome: Asked, State: state, Say: []string{s.Questions[at].Text()}}
	case s.Confirm != "":
		return Step{Outcome: Asked, State: state, Say: []string{s.Confirm}}
	default:
		return Step{Outcome: Done, State: state}
	}
}

// again asks once more after a wrong answer, if the fan may try again.
func (s *Spec) again(state *rulev1.FormState, complaint string) Step {
	if state.Failures++; int(state.GetFailures()) >= s.Tries {
		return Step{Outcome: GivenUp, Say: []string{s.GivenUp}}
	}
	step := s.ask(state)
	if complaint != "" {
		step.Say = append([]string{complaint}, step.Say...)
	}
	return step
}

// confirm reads the answer to the confirmation; a no begins again.
func (s *Spec) confirm(state *rulev1.FormState, word string) Step {
	switch {
	case oneOf(s.Yes, word):
		return Step{Outcome: Done, State: state}
	case oneOf(s.No, word):
		if state.Restarts++; state.GetRestarts() > maxRestarts {
			return Step{Outcome: GivenUp, Say: []string{s.GivenUp}}
		}
		state.Question, state.Failures, state.Answers = 0, 0, map[string]string{}
		return s.ask(state)
	default:
		return s.again(state, "")
	}
}

// Text returns the question as it is asked, with its choices.
func (q *Question) Text() string {
	if len(q.Choices) == 0 {
		return q.Ask
	}
	var b strings.Builder
	b.WriteString(q.Ask)
	for i, choice := range q.Choices {
		fmt.Fprintf(&b, "\n%d. %s", i+1, choice)
	}
	return b.String()
}

func (q *Question) complaint() string {
	if q.Error != "" {
		return q.Error
	}
	return errorOf[q.Kind]
}

// value reads an answer.
func (q *Question) value(m Message) (string, bool) {
	switch q.Kind {
	case Image:
		return m.MediaID, m.Kind == "image" && m.MediaID != ""
	case Location:
		return m.Label, m.Kind == "location" && m.Label != ""
	default: // the others are texts
	}
	text := strings.TrimSpace(m.Text)
	if text == "" || len(text) > MaxAnswerBytes {
		return "", false
	}
	if q.Kind != Text {
		text = strings.TrimSpace(match.FoldWidth.String(text))
	}
	value, ok := q.read(text)
	if !ok || q.Regex == "" {
		return value, ok
	}
	whole, err := regexp.Compile(`^(?:` + q.Regex + `)$`)
	return value, err == nil && whole.MatchString(value)
}

func (q *Question) read(text string) (string, bool) {
	switch q.Kind {
	case Number:
		n, err := strconv.ParseFloat(text, 64)
		return text, err == nil && n-n == 0 // neither infinite nor NaN
	case Integer:
		_, err := strconv.ParseInt(text, 10, 64)
		return text, err == nil
	case Mobile:
		digits := strings.NewReplacer(" ", "", "-", "", "+86", "").Replace(text)
		return digits, len(digits) == 11 && digits[0] == '1' && strings.Trim(digits, "0123456789") == ""
	case Email:
		address, err := mail.ParseAddress(text)
		return text, err == nil && address.Address == text
	case Date:
		return readDate(text)
	case Choice:
		return q.choose(text)
	default:
		return text, true
	}
}

// readDate reads the ways in which people write a day.
func readDate(text string) (string, bool) {
	for _, layout := range []string{"2006-1-2", "2006/1/2", "2006.1.2", "20060102", "2006年1月2日"} {
		if day, err := time.Parse(layout, text); err == nil {
			return day.Format("2006-01-02"), true
		}
	}
	return "", false
}

// choose reads a choice by its text or its number.
func (q *Question) choose(text string) (string, bool) {
	word := normal(text)
	for i, choice := range q.Choices {
		if normal(choice) == word || strconv.Itoa(i+1) == word {
			return choice, true
		}
	}
	return "", false
}

func oneOf(words []string, word string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return normal(w) == word })
}

// normal makes words comparable that look alike.
func normal(text string) string {
	if len(text) > MaxAnswerBytes {
		return ""
	}
	folded := strings.TrimSpace(match.DefaultFold.String(text))
	last, size := utf8.DecodeLastRuneInString(folded)
	if strings.ContainsRune("。.!！~", last) {
		folded = folded[:len(folded)-size]
	}
	return folded
}
