// Package facts publishes what happens at the desk to the stream CONVERSATIONS.
package facts

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Facts is a publisher, safe for concurrent use.
type Facts struct{ conn *bus.Conn }

// New returns a publisher on conn.
func New(conn *bus.Conn) *Facts { return &Facts{conn: conn} }

// Owner publishes a change of an owner. The message id is account, fan and epoch, so a repetition stores nothing.
func (p *Facts) Owner(ctx context.Context, f *agentroutingv1.OwnerChanged) error {
	data, err := proto.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode owner change: %w", err)
	}
	id := f.GetAccount() + ":" + topology.OpenIDToken(f.GetOpenid()) + ":" + strconv.FormatUint(f.GetOwner().GetEpoch(), 10)
	return p.publish(ctx, f.GetAccount(), f.GetConversation(), id, typeOf(f), data)
}

var eventType = typeOf(new(agentroutingv1.ConversationEvent))

// Event publishes an encoded ConversationEvent under an id; a repetition stores nothing.
func (p *Facts) Event(ctx context.Context, account, conversation, id string, event []byte) error {
	return p.publish(ctx, account, conversation, id, eventType, event)
}

func (p *Facts) publish(ctx context.Context, account, conversation, id, kind string, data []byte) error {
	subject, err := topology.SubjectConversation(account, conversation)
	if err != nil {
		return err
	}
	if _, err = p.conn.Publish(ctx, bus.Msg{Subject: subject, ID: id, Data: data, Header: nats.Header{bus.HeaderType: []string{kind}}}); err != nil {
		return fmt.Errorf("publish %s: %w", kind, err)
	}
	return nil
}

// Purge removes everything about a conversation from the stream and returns how many messages that were.
func (p *Facts) Purge(ctx context.Context, account, conversation string) (int64, error) {
	subject, err := topology.SubjectConversation(account, conversation)
	if err != nil {
		return 0, err
	}
	stream, err := p.conn.JS().Stream(ctx, topology.StreamConversations)
	if err != nil {
		return 0, fault.Errorf(fault.Unavailable, "find the stream of conversations: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, fault.Errorf(fault.Unavailable, "look at the stream of conversations: %w", err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return 0, fault.Errorf(fault.Unavailable, "purge a conversation: %w", err)
	}
	return int64(info.State.Subjects[subject]), nil
}

// LastSequence returns the newest sequence of the stream.
func (p *Facts) LastSequence(ctx context.Context) (uint64, error) {
	stream, err := p.conn.JS().Stream(ctx, topology.StreamConversations)
	if err != nil {
		return 0, fault.Errorf(fault.Unavailable, "find the stream of conversations: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// Signal publishes what is worth knowing only now. It is lost when nobody listens.
func (p *Facts) Signal(_ context.Context, s *agentroutingv1.DeskSignal) error {
	subject, err := topology.SubjectDeskSignal(s.GetAccount(), s.GetConversation())
	if err != nil {
		return err
	}
	data, err := proto.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode signal: %w", err)
	}
	if err := p.conn.NC().Publish(subject, data); err != nil {
		return fault.Errorf(fault.Unavailable, "publish signal: %w", err)
	}
	return nil
}

// Follow calls each event of a conversation that is published from now on, until ctx ends or each fails. ready is called when
// nothing can be missed any more.
func (p *Facts) Follow(ctx context.Context, account, conversation string, ready func() error, each func([]byte) error) error {
	subject, err := topology.SubjectConversation(account, conversation)
	if err != nil {
		return err
	}
	consumer, err := p.conn.JS().OrderedConsumer(ctx, topology.StreamConversations, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return fault.Errorf(fault.Unavailable, "follow a conversation: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fault.Errorf(fault.Unavailable, "follow a conversation: %w", err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer func() {
		stop()
		messages.Stop()
	}()
	if err := ready(); err != nil {
		return err
	}
	for {
		msg, err := messages.Next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.Errorf(fault.Unavailable, "follow a conversation: %w", err)
		}
		if msg.Headers().Get(bus.HeaderType) != eventType {
			continue
		}
		if err := each(msg.Data()); err != nil {
			return err
		}
	}
}

func typeOf(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }
