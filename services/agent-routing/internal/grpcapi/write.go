package grpcapi

import (
	"context"
	"strings"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Reply sends a message as the one who talks to the fan.
func (s *Conversations) Reply(ctx context.Context, in *agentroutingv1.ReplyRequest) (*agentroutingv1.ReplyResponse, error) {
	r := app.Reply{
		Act: app.Act{Account: in.GetAccount(), OpenID: in.GetOpenid(), Conversation: in.GetConversation(), Agent: actorOf(ctx, in.GetAgent())},
		Key: in.GetIdempotencyKey(), Content: in.GetContent(), Expected: in.GetExpectedLastSeq(), KfAccount: in.GetKfAccount(), UseKept: in.GetUseKept(),
	}
	if err := s.check.target(r.Account, r.OpenID, r.Conversation); err != nil {
		return nil, err
	}
	if err := checkAgent("agent", r.Agent); err != nil {
		return nil, err
	}
	if err := checkKey(r.Key); err != nil {
		return nil, err
	}
	if in.GetContent().GetBody() == nil {
		return nil, fault.New(fault.Invalid, "content: must not be empty")
	}
	done, err := s.desk.Reply(ctx, r)
	if err != nil {
		return nil, err
	}
	rec, err := s.desk.RecordOf(ctx, done.View)
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.ReplyResponse{
		SendId: done.Message.GetSendId(), Record: rec, Message: done.Message, Conversation: s.desk.Wire(done.View), Replayed: done.Replayed,
	}, nil
}

// AddNote adds a note that the fan never sees.
func (s *Conversations) AddNote(ctx context.Context, in *agentroutingv1.AddNoteRequest) (*agentroutingv1.AddNoteResponse, error) {
	m, err := s.note(ctx, agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE, in)
	return &agentroutingv1.AddNoteResponse{Message: m}, err
}

// Whisper adds a supervisor's word to the agent.
func (s *Conversations) Whisper(ctx context.Context, in *agentroutingv1.WhisperRequest) (*agentroutingv1.WhisperResponse, error) {
	m, err := s.note(ctx, agentroutingv1.AuthorKind_AUTHOR_KIND_WHISPER, in)
	return &agentroutingv1.WhisperResponse{Message: m}, err
}

// noteRequest is what a note and a whisper have in common.
type noteRequest interface {
	GetAccount() string
	GetConversation() string
	GetActor() string
	GetText() string
	GetIdempotencyKey() string
}

func (s *Conversations) note(ctx context.Context, kind agentroutingv1.AuthorKind, in noteRequest) (m *agentroutingv1.Message, err error) {
	if err := checkText("text", strings.TrimSpace(in.GetText()), 1, maxNote); err != nil {
		return nil, err
	}
	if err := checkKey(in.GetIdempotencyKey()); err != nil {
		return nil, err
	}
	_, err = s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) {
		m, err = s.desk.Note(ctx, a, kind, in.GetText(), in.GetIdempotencyKey())
		return &app.View{}, err
	})
	return m, err
}

// SetTyping tells other users what the caller does, and shows the fan that somebody writes.
func (s *Conversations) SetTyping(ctx context.Context, in *agentroutingv1.SetTypingRequest) (*agentroutingv1.SetTypingResponse, error) {
	actor := actorOf(ctx, in.GetActor())
	if err := checkAgent("actor", actor); err != nil {
		return nil, err
	}
	v, err := s.view(ctx, in.GetAccount(), in.GetConversation())
	if err != nil {
		return nil, err
	}
	signal := &agentroutingv1.DeskSignal{
		Account: in.GetAccount(), Conversation: in.GetConversation(), Actor: actor, Kind: in.GetKind(), AtUnixMs: wire.Millis(s.desk.Now()),
	}
	if err := s.feed.Signal(ctx, signal); err != nil {
		return nil, err
	}
	c := v.Conversation
	if in.GetKind() == agentroutingv1.SignalKind_SIGNAL_KIND_TYPING && c.State == domain.Active && c.Agent == actor {
		return &agentroutingv1.SetTypingResponse{}, s.platform.Typing(ctx, c.Account, c.OpenID)
	}
	return &agentroutingv1.SetTypingResponse{}, nil
}
