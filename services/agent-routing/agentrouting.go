// Package agentrouting keeps who may talk to each fan: the rules, a waiting list, one of our agents
// or WeChat's own desk. Every change is a compare-and-set on the fan's record and grows its epoch, so two
// owners cannot both win, and whoever sends under an old epoch can be refused.
package agentrouting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/consumer"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/grpcapi"
	"github.com/wxbus/wxbus/services/agent-routing/internal/index"
	"github.com/wxbus/wxbus/services/agent-routing/internal/producer"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/transcript"
)

// handleTimeout bounds one message of the bus.
const handleTimeout = 10 * time.Second

// Deps are what the service needs. Nothing in it is the service's to close.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	Topology *topology.Topology
	Sender   senderv1.SenderServiceClient
	Tel      *telemetry.Telemetry // nil records nothing
	Log      *slog.Logger         // nil discards
	Now      func() time.Time     // nil means time.Now
}

// Service is the agent-routing service as a component. Any number of replicas may run.
type Service struct {
	conn      *bus.Conn
	owners    *store.Owners
	index     *index.Index
	caretaker *caretaker
	api       *grpcapi.Server
	consumers []*bus.Consumer
}

var _ lifecycle.Component = (*Service)(nil)

// New returns the service. It fails with every fault of cfg, or with what is missing in deps.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure agent-routing: %w", err)
	}
	if deps.Accounts == nil || deps.Bus == nil || deps.Topology == nil || deps.Sender == nil {
		return nil, errors.New("configure agent-routing: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Service{conn: deps.Bus, owners: store.NewOwners(deps.Now)}
	s.index = index.New(s.owners, deps.Log, deps.Now)
	changed, err := instrument(deps.Tel, s.index)
	if err != nil {
		return nil, err
	}
	limits := domain.Limits{Waiting: cfg.WaitingLimit, Serving: cfg.ServingIdle}
	desk := app.New(app.Options{
		Owners: s.owners, Facts: producer.NewFacts(deps.Bus), Messages: producer.NewMessages(deps.Sender),
		Transcript: transcript.New(deps.Bus.JS(), deps.Topology),
		Limits:     limits, NativeIdle: cfg.NativeIdle, Changed: changed, Log: deps.Log,
	})
	s.caretaker = &caretaker{desk: desk, index: s.index, limits: limits, log: deps.Log, now: deps.Now}
	s.api = grpcapi.New(desk, s.index, deps.Accounts)
	s.consumers = []*bus.Consumer{
		newConsumer(cfg, deps, topology.StreamInbound, consumer.Inbound(desk)),
		newConsumer(cfg, deps, topology.StreamDecisions, consumer.Decisions(desk)),
	}
	return s, nil
}

func newConsumer(cfg Config, deps Deps, stream string, h bus.Handler) *bus.Consumer {
	return deps.Bus.NewConsumer(bus.ConsumerConfig{
		Service: topology.ServiceAgentRouting, Stream: stream, Partitions: deps.Topology.Partitions(),
		MaxInFlight: cfg.MaxInFlight, Timeout: handleTimeout,
	}, h)
}

// RegisterGRPC adds ConversationService. Calls before Start answer UNAVAILABLE.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	agentroutingv1.RegisterConversationServiceServer(r, s.api)
}

// Name returns "agent-routing".
func (s *Service) Name() string { return topology.ServiceAgentRouting }

// Start returns when the waiting lists are known and the bus is being read.
func (s *Service) Start(ctx context.Context) error {
	if err := s.owners.Open(ctx, s.conn.JS()); err != nil {
		return err
	}
	if err := s.index.Start(ctx); err != nil {
		return err
	}
	s.caretaker.start(ctx)
	for _, c := range s.consumers {
		if err := c.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", c.Name(), err), s.Stop(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// Stop ends the reading of the bus, finishes what is in flight and waits for every goroutine.
func (s *Service) Stop(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(s.consumers) {
		errs = append(errs, c.Stop(ctx))
	}
	s.caretaker.stop()
	s.index.Stop()
	return errors.Join(errs...)
}

// Ready returns an error while the waiting lists may miss changes. It is a check for readiness.
func (s *Service) Ready(ctx context.Context) error { return s.index.Ready(ctx) }
