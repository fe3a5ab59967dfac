// Package meter holds the instruments of the gateway. Labels are bounded: accounts of the
// configuration and words of this program; never an openid, an event name or an id.
package meter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
)

const scope = "github.com/wxbus/wxbus/services/gateway"

// answerBounds are the buckets of answer times in seconds: WeChat hangs up after 5.
var answerBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 4, 4.5, 5, 10}

// awayBounds are the buckets of the time that a push is on the spill stream, in seconds.
var awayBounds = []float64{.01, .1, 1, 5, 15, 60, 300, 1800, 7200}

// Meter counts what the gateway does. It is safe for concurrent use.
type Meter struct {
	pushes     metric.Int64Counter
	refused    metric.Int64Counter
	answerTime metric.Float64Histogram
	offers     metric.Int64Counter
	unsettled  metric.Int64Counter
	spilled    metric.Int64Counter
	movedHome  metric.Float64Histogram
	parked     metric.Int64Counter
	unknown    metric.Int64Counter
	skewed     metric.Int64Counter
	previous   metric.Int64Counter
	outside    metric.Int64Counter

	inFlight atomic.Int64
	unwatch  metric.Registration

	mu     sync.RWMutex // guards labels, which are kept so that counting allocates nothing
	labels map[label]options
}

// options are those of one label, ready to be passed on.
type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

type label struct{ account, key, value string }

// Gauges are asked for what is now.
type Gauges struct {
	Waiting func() int           // attempts that wait for a reply
	Away    func() int           // fans with pushes on the spill stream
	Dark    func() time.Duration // how long it was not known who these are, in all
}

// New returns the instruments. Close ends the asking.
func New(provider metric.MeterProvider, g Gauges) (*Meter, error) {
	mt := provider.Meter(scope)
	m := &Meter{labels: make(map[label]options)}
	counters := []struct {
		to         *metric.Int64Counter
		name, text string
	}{
		{&m.pushes, "wxbus.gateway.pushes", "Requests of WeChat by account and outcome."},
		{&m.refused, "wxbus.gateway.refused", "Requests that were not taken, by reason."},
		{&m.offers, "wxbus.gateway.offers", "Offers of passive replies by outcome."},
		{&m.unsettled, "wxbus.gateway.claims.unsettled", "Claims of this gateway that could not be settled; their replies become ambiguous."},
		{&m.spilled, "wxbus.gateway.spilled", "Pushes that went to the spill stream, by cause: the home stream did not take them in time, or earlier ones of the fan are there."},
		{&m.parked, "wxbus.gateway.parked", "Bodies kept as dead letters, by reason."},
		{&m.unknown, "wxbus.gateway.unknown_types", "Pushes of a type that no page documents, by account."},
		{&m.skewed, "wxbus.gateway.timestamps.skewed", "Genuine requests whose timestamp is far from our clock."},
		{&m.previous, "wxbus.gateway.previous_credentials", "Pushes that only the previous token or key opens, by account; when it stays 0 they can go."},
		{&m.outside, "wxbus.gateway.outside_callback_ips", "Genuine pushes from addresses outside of WeChat's list, by account. They are taken: the list lags behind."},
	}
	var errs []error
	for _, c := range counters {
		counter, err := mt.Int64Counter(c.name, metric.WithDescription(c.text))
		*c.to = counter
		errs = append(errs, err)
	}
	var err error
	m.answerTime, err = mt.Float64Histogram("wxbus.gateway.answer.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the arrival of a push to its answer, by outcome."), metric.WithExplicitBucketBoundaries(answerBounds...))
	errs = append(errs, err)
	m.movedHome, err = mt.Float64Histogram("wxbus.gateway.spill.away", metric.WithUnit("s"),
		metric.WithDescription("Time that a spilled push was away from the home stream."), metric.WithExplicitBucketBoundaries(awayBounds...))
	errs = append(errs, err)
	errs = append(errs, m.watch(mt, g))
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	m.promise()
	return m, nil
}

// promise makes what alerts count exist at zero: a rate does not see the first count of a series that comes into
// being with it.
func (m *Meter) promise() {
	ctx := context.Background()
	for _, c := range []struct {
		counter metric.Int64Counter
		key     string
		values  []string
	}{
		{m.refused, "reason", []string{"signature", "decrypt", "timestamp", "overload"}},
		{m.spilled, "cause", []string{"timeout"}},
		{m.parked, "reason", []string{"too_large"}},
	} {
		for _, v := range c.values {
			c.counter.Add(ctx, 0, m.options(label{"", c.key, v}).add...)
		}
	}
	m.unsettled.Add(ctx, 0)
	m.skewed.Add(ctx, 0)
}

// Know makes what alerts count about an account exist at zero.
func (m *Meter) Know(account string) {
	ctx := context.Background()
	for _, outcome := range []string{"success", "reply", "unavailable", "broken"} {
		m.pushes.Add(ctx, 0, m.options(label{account, "outcome", outcome}).add...)
	}
	for _, c := range []metric.Int64Counter{m.unknown, m.previous, m.outside} {
		c.Add(ctx, 0, m.options(label{"", "account", account}).add...)
	}
}

