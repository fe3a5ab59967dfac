package ruleset

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/services/rule/internal/template"
)

// Bounds and defaults of a chat.
const (
	maxSystem       = 8 << 10 // bytes
	maxTurns        = 20
	maxTokens       = 4096
	defaultTurns    = 6
	defaultTokens   = 500
	defaultRemember = time.Hour
	defaultChatTime = 10 * time.Second
	maxRemember     = 24 * time.Hour
)

// chat reads the question to a chat model.
func (f *fileReader) chat(a at) Action {
	c := &Chat{Turns: defaultTurns, Remember: defaultRemember, Timeout: defaultChatTime, MaxTokens: defaultTokens}
	f.fields(a, map[string]func(at){
		"provider": func(a at) { c.Provider = f.word(a) },
		"model":    f.into(&c.Model, 128),
		"system": func(a at) {
			f.into(&c.System, maxSystem)(a)
			f.checkTemplate(a, c.System, template.Plain, maxSystem)
		},
		"history":    func(a at) { c.Turns = f.number(a, 0, maxTurns) },
		"remember":   func(a at) { c.Remember = f.span(a, maxRemember) },
		"timeout":    func(a at) { c.Timeout = f.span(a, MaxChatTime) },
		"max_tokens": func(a at) { c.MaxTokens = f.number(a, 1, maxTokens) },
		"fallback":   f.said(&c.Fallback),
	})
	if a.node.Kind == yaml.MappingNode && f.options.CheckChat != nil {
		if err := f.options.CheckChat(c.Provider); err != nil {
			f.refuse(a.child("provider", a.node), "%v", err)
		}
	}
	return Action{Chat: c}
}
