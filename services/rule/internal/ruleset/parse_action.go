package ruleset

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// maxWordRunes bounds the names of queues and tags.
const maxWordRunes = 64

// actions reads what a rule does and checks that it can be done together and for its kinds. It returns
// where each action stands.
func (f *fileReader) actions(a at, rule *Rule) (nodes []at) {
	if a.node.Kind == yaml.SequenceNode && len(a.node.Content) == 0 {
		f.refuse(a, "must have at least one action; none says nothing")
	}
	f.items(a, MaxActions, func(item at) {
		if action, ok := f.action(item); ok {
			rule.Actions = append(rule.Actions, action)
			nodes = append(nodes, item)
		}
	})
	counts := map[string]int{}
	for i, action := range rule.Actions {
		kind := kindOfAction(action)
		counts[kind]++
		f.suits(nodes[i], kind, rule)
		switch {
		case kind == "reply" && counts[kind] == MaxReplies+1:
			f.refuse(nodes[i], "is reply %d: WeChat allows %d messages at most", counts[kind], MaxReplies)
		case (kind == "webhook" || kind == "none") && counts[kind] == 2:
			f.refuse(nodes[i], "is the second %s of the rule", kind)
		case (kind == "native" || kind == "queue") && counts["native"]+counts["queue"] == 2:
			f.refuse(nodes[i], "is the second transfer of the rule")
		}
	}
	if counts["none"] > 0 && len(rule.Actions) > counts["none"]+counts["tag"] {
		f.refuse(a, "none says nothing, so it goes with tag only")
	}
	return nodes
}

func kindOfAction(a Action) string {
	switch {
	case a.Queue != "":
		return "queue"
	case a.Webhook != nil:
		return "webhook"
	case len(a.Tags) > 0:
		return "tag"
	case a.None:
		return "none"
	}
	if content, err := a.Content(); err == nil && content.GetNativeTransfer() != nil {
		return "native"
	}
	return "reply"
}

// suits refuses actions that cannot be done for a kind of the rule.
func (f *fileReader) suits(a at, action string, rule *Rule) {
	for _, kind := range rule.On {
		switch {
		case action == "native" && isKind(kind) && !IsMessage(kind):
			f.refuse(a.child("transfer", a.node), "native works for messages only, not on %s", kind)
		case kind == "unsubscribe" && slices.Contains([]string{"reply", "queue"}, action):
			f.refuse(a, "nothing can be sent to a fan on unsubscribe")
		}
	}
}

// action reads one item of do. It returns false after a mistake.
func (f *fileReader) action(a at) (Action, bool) {
	if a.node.Kind == yaml.ScalarNode && a.node.Value == "none" {
		return Action{None: true}, true
	}
	var action Action
	read, mistakes := 0, len(f.problems)+f.more
	one := func(set func(at)) func(at) {
		return func(a at) { read++; set(a) }
	}
	f.fields(a, map[string]func(at){
		"reply":    one(func(a at) { action = f.reply(a) }),
		"transfer": one(func(a at) { action = f.transfer(a) }),
		"webhook":  one(func(a at) { action = f.webhook(a) }),
		"tag":      one(func(a at) { action = f.tag(a) }),
		"none":     one(func(at) { action = Action{None: true} }),
	})
	if read > 1 {
		f.refuse(a, "does %d things; make each its own item of the list", read)
	}
	if read == 0 && a.node.Kind == yaml.MappingNode && len(a.node.Content) == 0 {
		f.refuse(a, "must be reply, transfer, webhook, tag or none")
	}
	return action, len(f.problems)+f.more == mistakes
}

func (f *fileReader) transfer(a at) Action {
	if a.node.Kind == yaml.ScalarNode {
		if a.node.Value != "native" {
			f.refuse(a, "must be native, or {queue: NAME}")
		}
		return f.native("")
	}
	var action Action
	read := 0
	f.fields(a, map[string]func(at){
		"queue": func(a at) { read++; action.Queue = f.word(a) },
		"native": func(a at) {
			read++
			var kfAccount string
			if a.node.Kind != yaml.ScalarNode {
				f.fields(a, map[string]func(at){"kf_account": f.into(&kfAccount, 64)})
			}
			action = f.native(kfAccount)
		},
	})
	if read != 1 && a.node.Kind == yaml.MappingNode {
		f.refuse(a, "must be native or queue, one of them")
	}
	return action
}

func (f *fileReader) native(kfAccount string) Action {
	action, _ := reply(&eventv1.Content{Body: &eventv1.Content_NativeTransfer{
		NativeTransfer: &eventv1.NativeTransfer{KfAccount: kfAccount},
	}})
	return action
}

// word reads a short name that people see.
func (f *fileReader) word(a at) string {
	text, ok := f.text(a)
	if ok && (strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > maxWordRunes || strings.ContainsFunc(text, unicode.IsControl)) {
		f.refuse(a, "must have 1 to %d characters, not blank and without control characters", maxWordRunes)
	}
	return text
}

func (f *fileReader) tag(a at) Action {
	var action Action
	if a.node.Kind == yaml.ScalarNode {
		action.Tags = []string{f.word(a)}
		return action
	}
	f.items(a, 20, func(item at) { action.Tags = append(action.Tags, f.word(item)) })
	if len(action.Tags) == 0 {
		f.refuse(a, "must name a tag")
	}
	return action
}

func (f *fileReader) webhook(a at) Action {
	hook := &Webhook{}
	f.fields(a, map[string]func(at){
		"url":     f.into(&hook.URL, 2048),
		"timeout": func(a at) { hook.Timeout = f.duration(a) },
	})
	if a.node.Kind == yaml.MappingNode {
		if err := checkURL(hook.URL); err != nil {
			f.refuse(a.child("url", a.node), "%v", err)
		} else if f.options.CheckURL != nil {
			if err := f.options.CheckURL(hook.URL); err != nil {
				f.refuse(a.child("url", a.node), "%v", err)
			}
		}
	}
	return Action{Webhook: hook}
}

func (f *fileReader) duration(a at) time.Duration {
	text, ok := f.text(a)
	d, err := time.ParseDuration(text)
	if ok && (err != nil || d <= 0 || d > MaxWebhookTime) {
		f.refuse(a, "must be a time above zero and at most %s, for example 3s", MaxWebhookTime)
	}
	return d
}
