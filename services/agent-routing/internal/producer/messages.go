package producer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Messages hands what agents write to the sender.
type Messages struct {
	client senderv1.SenderServiceClient
}

// NewMessages returns a sender of messages through client.
func NewMessages(client senderv1.SenderServiceClient) *Messages { return &Messages{client: client} }

// Send stores a message of the agent who owns the fan and returns its id. The epoch goes along, so
// that the sender refuses it when somebody else owns the fan by then. key is the agent's own; the
// same key for the same fan and agent never sends twice.
func (p *Messages) Send(ctx context.Context, r domain.Record, key string, content *eventv1.Content) (string, error) {
	done, err := p.client.Send(ctx, &senderv1.SendRequest{
		Account: r.Account, Openid: r.OpenID, Lane: senderv1.Lane_LANE_AGENT, Content: content,
		OwnerEpoch: r.Owner.Epoch, IdempotencyKey: keyOf(r, key),
	})
	if err != nil {
		return "", fmt.Errorf("hand message to the sender: %w", fault.FromStatus(err))
	}
	return done.GetId(), nil
}

// keyOf keeps the keys of two agents, or of two fans, apart: the sender's keys are unique within an
// account only.
func keyOf(r domain.Record, key string) string {
	h := sha256.New()
	for _, part := range []string{r.OpenID, r.Owner.Name, key} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
	}
	return "desk-" + hex.EncodeToString(h.Sum(nil)[:20])
}
