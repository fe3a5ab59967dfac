package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/runner"
)

const (
	// feedSize bounds the results that wait to be folded.
	feedSize = 512
	// closeTime bounds writing down what is known when a run ends.
	closeTime = 10 * time.Second
)

// run is one campaign that is run here.
type run struct {
	*Campaigns
	p *parts
	*recordOf
}

func newRun(c *Campaigns, p *parts, rec records.Record) *run {
	return &run{Campaigns: c, p: p, recordOf: &recordOf{
		store: p.records, account: rec.Rec.GetAccount(), id: rec.Rec.GetId(), wake: make(chan struct{}, 1), rec: rec,
	}}
}

// all takes the lease, runs the campaign until it ends, the lease is lost or life ends, and gives the lease back.
func (r *run) all(life context.Context, seen records.Seen) error {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	lease, err := r.p.records.Acquire(ctx, r.account, r.id, r.deps.Instance, seen, r.Current().GetEpoch())
	if err != nil {
		return err
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		r.keep(ctx, cancel, lease)
	}()
	r.deps.Log.InfoContext(ctx, "campaign runs here", logkey.Account, r.account, logkey.Campaign, r.id, logkey.Epoch, lease.Epoch())
	err = r.work(ctx, lease)
	cancel(nil)
	<-kept
	if errors.Is(err, records.ErrTaken) {
		return err
	}
	last, stop := context.WithTimeout(context.WithoutCancel(life), closeTime)
	defer stop()
	if releaseErr := lease.Release(last); releaseErr != nil && !errors.Is(releaseErr, records.ErrTaken) {
		err = errors.Join(err, releaseErr)
	}
	return err
}

// keep renews the lease until ctx ends, and ends it when the lease is lost or was not renewed for so long that others
// may take it.
func (r *run) keep(ctx context.Context, cancel context.CancelCauseFunc, lease *records.Lease) {
	tick := time.NewTicker(r.cfg.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		call, stop := context.WithTimeout(ctx, r.cfg.Lease/4)
		err := lease.Renew(call)
		stop()
		if errors.Is(err, records.ErrTaken) || (err != nil && lease.Age() > r.cfg.Lease*3/4) {
			cancel(records.ErrTaken)
			return
		}
	}
}

// work runs the campaign under the lease.
func (r *run) work(ctx context.Context, lease *records.Lease) (err error) {
	on, err := runner.New(ctx, r.runnerConfig(), lease.Epoch(), runner.Deps{
		Ledger:   chunks{r.p.ledger, r.account, r.id, lease.Epoch()},
		Audience: people{r.p.audience, r.account, r.id, r.Current().GetAudience().GetRevision()},
		Sender:   r.p.senderFor(r.Current()), Records: r.recordOf, Tracer: r.deps.Tracer, Log: r.deps.Log, Now: r.deps.Now,
	})
	if err != nil {
		return err
	}
	defer func() {
		if errors.Is(context.Cause(ctx), records.ErrTaken) || lease.Age() > r.cfg.Lease*3/4 {
			err = records.ErrTaken
			return
		}
		if err == nil || ctx.Err() != nil {
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
			defer stop()
			err = on.Close(last)
		}
	}()
	feed, err := r.follow(ctx, on.Folded(), on.ResultEvents())
	if err != nil {
		return err
	}
	defer feed.stop()
	return r.steps(ctx, on, feed)
}

// steps lets the runner work, and sleep when there is nothing to do.
func (r *run) steps(ctx context.Context, on *runner.Runner, feed *feed) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := on.Fold(ctx, feed.take()); err != nil {
			return err
		}
		wait, ended, err := on.Step(ctx)
		if err != nil || ended {
			return err
		}
		if err := feed.failed(); err != nil {
			return err
		}
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.wake:
		case result := <-feed.results:
			feed.first = append(feed.first, result)
		}
	}
}

func (r *run) runnerConfig() runner.Config {
	return runner.Config{
		Window: r.cfg.Window, Batch: min(64, max(1, r.cfg.Window/4)), Parallel: 16, FlushEvery: 500 * time.Millisecond,
		ReportEvery: time.Second, KeyLife: keyLife, ResultWait: r.cfg.ResultWait, LostAfter: r.deps.LostAfter,
	}
}

