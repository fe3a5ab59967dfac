package grpcapi

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

// maxChanges bounds the changes of one conversation that are read at once.
const maxChanges = 500

// Watch follows a conversation: what is kept first, then what comes, without a gap and without a repetition.
func (s *Conversations) Watch(in *agentroutingv1.WatchRequest, stream grpc.ServerStreamingServer[agentroutingv1.WatchResponse]) error {
	ctx := stream.Context()
	if _, err := s.plain(ctx, in.GetAccount(), in.GetConversation(), in.GetActor(), func(a app.Act) (*app.View, error) { return s.desk.Watch(ctx, a) }); err != nil {
		return err
	}
	last := in.GetAfterNumber()
	send := func(ev *agentroutingv1.ConversationEvent) error {
		if ev.GetNumber() <= last {
			return nil
		}
		last = ev.GetNumber()
		return stream.Send(&agentroutingv1.WatchResponse{Event: ev})
	}
	kept := func() error {
		q, err := s.desk.Store().Query()
		if err != nil {
			return err
		}
		for {
			events, err := q.Changes(ctx, in.GetAccount(), in.GetConversation(), last, maxChanges)
			if err != nil || len(events) == 0 {
				return err
			}
			for _, ev := range events {
				if err := send(ev); err != nil {
					return err
				}
			}
		}
	}
	err := s.feed.Follow(ctx, in.GetAccount(), in.GetConversation(), kept, func(data []byte) error {
		ev := new(agentroutingv1.ConversationEvent)
		if err := proto.Unmarshal(data, ev); err != nil {
			return fault.Errorf(fault.Permanent, "decode event: %w", err)
		}
		return send(ev)
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the caller left
	}
	return err
}
