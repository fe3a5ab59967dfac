package topology

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

// SpreadLeaders moves the leader of INBOUND_SPILL off the server that leads INBOUND, so that the loss
// of one server never takes both. Leaders move whenever a server restarts, therefore Ensure is not
// enough: a gateway repeats it every half minute. It does nothing without replicas or when
// the leaders are apart; it fails when a leader is unknown, as during an election.
func (t *Topology) SpreadLeaders(ctx context.Context, js jetstream.JetStream) error {
	if t.opts.Replicas == 1 {
		return nil
	}
	home, err := cluster(ctx, js, StreamInbound)
	if err != nil {
		return err
	}
	spill, err := cluster(ctx, js, StreamSpill)
	if err != nil {
		return err
	}
	if home.Leader != spill.Leader {
		return nil
	}
	for _, peer := range spill.Replicas {
		if peer.Current && !peer.Offline {
			return stepDown(ctx, js, StreamSpill, peer.Name)
		}
	}
	return fault.Errorf(fault.Unavailable, "spread leaders: no other server has a current copy of %s", StreamSpill)
}

func cluster(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.ClusterInfo, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "look at stream %s: %w", name, err)
	}
	info := stream.CachedInfo().Cluster
	if info == nil || info.Leader == "" {
		return nil, fault.Errorf(fault.Unavailable, "stream %s has no leader", name)
	}
	return info, nil
}

// stepDown asks the leader of a stream to hand over to the named server. nats.go has no call for it.
func stepDown(ctx context.Context, js jetstream.JetStream, stream, to string) error {
	type placement struct {
		Preferred string `json:"preferred"`
	}
	body, err := json.Marshal(struct {
		Placement placement `json:"placement"`
	}{placement{to}})
	if err != nil {
		return err
	}
	reply, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, body)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "move leader of %s: %w", stream, err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fault.Errorf(fault.Unavailable, "move leader of %s: %w", stream, err)
	}
	if answer.Error != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("move leader of %s: %w", stream, answer.Error))
	}
	return nil
}
