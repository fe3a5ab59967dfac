package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
)

// The headers of a dead letter, as package bus writes and lists them. A parked body was never a message
// of a stream, so it has no original subject and cannot be requeued; it is kept to be looked at.
const (
	headerReason  = "Wxbus-Dlq-Reason"
	headerKind    = "Wxbus-Dlq-Kind"
	headerService = "Wxbus-Dlq-Service"
	headerAccount = "Wxbus-Original-Account"
	rawBody       = "raw push body"
)

const parkTimeout = 2 * time.Second

// Parker keeps bodies that WeChat sent and nobody can use, as dead letters of the gateway.
type Parker struct{ bus Bus }

// NewParker returns a parker on a bus.
func NewParker(b Bus) *Parker { return &Parker{bus: b} }

// Park stores a body with the reason. The same body parked again, by a retry of WeChat, is stored once.
// It ends within two seconds, also when ctx has ended.
func (p *Parker) Park(ctx context.Context, account, reason string, body []byte) error {
	subject, err := topology.SubjectDeadLetter(topology.ServiceGateway, topology.StreamInbound)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parkTimeout)
	defer cancel()
	_, err = p.bus.Publish(ctx, bus.Msg{
		Subject: subject, ID: "dlq:raw:" + account + ":" + hex.EncodeToString(sum[:16]), Data: body,
		Header: nats.Header{
			headerReason: {reason}, headerKind: {"invalid"}, headerService: {topology.ServiceGateway},
			headerAccount: {account}, bus.HeaderType: {rawBody},
		},
		ExpectStream: topology.StreamDeadLetters,
	})
	if err != nil {
		return fmt.Errorf("park push: %w", err)
	}
	return nil
}