func (m *Meter) watch(mt metric.Meter, g Gauges) error {
	inFlight, err := mt.Int64ObservableGauge("wxbus.gateway.in_flight", metric.WithDescription("Requests that are being read, checked or stored now."))
	if err != nil {
		return err
	}
	waits, err := mt.Int64ObservableGauge("wxbus.gateway.waiting", metric.WithDescription("Attempts that wait for a passive reply now."))
	if err != nil {
		return err
	}
	away, err := mt.Int64ObservableGauge("wxbus.gateway.away.fans", metric.WithDescription("Fans with pushes on the spill stream that are not home yet; their next pushes go there too."))
	if err != nil {
		return err
	}
	blind, err := mt.Float64ObservableCounter("wxbus.gateway.blind", metric.WithUnit("s"),
		metric.WithDescription("Time in which it was not known whose pushes are on the spill stream, and every push went there first."))
	if err != nil {
		return err
	}
	m.unwatch, err = mt.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(inFlight, m.inFlight.Load())
		o.ObserveInt64(waits, int64(g.Waiting()))
		o.ObserveInt64(away, int64(g.Away()))
		o.ObserveFloat64(blind, g.Dark().Seconds())
		return nil
	}, inFlight, waits, away, blind)
	return err
}

// Close stops the gauges.
func (m *Meter) Close() error { return m.unwatch.Unregister() }

// Enter counts a request in and returns how many there are now, this one included. Leave counts it out.
func (m *Meter) Enter() int64 { return m.inFlight.Add(1) }

// Leave counts a request out.
func (m *Meter) Leave() { m.inFlight.Add(-1) }

// Push counts an answered request.
func (m *Meter) Push(ctx context.Context, account, outcome string, took time.Duration) {
	m.pushes.Add(ctx, 1, m.options(label{account, "outcome", outcome}).add...)
	m.answerTime.Record(ctx, took.Seconds(), m.options(label{"", "outcome", outcome}).record...)
}

// Refused counts a request that was not taken.
func (m *Meter) Refused(ctx context.Context, reason string) {
	m.count(ctx, m.refused, "reason", reason)
}

// Offered counts an offer.
func (m *Meter) Offered(ctx context.Context, o gatewayv1.OfferOutcome) {
	m.count(ctx, m.offers, "outcome", outcomes[o])
}

var outcomes = map[gatewayv1.OfferOutcome]string{
	gatewayv1.OfferOutcome_OFFER_OUTCOME_DELIVERED:     "delivered",
	gatewayv1.OfferOutcome_OFFER_OUTCOME_UNDELIVERABLE: "undeliverable",
	gatewayv1.OfferOutcome_OFFER_OUTCOME_UNKNOWN:       "unknown",
}

// Unsettled counts a claim that could not be settled.
func (m *Meter) Unsettled(ctx context.Context) { m.unsettled.Add(ctx, 1) }

// Spilled counts a push that goes to the spill stream.
func (m *Meter) Spilled(ctx context.Context, cause string) { m.count(ctx, m.spilled, "cause", cause) }

// MovedHome records a spilled push that is home.
func (m *Meter) MovedHome(ctx context.Context, away time.Duration) {
	m.movedHome.Record(ctx, away.Seconds())
}

// Parked counts a body that was kept as a dead letter.
func (m *Meter) Parked(ctx context.Context, reason string) { m.count(ctx, m.parked, "reason", reason) }

// UnknownType counts a push of an undocumented type.
func (m *Meter) UnknownType(ctx context.Context, account string) {
	m.count(ctx, m.unknown, "account", account)
}

// Skewed counts a genuine request with a timestamp far from our clock.
func (m *Meter) Skewed(ctx context.Context) { m.skewed.Add(ctx, 1) }

// PreviousCredential counts a push that needed the previous token or key.
func (m *Meter) PreviousCredential(ctx context.Context, account string) {
	m.count(ctx, m.previous, "account", account)
}

// Outside counts a push from an address that WeChat's list does not have.
func (m *Meter) Outside(ctx context.Context, account string) {
	m.count(ctx, m.outside, "account", account)
}

func (m *Meter) count(ctx context.Context, c metric.Int64Counter, key, value string) {
	c.Add(ctx, 1, m.options(label{"", key, value}).add...)
}

func (m *Meter) options(l label) options {
	m.mu.RLock()
	o, ok := m.labels[l]
	m.mu.RUnlock()
	if ok {
		return o
	}
	set := []attribute.KeyValue{attribute.String(l.key, l.value)}
	if l.account != "" {
		set = append(set, attribute.String("account", l.account))
	}
	option := metric.WithAttributeSet(attribute.NewSet(set...))
	o = options{add: []metric.AddOption{option}, record: []metric.RecordOption{option}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.labels[l] = o
	return o
}
