// Package producer publishes facts about owners and hands messages of agents to the sender.
package producer

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Facts publishes OwnerChanged to the stream CONVERSATIONS.
type Facts struct {
	conn *bus.Conn
}

// NewFacts returns a publisher on conn.
func NewFacts(conn *bus.Conn) *Facts { return &Facts{conn: conn} }

// Publish stores one fact of the record. The message id is account, fan and epoch, so a repetition
// stores nothing.
func (p *Facts) Publish(ctx context.Context, r domain.Record, f domain.Fact) error {
	subject, err := topology.SubjectConversation(r.Account, f.Conversation)
	if err != nil {
		return err
	}
	event := wire.Fact(r, f)
	data, err := proto.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode owner change: %w", err)
	}
	_, err = p.conn.Publish(ctx, bus.Msg{
		Subject: subject,
		ID:      r.Account + ":" + topology.OpenIDToken(r.OpenID) + ":" + strconv.FormatUint(f.Owner.Epoch, 10),
		Data:    data,
		Header:  nats.Header{bus.HeaderType: []string{string(event.ProtoReflect().Descriptor().FullName())}},
	})
	if err != nil {
		return fmt.Errorf("publish owner change: %w", err)
	}
	return nil
}
