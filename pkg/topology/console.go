package topology

import "strings"

// What the console reads of the subjects of others.

// FilterConversations returns the filter for the facts of all conversations of an account.
func FilterConversations(account string) (string, error) {
	if err := CheckToken("account", account); err != nil {
		return "", err
	}
	return prefixConversation + account + ".>", nil
}

// FilterFan returns the filter for what one fan of an account did, whatever its kind, on INBOUND.
func FilterFan(account string, partition uint32, openid string) (string, error) {
	return fanSubject(prefixInbound, "", account, partition, "*", openid)
}

// FilterAccount returns the filter for everything about an account on one of the public streams of facts: INBOUND,
// DECISIONS, DELIVERY, CONVERSATIONS and ALARMS. The account must have passed CheckToken.
func FilterAccount(stream, account string) string {
	for _, r := range routes {
		if r.stream == stream && r.skip == 0 && r.keyTokens > 0 {
			return r.prefix + account + ".>"
		}
	}
	return ""
}

// FilterDeskSignals returns the filter for what users of the console do at any conversation right now.
func FilterDeskSignals() string { return prefixDeskSignal + ">" }

// ConversationSubject is the parts of a subject on CONVERSATIONS.
type ConversationSubject struct {
	Account      string
	Conversation string
}

// ParseConversation takes a subject of CONVERSATIONS apart; anything else is an Invalid fault.
func ParseConversation(subject string) (ConversationSubject, error) {
	rest, ok := strings.CutPrefix(subject, prefixConversation)
	var tokens [2]string
	if !ok || !split(rest, tokens[:]) {
		return ConversationSubject{}, badSubject(subject)
	}
	return ConversationSubject{Account: tokens[0], Conversation: tokens[1]}, nil
}

// AccountOf returns the account in a subject, or "" when it has none.
func AccountOf(subject string) string {
	route := routeOf(subject)
	if route == nil || route.keyTokens == 0 {
		return ""
	}
	account, _, _ := strings.Cut(LaneKey(subject), ".")
	return account
}
