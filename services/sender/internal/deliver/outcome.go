package deliver

import (
	"errors"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/pace"
)

// action is what follows from the outcome of a call.
type action uint8

const (
	accept    action = iota // WeChat took the message
	reject                  // WeChat refused this message
	lose                    // nobody knows
	again                   // certainly not sent: try again after a pause
	busy                    // "system busy": try again, but not often
	newToken                // the access token is dead
	waitRate                // the quota of a minute is used up
	waitQuota               // the quota of a day is used up
	waitAdmin               // WeChat's administrator must confirm first
	noAPI                   // the account may not use the API at all
	newMedia                // WeChat has forgotten the media
)

// outcome is what one call to WeChat brought.
type outcome struct {
	action  action
	word    string // for DeliveryAttempted
	class   string // of the error code, for metrics
	errcode int32
	reason  string
	// recipient is true when WeChat refuses because of the fan.
	recipient bool
	health    pace.Health
	began     time.Time
	took      time.Duration
	msgID     string // of WeChat, for those that have one
}

// judge reads the error of a call (protocol i, reliability 2.3).
func judge(err error) outcome {
	if err == nil {
		return outcome{action: accept, word: "ok", class: "ok", health: pace.Well}
	}
	api, ok := errors.AsType[*wechat.APIError](err)
	if !ok {
		return judgeTransport(err)
	}
	o := outcome{errcode: int32(api.Code), class: api.Class.String(), reason: reasonOf(api), health: pace.Well}
	switch api.Class {
	case wechat.ClassMedia:
		o.action, o.word = newMedia, "refused"
	case wechat.ClassSuccess, wechat.ClassIgnore:
		o.action, o.word, o.errcode, o.reason = accept, "ok", 0, ""
	case wechat.ClassToken:
		o.action, o.word = newToken, "token"
	case wechat.ClassTransient:
		o.action, o.word, o.health = busy, "transient", pace.Sick
	case wechat.ClassRate:
		o.action, o.word = waitRate, "rate"
	case wechat.ClassQuota:
		o.action, o.word = waitQuota, "rate"
	case wechat.ClassConfirm:
		o.action, o.word = waitAdmin, "refused"
	case wechat.ClassRecipient:
		o.action, o.word, o.recipient = reject, "refused", true
	default:
		o.action, o.word = reject, "refused"
		if api.Code == 48001 || api.Code == 48004 || api.Code == 45087 {
			o.action = noAPI
		}
	}
	return o
}

// judgeTransport reads an error without an answer of WeChat's API.
func judgeTransport(err error) outcome {
	o := outcome{action: lose, word: "unknown", class: "unknown", health: pace.Sick, reason: "no usable answer: the fan may have the message"}
	switch wechat.OutcomeOf(err) {
	case wechat.OutcomeNotSent:
		o.action, o.word, o.class, o.reason = again, "transient", "not_sent", "WeChat cannot be reached"
	case wechat.OutcomeRefused:
		// Something between us and WeChat refused: the message is fine.
		o.action, o.word, o.class, o.reason = again, "transient", "proxy", "a proxy on the way to WeChat refuses the call"
		if wechat.ClassOf(err) == wechat.ClassRate {
			o.action, o.word = waitRate, "rate"
		}
	default:
	}
	return o
}

// hints say what to do about codes that need somebody to act.
var hints = map[int]string{
	40007: "upload the media again: a media id lives three days",
	40164: "add our address to the IP whitelist in WeChat's console",
	45002: "shorten the text",
	45015: "wait for the fan's next action",
	45047: "wait for the fan's next action",
	48001: "the account has no customer-service API",
}

// reasonOf explains a refusal in our own words: the text of WeChat may hold an openid.
func reasonOf(e *wechat.APIError) string {
	text := wechat.Meaning(e.Code)
	if text == "" {
		text = fmt.Sprintf("unknown errcode %d", e.Code)
	}
	if h, ok := hints[e.Code]; ok {
		text += ": " + h
	}
	if rid := e.RID(); rid != "" {
		text += " (rid " + rid + ")"
	}
	return text
}
