// Package campaign sends one message to many recipients: counted before, in steps, and never twice to one of them.
//
// Everything that it knows is in NATS: the record of a campaign in the bucket campaigns, its audience on the stream
// CAMPAIGN_AUDIENCE, what became of everybody on CAMPAIGN_LEDGER. Any replica answers any call; one replica runs a
// campaign, and any other takes over when it stops. Messages go through the sender's own intake, so windows, pace,
// lanes and idempotency are the sender's.
package campaign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
)

// keyLife is how long the sender certainly remembers a key; the bucket sends keeps it for a day more.
const keyLife = 6 * 24 * time.Hour

// Config is the part campaign of the section sender.
type Config struct {
	MaxRecipients int           `yaml:"max_recipients" desc:"recipients that one campaign may have"`
	Runners       int           `yaml:"runners" desc:"campaigns that a process runs at the same time; more wait, or run in other replicas"`
	Window        int           `yaml:"window" desc:"messages of a campaign that are with the sender at once; what a pause cannot take back"`
	Lease         time.Duration `yaml:"lease" desc:"how long a replica that died keeps a campaign before another one takes over"`
	ResultWait    time.Duration `yaml:"result_wait" desc:"how long a campaign waits at its end for WeChat's result events of template messages"`
}

// DefaultConfig returns values that fit the default pace of an account.
func DefaultConfig() Config {
	return Config{MaxRecipients: 1_000_000, Runners: 16, Window: 256, Lease: 10 * time.Second, ResultWait: 30 * time.Minute}
}

// Validate reports every value that is out of range with its name.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(c.MaxRecipients >= 1 && c.MaxRecipients <= 10_000_000, "max_recipients: must be 1 to 10000000")
	check(c.Runners >= 1 && c.Runners <= 256, "runners: must be 1 to 256")
	check(c.Window >= 1 && c.Window <= 10_000, "window: must be 1 to 10000")
	check(c.Lease >= time.Second && c.Lease <= 5*time.Minute, "lease: must be 1s to 5m")
	check(c.ResultWait >= 0 && c.ResultWait <= 24*time.Hour, "result_wait: must be 0 to 24h")
	return errors.Join(errs...)
}

// Deps are what campaigns work with.
type Deps struct {
	Accounts *account.Directory
	Bus      *bus.Conn
	// Sender is the sender itself.
	Sender Sender
	// Tags asks WeChat for the fans of a tag.
	Tags Tags
	// LostAfter is when a message without a result is asked for: longer than the sender keeps one.
	LostAfter time.Duration
	Tracer    trace.Tracer
	Log       *slog.Logger
	Now       func() time.Time
	// Instance names the replica in leases; it must be unique among those that run.
	Instance string
}

// Sender is what campaigns need of the sender. It is used between Start and Stop only.
type Sender interface {
	// Send accepts a message.
	Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error)
	// Check returns what is wrong with a message, without sending it.
	Check(req *senderv1.SendRequest) error
	// Lookup returns the record of a send; nil when it is not known.
	Lookup(ctx context.Context, account, id string) (*senderv1.SendRecord, error)
	// ID returns the id of the send with that key.
	ID(account, key string) string
	// Reach tells whether a fan would get such a message now: an empty reason, or one of the words of
	// CountedReason.
	Reach(ctx context.Context, account, openid string, m *senderv1.CampaignMessage) (reason string, err error)
	// Held returns why such messages of the account wait, and until when; ok is false when they do not.
	Held(account string, m *senderv1.CampaignMessage) (reason string, until time.Time, ok bool)
	// Rate is how many such messages a second the account sends at most.
	Rate(account string, m *senderv1.CampaignMessage) float64
	// BudgetLeft is how many such messages may be sent today, and how many on a whole day; zero when there is no limit.
	BudgetLeft(ctx context.Context, account string, m *senderv1.CampaignMessage) (left, daily int64, err error)
}

// Tags asks WeChat for the fans of a tag, page by page.
type Tags interface {
	// Fans returns the fans after one of them, and who is the last; an empty next is the end.
	Fans(ctx context.Context, account string, tag int64, after string) (openids []string, next string, err error)
}

// Campaigns serves CampaignService and runs campaigns. It is a lifecycle.Component.
type Campaigns struct {
	senderv1.UnimplementedCampaignServiceServer

	cfg  Config
	deps Deps

	mu    sync.RWMutex // guards parts
	parts *parts
}

// parts exist from Start on.
type parts struct {
	kv        jetstream.KeyValue
	records   *records.Store
	audience  *audience.Store
	ledger    *ledger.Store
	delivery  jetstream.Stream
	conductor *conductor
	sender    Sender
}

var _ senderv1.CampaignServiceServer = (*Campaigns)(nil)

// New starts nothing.
func New(cfg Config, d Deps) *Campaigns { return &Campaigns{cfg: cfg, deps: d} }

// Name implements lifecycle.Component.
func (c *Campaigns) Name() string { return "sender campaigns" }

// RegisterGRPC registers CampaignService.
func (c *Campaigns) RegisterGRPC(r grpc.ServiceRegistrar) {
	senderv1.RegisterCampaignServiceServer(r, c)
}

// Start opens the streams and the bucket, which must exist, and begins to run campaigns.
func (c *Campaigns) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts != nil {
		return errors.New("sender campaigns: already started")
	}
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	p.conductor = newConductor(c, p)
	if err := p.conductor.start(ctx); err != nil {
		return err
	}
	c.parts = p
	return nil
}

func (c *Campaigns) open(ctx context.Context) (*parts, error) {
	js := c.deps.Bus.JS()
	kv, err := js.KeyValue(ctx, topology.BucketCampaigns)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("open bucket %s: %w", topology.BucketCampaigns, err))
	}
	streams := map[string]jetstream.Stream{}
	for _, name := range []string{topology.StreamAudience, topology.StreamCampaignLedger, topology.StreamDelivery} {
		if streams[name], err = js.Stream(ctx, name); err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("open stream %s: %w", name, err))
		}
	}
	return &parts{
		kv: kv, records: records.New(kv, c.deps.Now), ledger: ledger.NewStore(c.deps.Bus, streams[topology.StreamCampaignLedger]),
		audience: audience.New(c.deps.Bus, streams[topology.StreamAudience], c.cfg.MaxRecipients, c.deps.Now),
		delivery: streams[topology.StreamDelivery], sender: c.deps.Sender,
	}, nil
}

// Stop lets the batches under way finish, writes down what is known and gives the campaigns to other replicas.
func (c *Campaigns) Stop(ctx context.Context) error {
	c.mu.Lock()
	p := c.parts
	c.parts = nil
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.conductor.stop(ctx)
}

func (c *Campaigns) running() (*parts, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.parts == nil {
		return nil, fault.New(fault.Unavailable, "campaigns are starting or stopping")
	}
	return c.parts, nil
}

// senderFor returns the sender as the runner of one campaign sees it.
func (p *parts) senderFor(rec *senderv1.CampaignRecord) senderOf {
	return senderOf{p.sender, rec.GetAccount(), rec.GetMessage()}
}

type senderOf struct {
	Sender
	account string
	message *senderv1.CampaignMessage
}

func (s senderOf) Lookup(ctx context.Context, id string) (*senderv1.SendRecord, error) {
	return s.Sender.Lookup(ctx, s.account, id)
}

func (s senderOf) ID(key string) string { return s.Sender.ID(s.account, key) }

func (s senderOf) Held() (string, time.Time, bool) { return s.Sender.Held(s.account, s.message) }
