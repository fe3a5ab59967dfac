// Package grpcapi serves ConversationService.
package grpcapi

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/index"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	defaultLimit = 100
	maxLimit     = 500
	maxName      = 64  // characters of an agent's name
	maxOpenID    = 128 // bytes
	maxKey       = 128 // bytes
	// readers bounds the reads of one list that run at the same time.
	readers = 16
	// maxAnswer bounds a list in bytes; gRPC refuses messages of more than 4 MiB.
	maxAnswer = 2 << 20
)

// Server implements ConversationService. Its errors are faults, which the gRPC edge turns into
// statuses.
type Server struct {
	agentroutingv1.UnimplementedConversationServiceServer

	desk     *app.Desk
	index    *index.Index
	accounts *account.Directory
}

// New returns a server.
func New(desk *app.Desk, x *index.Index, accounts *account.Directory) *Server {
	return &Server{desk: desk, index: x, accounts: accounts}
}

// ListWaiting returns the fans who wait, the longest waiting first.
func (s *Server) ListWaiting(ctx context.Context, in *agentroutingv1.ListWaitingRequest) (*agentroutingv1.ListWaitingResponse, error) {
	limit, err := s.checkList(ctx, in.GetAccount(), in.GetLimit())
	if err != nil {
		return nil, err
	}
	rows, total := s.index.Waiting(in.GetAccount(), in.GetQueue(), limit)
	records, gone, err := s.read(ctx, rows, func(r domain.Record) bool { return r.Owner.Kind == domain.Queue })
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.ListWaitingResponse{Waiting: records, Total: int32(total - gone)}, nil
}

// ListServing returns the fans whom agents talk to.
func (s *Server) ListServing(ctx context.Context, in *agentroutingv1.ListServingRequest) (*agentroutingv1.ListServingResponse, error) {
	limit, err := s.checkList(ctx, in.GetAccount(), in.GetLimit())
	if err != nil {
		return nil, err
	}
	rows, total := s.index.Serving(in.GetAccount(), in.GetAgent(), limit)
	records, gone, err := s.read(ctx, rows, func(r domain.Record) bool {
		return r.Owner.Kind == domain.Agent && (in.GetAgent() == "" || r.Owner.Name == in.GetAgent())
	})
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.ListServingResponse{Serving: records, Total: int32(total - gone)}, nil
}

// read returns the records of the rows as they are now, in order, and how many of the rows are out of
// date. It stops before the answer grows too large.
func (s *Server) read(ctx context.Context, rows []index.Row, want func(domain.Record) bool) ([]*agentroutingv1.OwnerRecord, int, error) {
	found := make([]domain.Record, len(rows))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, row := range rows {
		group.Go(func() (err error) {
			found[i], err = s.desk.Owner(ctx, row.Account, row.OpenID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	var out []*agentroutingv1.OwnerRecord
	gone, size := 0, 0
	for _, r := range found {
		if !want(r) {
			gone++
			continue
		}
		record := wire.Public(r)
		if size += proto.Size(record); size > maxAnswer {
			break
		}
		out = append(out, record)
	}
	return out, gone, nil
}

// GetOwner tells who may talk to a fan.
func (s *Server) GetOwner(ctx context.Context, in *agentroutingv1.GetOwnerRequest) (*agentroutingv1.GetOwnerResponse, error) {
	if err := s.checkFan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	r, err := s.desk.Owner(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.GetOwnerResponse{Record: wire.Public(r)}, nil
}

// Accept makes an agent the owner of a fan.
func (s *Server) Accept(ctx context.Context, in *agentroutingv1.AcceptRequest) (*agentroutingv1.AcceptResponse, error) {
	if err := s.checkAgent(in.GetAccount(), in.GetOpenid(), in.GetAgent()); err != nil {
		return nil, err
	}
	r, err := s.desk.Accept(ctx, in.GetAccount(), in.GetOpenid(), in.GetAgent())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.AcceptResponse{Record: wire.Public(r)}, nil
}

// Reply sends a message as the owner.
func (s *Server) Reply(ctx context.Context, in *agentroutingv1.ReplyRequest) (*agentroutingv1.ReplyResponse, error) {
	if err := s.checkAgent(in.GetAccount(), in.GetOpenid(), in.GetAgent()); err != nil {
		return nil, err
	}
	if in.GetIdempotencyKey() == "" || len(in.GetIdempotencyKey()) > maxKey {
		return nil, fault.New(fault.Invalid, "idempotency_key: must have 1 to 128 bytes")
	}
	if in.GetContent().GetBody() == nil {
		return nil, fault.New(fault.Invalid, "content: must not be empty")
	}
	id, r, err := s.desk.Reply(ctx, in.GetAccount(), in.GetOpenid(), in.GetAgent(), in.GetIdempotencyKey(), in.GetContent())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.ReplyResponse{SendId: id, Record: wire.Public(r)}, nil
}

// Close gives the fan back to the rules.
func (s *Server) Close(ctx context.Context, in *agentroutingv1.CloseRequest) (*agentroutingv1.CloseResponse, error) {
	if err := s.checkAgent(in.GetAccount(), in.GetOpenid(), in.GetAgent()); err != nil {
		return nil, err
	}
	r, err := s.desk.Close(ctx, in.GetAccount(), in.GetOpenid(), in.GetAgent())
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.CloseResponse{Record: wire.Public(r)}, nil
}

func (s *Server) checkList(ctx context.Context, name string, limit int32) (int, error) {
	if err := s.index.Ready(ctx); err != nil {
		return 0, err
	}
	if name != "" {
		if err := s.checkAccount(name); err != nil {
			return 0, err
		}
	}
	switch {
	case limit == 0:
		return defaultLimit, nil
	case limit < 0 || limit > maxLimit:
		return 0, fault.New(fault.Invalid, "limit: must be 0 to 500")
	default:
		return int(limit), nil
	}
}

func (s *Server) checkAgent(name, openID, agent string) error {
	if err := s.checkFan(name, openID); err != nil {
		return err
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if strings.TrimSpace(agent) == "" || utf8.RuneCountInString(agent) > maxName || strings.ContainsFunc(agent, unprintable) {
		return fault.New(fault.Invalid, "agent: must be 1 to 64 printable characters")
	}
	return nil
}

func (s *Server) checkFan(name, openID string) error {
	if err := s.checkAccount(name); err != nil {
		return err
	}
	if openID == "" || len(openID) > maxOpenID {
		return fault.New(fault.Invalid, "openid: must have 1 to 128 bytes")
	}
	return nil
}

func (s *Server) checkAccount(name string) error {
	if name == "" {
		return fault.New(fault.Invalid, "account: must not be empty")
	}
	if _, ok := s.accounts.Get(name); !ok {
		return fault.New(fault.NotFound, "account: no such account")
	}
	return nil
}
