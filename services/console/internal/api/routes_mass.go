package api

import (
	"context"
	"io"
	"net/http"
	"net/url"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/content"

	"github.com/wxbus/wxbus/services/console/internal/policy"
)

// exampleMass is a mass message whose result came.
const exampleMass = `{"id":"m0","state":"sent","attempts":1,"errcode":0,"reason":"","msg_id":"34182","wechat_status":"SEND_SUCCESS",` +
	`"result":{"status":"send success","at_unix_ms":0,"total_count":2,"filter_count":2,"sent_count":2,"error_count":0},"accepted_unix_ms":0,"updated_unix_ms":0}`

func (a *api) massRoutes() []route {
	return []route{
		{method: http.MethodPost, path: "/accounts/{account}/mass", scope: policy.CampaignsWrite, handle: a.sendMass, key: keyRequired, status: http.StatusAccepted,
			maxBody: content.MaxMassBody, query: []parameter{{"name", "string", "name for people, under which it is listed; at most 100 characters"}},
			summary: "Send one message to every follower, to a tag or to a list by WeChat's mass API. The body is that of WeChat's mass/sendall (filter) or mass/send (touser, 2 to 10 000 openids). " +
				"The answer means stored; WeChat tells the result by an event.",
			request: `{"filter":{"is_to_all":false,"tag_id":100},"msgtype":"text","text":{"content":"周五八折"}}`, required: []string{"msgtype"},
			answer: `{"id":"m0","state":"queued","replayed":false}`},
		{method: http.MethodGet, path: "/accounts/{account}/mass", scope: policy.CampaignsRead, handle: a.listMass,
			query:   []parameter{{"name", "string", "only those with exactly this name"}},
			summary: "The mass messages of the last seven days, newest first, at most 200.",
			answer:  `{"mass":[{"id":"m0","name":"friday","target":"tag 100","state":"sent"}]}`},
		{method: http.MethodPost, path: "/accounts/{account}/mass:preview", scope: policy.CampaignsWrite, handle: a.previewMass, key: keyOptional,
			summary: "Show a mass message to one fan at once, for a look; 100 a day. The body is that of WeChat's mass/preview. A repetition shows it again.",
			request: `{"touser":"OPENID","msgtype":"text","text":{"content":"周五八折"}}`, required: []string{"msgtype"}, answer: `{"msg_id":"34182"}`},
		{method: http.MethodGet, path: "/accounts/{account}/mass/{id}", scope: policy.CampaignsRead, handle: a.massStatus,
			summary: "What became of a mass message: our state, what WeChat says now (SEND_SUCCESS, SENDING, SEND_FAIL or DELETE), and the counts of its event.", answer: exampleMass},
		{method: http.MethodDelete, path: "/accounts/{account}/mass/{id}", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  pass(func() *senderv1.DeleteMassRequest { return &senderv1.DeleteMassRequest{} }, client(a.Sender.DeleteMass)),
			query:   []parameter{{"article_index", "integer", "only this article, from 1; all when absent"}},
			summary: "Take a mass message back. WeChat does it for articles and videos only.", answer: `{}`},
		{method: http.MethodGet, path: "/accounts/{account}/mass:speed", scope: policy.CampaignsRead,
			handle:  pass(func() *senderv1.GetMassSpeedRequest { return &senderv1.GetMassSpeedRequest{} }, client(a.Sender.GetMassSpeed)),
			summary: "How fast WeChat sends mass messages of the account.", answer: `{"speed":0,"per_minute":"800000"}`},
		{method: http.MethodPut, path: "/accounts/{account}/mass:speed", scope: policy.CampaignsWrite, key: keyOptional,
			handle:  pass(func() *senderv1.SetMassSpeedRequest { return &senderv1.SetMassSpeedRequest{} }, client(a.Sender.SetMassSpeed)),
			summary: "Change how fast WeChat sends: 0 is 800 000 a minute, 1 is 600 000, 2 is 450 000, 3 is 300 000, 4 is 100 000.",
			request: `{"speed":4}`, required: []string{"speed"}, answer: `{}`},
	}
}

