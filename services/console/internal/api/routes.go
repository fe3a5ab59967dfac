package api

import (
	"net/http"
	"slices"
	"time"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/console/internal/policy"
)

// prefix of every path of the API.
const prefix = "/api/v1"

// route is one line of the API. The handler, the check of scopes, the OpenAPI document and its tests all come from it.
type route struct {
	method, path string
	scope        string
	summary      string
	handle       handler
	// query are the parameters that it understands.
	query []parameter
	// key tells how the header Idempotency-Key is used.
	key keyUse
	// request and answer are examples; the document takes its schemas from them, and a test runs them.
	request, answer string
	status          int // of a success; 200 when zero
	// required are the fields of the request that must be there.
	required []string
	// consumes is the type of a body that is no JSON.
	consumes string
	// maxBody and timeout are those of the API when zero.
	maxBody int64
	timeout time.Duration
}

// slow is the timeout of what reads or counts a whole audience, or takes a file to WeChat.
const slow = 30 * time.Second

type parameter struct{ name, kind, description string }

type keyUse uint8

const (
	noKey       keyUse = iota // a read
	keyRequired               // a repetition without it could do the thing twice
	keyOptional               // a repetition changes nothing, or see the summary
)

// exampleMessage is a message whose window was closed and whose template went out.
const exampleMessage = `{"id":"0","openid":"fan","state":"failed","attempts":1,"errcode":43004,"reason":"the fan unfollowed","endpoint":"template","step":1,` +
	`"steps":[{"step":0,"endpoint":"custom_send","state":"refused","errcode":0,"reason":"window closed","at_unix_ms":0}],` +
	`"parts":1,"parts_sent":0,"not_before_unix_ms":0,"msg_id":"","accepted_unix_ms":0,"updated_unix_ms":0}`

// routes is the API, in the order of its document.
func (a *api) routes() []route {
	return slices.Concat(a.messageRoutes(), a.massRoutes(), a.campaignRoutes(), a.deskRoutes(), a.webhookRoutes())
}

func (a *api) messageRoutes() []route {
	return []route{
		{method: http.MethodPost, path: "/accounts/{account}/messages", scope: policy.MessagesWrite, handle: a.send, key: keyRequired, status: http.StatusAccepted,
			summary: "Send a message to a fan. The body is that of WeChat's message/custom/send, or a template, subscribe, one_time or typing message. The answer means stored, not delivered. " +
				"Beside it there may be: fallback, up to 4 messages without touser that are sent instead, in order, when the one before is refused; not_before_unix_ms, the earliest time, at most 72 hours ahead; " +
				"expires_unix_ms, after which it is given up.",
			request: `{"touser":"OPENID","msgtype":"text","text":{"content":"您的订单已发货"},"not_before_unix_ms":0,` +
				`"fallback":[{"msgtype":"template","template":{"template_id":"TEMPLATE","data":{"thing1":{"value":"已发货"}}}}]}`, required: []string{"touser", "msgtype"},
			answer: `{"id":"0","state":"queued","replayed":false}`},
		{method: http.MethodPost, path: "/accounts/{account}/messages:batch", scope: policy.MessagesWrite, handle: a.sendBatch, key: keyRequired, status: http.StatusAccepted,
			summary: "Send up to 100 messages. Each has the key Idempotency-Key and its place, so that the same batch never sends twice. Each is accepted or refused on its own.",
			request: `{"messages":[{"touser":"OPENID","msgtype":"text","text":{"content":"一"}},{"touser":"OPENID2","msgtype":"text","text":{"content":"二"}}]}`, required: []string{"messages"},
			answer: `{"results":[{"id":"0","state":"queued","replayed":false},{"error":{"code":"refused","message":"the window is closed"}}]}`},
		{method: http.MethodGet, path: "/accounts/{account}/messages/{id}", scope: policy.MessagesRead, handle: a.message,
			summary: "What became of a message: the API and the step of its chain (0 is the message, n its n-th fallback), the steps that came to nothing before with the reason of each, " +
				"the parts of a long text, and what WeChat's event told.",
			answer: exampleMessage},
		{method: http.MethodGet, path: "/accounts/{account}/sends/{id}", scope: policy.MessagesRead, handle: a.message,
			summary: "The same as messages/{id}.", answer: exampleMessage},
		{method: http.MethodGet, path: "/accounts/{account}/fans/{openid}/quota", scope: policy.MessagesRead, handle: a.quota,
			summary: "How many messages may still be sent to a fan, and until when. class is open, never_opened, expired, exhausted, closed_by_wechat, unsubscribed or no_api.",
			answer:  `{"remaining":3,"reserved":0,"deadline_unix_ms":1800000000000,"class":"open","reason":"fan"}`},
		{method: http.MethodGet, path: "/accounts/{account}/templates", scope: policy.MessagesRead,
			handle:  pass(func() *senderv1.ListTemplatesRequest { return &senderv1.ListTemplatesRequest{} }, client(a.Sender.ListTemplates)),
			query:   []parameter{{"refresh", "boolean", "ask WeChat even when the list is young"}},
			summary: "The templates of the account.", answer: `{"templates":[],"read_unix_ms":"0"}`},
		{method: http.MethodPost, path: "/accounts/{account}/media", scope: policy.MessagesWrite, handle: a.uploadMedia, key: keyOptional, maxBody: maxMedia, timeout: slow,
			query:    []parameter{{"type", "string", "image, voice, video or thumb"}, {"filename", "string", "name that WeChat sees"}},
			consumes: "application/octet-stream",
			summary: "Upload a file to send: the body is the file. The same bytes are uploaded once, and again by themselves when WeChat has forgotten them after three days. " +
				"The bytes decide what the file is, not its name.",
			answer: `{"media_id":"m","expires_unix_ms":1800000000000,"sha256":"0123","cached":false}`},
		{method: http.MethodGet, path: "/accounts/{account}/sending", scope: policy.MessagesRead,
			handle:  pass(func() *senderv1.GetSendingStatusRequest { return &senderv1.GetSendingStatusRequest{} }, client(a.Sender.GetSendingStatus)),
			summary: "How the account stands: use, limit and forecast of each API for the day, what holds calls back and until when, and what waits in the lanes.",
			answer:  `{"endpoints":[],"lanes":[],"resets_unix_ms":"0"}`},
	}
}

