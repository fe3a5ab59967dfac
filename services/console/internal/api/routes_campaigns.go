package api

import (
	"context"
	"io"
	"mime"
	"net/http"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/console/internal/policy"
)

// maxAudience bounds a file of recipients: 32 MiB, or what base64 makes of them.
const maxAudience = 44 << 20

var page = []parameter{{"page_size", "integer", "rows of a page"}, {"page_token", "string", "next_page_token of the page before"}}

func (a *api) campaignRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/accounts/{account}/campaigns", scope: policy.CampaignsRead, query: page,
			handle:  pass(func() *senderv1.ListCampaignsRequest { return &senderv1.ListCampaignsRequest{} }, client(a.Campaigns.ListCampaigns)),
			summary: "Campaigns, newest first.", answer: `{"campaigns":[],"next_page_token":""}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns", scope: policy.CampaignsWrite, key: keyOptional, status: http.StatusCreated,
			handle:  a.createCampaign,
			summary: "Make a draft of a campaign. Without an id the Idempotency-Key is the id; the same id with the same message returns the first result.",
			request: `{"id":"spring-sale","name":"Spring sale","message":{"content":{"text":{"content":"春季特卖开始了"}}}}`, required: []string{"name", "message"},
			answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodGet, path: "/accounts/{account}/campaigns/{id}", scope: policy.CampaignsRead,
			handle:  pass(func() *senderv1.GetCampaignRequest { return &senderv1.GetCampaignRequest{} }, client(a.Campaigns.GetCampaign)),
			summary: "How a campaign stands.", answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodPut, path: "/accounts/{account}/campaigns/{id}/audience", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  a.setAudience,
			maxBody: maxAudience, timeout: slow, query: []parameter{{"strict", "boolean", "keep the audience as it was when any recipient cannot be used"}},
			summary: "Freeze the audience of a draft: list or tag_id; or csv, base64 in JSON, or the file itself as the body with Content-Type text/csv. " +
				"report names each line that cannot be used, with its number and why.", request: `{"list":{"openids":["OPENID"]}}`,
			answer: `{"campaign":{"id":"spring-sale"},"report":{"lines":1,"accepted":1,"problems":[],"counts":[],"frozen":true}}`},
		{method: http.MethodGet, path: "/accounts/{account}/campaigns/{id}/count", scope: policy.CampaignsRead, timeout: slow,
			handle:  pass(func() *senderv1.DryCountRequest { return &senderv1.DryCountRequest{} }, client(a.Campaigns.DryCount)),
			query:   []parameter{{"rate", "number", "messages a second that the plan would have; that of the account when absent"}},
			summary: "Count who would get it now, and why the others would not. Nothing is sent.", answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns/{id}/start", scope: policy.CampaignsWrite, key: keyOptional,
			handle: pass(func() *senderv1.StartCampaignRequest { return &senderv1.StartCampaignRequest{} }, client(a.Campaigns.StartCampaign)),
			summary: "Start a campaign to exactly as many recipients as were counted, or at start_at. canary and ramp are steps: each is sent to, then its results are watched for hold_ms, " +
				"and when more than max_failure_percent of them are failures the campaign pauses itself.",
			request: `{"expected_recipients":1,"start_at":"","time_zone":"Asia/Shanghai","canary":{"percent":1,"hold_ms":600000,"confirm":false},"ramp":[{"percent":10,"hold_ms":300000}],` +
				`"max_failure_percent":5,"min_results":20,"rate":0}`, required: []string{"expected_recipients"},
			answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns/{id}/pause", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  pass(func() *senderv1.PauseCampaignRequest { return &senderv1.PauseCampaignRequest{} }, client(a.Campaigns.PauseCampaign)),
			summary: "Pause a campaign.", request: `{"reason":"stock is low"}`, answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns/{id}/resume", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  pass(func() *senderv1.ResumeCampaignRequest { return &senderv1.ResumeCampaignRequest{} }, client(a.Campaigns.ResumeCampaign)),
			summary: "Let a paused campaign go on.", request: `{}`, answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns/{id}/cancel", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  pass(func() *senderv1.CancelCampaignRequest { return &senderv1.CancelCampaignRequest{} }, client(a.Campaigns.CancelCampaign)),
			summary: "End a campaign for good.", request: `{"reason":"wrong text"}`, answer: `{"campaign":{"id":"spring-sale"}}`},
		{method: http.MethodGet, path: "/accounts/{account}/campaigns/{id}/recipients", scope: policy.CampaignsRead, handle: a.listRecipients,
			query: append([]parameter{{"states", "string", "pending, submitting, queued, accepted, sent, failed, refused, ambiguous or skipped; may be repeated"},
				{"errcodes", "integer", "of WeChat; may be repeated"}, {"openid", "string", "of one recipient"}}, page...),
			summary: "What became of each recipient. send_id leads to messages/{id}.", answer: `{"recipients":[],"next_page_token":""}`},
		{method: http.MethodGet, path: "/accounts/{account}/campaigns/{id}/replay", scope: policy.CampaignsRead, timeout: slow,
			handle:  pass(func() *senderv1.CountReplayRequest { return &senderv1.CountReplayRequest{} }, client(a.Campaigns.CountReplay)),
			query:   []parameter{{"errcodes", "integer", "failures to replay; may be repeated; 0 stands for those that were refused before WeChat was asked"}},
			summary: "Count whom a replay of failures would send to. Who may have the message is never among them.",
			answer:  `{"count":0,"groups":[],"ambiguous":0}`},
		{method: http.MethodPost, path: "/accounts/{account}/campaigns/{id}/replay", scope: policy.CampaignsWrite, key: keyOptional, timeout: slow,
			handle:  pass(func() *senderv1.ReplayFailuresRequest { return &senderv1.ReplayFailuresRequest{} }, client(a.Campaigns.ReplayFailures)),
			summary: "Send once more to exactly as many recipients as the replay was counted with.", request: `{"errcodes":[45009],"expected_count":1}`,
			required: []string{"errcodes", "expected_count"}, answer: `{"campaign":{"id":"spring-sale"},"count":1}`},
	}
}

// createCampaign makes the Idempotency-Key the id when there is none.
func (a *api) createCampaign(ctx context.Context, c *call) (any, error) {
	key, err := idempotencyKey(c.Request)
	if err != nil {
		return nil, err
	}
	in := &senderv1.CreateCampaignRequest{}
	if err := c.bind(in); err != nil {
		return nil, err
	}
	if in.GetId() == "" {
		in.Id = key
	}
	done, err := a.Campaigns.CreateCampaign(ctx, in)
	if err != nil {
		return nil, err
	}
	return message{done}, nil
}

// setAudience takes a CSV file as it is, beside JSON.
func (a *api) setAudience(ctx context.Context, c *call) (any, error) {
	in := &senderv1.SetAudienceRequest{}
	kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if kind != "text/csv" {
		return pass(func() *senderv1.SetAudienceRequest { return in }, client(a.Campaigns.SetAudience))(ctx, c)
	}
	file, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	c.Body = http.NoBody
	if err := c.bind(in); err != nil {
		return nil, err
	}
	in.Source = &senderv1.SetAudienceRequest_Csv{Csv: file}
	done, err := a.Campaigns.SetAudience(ctx, in)
	if err != nil {
		return nil, err
	}
	return message{done}, nil
}

// listRecipients reads the filter from the query.
func (a *api) listRecipients(ctx context.Context, c *call) (any, error) {
	in := &senderv1.ListRecipientsRequest{Filter: &senderv1.RecipientFilter{}}
	if err := c.bind(in); err != nil {
		return nil, err
	}
	fields := in.GetFilter().ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if err := c.bindField(in.GetFilter(), fields.Get(i)); err != nil {
			return nil, err
		}
	}
	done, err := a.Campaigns.ListRecipients(ctx, in)
	if err != nil {
		return nil, err
	}
	return message{done}, nil
}
