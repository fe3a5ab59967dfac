// Package wire turns the types of package domain and events of the bus into protos and back.
package wire

import (
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

var kinds = map[domain.Kind]agentroutingv1.OwnerKind{
	domain.Bot:    agentroutingv1.OwnerKind_OWNER_KIND_BOT,
	domain.Queue:  agentroutingv1.OwnerKind_OWNER_KIND_QUEUE,
	domain.Agent:  agentroutingv1.OwnerKind_OWNER_KIND_AGENT,
	domain.Native: agentroutingv1.OwnerKind_OWNER_KIND_NATIVE,
}

func kindOf(k agentroutingv1.OwnerKind) domain.Kind {
	for ours, theirs := range kinds {
		if theirs == k {
			return ours
		}
	}
	return domain.Bot
}

// Owner returns an owner as others read it.
func Owner(o domain.Owner) *agentroutingv1.Owner {
	return &agentroutingv1.Owner{Kind: kinds[o.Kind], Name: o.Name, Epoch: o.Epoch, SinceUnixMs: Millis(o.Since)}
}

// OwnerOf is the inverse of Owner.
func OwnerOf(o *agentroutingv1.Owner) domain.Owner {
	return domain.Owner{Kind: kindOf(o.GetKind()), Name: o.GetName(), Epoch: o.GetEpoch(), Since: Time(o.GetSinceUnixMs())}
}

// Record returns what is kept of a fan in the bucket owners.
func Record(f domain.Fan, conversation string) *agentroutingv1.OwnerRecord {
	return &agentroutingv1.OwnerRecord{
		Account: f.Account, Openid: f.OpenID, Owner: Owner(f.Owner), Conversation: conversation, ActiveUnixMs: Millis(f.Owner.Since),
	}
}

// Conversation returns a conversation with the fan's name.
func Conversation(c domain.Conversation, f domain.Fan, g domain.Group, l domain.Limits) *agentroutingv1.Conversation {
	name, seed := domain.Friendly(c.Account, c.OpenID)
	if f.Remark != "" {
		name = f.Remark
	}
	out := &agentroutingv1.Conversation{
		Id: c.ID, Account: c.Account, Openid: c.OpenID, State: agentroutingv1.ConversationState(c.State), Group: c.Group, Agent: c.Agent,
		Number: c.Number, OwnerEpoch: f.Owner.Epoch, Reason: c.Reason, OpenedUnixMs: Millis(c.Opened), StateSinceUnixMs: Millis(c.StateSince),
		OfferUntilUnixMs: Millis(c.OfferUntil), HoldUntilUnixMs: Millis(c.HoldUntil), IdleWarned: c.IdleWarned, ClosedUnixMs: Millis(c.ClosedAt),
		AcceptedUnixMs: Millis(c.Accepted), FirstReplyUnixMs: Millis(c.FirstReply), LastFanUnixMs: Millis(c.LastFan), LastAgentUnixMs: Millis(c.LastAgent),
		LastSeq: f.Seq, Unanswered: int32(c.Unanswered), Preview: c.Preview, SurveyScore: int32(c.Score), FanName: name, PatternSeed: seed,
		Tags: f.Tags, Skills: c.Skills, Language: c.Language, Assignment: Assignment(c.Assignment), Promises: Promises(c.Promises),
	}
	switch c.State {
	case domain.Waiting, domain.Offered, domain.LeftMessage:
		out.WaitingSinceUnixMs = Millis(c.WaitingSince)
	case domain.Active:
		if idle := g.IdleTimeout(l); idle > 0 {
			out.IdleCloseUnixMs = Millis(c.IdleFrom.Add(idle))
		}
	case domain.Closed:
		if !c.ClosedAt.IsZero() && c.Agent != "" {
			out.ReopenUntilUnixMs = Millis(c.ClosedAt.Add(domain.ReopenFor))
		}
	case domain.OnHold:
	}
	if c.State.Open() {
		out.KeptForEnd = int32(g.KeptForEnd(l.KeptForEnd))
	}
	return out
}

// Promises returns open promises.
func Promises(in []domain.Promise) []*agentroutingv1.Promise {
	out := make([]*agentroutingv1.Promise, 0, len(in))
	for _, p := range in {
		out = append(out, Promise(p))
	}
	return out
}

// Promise returns a promise as clients see it.
func Promise(p domain.Promise) *agentroutingv1.Promise {
	return &agentroutingv1.Promise{
		Target: agentroutingv1.Target(p.Target), SinceUnixMs: Millis(p.Since), TargetS: int32(p.Span / time.Second), WarnUnixMs: Millis(p.Warn),
		DueUnixMs: Millis(p.Due), Warned: p.Warned, Broken: p.Broken,
	}
}

// Assignment returns an explanation; nil for none.
func Assignment(a *domain.Assignment) *agentroutingv1.Assignment {
	if a == nil {
		return nil
	}
	out := &agentroutingv1.Assignment{
		Method: a.Method, Winner: a.Winner, Why: a.Why, LoadAfter: int32(a.LoadAfter), Capacity: int32(a.Capacity), AtUnixMs: Millis(a.At),
		Reason: agentroutingv1.AssignmentReason(a.Reason), Choices: int32(a.Choices), Remark: a.Remark,
	}
	for _, c := range a.Candidates {
		out.Candidates = append(out.Candidates, &agentroutingv1.Candidate{
			Agent: c.Agent, Load: int32(c.Load), Capacity: int32(c.Capacity), ExcludedBy: c.ExcludedBy, Rank: int32(c.Rank),
		})
	}
	return out
}

// Fan returns the card of a fan without links and conversations.
func Fan(f domain.Fan) *agentroutingv1.Fan {
	friendly, seed := domain.Friendly(f.Account, f.OpenID)
	return &agentroutingv1.Fan{
		Account: f.Account, Openid: f.OpenID, Name: f.Name(), FriendlyName: friendly, PatternSeed: seed, Remark: f.Remark, Tags: f.Tags,
		Unionid: f.UnionID, Language: f.Language, Subscribed: !f.Left, LastAgent: f.LastAgent, LastSeq: f.Seq, Owner: Owner(f.Owner),
		FirstSeenUnixMs: Millis(f.FirstSeen),
	}
}

// Agent returns an agent with presence and load.
func Agent(m domain.Member, now time.Time) *agentroutingv1.Agent {
	p := m.Presence
	if p == 0 || !m.Works(now) {
		p = domain.Offline
	}
	return &agentroutingv1.Agent{
		Id: m.ID, Name: m.Name, Groups: m.Groups, Skills: m.Skills, Languages: m.Languages, Capacity: int32(m.Capacity), AutoAccept: m.AutoAccept,
		Presence: agentroutingv1.Presence(p), PresenceSinceUnixMs: Millis(m.PresenceSince), LeaseUntilUnixMs: Millis(m.LeaseUntil),
		Load: int32(m.Load), OnHold: int32(m.Held), EffectiveCapacity: int32(m.Places), Active: int32(m.Active),
	}
}

// Millis returns Unix milliseconds, zero for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the inverse of Millis.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
