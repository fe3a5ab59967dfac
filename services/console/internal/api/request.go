package api

import (
	"encoding/json"
	"errors"
	"strconv"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
)

// options are the members of a message that are ours and not WeChat's.
type options struct {
	// Fallback are messages to send instead, in order, when the one before is refused.
	Fallback []json.RawMessage `json:"fallback"`
	// NotBefore and Expires are the earliest and the latest time of the message, Unix milliseconds.
	NotBefore int64 `json:"not_before_unix_ms"`
	Expires   int64 `json:"expires_unix_ms"`
}

// optionNames are the members of options.
var optionNames = []string{"fallback", "not_before_unix_ms", "expires_unix_ms"}

// sendRequest reads a message: the body of message/custom/send, or of template, subscribe, one_time or typing, with
// options. It lacks account and key.
func sendRequest(body []byte) (*senderv1.SendRequest, error) {
	rest, o, err := takeOptions(body)
	if err != nil {
		return nil, err
	}
	openid, message, kfAccount, err := content.FromJSON(rest)
	if err != nil {
		return nil, err
	}
	if len(openid) > maxOpenID {
		return nil, invalid("touser", "must have at most 128 bytes")
	}
	in := &senderv1.SendRequest{
		Openid: openid, Lane: senderv1.Lane_LANE_NOTIFY, Content: message, KfAccount: kfAccount,
		NotBeforeUnixMs: o.NotBefore, ExpiresUnixMs: o.Expires,
	}
	for i, one := range o.Fallback {
		other, err := fallback(one, openid)
		if err != nil {
			return nil, within("fallback["+strconv.Itoa(i)+"]", err)
		}
		in.Fallback = append(in.Fallback, other)
	}
	return in, nil
}

// takeOptions takes our members out of a message. A body that is no object is left to the reader of messages, which says
// what is wrong.
func takeOptions(body []byte) (rest []byte, o options, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return body, o, nil //nolint:nilerr // the reader of messages says it
	}
	found := false
	for _, name := range optionNames {
		if _, ok := members[name]; ok {
			found = true
			delete(members, name)
		}
	}
	if !found {
		return body, o, nil
	}
	if err := json.Unmarshal(body, &o); err != nil {
		field := ""
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			field = wrong.Field
		}
		return nil, o, invalid(field, "is not of the right kind")
	}
	rest, err = json.Marshal(members)
	return rest, o, err
}

// fallback reads a message without its recipient.
func fallback(body []byte, openid string) (*eventv1.Content, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || members == nil {
		return nil, invalid("", "must be a message")
	}
	for _, name := range append([]string{"touser", "customservice"}, optionNames...) {
		if _, ok := members[name]; ok {
			return nil, invalid(name, "belongs to the message, not to its fallback")
		}
	}
	to, err := json.Marshal(openid)
	if err != nil {
		return nil, err
	}
	members["touser"] = to
	whole, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	_, message, _, err := content.FromJSON(whole)
	return message, err
}

// within puts the place of a part before the field that an error names.
func within(place string, err error) error {
	if p, ok := errors.AsType[*problem](err); ok {
		inner := *p
		if inner.Field = place; p.Field != "" {
			inner.Field += "." + p.Field
		}
		return &inner
	}
	return fault.Errorf(fault.Invalid, "%s.%w", place, err)
}