// feed reads the stream DELIVERY.
type feed struct {
	results chan runner.Result
	first   []runner.Result // taken from results already
	stop    func()
	lost    chan error
}

// follow reads what became of messages of the account after a sequence. events also brings messages that WeChat has
// taken and whose result is awaited.
func (r *run) follow(ctx context.Context, after uint64, events bool) (*feed, error) {
	filter, err := topology.FilterDeliveries(r.account)
	if err != nil {
		return nil, err
	}
	reader, err := r.deps.Bus.JS().OrderedConsumer(ctx, topology.StreamDelivery, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	messages, err := reader.Messages(jetstream.PullMaxMessages(feedSize))
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	f := &feed{results: make(chan runner.Result, feedSize), lost: make(chan error, 1)}
	reading, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.lost <- f.read(reading, messages, events)
	}()
	f.stop = func() {
		cancel()
		messages.Stop()
		<-done
	}
	return f, nil
}

func (f *feed) read(ctx context.Context, messages jetstream.MessagesContext, events bool) error {
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read deliveries: %w", err)
		}
		result, err := decode(msg, events)
		if err != nil {
			return err
		}
		select {
		case f.results <- result:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// decode reads one fact. Those of single messages only move the checkpoint.
func decode(msg jetstream.Msg, events bool) (runner.Result, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return runner.Result{}, fmt.Errorf("read deliveries: %w", err)
	}
	result := runner.Result{Seq: meta.Sequence.Stream}
	switch msg.Headers().Get(bus.HeaderType) {
	case "wxbus.sender.v1.DeliverySettled":
		settled := &senderv1.DeliverySettled{}
		if err := proto.Unmarshal(msg.Data(), settled); err == nil && settled.GetCampaign() != nil {
			result.Ref, result.Settled, result.At = settled.GetCampaign(), settled, settled.GetAtUnixMs()
		}
	case "wxbus.sender.v1.DeliveryAttempted":
		attempted := &senderv1.DeliveryAttempted{}
		if err := proto.Unmarshal(msg.Data(), attempted); events && err == nil && attempted.GetOutcome() == "ok" {
			result.ID, result.At = attempted.GetId(), attempted.GetAtUnixMs()
		}
	}
	return result, nil
}

// take returns the results that have come.
func (f *feed) take() []runner.Result {
	out := f.first
	f.first = nil
	for len(out) < feedSize {
		select {
		case result := <-f.results:
			out = append(out, result)
		default:
			return out
		}
	}
	return out
}

// failed returns why no results come any more; nil while they do.
func (f *feed) failed() error {
	select {
	case err := <-f.lost:
		return err
	default:
		return nil
	}
}

// chunks is the ledger of one campaign under one epoch.
type chunks struct {
	store       *ledger.Store
	account, id string
	epoch       uint64
}

func (c chunks) Load(ctx context.Context, n uint32, size int) (*ledger.Chunk, error) {
	return c.store.Load(ctx, c.account, c.id, n, size)
}

func (c chunks) Save(ctx context.Context, chunk *ledger.Chunk) error {
	return c.store.Save(ctx, c.account, c.id, chunk, c.epoch)
}

func (c chunks) LoadReplay(ctx context.Context, name string) (*senderv1.ReplaySelection, error) {
	return c.store.LoadReplay(ctx, c.account, c.id, name)
}

// people is the audience of one campaign.
type people struct {
	store                 audienceReader
	account, id, revision string
}

type audienceReader interface {
	Chunk(ctx context.Context, account, campaign, revision string, chunk uint32) ([]*senderv1.AudienceRecipient, error)
}

func (p people) Chunk(ctx context.Context, n uint32) ([]*senderv1.AudienceRecipient, error) {
	return p.store.Chunk(ctx, p.account, p.id, p.revision, n)
}

var (
	_ runner.Ledger   = chunks{}
	_ runner.Audience = people{}
	_ runner.Records  = (*recordOf)(nil)
)
