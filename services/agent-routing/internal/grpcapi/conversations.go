package grpcapi

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	// maxAnswer bounds a list in bytes; gRPC refuses messages of more than 4 MiB.
	maxAnswer = 2 << 20
	// piece is how much of a file goes into one message.
	piece = 256 << 10
	// maxChanges bounds the changes of one conversation that are shown.
	maxChanges = 500
	// fanConversations is how many conversations a fan's card lists.
	fanConversations = 20
)

// Feed is the stream of conversations.
type Feed interface {
	LastSequence(ctx context.Context) (uint64, error)
	Follow(ctx context.Context, account, conversation string, ready func() error, each func([]byte) error) error
	Signal(ctx context.Context, s *agentroutingv1.DeskSignal) error
}

// Conversations implements ConversationService.
type Conversations struct {
	agentroutingv1.UnimplementedConversationServiceServer

	desk     *app.Desk
	feed     Feed
	files    media.Store
	platform app.Platform
	check    checker
}

// NewConversations returns a server.
func NewConversations(desk *app.Desk, feed Feed, files media.Store, platform app.Platform, accounts *account.Directory) *Conversations {
	return &Conversations{desk: desk, feed: feed, files: files, platform: platform, check: checker{accounts}}
}

// ListWaiting returns the fans who wait, the longest waiting first.
func (s *Conversations) ListWaiting(ctx context.Context, in *agentroutingv1.ListWaitingRequest) (*agentroutingv1.ListWaitingResponse, error) {
	f := store.Filter{Account: in.GetAccount(), Group: in.GetQueue(), States: []domain.State{domain.Waiting, domain.Offered}}
	rows, total, err := s.records(ctx, f, store.LongestWaiting, in.GetLimit())
	return &agentroutingv1.ListWaitingResponse{Waiting: rows, Total: int32(total)}, err
}

// ListServing returns the fans whom agents talk to, the one with the oldest activity first.
func (s *Conversations) ListServing(ctx context.Context, in *agentroutingv1.ListServingRequest) (*agentroutingv1.ListServingResponse, error) {
	f := store.Filter{Account: in.GetAccount(), Agent: in.GetAgent(), States: []domain.State{domain.Active, domain.OnHold}}
	rows, total, err := s.records(ctx, f, store.OldestActivity, in.GetLimit())
	return &agentroutingv1.ListServingResponse{Serving: rows, Total: int32(total)}, err
}

// records returns conversations in the form of the first version. It stops before the answer grows too large.
func (s *Conversations) records(ctx context.Context, f store.Filter, order store.Order, limit int32) ([]*agentroutingv1.OwnerRecord, int, error) {
	n, err := pageSize("limit", limit, 100, 500)
	if err != nil {
		return nil, 0, err
	}
	views, total, err := s.views(ctx, f, order, 0, n)
	if err != nil {
		return nil, 0, err
	}
	var out []*agentroutingv1.OwnerRecord
	size := 0
	for _, v := range views {
		rec, err := s.desk.RecordOf(ctx, v)
		if err != nil {
			return nil, 0, err
		}
		if size += proto.Size(rec); size > maxAnswer {
			break
		}
		out = append(out, rec)
	}
	return out, total, nil
}

// views returns conversations with their fans and groups.
func (s *Conversations) views(ctx context.Context, f store.Filter, order store.Order, offset, limit int) ([]*app.View, int, error) {
	if err := s.check.anyAccount(f.Account); err != nil {
		return nil, 0, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, 0, err
	}
	found, total, err := q.Conversations(ctx, f, order, offset, limit)
	if err != nil {
		return nil, 0, err
	}
	groups, err := q.GroupsByID(ctx)
	if err != nil {
		return nil, 0, err
	}
	fans, err := q.FansOf(ctx, found)
	if err != nil {
		return nil, 0, err
	}
	out := make([]*app.View, 0, len(found))
	for _, c := range found {
		g, ok := groups[c.Group]
		if !ok {
			g = domain.ImplicitGroup(c.Group)
		}
		fan, ok := fans[[2]string{c.Account, c.OpenID}]
		if !ok {
			fan = domain.Fan{Account: c.Account, OpenID: c.OpenID} // erased
		}
		out = append(out, &app.View{Conversation: c, Fan: fan, Group: g})
	}
	return out, total, nil
}

