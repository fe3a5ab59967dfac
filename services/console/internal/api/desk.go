package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	deskRows  = 50   // rows of each list on the page
	maxAgent  = 64   // characters
	maxText   = 2000 // characters; the sender splits at WeChat's limit of bytes
	maxRows   = 500
	everyone  = "" // an empty account or agent asks for all
	queueName = 128
)

type waitingAnswer struct {
	Waiting []message `json:"waiting"`
	Total   int32     `json:"total"`
}

func (a *api) listWaiting(ctx context.Context, c *call) (any, error) {
	limit := 0
	if text := c.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxRows {
			return nil, invalid("limit", "must be 1 to 500")
		}
		limit = n
	}
	queue := c.URL.Query().Get("queue")
	if len(queue) > queueName {
		return nil, invalid("queue", "must have at most 128 bytes")
	}
	got, err := a.Conversations.ListWaiting(ctx, &agentroutingv1.ListWaitingRequest{Account: c.account, Queue: queue, Limit: int32(limit)})
	if err != nil {
		return nil, err
	}
	c.shows = []string{c.account}
	return waitingAnswer{Waiting: messages(got.GetWaiting()), Total: got.GetTotal()}, nil
}

type deskAnswer struct {
	Waiting      []message `json:"waiting"`
	WaitingTotal int32     `json:"waiting_total"`
	Serving      []message `json:"serving"`
	ServingTotal int32     `json:"serving_total"`
	AtUnixMS     int64     `json:"at_unix_ms"`
}

// desk is what the page asks for every two seconds: who waits in all accounts of the caller, and
// whom the given agent serves.
func (a *api) desk(ctx context.Context, c *call) (any, error) {
	agent := c.URL.Query().Get("agent")
	var waiting, serving []*agentroutingv1.OwnerRecord
	var answer deskAnswer
	c.shows = a.accountsOf(c)
	for _, name := range c.shows {
		w, err := a.Conversations.ListWaiting(ctx, &agentroutingv1.ListWaitingRequest{Account: name, Limit: deskRows})
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, w.GetWaiting()...)
		answer.WaitingTotal += w.GetTotal()
		if agent == everyone {
			continue
		}
		s, err := a.Conversations.ListServing(ctx, &agentroutingv1.ListServingRequest{Account: name, Agent: agent, Limit: deskRows})
		if err != nil {
			return nil, err
		}
		serving = append(serving, s.GetServing()...)
		answer.ServingTotal += s.GetTotal()
	}
	answer.Waiting = messages(firstRows(waiting, func(r *agentroutingv1.OwnerRecord) int64 { return r.GetOwner().GetSinceUnixMs() }))
	answer.Serving = messages(firstRows(serving, (*agentroutingv1.OwnerRecord).GetActiveUnixMs))
	answer.AtUnixMS = a.Now().UnixMilli()
	return answer, nil
}

// accountsOf returns what to ask for: one question for a caller who may see all, else one for each
// of their accounts.
func (a *api) accountsOf(c *call) []string {
	if c.caller.All() {
		return []string{everyone}
	}
	var names []string
	for _, acc := range a.Accounts.All() {
		if c.caller.May(acc.Name) {
			names = append(names, acc.Name)
		}
	}
	return names
}

func firstRows(rows []*agentroutingv1.OwnerRecord, by func(*agentroutingv1.OwnerRecord) int64) []*agentroutingv1.OwnerRecord {
	slices.SortStableFunc(rows, func(x, y *agentroutingv1.OwnerRecord) int { return cmp.Compare(by(x), by(y)) })
	return rows[:min(len(rows), deskRows)]
}

type agentRequest struct {
	Agent string `json:"agent"`
	Text  string `json:"text"`
	// UseKept takes what is kept for the end of the conversation.
	UseKept bool `json:"use_kept"`
}

type replyAnswer struct {
	ID     string  `json:"id"`
	State  string  `json:"state"`
	Record message `json:"record"`
}

// reply answers a fan as an agent. Without an Idempotency-Key a repetition may send twice.
func (a *api) reply(ctx context.Context, c *call) (any, error) {
	key, err := idempotencyKey(c.Request)
	if err != nil {
		return nil, err
	}
	if key == "" {
		key = rand.Text()
	}
	body, err := readAgentRequest(c)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(body.Text) == "":
		return nil, invalid("text", "must not be empty")
	case utf8.RuneCountInString(body.Text) > maxText:
		return nil, invalid("text", "must have at most 2000 characters")
	}
	done, err := a.Conversations.Reply(ctx, &agentroutingv1.ReplyRequest{
		Account: c.account, Openid: c.PathValue("openid"), Agent: body.Agent, IdempotencyKey: key, UseKept: body.UseKept,
		Content: &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: body.Text}}},
	})
	if err != nil {
		return nil, err
	}
	return replyAnswer{ID: done.GetSendId(), State: stateName(senderv1.SendState_SEND_STATE_QUEUED), Record: message{done.GetRecord()}}, nil
}

func (a *api) close(ctx context.Context, c *call) (any, error) {
	body, err := readAgentRequest(c)
	if err != nil {
		return nil, err
	}
	done, err := a.Conversations.Close(ctx, &agentroutingv1.CloseRequest{Account: c.account, Openid: c.PathValue("openid"), Agent: body.Agent})
	if err != nil {
		return nil, err
	}
	return message{done.GetRecord()}, nil
}

func readAgentRequest(c *call) (agentRequest, error) {
	var body agentRequest
	d := json.NewDecoder(c.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		if p := problemOf(err); p.Status == http.StatusRequestEntityTooLarge {
			return body, p
		}
		return body, invalid("", "the body must be a JSON object with agent and text")
	}
	if d.More() {
		return body, invalid("", "the body must be one JSON object")
	}
	body.Agent = strings.TrimSpace(body.Agent)
	bad := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	switch {
	case body.Agent == "":
		return body, invalid("agent", "must not be empty")
	case utf8.RuneCountInString(body.Agent) > maxAgent, strings.ContainsFunc(body.Agent, bad):
		return body, invalid("agent", "must be at most 64 printable characters")
	}
	return body, nil
}
