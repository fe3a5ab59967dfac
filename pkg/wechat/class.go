package wechat

import (
	"sort"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Class says what to do about an error code of WeChat (protocol i). The comments give the letter of
// the protocol's table.
type Class uint8

// The classes.
const (
	// ClassUnknown is a code that is not in the table: repeat an idempotent read once, never a send.
	ClassUnknown Class = iota
	// ClassSuccess (I) counts as success, for example when the thing to create is already there.
	ClassSuccess
	// ClassTransient (R) goes away: back off exponentially with a cap, a send at most twice.
	ClassTransient
	// ClassToken (T) wants a new access token and one more try.
	ClassToken
	// ClassComponentToken (T) wants a new component access token and one more try.
	ClassComponentToken
	// ClassTicket (R) wants the next component_verify_ticket push.
	ClassTicket
	// ClassRate (W) wants a pause of about a minute.
	ClassRate
	// ClassQuota (D) stops this API until the quota is renewed: the next day, or month.
	ClassQuota
	// ClassRecipient (U) gives this fan up until the fan acts again.
	ClassRecipient
	// ClassRequest (P) is a bad request: give it up and repair it.
	ClassRequest
	// ClassMedia wants the media uploaded again and one more try; then it is a bad request.
	ClassMedia
	// ClassAccount (C) is a matter of account or configuration: stop and tell the operator.
	ClassAccount
	// ClassConfirm (A) waits for the administrator to confirm, minutes to a day.
	ClassConfirm
	// ClassLogin wants the fan to log in again.
	ClassLogin
	// ClassAuthorization wants the authorization of the component to start again.
	ClassAuthorization
	// ClassIgnore has no consequence: the typing state could not be shown.
	ClassIgnore
	// ClassRouted means another agent serves the fan already: refresh the state.
	ClassRouted
	// ClassAgentOffline wants another agent, or the queue.
	ClassAgentOffline
)

var classNames = [...]string{
	"unknown", "success", "transient", "token", "component_token", "ticket", "rate", "quota",
	"recipient", "request", "media", "account", "confirm", "login", "authorization", "ignore",
	"routed", "agent_offline",
}

// String returns the lower-case name, which is also fit for a metric label.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[ClassUnknown]
}

// Pauses before another try, for the classes where the protocol names one.
const (
	ratePause    = time.Minute
	confirmPause = 10 * time.Minute
)

// fault gives err the kind that fits the class.
func (c Class) fault(err error) error {
	switch c {
	case ClassTransient, ClassToken, ClassComponentToken, ClassTicket:
		return fault.Wrap(fault.Retryable, err)
	case ClassRate:
		return fault.Wrap(fault.Exhausted, fault.After(ratePause, err))
	case ClassConfirm:
		return fault.After(confirmPause, err)
	case ClassQuota:
		return fault.Wrap(fault.Exhausted, err)
	case ClassRequest, ClassMedia:
		return fault.Wrap(fault.Invalid, err)
	case ClassRecipient, ClassLogin, ClassIgnore, ClassRouted, ClassAgentOffline:
		return fault.Wrap(fault.Refused, err)
	default:
		return fault.Wrap(fault.Permanent, err)
	}
}

// Classify returns the class of an error code.
func Classify(code int) Class {
	return findError(code).class
}

// Meaning explains an error code in a few words; it is empty for codes that are not in the table.
func Meaning(code int) string {
	return findError(code).meaning
}

// findError returns the row of the code, or a zero one.
func findError(code int) errorRow {
	i := sort.Search(len(errorTable), func(i int) bool { return errorTable[i].last >= code })
	if i < len(errorTable) && errorTable[i].first <= code {
		return errorTable[i]
	}
	return errorRow{}
}
