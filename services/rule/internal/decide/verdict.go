package decide

import (
	"strings"
	"time"
	"unicode/utf8"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// maxReason bounds the reason in a record, in bytes.
const maxReason = 200

// verdict is what the rules say about an event, before anybody asks how it can be done.
type verdict struct {
	rule, version, matched string
	// replies in order; a hand-over to WeChat's own agents comes first.
	replies []*eventv1.Content
	// delays of the replies after the one before each.
	delays      []time.Duration
	queue       string
	tags, untag []string
	reason      string
	epoch       uint64 // of the owner when the rules began to think
	fan         *rulev1.FanChange
}

// room is how many more replies there may be.
func (v *verdict) room() int { return ruleset.MaxReplies - len(v.replies) }

// say adds replies; the first of them waits.
func (v *verdict) say(contents []*eventv1.Content, after time.Duration) {
	for _, c := range contents[:min(len(contents), max(v.room(), 0))] {
		if len(v.replies) == 0 {
			after = 0 // whatever would have come before it did not
		}
		v.replies, v.delays = append(v.replies, c), append(v.delays, after)
		after = 0
	}
}

// handOver puts the hand-over to WeChat's own agents before every other reply.
func (v *verdict) handOver(c *eventv1.Content) {
	v.replies = append([]*eventv1.Content{c}, v.replies...)
	v.delays = append([]time.Duration{0}, v.delays...)
}

// change returns what changes about the fan, to be filled in.
func (v *verdict) change() *rulev1.FanChange {
	if v.fan == nil {
		v.fan = &rulev1.FanChange{}
	}
	return v.fan
}

// silence takes back everything that the fan would notice.
func (v *verdict) silence(reason string) {
	v.replies, v.delays, v.queue, v.reason = nil, nil, "", reason
	if v.fan != nil {
		v.fan.Form, v.fan.Turn, v.fan.Cooldown = nil, nil, ""
	}
}

// delaysMs returns the delays as a record holds them, or nil when nothing waits.
func (v *verdict) delaysMs() []int64 {
	var ms []int64
	for i, delay := range v.delays {
		if delay > 0 {
			ms = append(ms, make([]int64, i-len(ms))...)
			ms = append(ms, delay.Milliseconds())
		}
	}
	return ms
}

// short makes a reason of a text: one line, bounded, cut between characters.
func short(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