// GetOwner tells who may talk to a fan.
func (s *Conversations) GetOwner(ctx context.Context, in *agentroutingv1.GetOwnerRequest) (*agentroutingv1.GetOwnerResponse, error) {
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	rec, err := s.desk.Record(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.GetOwnerResponse{Record: rec}, nil
}

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

// Reply sends a message as the one who talks to the fan.
func (s *Conversations) Reply(ctx context.Context, in *agentroutingv1.ReplyRequest) (*agentroutingv1.ReplyResponse, error) {
	r := app.Reply{
		Act: app.Act{Account: in.GetAccount(), OpenID: in.GetOpenid(), Conversation: in.GetConversation(), Agent: actorOf(ctx, in.GetAgent())},
		Key: in.GetIdempotencyKey(), Content: in.GetContent(), Expected: in.GetExpectedLastSeq(), KfAccount: in.GetKfAccount(),
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

// view returns one conversation with its fan and group.
func (s *Conversations) view(ctx context.Context, account, id string) (*app.View, error) {
	if id == "" {
		return nil, fault.New(fault.Invalid, "conversation: must not be empty")
	}
	if err := s.check.target(account, "", id); err != nil {
		return nil, err
	}
	return s.desk.View(ctx, account, id)
}

// ListConversations returns a page of conversations.
func (s *Conversations) ListConversations(ctx context.Context, in *agentroutingv1.ListConversationsRequest) (*agentroutingv1.ListConversationsResponse, error) {
	limit, err := pageSize("page_size", in.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	offset, err := offsetOf(in.GetPageToken())
	if err != nil {
		return nil, err
	}
	f := store.Filter{Account: in.GetAccount(), Group: in.GetGroup(), Agent: in.GetAgent(), OpenID: in.GetOpenid(), States: states(in.GetStates())}
	if in.GetMine() {
		if f.Agent = actorOf(ctx, in.GetAgent()); f.Agent == "" {
			return nil, fault.New(fault.Invalid, "mine: nobody is logged in")
		}
	}
	if f.OpenID != "" && f.Account == "" {
		return nil, fault.New(fault.Invalid, "account: is required with openid")
	}
	// Before the page is read: what is published meanwhile is then seen twice rather than never.
	sequence, err := s.feed.LastSequence(ctx)
	if err != nil {
		return nil, err
	}
	views, total, err := s.views(ctx, f, orderOf(f.States), offset, limit)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListConversationsResponse{Total: int32(total), StreamSequence: sequence}
	size := 0
	for _, v := range views {
		c := s.desk.Wire(v)
		if size += proto.Size(c); size > maxAnswer {
			break
		}
		out.Conversations = append(out.Conversations, c)
	}
	if next := offset + len(out.Conversations); next < total && len(out.Conversations) > 0 {
		out.NextPageToken = strconv.Itoa(next)
	}
	return out, s.positions(ctx, out.GetConversations())
}

// positions fills in the places in the queue.
func (s *Conversations) positions(ctx context.Context, list []*agentroutingv1.Conversation) error {
	q, err := s.desk.Store().Query()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.GetState() != agentroutingv1.ConversationState_CONVERSATION_STATE_WAITING && c.GetState() != agentroutingv1.ConversationState_CONVERSATION_STATE_OFFERED {
			continue
		}
		ahead, err := q.Ahead(ctx, domain.Conversation{ID: c.GetId(), Group: c.GetGroup(), WaitingSince: wire.Time(c.GetWaitingSinceUnixMs())})
		if err != nil {
			return err
		}
		c.Position = int32(ahead + 1)
	}
	return nil
}

func offsetOf(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "page_token: is not one of ours")
	}
	return n, nil
}

func states(in []agentroutingv1.ConversationState) []domain.State {
	var out []domain.State
	for _, st := range in {
		if st != agentroutingv1.ConversationState_CONVERSATION_STATE_UNSPECIFIED {
			out = append(out, domain.State(st))
		}
	}
	if len(out) == 0 {
		return []domain.State{domain.Waiting, domain.Offered, domain.Active, domain.OnHold, domain.LeftMessage}
	}
	return out
}

func orderOf(states []domain.State) store.Order {
	for _, st := range states {
		if st == domain.Closed {
			if len(states) == 1 {
				return store.NewestClosed
			}
			return store.NewestOpened
		}
	}
	return store.OpenOrder
}

// ListQueue returns who waits and who left a message.
func (s *Conversations) ListQueue(ctx context.Context, in *agentroutingv1.ListQueueRequest) (*agentroutingv1.ListQueueResponse, error) {
	limit, err := pageSize("limit", in.GetLimit(), 100, 500)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListQueueResponse{}
	list := func(states ...domain.State) ([]*agentroutingv1.Conversation, int32, error) {
		views, total, err := s.views(ctx, store.Filter{Account: in.GetAccount(), Group: in.GetGroup(), States: states}, store.LongestWaiting, 0, limit)
		rows := make([]*agentroutingv1.Conversation, 0, len(views))
		for _, v := range views {
			rows = append(rows, s.desk.Wire(v))
		}
		return rows, int32(total), err
	}
	if out.Waiting, out.WaitingTotal, err = list(domain.Waiting, domain.Offered); err != nil {
		return nil, err
	}
	if out.LeftMessage, out.LeftMessageTotal, err = list(domain.LeftMessage); err != nil {
		return nil, err
	}
	return out, s.positions(ctx, out.GetWaiting())
}

// GetConversation returns a conversation with its fan and changes.
func (s *Conversations) GetConversation(ctx context.Context, in *agentroutingv1.GetConversationRequest) (*agentroutingv1.GetConversationResponse, error) {
	v, err := s.view(ctx, in.GetAccount(), in.GetConversation())
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	c := s.desk.Wire(v)
	if err := s.positions(ctx, []*agentroutingv1.Conversation{c}); err != nil {
		return nil, err
	}
	changes, err := q.Changes(ctx, in.GetAccount(), in.GetConversation(), 0, maxChanges)
	if err != nil {
		return nil, err
	}
	fan, err := s.card(ctx, v.Fan)
	return &agentroutingv1.GetConversationResponse{Conversation: c, Fan: fan, Changes: changes}, err
}

// Watch follows a conversation: what is kept first, then what comes, without a gap and without a repetition.
func (s *Conversations) Watch(in *agentroutingv1.WatchRequest, stream grpc.ServerStreamingServer[agentroutingv1.WatchResponse]) error {
	ctx := stream.Context()
	if _, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Watch(ctx, a) }); err != nil {
		return err
	}
	last := in.GetAfterNumber()
	send := func(ev *agentroutingv1.ConversationEvent) error {
		if ev.GetNumber() <= last {
			return nil
		}
		last = ev.GetNumber()
		return stream.Send(&agentroutingv1.WatchResponse{Event: ev})
	}
	kept := func() error {
		q, err := s.desk.Store().Query()
		if err != nil {
			return err
		}
		for {
			events, err := q.Changes(ctx, in.GetAccount(), in.GetConversation(), last, maxChanges)
			if err != nil || len(events) == 0 {
				return err
			}
			for _, ev := range events {
				if err := send(ev); err != nil {
					return err
				}
			}
		}
	}
	err := s.feed.Follow(ctx, in.GetAccount(), in.GetConversation(), kept, func(data []byte) error {
		ev := new(agentroutingv1.ConversationEvent)
		if err := proto.Unmarshal(data, ev); err != nil {
			return fault.Errorf(fault.Permanent, "decode event: %w", err)
		}
		return send(ev)
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the caller left
	}
	return err
}

