package push

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

// Reply returns the body that answers the push with a reply, and its content type: in the format of
// the push, and encrypted with the key that opened it when it was encrypted. The plain text is the
// same for every attempt of WeChat at the push; the encryption is fresh. It fails with fault.Invalid for a
// content that WeChat would not show.
func (p *Push) Reply(c *eventv1.Content, now time.Time) (body []byte, contentType string, err error) {
	if p.Account.MiniProgram() && c.GetNativeTransfer() == nil {
		return nil, "", fault.New(fault.Invalid, "encode passive reply: a Mini Program shows no content")
	}
	reply, err := content.Passive(c)
	if err != nil {
		return nil, "", fmt.Errorf("encode passive reply: %w", err)
	}
	reply.ToUserName, reply.FromUserName = p.FromUserName, p.ToUserName
	reply.CreateTime = p.CreateTime
	if reply.CreateTime <= 0 {
		reply.CreateTime = now.Unix()
	}
	plain, err := wechat.EncodeReply(p.Format, reply)
	if err != nil {
		return nil, "", fmt.Errorf("encode passive reply: %w", err)
	}
	body, err = p.keyring.Seal(p.opened, plain, now.Unix(), nonce())
	if err != nil {
		return nil, "", fmt.Errorf("seal passive reply: %w", err)
	}
	return body, p.opened.Format.ContentType(), nil
}

func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
