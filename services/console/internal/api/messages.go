package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

const (
	maxOpenID = 128
	maxKey    = 128
	keyHeader = "Idempotency-Key"
)

type sendAnswer struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Replayed bool   `json:"replayed"`
}

// send takes the body of WeChat's message/custom/send with options of ours. The answer means stored, not delivered.
func (a *api) send(ctx context.Context, c *call) (any, error) {
	key, err := requiredKey(c.Request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	in, err := sendRequest(body)
	if err != nil {
		return nil, err
	}
	in.Account, in.IdempotencyKey = c.account, key
	c.request = in
	done, err := a.Sender.Send(ctx, in)
	if err != nil {
		return nil, err
	}
	c.header.Set("Location", "/api/v1/accounts/"+url.PathEscape(c.account)+"/messages/"+url.PathEscape(done.GetId()))
	return sendAnswer{ID: done.GetId(), State: stateName(done.GetRecord().GetState()), Replayed: done.GetReplayed()}, nil
}

// maxBatch is how many messages one request may hold.
const maxBatch = 100

type batchAnswer struct {
	Results []batchResult `json:"results"`
}

// batchResult is one of both.
type batchResult struct {
	*sendAnswer
	Error *problem `json:"error,omitempty"`
}

// sendBatch takes many bodies of message/custom/send. One that cannot be read refuses all of them.
func (a *api) sendBatch(ctx context.Context, c *call) (any, error) {
	key, err := requiredKey(c.Request)
	if err != nil {
		return nil, err
	}
	if len(key) > maxKey-len("/99") {
		return nil, invalid(keyHeader, "must have at most 125 characters")
	}
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	var batch struct {
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, invalid("", "the body must be a JSON object with messages")
	}
	if n := len(batch.Messages); n == 0 || n > maxBatch {
		return nil, invalid("messages", "must hold 1 to 100 messages")
	}
	in := &senderv1.SendBatchRequest{}
	for i, one := range batch.Messages {
		request, err := sendRequest(one)
		if err != nil {
			return nil, within("messages["+strconv.Itoa(i)+"]", err)
		}
		request.Account, request.IdempotencyKey = c.account, key+"/"+strconv.Itoa(i)
		in.Requests = append(in.Requests, request)
	}
	c.request = in
	done, err := a.Sender.SendBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := batchAnswer{Results: []batchResult{}}
	for _, r := range done.GetResults() {
		answer.Results = append(answer.Results, batchResultOf(r))
	}
	return answer, nil
}

func batchResultOf(r *senderv1.SendBatchResult) batchResult {
	if p := r.GetProblem(); p != nil {
		return batchResult{Error: problemOf(status.Error(codes.Code(p.GetCode()), p.GetMessage()))}
	}
	done := r.GetResponse()
	return batchResult{sendAnswer: &sendAnswer{ID: done.GetId(), State: stateName(done.GetRecord().GetState()), Replayed: done.GetReplayed()}}
}

// readFault tells a body that is too large, which MaxBytesReader reports, from one that broke off.
func readFault(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return invalid("", "the body ended early")
}

// requiredKey returns the key, which must be there.
func requiredKey(r *http.Request) (string, error) {
	key, err := idempotencyKey(r)
	if err == nil && key == "" {
		err = invalid(keyHeader, "is required, so that a repetition never sends a second message")
	}
	return key, err
}

// idempotencyKey returns the key, or an empty text when there is none.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get(keyHeader)
	if len(key) > maxKey {
		return "", invalid(keyHeader, "must have at most 128 characters")
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", invalid(keyHeader, "must be printable ASCII")
		}
	}
	return key, nil
}

// stateName writes SEND_STATE_QUEUED as "queued".
func stateName(s senderv1.SendState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEND_STATE_"))
}
