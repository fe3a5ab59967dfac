package grpcapi

import (
	"context"
	"strings"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// fanConversations is how many conversations a fan's card lists.
const fanConversations = 20

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
	linked, err := linkedTo(ctx, q, f)
	if err != nil {
		return nil, err
	}
	for _, l := range linked {
		out.Linked = append(out.Linked, linkOf(l))
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
