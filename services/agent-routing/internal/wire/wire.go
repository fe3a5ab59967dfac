// Package wire turns records and events into the types of package domain and back.
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

// Stored returns the record as it is kept in the bucket.
func Stored(r domain.Record) *agentroutingv1.OwnerRecord {
	out := Public(r)
	out.Applied = r.Applied
	for _, f := range r.Outbox {
		out.Outbox = append(out.Outbox, Fact(r, f))
	}
	return out
}

// Public returns the record as clients see it: without what only this service needs.
func Public(r domain.Record) *agentroutingv1.OwnerRecord {
	out := &agentroutingv1.OwnerRecord{
		Account: r.Account, Openid: r.OpenID, Owner: owner(r.Owner), Conversation: r.Conversation,
		ChangedBy: r.ChangedBy, ActiveUnixMs: millis(r.Active),
	}
	for _, m := range r.Messages {
		out.Messages = append(out.Messages, &agentroutingv1.WaitingMessage{
			EventId: m.EventID, MsgType: m.MsgType, Text: m.Text, AtUnixMs: millis(m.At),
		})
	}
	return out
}

// Fact returns the event that tells the others about a change of r.
func Fact(r domain.Record, f domain.Fact) *agentroutingv1.OwnerChanged {
	return &agentroutingv1.OwnerChanged{
		Account: r.Account, Openid: r.OpenID, Conversation: f.Conversation,
		Owner: owner(f.Owner), Reason: f.Reason, AtUnixMs: millis(f.Owner.Since),
	}
}

// Record is the inverse of Stored.
func Record(in *agentroutingv1.OwnerRecord) domain.Record {
	r := domain.Record{
		Account: in.GetAccount(), OpenID: in.GetOpenid(), Owner: ownerOf(in.GetOwner()), Conversation: in.GetConversation(),
		ChangedBy: in.GetChangedBy(), Applied: in.GetApplied(), Active: at(in.GetActiveUnixMs()),
	}
	for _, m := range in.GetMessages() {
		r.Messages = append(r.Messages, domain.Message{
			EventID: m.GetEventId(), MsgType: m.GetMsgType(), Text: m.GetText(), At: at(m.GetAtUnixMs()),
		})
	}
	for _, f := range in.GetOutbox() {
		r.Outbox = append(r.Outbox, domain.Fact{
			Conversation: f.GetConversation(), Owner: ownerOf(f.GetOwner()), Reason: f.GetReason(),
		})
	}
	return r
}

func owner(o domain.Owner) *agentroutingv1.Owner {
	return &agentroutingv1.Owner{Kind: kinds[o.Kind], Name: o.Name, Epoch: o.Epoch, SinceUnixMs: millis(o.Since)}
}

func ownerOf(o *agentroutingv1.Owner) domain.Owner {
	return domain.Owner{Kind: kindOf(o.GetKind()), Name: o.GetName(), Epoch: o.GetEpoch(), Since: at(o.GetSinceUnixMs())}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