// GetFan returns the card of a fan.
func (s *Conversations) GetFan(ctx context.Context, in *agentroutingv1.GetFanRequest) (*agentroutingv1.GetFanResponse, error) {
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	if in.GetRefresh() {
		if err := s.desk.RefreshFan(ctx, in.GetAccount(), in.GetOpenid()); err != nil {
			return nil, err
		}
	}
	fan, err := s.desk.Fan(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	card, err := s.card(ctx, fan)
	return &agentroutingv1.GetFanResponse{Fan: card}, err
}

// card returns a fan with links and past conversations.
func (s *Conversations) card(ctx context.Context, f domain.Fan) (*agentroutingv1.Fan, error) {
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	out := wire.Fan(f)
	linked, err := q.Linked(ctx, f.UnionID)
	if err != nil {
		return nil, err
	}
	for _, l := range linked {
		if l.Account != f.Account || l.OpenID != f.OpenID {
			out.Linked = append(out.Linked, &agentroutingv1.LinkedFan{Account: l.Account, Openid: l.OpenID, Name: l.Name()})
		}
	}
	views, _, err := s.views(ctx, store.Filter{Account: f.Account, OpenID: f.OpenID}, store.NewestOpened, 0, fanConversations)
	for _, v := range views {
		out.Conversations = append(out.Conversations, s.desk.Wire(v))
	}
	return out, err
}

// RenameFan sets the remark of a fan.
func (s *Conversations) RenameFan(ctx context.Context, in *agentroutingv1.RenameFanRequest) (*agentroutingv1.RenameFanResponse, error) {
	if err := checkText("remark", in.GetRemark(), 0, maxTag); err != nil {
		return nil, err
	}
	fan, err := s.edit(ctx, in.GetAccount(), in.GetOpenid(), actorOf(ctx, in.GetActor()), "remark", func(f *domain.Fan) error {
		f.Remark = strings.TrimSpace(in.GetRemark())
		return nil
	})
	return &agentroutingv1.RenameFanResponse{Fan: fan}, err
}

// TagFan adds and removes tags.
func (s *Conversations) TagFan(ctx context.Context, in *agentroutingv1.TagFanRequest) (*agentroutingv1.TagFanResponse, error) {
	for _, t := range append(append([]string(nil), in.GetAdd()...), in.GetRemove()...) {
		if err := checkText("add", strings.TrimSpace(t), 1, maxTag); err != nil {
			return nil, err
		}
	}
	change := "tagged"
	if len(in.GetAdd()) == 0 {
		change = "untagged"
	}
	fan, err := s.edit(ctx, in.GetAccount(), in.GetOpenid(), actorOf(ctx, in.GetActor()), change, func(f *domain.Fan) error {
		app.Tag(f, in.GetAdd(), in.GetRemove())
		if len(f.Tags) > maxTags {
			return fault.Errorf(fault.Invalid, "add: a fan has at most %d tags", maxTags)
		}
		return nil
	})
	return &agentroutingv1.TagFanResponse{Fan: fan}, err
}

func (s *Conversations) edit(ctx context.Context, account, openID, actor, change string, fn func(*domain.Fan) error) (*agentroutingv1.Fan, error) {
	if err := s.check.fan(account, openID); err != nil {
		return nil, err
	}
	if err := checkAgent("actor", actor); err != nil {
		return nil, err
	}
	f, err := s.desk.EditFan(ctx, account, openID, actor, change, fn)
	if err != nil {
		return nil, err
	}
	return s.card(ctx, f)
}

// ListMessages returns a page of the timeline.
func (s *Conversations) ListMessages(ctx context.Context, in *agentroutingv1.ListMessagesRequest) (*agentroutingv1.ListMessagesResponse, error) {
	limit, err := pageSize("limit", in.GetLimit(), 50, 200)
	if err != nil {
		return nil, err
	}
	if in.GetBeforeSeq() != 0 && in.GetAfterSeq() != 0 {
		return nil, fault.New(fault.Invalid, "after_seq: cannot be set with before_seq")
	}
	p := store.Page{Account: in.GetAccount(), OpenID: in.GetOpenid(), Before: in.GetBeforeSeq(), After: in.GetAfterSeq(), Limit: limit}
	if in.GetConversation() != "" {
		v, err := s.view(ctx, in.GetAccount(), in.GetConversation())
		if err != nil {
			return nil, err
		}
		p.OpenID = v.Conversation.OpenID
		if !in.GetWholeTimeline() {
			p.Conversation = in.GetConversation()
		}
	}
	if err := s.check.fan(p.Account, p.OpenID); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	messages, more, err := q.Messages(ctx, p)
	return &agentroutingv1.ListMessagesResponse{Messages: messages, More: more}, err
}

// Search finds messages.
func (s *Conversations) Search(ctx context.Context, in *agentroutingv1.SearchRequest) (*agentroutingv1.SearchResponse, error) {
	limit, err := pageSize("page_size", in.GetPageSize(), 20, 100)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkText("query", strings.TrimSpace(in.GetQuery()), 1, 100), s.check.anyAccount(in.GetAccount())); err != nil {
		return nil, err
	}
	if in.GetOpenid() != "" && in.GetAccount() == "" {
		return nil, fault.New(fault.Invalid, "account: is required with openid")
	}
	f := store.Find{
		Account: in.GetAccount(), OpenID: in.GetOpenid(), Agent: in.GetAgent(), From: wire.Time(in.GetFromUnixMs()), To: wire.Time(in.GetToUnixMs()), Limit: limit + 1,
	}
	f.Words, f.Grams = domain.Words(in.GetQuery())
	if len(f.Words) == 0 {
		return nil, fault.New(fault.Invalid, "query: has nothing to look for")
	}
	if f.Before, err = cursorOf(in.GetPageToken()); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	found, err := q.Search(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.SearchResponse{}
	for i, m := range found {
		if i == limit {
			out.NextPageToken = tokenOf(found[i-1])
			break
		}
		fan, _, err := q.Fan(ctx, m.GetAccount(), m.GetOpenid())
		if err != nil {
			return nil, err
		}
		_, seed := domain.Friendly(m.GetAccount(), m.GetOpenid())
		out.Hits = append(out.Hits, &agentroutingv1.SearchHit{Message: m, FanName: fan.Name(), PatternSeed: seed})
	}
	return out, nil
}

// tokenOf names the place after a hit; the parts cannot hold the separator.
func tokenOf(m *agentroutingv1.Message) string {
	parts := []string{strconv.FormatInt(m.GetAtUnixMs(), 10), m.GetAccount(), strconv.FormatUint(m.GetSeq(), 10), m.GetOpenid()}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

func cursorOf(token string) (store.Cursor, error) {
	if token == "" {
		return store.Cursor{}, nil
	}
	bad := fault.New(fault.Invalid, "page_token: is not one of ours")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return store.Cursor{}, bad
	}
	parts := strings.SplitN(string(raw), "\x00", 4)
	if len(parts) != 4 {
		return store.Cursor{}, bad
	}
	at, err1 := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[2], 10, 63)
	if err1 != nil || err2 != nil {
		return store.Cursor{}, bad
	}
	return store.Cursor{AtMs: at, Account: parts[1], Seq: seq, OpenID: parts[3]}, nil
}

