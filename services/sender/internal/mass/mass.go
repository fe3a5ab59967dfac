// Package mass asks WeChat about mass messages: preview, status, deletion and speed. Sending one is the work
// of intake and deliver, as for every message.
package mass

import (
	"context"
	"fmt"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
)

// Mass is safe for concurrent use.
type Mass struct {
	api   *api.API
	sends *sends.Store
}

// New returns a Mass.
func New(a *api.API, s *sends.Store) *Mass { return &Mass{api: a, sends: s} }

// Preview sends the message to one fan at once.
func (m *Mass) Preview(ctx context.Context, a account.Account, req *senderv1.PreviewMassRequest) (*senderv1.PreviewMassResponse, error) {
	if req.GetOpenid() == "" && req.GetWechatName() == "" {
		return nil, fault.New(fault.Invalid, "openid, wechat_name: one of them is required")
	}
	body, err := content.MassPreview(req.GetMessage(), req.GetOpenid(), req.GetWechatName())
	if err != nil {
		return nil, err
	}
	resp := &senderv1.PreviewMassResponse{}
	err = m.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		resp.MsgId, err = c.MassPreview(ctx, token, body)
		return err
	})
	return resp, err
}

// Status returns the record of a mass message and what WeChat says about it now.
func (m *Mass) Status(ctx context.Context, a account.Account, id string) (*senderv1.GetMassStatusResponse, error) {
	rec, err := m.record(ctx, a, id)
	if err != nil {
		return nil, err
	}
	resp := &senderv1.GetMassStatusResponse{Record: rec}
	if rec.GetMsgId() == "" {
		return resp, nil
	}
	// What WeChat says is more than was asked for: the record alone is an answer too.
	if status, err := m.api.MassStatus(ctx, a, rec.GetMsgId()); err == nil {
		resp.WechatStatus = status
	}
	return resp, nil
}

// Delete takes a mass message back.
func (m *Mass) Delete(ctx context.Context, a account.Account, id string, article int32) error {
	rec, err := m.record(ctx, a, id)
	if err != nil {
		return err
	}
	if rec.GetMsgId() == "" {
		return fault.New(fault.Refused, "WeChat does not have the message yet")
	}
	if article < 0 {
		return fault.New(fault.Invalid, "article_index: must not be negative")
	}
	err = m.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) error {
		return c.MassDelete(ctx, token, rec.GetMsgId(), int(article))
	})
	if err != nil {
		return fmt.Errorf("delete mass message: %w", err)
	}
	return nil
}

// Speed returns how fast WeChat sends.
func (m *Mass) Speed(ctx context.Context, a account.Account) (*senderv1.GetMassSpeedResponse, error) {
	resp := &senderv1.GetMassSpeedResponse{}
	err := m.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) error {
		speed, perMinute, err := c.MassSpeed(ctx, token)
		resp.Speed, resp.PerMinute = int32(speed), perMinute
		return err
	})
	return resp, err
}

// SetSpeed changes how fast WeChat sends.
func (m *Mass) SetSpeed(ctx context.Context, a account.Account, speed int32) error {
	if speed < 0 || speed > 4 {
		return fault.New(fault.Invalid, "speed: must be 0 to 4")
	}
	return m.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) error {
		return c.SetMassSpeed(ctx, token, int(speed))
	})
}

func (m *Mass) record(ctx context.Context, a account.Account, id string) (*senderv1.SendRecord, error) {
	rec, err := m.sends.Get(ctx, a.Name, id)
	if err != nil {
		return nil, err
	}
	if rec.Rec.GetEndpoint() != endpoint.MassByFilter.ID {
		return nil, fault.New(fault.NotFound, "no such mass message")
	}
	return rec.Rec, nil
}