// sendMass takes the body of WeChat's mass/sendall or mass/send. The answer means stored.
func (a *api) sendMass(ctx context.Context, c *call) (any, error) {
	key, err := requiredKey(c.Request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	m, err := content.MassFromJSON(body)
	if err != nil {
		return nil, err
	}
	in := &senderv1.SendMassRequest{Account: c.account, IdempotencyKey: key, Message: m, Name: query(c.URL, "name")}
	c.request = in
	done, err := a.Sender.SendMass(ctx, in)
	if err != nil {
		return nil, err
	}
	c.header.Set("Location", prefix+"/accounts/"+url.PathEscape(c.account)+"/mass/"+url.PathEscape(done.GetId()))
	return sendAnswer{ID: done.GetId(), State: stateName(done.GetRecord().GetState()), Replayed: done.GetReplayed()}, nil
}

type previewAnswer struct {
	MsgID string `json:"msg_id"`
}

func (a *api) previewMass(ctx context.Context, c *call) (any, error) {
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	m, openid, name, err := content.PreviewFromJSON(body)
	if err != nil {
		return nil, err
	}
	in := &senderv1.PreviewMassRequest{Account: c.account, Openid: openid, WechatName: name, Message: m}
	c.request = in
	done, err := a.Sender.PreviewMass(ctx, in)
	if err != nil {
		return nil, err
	}
	return previewAnswer{done.GetMsgId()}, nil
}

// massAnswer is how a mass message stands.
type massAnswer struct {
	ID string `json:"id"`
	// Name and Target are those of the list.
	Name           string            `json:"name,omitempty"`
	Target         string            `json:"target,omitempty"`
	State          string            `json:"state"`
	Attempts       uint32            `json:"attempts"`
	Errcode        int32             `json:"errcode"`
	Reason         string            `json:"reason"`
	MsgID          string            `json:"msg_id"`
	WeChatStatus   string            `json:"wechat_status,omitempty"`
	Result         *massResultAnswer `json:"result,omitempty"`
	AcceptedUnixMS int64             `json:"accepted_unix_ms"`
	UpdatedUnixMS  int64             `json:"updated_unix_ms"`
}

// massResultAnswer is what WeChat's event told.
type massResultAnswer struct {
	resultAnswer
	TotalCount  int64 `json:"total_count"`
	FilterCount int64 `json:"filter_count"`
	SentCount   int64 `json:"sent_count"`
	ErrorCount  int64 `json:"error_count"`
}

func massAnswerOf(r *senderv1.SendRecord) massAnswer {
	out := massAnswer{
		ID: r.GetId(), State: stateName(r.GetState()), Attempts: r.GetAttempts(), Errcode: r.GetErrcode(), Reason: r.GetReason(), MsgID: r.GetMsgId(),
		AcceptedUnixMS: r.GetAcceptedUnixMs(), UpdatedUnixMS: r.GetUpdatedUnixMs(),
	}
	if result := r.GetResult(); result != nil {
		out.Result = &massResultAnswer{
			resultAnswer: resultAnswer{Status: result.GetStatus(), AtUnixMS: result.GetAtUnixMs()},
			TotalCount:   result.GetTotalCount(), FilterCount: result.GetFilterCount(), SentCount: result.GetSentCount(), ErrorCount: result.GetErrorCount(),
		}
	}
	return out
}

func (a *api) massStatus(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.GetMassStatus(ctx, &senderv1.GetMassStatusRequest{Account: c.account, Id: c.PathValue("id")})
	if err != nil {
		return nil, err
	}
	out := massAnswerOf(got.GetRecord())
	out.WeChatStatus = got.GetWechatStatus()
	return out, nil
}

type massList struct {
	Mass []massAnswer `json:"mass"`
}

func (a *api) listMass(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.ListMassJobs(ctx, &senderv1.ListMassJobsRequest{Account: c.account, Name: query(c.URL, "name")})
	if err != nil {
		return nil, err
	}
	out := massList{Mass: []massAnswer{}}
	for _, job := range got.GetJobs() {
		one := massAnswerOf(job.GetRecord())
		one.Name, one.Target = job.GetName(), job.GetTarget()
		out.Mass = append(out.Mass, one)
	}
	return out, nil
}
