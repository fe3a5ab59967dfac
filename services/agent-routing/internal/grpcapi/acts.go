package grpcapi

import (
	"context"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// act checks who acts on what, and runs do.
func (s *Conversations) act(a app.Act, field string, do func(app.Act) (*app.View, error)) (*app.View, error) {
	if err := s.check.target(a.Account, a.OpenID, a.Conversation); err != nil {
		return nil, err
	}
	if err := checkAgent(field, a.Agent); err != nil {
		return nil, err
	}
	if err := checkText("reason", a.Reason, 0, maxReason); err != nil {
		return nil, err
	}
	return do(a)
}

// plain is act for the requests that name a conversation, and returns it.
func (s *Conversations) plain(ctx context.Context, account, conversation, actor string, do func(app.Act) (*app.View, error)) (*agentroutingv1.Conversation, error) {
	return s.because(ctx, account, conversation, actor, "", do)
}

func (s *Conversations) because(ctx context.Context, account, conversation, actor, reason string, do func(app.Act) (*app.View, error)) (*agentroutingv1.Conversation, error) {
	if conversation == "" {
		return nil, fault.New(fault.Invalid, "conversation: must not be empty")
	}
	v, err := s.act(app.Act{Account: account, Conversation: conversation, Agent: actorOf(ctx, actor), Reason: reason}, "actor", do)
	if err != nil {
		return nil, err
	}
	return s.desk.Wire(v), nil
}

// Accept makes an agent the one who talks to the fan.
func (s *Conversations) Accept(ctx context.Context, in *agentroutingv1.AcceptRequest) (*agentroutingv1.AcceptResponse, error) {
	a := app.Act{Account: in.GetAccount(), OpenID: in.GetOpenid(), Conversation: in.GetConversation(), Agent: actorOf(ctx, in.GetAgent())}
	v, err := s.act(a, "agent", func(a app.Act) (*app.View, error) { return s.desk.Accept(ctx, a) })
	if err != nil {
		return nil, err
	}
	rec, err := s.desk.RecordOf(ctx, v)
	return &agentroutingv1.AcceptResponse{Record: rec, Conversation: s.desk.Wire(v)}, err
}

// Close ends a conversation.
func (s *Conversations) Close(ctx context.Context, in *agentroutingv1.CloseRequest) (*agentroutingv1.CloseResponse, error) {
	a := app.Act{Account: in.GetAccount(), OpenID: in.GetOpenid(), Conversation: in.GetConversation(), Agent: actorOf(ctx, in.GetAgent()), Reason: in.GetReason()}
	v, err := s.act(a, "agent", func(a app.Act) (*app.View, error) { return s.desk.Close(ctx, a, in.GetNoSurvey()) })
	if err != nil {
		return nil, err
	}
	rec, err := s.desk.RecordOf(ctx, v)
	return &agentroutingv1.CloseResponse{Record: rec, Conversation: s.desk.Wire(v)}, err
}

// Decline gives an offer back.
func (s *Conversations) Decline(ctx context.Context, in *agentroutingv1.DeclineRequest) (*agentroutingv1.DeclineResponse, error) {
	c, err := s.because(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), in.GetReason(), func(a app.Act) (*app.View, error) { return s.desk.Decline(ctx, a) })
	return &agentroutingv1.DeclineResponse{Conversation: c}, err
}

// Take picks a conversation by hand.
func (s *Conversations) Take(ctx context.Context, in *agentroutingv1.TakeRequest) (*agentroutingv1.TakeResponse, error) {
	c, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Take(ctx, a) })
	return &agentroutingv1.TakeResponse{Conversation: c}, err
}

// TakeOver makes a supervisor the one who talks to the fan.
func (s *Conversations) TakeOver(ctx context.Context, in *agentroutingv1.TakeOverRequest) (*agentroutingv1.TakeOverResponse, error) {
	c, err := s.because(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), in.GetReason(), func(a app.Act) (*app.View, error) { return s.desk.TakeOver(ctx, a) })
	return &agentroutingv1.TakeOverResponse{Conversation: c}, err
}

// Transfer gives the conversation to an agent or a group.
func (s *Conversations) Transfer(ctx context.Context, in *agentroutingv1.TransferRequest) (*agentroutingv1.TransferResponse, error) {
	if in.GetToAgent() == "" && in.GetToGroup() == "" {
		return nil, fault.New(fault.Invalid, "to: must name an agent or a group")
	}
	if err := checkText("note", in.GetNote(), 0, maxNote); err != nil {
		return nil, err
	}
	c, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) {
		return s.desk.Transfer(ctx, a, in.GetToAgent(), in.GetToGroup(), in.GetNote())
	})
	return &agentroutingv1.TransferResponse{Conversation: c}, err
}

// Hold puts a conversation aside.
func (s *Conversations) Hold(ctx context.Context, in *agentroutingv1.HoldRequest) (*agentroutingv1.HoldResponse, error) {
	c, err := s.because(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), in.GetReason(), func(a app.Act) (*app.View, error) {
		return s.desk.Hold(ctx, a, wire.Time(in.GetUntilUnixMs()))
	})
	return &agentroutingv1.HoldResponse{Conversation: c}, err
}

// Unhold brings a conversation back.
func (s *Conversations) Unhold(ctx context.Context, in *agentroutingv1.UnholdRequest) (*agentroutingv1.UnholdResponse, error) {
	c, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Unhold(ctx, a) })
	return &agentroutingv1.UnholdResponse{Conversation: c}, err
}

// Reopen undoes a close.
func (s *Conversations) Reopen(ctx context.Context, in *agentroutingv1.ReopenRequest) (*agentroutingv1.ReopenResponse, error) {
	c, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Reopen(ctx, a) })
	return &agentroutingv1.ReopenResponse{Conversation: c}, err
}

// Renew starts the idle time again.
func (s *Conversations) Renew(ctx context.Context, in *agentroutingv1.RenewRequest) (*agentroutingv1.RenewResponse, error) {
	c, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Renew(ctx, a) })
	return &agentroutingv1.RenewResponse{Conversation: c}, err
}
