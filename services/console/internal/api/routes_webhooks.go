package api

import (
	"context"
	"net/http"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/policy"
)

func (a *api) webhookRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/webhooks", scope: policy.WebhooksRead,
			handle:  pass(func() *consolev1.ListWebhooksRequest { return &consolev1.ListWebhooksRequest{} }, own(a.Webhooks.ListWebhooks)),
			summary: "Subscriptions of events, and the kinds of events.", answer: `{"webhooks":[],"kinds":[]}`},
		{method: http.MethodPost, path: "/webhooks", scope: policy.WebhooksWrite, key: keyOptional, status: http.StatusCreated,
			handle: a.createWebhook,
			summary: "Subscribe to events from now on. The secret that signs them is returned only now, and to a repetition by the same caller, which makes no other subscription: " +
				"a repetition has the same Idempotency-Key, or, when there is none, the same url, kinds and accounts. Give different keys to get two that are alike.",
			request: `{"name":"crm","url":"https://crm.example.com/wxbus","kinds":["message.received"],"accounts":["shop"]}`, required: []string{"name", "url", "accounts"},
			answer: `{"webhook":{"name":"crm"},"secret":"whsec_"}`},
		{method: http.MethodDelete, path: "/webhooks/{id}", scope: policy.WebhooksWrite, key: keyOptional,
			handle:  pass(func() *consolev1.DeleteWebhookRequest { return &consolev1.DeleteWebhookRequest{} }, own(a.Webhooks.DeleteWebhook)),
			summary: "Remove a subscription.", answer: `{}`},
		{method: http.MethodPut, path: "/webhooks/{id}", scope: policy.WebhooksWrite, key: keyOptional,
			handle:   pass(func() *consolev1.UpdateWebhookRequest { return &consolev1.UpdateWebhookRequest{} }, own(a.Webhooks.UpdateWebhook)),
			summary:  "Change a subscription. revision is the one that was read; conflict when somebody else was faster. What is left out is emptied.",
			request:  `{"revision":1,"name":"crm","url":"https://crm.example.com/wxbus","kinds":["message.received"],"accounts":["shop"]}`,
			required: []string{"revision", "name", "url", "accounts"}, answer: `{"webhook":{"name":"crm","revision":"2"}}`},
		{method: http.MethodPost, path: "/webhooks/{id}/pause", scope: policy.WebhooksWrite, key: keyOptional, handle: a.pauseWebhook(true),
			summary: "Hold the events of a subscription back. Nothing is lost as long as the streams keep it.", answer: `{"webhook":{"name":"crm","paused":true}}`},
		{method: http.MethodPost, path: "/webhooks/{id}/resume", scope: policy.WebhooksWrite, key: keyOptional, handle: a.pauseWebhook(false),
			summary: "Let the events of a paused subscription go out, the oldest first.", answer: `{"webhook":{"name":"crm","paused":false}}`},
		{method: http.MethodPost, path: "/webhooks/{id}/rotate", scope: policy.WebhooksWrite, key: keyOptional,
			handle:  pass(func() *consolev1.RotateWebhookSecretRequest { return &consolev1.RotateWebhookSecretRequest{} }, own(a.Webhooks.RotateWebhookSecret)),
			summary: "Make a new secret, which is returned only now. For a day requests carry the signatures of both.", answer: `{"secret":"whsec_"}`},
		{method: http.MethodPost, path: "/webhooks/{id}/test", scope: policy.WebhooksWrite, key: keyOptional, timeout: slow,
			handle:  pass(func() *consolev1.TestWebhookRequest { return &consolev1.TestWebhookRequest{} }, own(a.Webhooks.TestWebhook)),
			summary: "Send one event of kind webhook.test now, and tell what came back.", answer: `{"status":0,"failure":"","took_us":"0"}`},
		{method: http.MethodGet, path: "/webhooks/{id}/deliveries", scope: policy.WebhooksRead, handle: a.listDeliveries,
			query:   []parameter{{"state", "string", "pending, delivered or dead"}, {"before_id", "string", "id of the last one of the page before"}, {"limit", "integer", "1 to 200"}},
			summary: "Events that were not taken at the first try, newest first: those that are tried again, those that were given up, and for a week those that were taken later.",
			answer:  `{"deliveries":[],"more":false}`},
		{method: http.MethodPost, path: "/webhooks/{id}/retry", scope: policy.WebhooksWrite, key: keyOptional, handle: a.retryDeliveries,
			summary: "Send deliveries once more now; all that were given up when ids is empty.", request: `{"ids":[]}`, answer: `{"retried":"0"}`},
	}
}

// createWebhook makes the Idempotency-Key that of the subscription.
func (a *api) createWebhook(ctx context.Context, c *call) (any, error) {
	key, err := idempotencyKey(c.Request)
	if err != nil {
		return nil, err
	}
	in := &consolev1.CreateWebhookRequest{}
	if err := c.bind(in); err != nil {
		return nil, err
	}
	if key != "" {
		in.IdempotencyKey = key
	}
	done, err := own(a.Webhooks.CreateWebhook)(access.With(ctx, c.caller), in)
	if err != nil {
		return nil, err
	}
	return message{done}, nil
}

// pauseWebhook holds back, or lets go on.
func (a *api) pauseWebhook(paused bool) handler {
	return pass(func() *consolev1.PauseWebhookRequest { return &consolev1.PauseWebhookRequest{} },
		func(ctx context.Context, in *consolev1.PauseWebhookRequest) (*consolev1.PauseWebhookResponse, error) {
			in.Paused = paused
			return own(a.Webhooks.PauseWebhook)(ctx, in)
		})
}

// listDeliveries takes the subscription from the path.
func (a *api) listDeliveries(ctx context.Context, c *call) (any, error) {
	return pass(func() *consolev1.ListWebhookDeliveriesRequest { return &consolev1.ListWebhookDeliveriesRequest{} },
		func(ctx context.Context, in *consolev1.ListWebhookDeliveriesRequest) (*consolev1.ListWebhookDeliveriesResponse, error) {
			in.Webhook = c.PathValue("id")
			return own(a.Webhooks.ListWebhookDeliveries)(ctx, in)
		})(ctx, c)
}

// retryDeliveries takes the subscription from the path.
func (a *api) retryDeliveries(ctx context.Context, c *call) (any, error) {
	return pass(func() *consolev1.RetryWebhookDeliveriesRequest { return &consolev1.RetryWebhookDeliveriesRequest{} },
		func(ctx context.Context, in *consolev1.RetryWebhookDeliveriesRequest) (*consolev1.RetryWebhookDeliveriesResponse, error) {
			in.Webhook = c.PathValue("id")
			return own(a.Webhooks.RetryWebhookDeliveries)(ctx, in)
		})(ctx, c)
}
