package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Limits of answers.
const (
	maxAnswer = 8 << 20
	maxMedia  = 32 << 20
)

// Response is an answer. It is returned together with an *APIError too: some errors carry data, for
// example the msg_id of 45065.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the JSON of the answer.
func (r *Response) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("decode answer: %w", err))
	}
	return nil
}

// IsJSON reports whether the answer is a JSON object or array.
func (r *Response) IsJSON() bool { return isJSONBody(r.Body) }

func isJSONBody(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, utf8BOM), " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// readAnswer reads and judges an HTTP answer.
func readAnswer(resp *http.Response, r Request, fail failure) (*Response, error) {
	fail.status = resp.StatusCode
	limit := int64(maxAnswer)
	if r.Binary {
		limit = maxMedia
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		fail.text, fail.cause = "answer cut off", err
		return nil, fail.err()
	}
	if int64(len(body)) > limit {
		fail.text, fail.cause = "answer too large", errors.New("more than the limit")
		return nil, fail.err()
	}
	if resp.StatusCode >= 500 {
		fail.text = fmt.Sprintf("HTTP status %d", resp.StatusCode)
		return nil, fail.err()
	}
	answer := &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	isFile := r.Binary && resp.StatusCode == http.StatusOK
	switch {
	case isFile && resp.Header.Get("Content-Disposition") != "":
		return answer, nil
	case answer.IsJSON():
		answer.Body = clean(body)
		return answer, checkAnswer(answer, r, fail)
	case isFile:
		return answer, nil
	}
	return nil, notJSON(resp.StatusCode, fail)
}

// notJSON judges an answer that WeChat's API does not give: it came from something in between.
func notJSON(status int, fail failure) error {
	switch {
	case status == http.StatusTooManyRequests:
		fail.outcome, fail.class = OutcomeRefused, ClassRate
	case status >= 300 && status != http.StatusRequestTimeout:
		fail.outcome, fail.class = OutcomeRefused, ClassAccount
	}
	fail.text = fmt.Sprintf("HTTP status %d with an answer that is no JSON", status)
	return fail.err()
}

// status is what every JSON answer may hold; a missing errcode is 0.
type status struct {
	Code LooseInt    `json:"errcode"`
	Msg  LooseString `json:"errmsg"`
}

func checkAnswer(answer *Response, r Request, fail failure) error {
	var s status
	isObject := bytes.HasPrefix(bytes.TrimLeft(answer.Body, " \t\r\n"), []byte("{"))
	if !json.Valid(answer.Body) || (isObject && json.Unmarshal(answer.Body, &s) != nil) {
		fail.text = "answer is cut off or malformed JSON"
		return fail.err()
	}
	if s.Code != 0 {
		return newAPIError(r.Path, answer.Status, int(s.Code), string(s.Msg), fail.secrets)
	}
	if answer.Status >= 300 {
		return notJSON(answer.Status, fail)
	}
	return nil
}