// GetMedia returns a kept file in pieces.
func (s *Conversations) GetMedia(in *agentroutingv1.GetMediaRequest, stream grpc.ServerStreamingServer[agentroutingv1.GetMediaResponse]) error {
	ctx := stream.Context()
	if err := s.check.account(in.GetAccount()); err != nil {
		return err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return err
	}
	f, ok, err := q.File(ctx, in.GetAccount(), in.GetId())
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.NotFound, "id: no such file")
	case f.State == agentroutingv1.MediaState_MEDIA_STATE_PENDING:
		return fault.After(time.Second, fault.New(fault.Unavailable, "the file is being fetched from WeChat"))
	case f.State != agentroutingv1.MediaState_MEDIA_STATE_STORED:
		return fault.Errorf(fault.NotFound, "the file is lost: %s", f.Reason)
	}
	id, kind := f.ID, f.ContentType
	if in.GetPlayable() && f.PlayableType != "" {
		id, kind = f.ID+app.PlayableSuffix, f.PlayableType
	}
	file, size, err := s.files.Get(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return pieces(file, func(data []byte, first bool) error {
		out := &agentroutingv1.GetMediaResponse{Data: data}
		if first {
			out.ContentType, out.Size = kind, size
		}
		return stream.Send(out)
	})
}

// pieces reads to the end; the first piece comes even when there is nothing.
func pieces(r io.Reader, send func(data []byte, first bool) error) error {
	buf := make([]byte, piece)
	for first := true; ; first = false {
		n, err := io.ReadFull(r, buf)
		if n > 0 || first {
			if sendErr := send(append([]byte(nil), buf[:n]...), first); sendErr != nil {
				return sendErr
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fault.Errorf(fault.Unavailable, "read a file: %w", err)
		}
	}
}
