package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/content"
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

// send takes the body of WeChat's message/custom/send. The answer means stored, not delivered.
func (a *api) send(ctx context.Context, c *call) (any, error) {
	key, err := idempotencyKey(c.Request)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, invalid(keyHeader, "is required, so that a repetition never sends a second message")
	}
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	openid, message, kfAccount, err := content.FromJSON(body)
	if err != nil {
		return nil, err
	}
	if len(openid) > maxOpenID {
		return nil, invalid("touser", "must have at most 128 bytes")
	}
	done, err := a.Sender.Send(ctx, &senderv1.SendRequest{
		Account: c.account, Openid: openid, IdempotencyKey: key,
		Lane: senderv1.Lane_LANE_NOTIFY, Content: message, KfAccount: kfAccount,
	})
	if err != nil {
		return nil, err
	}
	c.status = http.StatusAccepted
	c.header.Set("Location", "/api/v1/accounts/"+url.PathEscape(c.account)+"/messages/"+url.PathEscape(done.GetId()))
	return sendAnswer{ID: done.GetId(), State: stateName(done.GetRecord().GetState()), Replayed: done.GetReplayed()}, nil
}

// readFault tells a body that is too large, which MaxBytesReader reports, from one that broke off.
func readFault(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return invalid("", "the body ended early")
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

type messageAnswer struct {
	ID             string `json:"id"`
	OpenID         string `json:"openid"`
	State          string `json:"state"`
	Attempts       uint32 `json:"attempts"`
	Errcode        int32  `json:"errcode"`
	Reason         string `json:"reason"`
	AcceptedUnixMS int64  `json:"accepted_unix_ms"`
	UpdatedUnixMS  int64  `json:"updated_unix_ms"`
}

func (a *api) message(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.GetSend(ctx, &senderv1.GetSendRequest{Account: c.account, Id: c.PathValue("id")})
	if err != nil {
		return nil, err
	}
	r := got.GetRecord()
	return messageAnswer{
		ID: r.GetId(), OpenID: r.GetOpenid(), State: stateName(r.GetState()), Attempts: r.GetAttempts(),
		Errcode: r.GetErrcode(), Reason: r.GetReason(), AcceptedUnixMS: r.GetAcceptedUnixMs(), UpdatedUnixMS: r.GetUpdatedUnixMs(),
	}, nil
}

type quotaAnswer struct {
	Remaining      int32  `json:"remaining"`
	DeadlineUnixMS int64  `json:"deadline_unix_ms"`
	Reason         string `json:"reason"`
}

func (a *api) quota(ctx context.Context, c *call) (any, error) {
	got, err := a.Sender.GetQuota(ctx, &senderv1.GetQuotaRequest{Account: c.account, Openid: c.PathValue("openid")})
	if err != nil {
		return nil, err
	}
	return quotaAnswer{Remaining: got.GetRemaining(), DeadlineUnixMS: got.GetDeadlineUnixMs(), Reason: got.GetReason()}, nil
}

// stateName writes SEND_STATE_QUEUED as "queued".
func stateName(s senderv1.SendState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEND_STATE_"))
}
