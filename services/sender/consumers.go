package sender

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/deliver"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/results"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

// deliveries is how often a message may come before it is given up: as often as the topology allows.
const deliveries = topology.MaxDeliver - 1

// consumers returns the readers: pushes for the ledger, messages, and campaigns. Campaigns have
// durables of their own, so that what waits of them never stands before an agent's message.
func (s *Service) consumers(ledger *windows.Ledger, worker *deliver.Worker, own *later.Later) []*bus.Consumer {
	d := s.deps
	partitions := d.Topology.Partitions()
	bulk := make([]string, partitions)
	for p := range bulk {
		bulk[p] = topology.DurableCampaign(uint32(p))
	}
	outbound := bus.ConsumerConfig{
		Service: topology.ServiceSender, Stream: topology.StreamOutbound, Partitions: partitions,
		MaxInFlight: s.cfg.MaxInFlight, Timeout: s.handleTimeout(), Backoff: backoff,
		Confirm: true, DeadLetterAfter: deliveries,
	}
	campaigns := outbound
	campaigns.Durables = bulk
	return []*bus.Consumer{
		d.Bus.NewConsumer(bus.ConsumerConfig{
			Service: topology.ServiceSender, Stream: topology.StreamInbound, Partitions: partitions,
		}, s.fold(ledger, worker)),
		d.Bus.NewConsumer(bus.ConsumerConfig{
			Service: topology.ServiceSender, Stream: topology.StreamLater, Durables: []string{topology.DurableLater},
		}, own.Move),
		d.Bus.NewConsumer(outbound, worker.Handle),
		d.Bus.NewConsumer(campaigns, worker.Handle),
	}
}

// handleTimeout is longer than anything that a worker waits for by itself.
func (s *Service) handleTimeout() time.Duration {
	t := s.cfg.HandTime + s.cfg.Pace.Hold + s.cfg.CallTimeout + 2*time.Minute
	for _, p := range s.cfg.BusyPauses {
		t += p
	}
	return t
}

// backoff is 5 s, 20 s, 80 s, then 5 minutes.
func backoff(n uint64) time.Duration {
	d := 5 * time.Second
	for ; n > 1 && d < 5*time.Minute; n-- {
		d *= 4
	}
	return min(d, 5*time.Minute)
}

// fold returns the handler that keeps the ledger up to date with the pushes, and brings messages to their end whose
// result a push tells.
func (s *Service) fold(ledger *windows.Ledger, worker *deliver.Worker) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		ev := &eventv1.InboundEvent{}
		if err := proto.Unmarshal(d.Data, ev); err != nil {
			return fault.Errorf(fault.Invalid, "decode event: %w", err)
		}
		for _, told := range results.Of(ev, s.deps.Now()) {
			if err := worker.Told(ctx, told.Job, told.Result); err != nil {
				return err
			}
		}
		if ev.GetOpenid() == "" {
			return nil // events of the account itself
		}
		fan := windows.Fan{Account: ev.GetAccount(), Kind: ev.GetAccountKind(), OpenID: ev.GetOpenid()}
		return ledger.Fold(ctx, fan, grants.EvidenceOf(ev))
	}
}

func (s *Service) deliverConfig() deliver.Config {
	return deliver.Config{
		Instance: s.deps.Instance, CallTimeout: s.cfg.CallTimeout, MaxAge: s.cfg.MaxAge,
		RatePause: s.cfg.RatePause, QuotaPause: s.cfg.QuotaPause, NoAPIPause: s.cfg.NoAPIPause, BusyPauses: s.cfg.BusyPauses,
		HandTime: s.cfg.HandTime, ResultWait: s.cfg.ResultWait, MassResultWait: s.cfg.MassResultWait, Deliveries: deliveries, Rate: s.cfg.Pace.Rate,
	}
}