func (a *api) deskRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/accounts/{account}/waiting", scope: policy.DeskRead, handle: a.listWaiting,
			query:   []parameter{{"queue", "string", "only of this queue"}, {"limit", "integer", "1 to 500"}},
			summary: "Fans who wait for an agent, the longest waiting first.", answer: `{"waiting":[],"total":0}`},
		{method: http.MethodPost, path: "/accounts/{account}/waiting/{openid}/reply", scope: policy.DeskWrite, handle: a.reply, key: keyOptional, status: http.StatusAccepted,
			summary: "Answer a fan as an agent; a waiting fan is accepted first. Without an Idempotency-Key a repetition may send twice. " +
				"The last message of the fan's window is kept for the end of the conversation, unless use_kept is true.",
			request: `{"agent":"li","text":"您好","use_kept":false}`, required: []string{"agent", "text"}, answer: `{"id":"send-1","state":"queued","record":{}}`},
		{method: http.MethodPost, path: "/accounts/{account}/waiting/{openid}/close", scope: policy.DeskWrite, handle: a.close, key: keyOptional,
			summary: "Give a fan back to the rules.", request: `{"agent":"li"}`, required: []string{"agent"}, answer: `{"account":"shop"}`},
		{method: http.MethodGet, path: "/desk", scope: policy.DeskRead, handle: a.desk, query: []parameter{{"agent", "string", "whose fans to list too"}},
			summary: "Who waits in all accounts of the key, and whom an agent serves.",
			answer:  `{"waiting":[],"waiting_total":0,"serving":[],"serving_total":0,"at_unix_ms":0}`},
		{method: http.MethodGet, path: "/dead-letters", scope: policy.DeadLettersRead,
			handle: pass(func() *consolev1.ListDeadLettersRequest { return &consolev1.ListDeadLettersRequest{} }, own(a.Letters.ListDeadLetters)),
			query: []parameter{{"account", "string", "only of this account"}, {"service", "string", "only of this service"}, {"after_seq", "integer", "next_after_seq of the page before"},
				{"limit", "integer", "1 to 200"}},
			summary: "Messages that a service could not handle, the oldest first.", answer: `{"dead_letters":[],"more":false,"next_after_seq":"0"}`},
		{method: http.MethodPost, path: "/dead-letters/requeue", scope: policy.DeadLettersWrite, key: keyOptional,
			handle:  pass(func() *consolev1.RequeueDeadLettersRequest { return &consolev1.RequeueDeadLettersRequest{} }, own(a.Letters.RequeueDeadLetters)),
			summary: "Give dead letters to their services once more.", request: `{"seqs":[17]}`, required: []string{"seqs"},
			answer: `{"results":[{"seq":"17","done":false,"reason":"dead letter 17 does not exist"}]}`},
		{method: http.MethodPost, path: "/dead-letters/discard", scope: policy.DeadLettersWrite, key: keyOptional,
			handle:  pass(func() *consolev1.DiscardDeadLettersRequest { return &consolev1.DiscardDeadLettersRequest{} }, own(a.Letters.DiscardDeadLetters)),
			summary: "Remove dead letters for good.", request: `{"seqs":[17]}`, required: []string{"seqs"},
			answer: `{"results":[{"seq":"17","done":false,"reason":"dead letter 17 does not exist"}]}`},
		{method: http.MethodGet, path: "/status", scope: policy.StatusRead, handle: a.status,
			summary: "How the system is doing. unknown names what could not be read.", answer: `{"version":"v0.1.0","unknown":[]}`},
	}
}
