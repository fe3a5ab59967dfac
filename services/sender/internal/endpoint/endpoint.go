// Package endpoint knows the APIs of WeChat by which messages are sent: which one a message needs, what
// its body is, and what may be done when the outcome of a call is not known.
package endpoint

import (
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// Endpoint is one API of WeChat.
type Endpoint struct {
	ID senderv1.SendEndpoint
	// Token names the endpoint in keys, metrics and settings.
	Token string
	// Path is the API; quotas are counted by it.
	Path string
	// RepeatFor is how long a repeated call with the same id of ours sends nothing more; zero when WeChat knows
	// no such id. It is a little shorter than WeChat's own time.
	RepeatFor time.Duration
	// Family names the events with the results of messages, in the keys of the bucket jobs; empty when WeChat tells
	// none.
	Family string
	// Daily is how many calls a day a verified account has by default (protocol f.5); zero is no limit.
	Daily int64
	// Follower tells that the fan must follow an Official Account. A one-time subscription outlives that.
	Follower bool
	// Worth is how long a message is worth sending; zero is as long as every message.
	Worth time.Duration
}

// The families of results.
const (
	FamilyTemplate  = "template"
	FamilySubscribe = "subscribe"
	FamilyMass      = "mass"
)

// The endpoints.
var (
	CustomSend = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_CUSTOM_SEND, Token: "custom_send", Path: wechat.PathCustomSend, Daily: 500_000, Follower: true,
	}
	Typing = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_TYPING, Token: "typing", Path: wechat.PathTyping, Daily: 500_000,
		Worth: 15 * time.Second, Follower: true,
	}
	Template = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_TEMPLATE, Token: "template", Path: wechat.PathTemplateSend, Daily: 100_000,
		RepeatFor: 9 * time.Minute, Family: FamilyTemplate, Follower: true,
	}
	SubscribeOfficial = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_SUBSCRIBE_OFFICIAL, Token: "subscribe_official", Path: wechat.PathSubscribeOfficial,
		Daily: 100_000, Family: FamilySubscribe, Follower: true,
	}
	SubscribeMiniProgram = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_SUBSCRIBE_MINI_PROGRAM, Token: "subscribe_mini_program", Path: wechat.PathSubscribeMiniProgram,
		Daily: 10_000_000, Family: FamilySubscribe,
	}
	OneTime = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_ONE_TIME, Token: "one_time", Path: wechat.PathOneTime, Daily: 100_000,
	}
	// MassByFilter and MassByList share a pace, a pause and an id space; WeChat counts their calls apart.
	MassByFilter = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_MASS, Token: "mass", Path: wechat.PathMassByFilter, Daily: 100,
		RepeatFor: 23 * time.Hour, Family: FamilyMass,
	}
	MassByList = Endpoint{
		ID: senderv1.SendEndpoint_SEND_ENDPOINT_MASS, Token: "mass", Path: wechat.PathMassByList, Daily: 100,
		RepeatFor: 23 * time.Hour, Family: FamilyMass,
	}
)

// All returns the endpoints in the order of SendEndpoint, one for each token.
func All() []Endpoint {
	return []Endpoint{CustomSend, Typing, Template, SubscribeOfficial, SubscribeMiniProgram, OneTime, MassByFilter}
}

// Tokens returns the names of the endpoints.
func Tokens() []string {
	var out []string
	for _, e := range All() {
		out = append(out, e.Token)
	}
	return out
}

// Named returns the endpoint with that token.
func Named(token string) (e Endpoint, ok bool) {
	all := All()
	i := slices.IndexFunc(all, func(e Endpoint) bool { return e.Token == token })
	if i < 0 {
		return e, false
	}
	return all[i], true
}

// Known reports whether token names an endpoint.
func Known(token string) bool {
	_, ok := Named(token)
	return ok
}

// ForKind returns the endpoints that an account of that kind can have.
func ForKind(kind account.Kind) []Endpoint {
	switch kind {
	case account.KindMiniProgram:
		return []Endpoint{CustomSend, Typing, SubscribeMiniProgram}
	case account.KindSubscription:
		return []Endpoint{CustomSend, Typing, SubscribeOfficial, OneTime, MassByFilter}
	default:
		return []Endpoint{CustomSend, Typing, Template, SubscribeOfficial, OneTime, MassByFilter}
	}
}

// Of returns the endpoint for a content of an account of that kind.
func Of(c *eventv1.Content, kind account.Kind) Endpoint {
	switch c.GetBody().(type) {
	case *eventv1.Content_Typing:
		return Typing
	case *eventv1.Content_Template:
		return Template
	case *eventv1.Content_OneTime:
		return OneTime
	case *eventv1.Content_Subscribe:
		if kind == account.KindMiniProgram {
			return SubscribeMiniProgram
		}
		return SubscribeOfficial
	}
	return CustomSend
}

// OfStep returns the endpoint for a step of a message.
func OfStep(m *senderv1.OutboundMessage, step uint32, kind account.Kind) Endpoint {
	if mass := m.GetMass(); mass != nil {
		if mass.GetOpenids() != nil {
			return MassByList
		}
		return MassByFilter
	}
	return Of(Content(m, step), kind)
}

// Content returns what a step of a message sends; nil when there is no such step.
func Content(m *senderv1.OutboundMessage, step uint32) *eventv1.Content {
	switch {
	case step == 0:
		return m.GetContent()
	case int(step) <= len(m.GetFallback()):
		return m.GetFallback()[step-1]
	}
	return nil
}

// Body returns the body of the call for the next part of a step.
func Body(m *senderv1.OutboundMessage, step, part uint32) ([]byte, error) {
	if m.GetMass() != nil {
		return content.Mass(m.GetMass(), m.GetId())
	}
	c := Content(m, step)
	if step == 0 && len(m.GetTextParts()) > 0 && int(part) < len(m.GetTextParts()) {
		c = &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: m.GetTextParts()[part]}}}
	}
	if c.GetTyping() != nil {
		return typing(m.GetOpenid(), c.GetTyping().GetCancel())
	}
	if content.IsKf(c) {
		return content.KfMessage(c, m.GetOpenid(), m.GetKfAccount())
	}
	return content.Notice(c, m.GetOpenid(), m.GetId())
}

func typing(openid string, cancel bool) ([]byte, error) {
	command := "Typing"
	if cancel {
		command = "CancelTyping"
	}
	return wechat.EncodeJSON(struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}{openid, command})
}
