package rpc

import (
	"context"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/store"
	"github.com/wxbus/wxbus/services/console/internal/webhooks"
)

const maxDeliveries = 200

// Webhooks is the WebhookService.
type Webhooks struct {
	Engine *webhooks.Engine
	Store  *store.Store
	Now    func() int64 // Unix milliseconds
}

var _ consolev1connect.WebhookServiceHandler = (*Webhooks)(nil)

// sees tells whether the caller may see a subscription: all of its accounts.
func sees(ctx context.Context, w *store.Webhook) bool {
	c := access.From(ctx)
	for _, a := range w.Accounts {
		if !c.May(a) {
			return false
		}
	}
	return true
}

// own fails unless the caller may see the subscription. One of somebody else is not found.
func (s *Webhooks) own(ctx context.Context, id string) error {
	w, err := s.Store.Webhook(ctx, id)
	if err == nil && !sees(ctx, w) {
		return fault.New(fault.NotFound, "id: no such subscription")
	}
	return err
}

// ListWebhooks lists subscriptions and kinds.
func (s *Webhooks) ListWebhooks(ctx context.Context, _ *connect.Request[consolev1.ListWebhooksRequest]) (*connect.Response[consolev1.ListWebhooksResponse], error) {
	found, err := s.Store.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListWebhooksResponse{}
	for _, w := range found {
		if sees(ctx, w) {
			out.Webhooks = append(out.Webhooks, webhooks.Public(w))
		}
	}
	for _, k := range webhooks.Kinds() {
		out.Kinds = append(out.Kinds, &consolev1.EventKindInfo{Name: k.Name, Description: k.Description})
	}
	return connect.NewResponse(out), nil
}

// CreateWebhook adds a subscription.
func (s *Webhooks) CreateWebhook(ctx context.Context, req *connect.Request[consolev1.CreateWebhookRequest]) (*connect.Response[consolev1.CreateWebhookResponse], error) {
	m := req.Msg
	wish := webhooks.Wish{Name: m.GetName(), URL: m.GetUrl(), Kinds: m.GetKinds(), Accounts: m.GetAccounts(), Key: m.GetIdempotencyKey()}
	w, secret, err := s.Engine.Create(ctx, wish, access.From(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.CreateWebhookResponse{Webhook: webhooks.Public(w), Secret: secret}), nil
}

// UpdateWebhook changes a subscription.
func (s *Webhooks) UpdateWebhook(ctx context.Context, req *connect.Request[consolev1.UpdateWebhookRequest]) (*connect.Response[consolev1.UpdateWebhookResponse], error) {
	m := req.Msg
	if err := s.own(ctx, m.GetId()); err != nil {
		return nil, err
	}
	w, err := s.Engine.Update(ctx, m.GetId(), m.GetRevision(), webhooks.Wish{Name: m.GetName(), URL: m.GetUrl(), Kinds: m.GetKinds(), Accounts: m.GetAccounts()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.UpdateWebhookResponse{Webhook: webhooks.Public(w)}), nil
}

// DeleteWebhook removes a subscription.
func (s *Webhooks) DeleteWebhook(ctx context.Context, req *connect.Request[consolev1.DeleteWebhookRequest]) (*connect.Response[consolev1.DeleteWebhookResponse], error) {
	if err := s.own(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	if err := s.Engine.Delete(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.DeleteWebhookResponse{}), nil
}

// RotateWebhookSecret makes a new secret.
func (s *Webhooks) RotateWebhookSecret(ctx context.Context, req *connect.Request[consolev1.RotateWebhookSecretRequest]) (*connect.Response[consolev1.RotateWebhookSecretResponse], error) {
	if err := s.own(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	secret, err := s.Engine.Rotate(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.RotateWebhookSecretResponse{Secret: secret}), nil
}

// PauseWebhook holds deliveries back, or lets them go on.
func (s *Webhooks) PauseWebhook(ctx context.Context, req *connect.Request[consolev1.PauseWebhookRequest]) (*connect.Response[consolev1.PauseWebhookResponse], error) {
	if err := s.own(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	w, err := s.Engine.Pause(ctx, req.Msg.GetId(), req.Msg.GetPaused())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.PauseWebhookResponse{Webhook: webhooks.Public(w)}), nil
}

// TestWebhook sends one event now.
func (s *Webhooks) TestWebhook(ctx context.Context, req *connect.Request[consolev1.TestWebhookRequest]) (*connect.Response[consolev1.TestWebhookResponse], error) {
	if err := s.own(ctx, req.Msg.GetId()); err != nil {
		return nil, err
	}
	out, err := s.Engine.Test(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// ListWebhookDeliveries lists deliveries that were not done at the first try.
func (s *Webhooks) ListWebhookDeliveries(ctx context.Context, req *connect.Request[consolev1.ListWebhookDeliveriesRequest]) (*connect.Response[consolev1.ListWebhookDeliveriesResponse], error) {
	m := req.Msg
	if err := s.own(ctx, m.GetWebhook()); err != nil {
		return nil, err
	}
	limit, err := limitOf(m.GetLimit(), 50, maxDeliveries)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Deliveries(ctx, m.GetWebhook(), int(m.GetState()), m.GetBeforeId(), limit+1)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListWebhookDeliveriesResponse{More: len(found) > limit}
	for _, d := range found[:min(len(found), limit)] {
		out.Deliveries = append(out.Deliveries, &consolev1.WebhookDelivery{
			Id: d.ID, Webhook: d.Webhook, Kind: d.Kind, Account: d.Account, State: consolev1.WebhookDeliveryState(d.State), Attempts: int32(d.Attempts),
			CreatedUnixMs: d.CreatedMS, NextUnixMs: d.NextMS, Status: int32(d.Status), Failure: d.Failure, EndedUnixMs: d.EndedMS,
		})
	}
	return connect.NewResponse(out), nil
}

// RetryWebhookDeliveries makes deliveries due now.
func (s *Webhooks) RetryWebhookDeliveries(ctx context.Context, req *connect.Request[consolev1.RetryWebhookDeliveriesRequest]) (*connect.Response[consolev1.RetryWebhookDeliveriesResponse], error) {
	m := req.Msg
	if err := s.own(ctx, m.GetWebhook()); err != nil {
		return nil, err
	}
	if len(m.GetIds()) > maxDeliveries {
		return nil, fault.Errorf(fault.Invalid, "ids: must name at most %d deliveries", maxDeliveries)
	}
	n, err := s.Store.RetryDeliveries(ctx, m.GetWebhook(), m.GetIds(), s.Now())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.RetryWebhookDeliveriesResponse{Retried: n}), nil
}
