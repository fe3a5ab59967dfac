package domain

import (
	"strconv"
	"strings"
)

// surveyPrefix begins the ids of the items of a survey; WeChat returns the id when the fan taps one.
const surveyPrefix = "wxbus.survey."

// SurveyItem returns the id of one score in the survey of a conversation.
func SurveyItem(conversation string, score int) string {
	return surveyPrefix + conversation + "." + strconv.Itoa(score)
}

// SurveyAnswer takes the id of a tapped item apart.
func SurveyAnswer(menuID string) (conversation string, score int, ok bool) {
	rest, ok := strings.CutPrefix(menuID, surveyPrefix)
	if !ok {
		return "", 0, false
	}
	conversation, digits, ok := strings.Cut(rest, ".")
	if !ok || conversation == "" {
		return "", 0, false
	}
	score, err := strconv.Atoi(digits)
	if err != nil || score < 1 || score > 5 {
		return "", 0, false
	}
	return conversation, score, true
}
