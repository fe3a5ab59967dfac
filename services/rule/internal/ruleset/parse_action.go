package ruleset

import (
	"slices"
	"strconv"
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
	rule.Actions, nodes = f.list(a)
	counts := f.counted(rule.Actions, nodes, rule)
	if counts["none"] > 0 && len(rule.Actions) > counts["none"]+counts["tag"]+counts["untag"] {
		f.refuse(a, "none says nothing, so it goes with tag and untag only")
	}
	return nodes
}

// list reads the items of a list of actions and where each stands.
func (f *fileReader) list(a at) (actions []Action, nodes []at) {
	f.items(a, MaxActions, func(item at) {
		action, ok := f.action(item)
		if !ok {
			return
		}
		f.scope.webhook = f.scope.webhook || action.Webhook != nil
		actions, nodes = append(actions, action), append(nodes, item)
	})
	return actions, nodes
}

// once are the actions of which a list has at most one.
var once = []string{"webhook", "none", "chat", "form"}

// counted refuses actions that do not go together or not with the kinds of the rule, and counts them by kind.
func (f *fileReader) counted(actions []Action, nodes []at, rule *Rule) map[string]int {
	counts := map[string]int{}
	var delays time.Duration
	for i, action := range actions {
		kind := kindOfAction(action)
		counts[kind]++
		f.suits(nodes[i], kind, rule)
		if delays += action.After; delays > MaxDelays && delays-action.After <= MaxDelays {
			f.refuse(nodes[i].child("after", nodes[i].node), "makes the replies of the rule wait for more than %s together", MaxDelays)
		}
		switch {
		case kind == "reply" && counts[kind] == MaxReplies+1:
			f.refuse(nodes[i], "is reply %d: WeChat allows %d messages at most", counts[kind], MaxReplies)
		case slices.Contains(once, kind) && counts[kind] == 2:
			f.refuse(nodes[i], "is the second %s of the rule", kind)
		case (kind == "native" || kind == "queue") && counts["native"]+counts["queue"] == 2:
			f.refuse(nodes[i], "is the second transfer of the rule")
		case action.After > 0 && i == 0:
			f.refuse(nodes[i].child("after", nodes[i].node), "is of the first reply, which does not wait; use it for the replies that follow")
		case kind == "form" && i < len(actions)-1:
			f.refuse(nodes[i], "form is the last action of a list: what follows the answers is under done")
		case kind == "form" && counts["native"]+counts["queue"] > 0:
			f.refuse(nodes[i], "a fan who is handed over is asked nothing")
		}
	}
	return counts
}

func kindOfAction(a Action) string {
	switch {
	case a.Queue != "":
		return "queue"
	case a.Webhook != nil:
		return "webhook"
	case a.Chat != nil:
		return "chat"
	case a.Form != nil:
		return "form"
	case len(a.Tags) > 0:
		return "tag"
	case len(a.Untag) > 0:
		return "untag"
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
		case kind == "unsubscribe" && slices.Contains([]string{"reply", "queue", "chat", "form"}, action):
			f.refuse(a, "nothing can be sent to a fan on unsubscribe")
		case action == "chat" && isKind(kind) && !hasText(kind):
			f.refuse(a, "a chat model answers texts; %s has none", kind)
		}
	}
}

// action reads one item of do. It returns false after a mistake.
func (f *fileReader) action(a at) (Action, bool) {
	if a.node.Kind == yaml.ScalarNode && a.node.Value == "none" {
		return Action{None: true}, true
	}
	var action Action
	var after *at
	read, mistakes := 0, f.mistakes()
	one := func(set func(at)) func(at) {
		return func(a at) { read++; set(a) }
	}
	f.fields(a, map[string]func(at){
		"after":    func(a at) { after = &a },
		"chat":     one(func(a at) { action = f.chat(a) }),
		"form":     one(func(a at) { action = f.form(a) }),
		"untag":    one(func(a at) { action = Action{Untag: f.words(a)} }),
		"reply":    one(func(a at) { action = f.reply(a) }),
		"transfer": one(func(a at) { action = f.transfer(a) }),
		"webhook":  one(func(a at) { action = f.webhook(a) }),
		"tag":      one(func(a at) { action = Action{Tags: f.words(a)} }),
		"none":     one(func(at) { action = Action{None: true} }),
	})
	if read > 1 {
		f.refuse(a, "does %d things; make each its own item of the list", read)
	}
	if read == 0 && a.node.Kind == yaml.MappingNode && (len(a.node.Content) == 0 || after != nil) {
		f.refuse(a, "must be reply, transfer, webhook, chat, form, tag, untag or none")
	}
	if after != nil {
		if action.Reply == nil {
			f.refuse(*after, "belongs to a reply")
		}
		action.After = f.span(*after, MaxDelay)
	}
	return action, f.mistakes() == mistakes
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

func (f *fileReader) webhook(a at) Action {
	hook := &Webhook{}
	f.fields(a, map[string]func(at){
		"url":      f.into(&hook.URL, 2048),
		"timeout":  func(a at) { hook.Timeout = f.duration(a) },
		"retries":  func(a at) { hook.Retries = f.number(a, 0, 3) },
		"fallback": f.said(&hook.Fallback),
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

func (f *fileReader) number(a at, least, most int) int {
	text, ok := f.text(a)
	n, err := strconv.Atoi(text)
	if ok && (err != nil || n < least || n > most) {
		f.refuse(a, "must be a whole number from %d to %d", least, most)
		return least
	}
	return n
}
