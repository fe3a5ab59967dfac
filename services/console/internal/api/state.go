package api

import (
	"context"
	"strings"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// messageAnswer is how a message stands.
type messageAnswer struct {
	ID       string `json:"id"`
	OpenID   string `json:"openid"`
	State    string `json:"state"`
	Attempts uint32 `json:"attempts"`
	Errcode  int32  `json:"errcode"`
	Reason   string `json:"reason"`
	// Endpoint is the API of the step that is being sent, or was the last: 0 is the message, n its n-th fallback.
	Endpoint string       `json:"endpoint"`
	Step     uint32       `json:"step"`
	Steps    []stepAnswer `json:"steps"`
	// Parts are how many messages a long text needs.
	Parts           uint32        `json:"parts"`
	PartsSent       uint32        `json:"parts_sent"`
	NotBeforeUnixMS int64         `json:"not_before_unix_ms"`
	MsgID           string        `json:"msg_id"`
	Result          *resultAnswer `json:"result,omitempty"`
	AcceptedUnixMS  int64         `json:"accepted_unix_ms"`
	UpdatedUnixMS   int64         `json:"updated_unix_ms"`
}

// stepAnswer is a step that came to nothing.
type stepAnswer struct {
	Step     uint32 `json:"step"`
	Endpoint string `json:"endpoint"`
	State    string `json:"state"`
	Errcode  int32  `json:"errcode"`
	Reason   string `json:"reason"`
	AtUnixMS int64  `json:"at_unix_ms"`
}

// resultAnswer is what WeChat's event told.
type resultAnswer struct {
	Status   string `json:"status"`
	AtUnixMS int64  `json:"at_unix_ms"`
}

func (a *api) message(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.GetSend(ctx, &senderv1.GetSendRequest{Account: c.account, Id: c.PathValue("id")})
	if err != nil {
		return nil, err
	}
	r := got.GetRecord()
	out := messageAnswer{
		ID: r.GetId(), OpenID: r.GetOpenid(), State: stateName(r.GetState()), Attempts: r.GetAttempts(),
		Errcode: r.GetErrcode(), Reason: r.GetReason(), Endpoint: endpointName(r.GetEndpoint()), Step: r.GetStep(), Steps: []stepAnswer{},
		Parts: max(1, r.GetParts()), PartsSent: r.GetPartsSent(), NotBeforeUnixMS: r.GetNotBeforeUnixMs(), MsgID: r.GetMsgId(),
		AcceptedUnixMS: r.GetAcceptedUnixMs(), UpdatedUnixMS: r.GetUpdatedUnixMs(),
	}
	for _, s := range r.GetSteps() {
		out.Steps = append(out.Steps, stepAnswer{
			Step: s.GetStep(), Endpoint: endpointName(s.GetEndpoint()), State: stateName(s.GetState()), Errcode: s.GetErrcode(), Reason: s.GetReason(), AtUnixMS: s.GetAtUnixMs(),
		})
	}
	if result := r.GetResult(); result != nil {
		out.Result = &resultAnswer{Status: result.GetStatus(), AtUnixMS: result.GetAtUnixMs()}
	}
	return out, nil
}

type quotaAnswer struct {
	Remaining      int32  `json:"remaining"`
	Reserved       int32  `json:"reserved"`
	DeadlineUnixMS int64  `json:"deadline_unix_ms"`
	Class          string `json:"class"`
	Reason         string `json:"reason"`
}

func (a *api) quota(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.GetQuota(ctx, &senderv1.GetQuotaRequest{Account: c.account, Openid: c.PathValue("openid")})
	if err != nil {
		return nil, err
	}
	return quotaAnswer{
		Remaining: got.GetRemaining(), Reserved: got.GetReserved(), DeadlineUnixMS: got.GetDeadlineUnixMs(), Class: className(got.GetClass()), Reason: got.GetReason(),
	}, nil
}

func className(c senderv1.QuotaClass) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "QUOTA_CLASS_"))
}

func endpointName(e senderv1.SendEndpoint) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), "SEND_ENDPOINT_"))
}
