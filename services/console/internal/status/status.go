// Package status collects how the system is doing, for the page and for people who ask by API.
package status

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// fresh is how long one answer serves all callers, so that many open pages cost as much as one.
	fresh = time.Second
	// patience bounds every single question; what does not answer by then is unknown.
	patience = 2 * time.Second
	// maxDetail bounds the text of a failed check in bytes.
	maxDetail = 120
)

// Names of the parts that may be unknown: the field names of GetStatusResponse.
const (
	partStreams     = "streams"
	partDeadLetters = "dead_letters"
	partWaiting     = "waiting"
	partRules       = "rule_set_version"
)

// Options of a Collector. Every field but Health is required.
type Options struct {
	Version       string
	Accounts      *account.Directory
	JetStream     jetstream.JetStream
	Streams       []string
	Durables      map[string][]string // readers by stream
	Rules         rulev1.RuleServiceClient
	Conversations agentroutingv1.ConversationServiceClient
	Health        map[string]func(context.Context) error
	Log           *slog.Logger
	Now           func() time.Time
}

// Collector answers how the system is doing. It is safe for concurrent use.
type Collector struct {
	o Options

	mu   sync.Mutex // guards last and at; held while collecting, so that callers share one round
	last *consolev1.GetStatusResponse
	at   time.Time
}

// New returns a collector.
func New(o Options) *Collector { return &Collector{o: o} }

// Get returns the status as of now or of at most one second ago. It never fails: a part that could
// not be read is named in Unknown. The answer is shared; do not change it.
func (c *Collector) Get(ctx context.Context) *consolev1.GetStatusResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now()
	if age := now.Sub(c.at); c.last == nil || age >= fresh || age < 0 {
		// The first caller may leave; those who wait for the same round must not suffer from that.
		c.last, c.at = c.collect(context.WithoutCancel(ctx)), now
	}
	return c.last
}

func (c *Collector) collect(ctx context.Context) *consolev1.GetStatusResponse {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out := &consolev1.GetStatusResponse{Version: c.o.Version, AtUnixMs: c.o.Now().UnixMilli()}
	for _, a := range c.o.Accounts.All() {
		out.Accounts = append(out.Accounts, &consolev1.AccountStatus{
			Name: a.Name, Appid: a.AppID, Kind: string(a.Kind), Mode: string(a.Mode), Reply: string(a.Reply),
		})
	}
	var mu sync.Mutex // guards out.Unknown; every part writes fields of its own
	var parts sync.WaitGroup
	ask := func(read func() error, names ...string) {
		parts.Go(func() {
			err := read()
			if err == nil {
				return
			}
			c.o.Log.DebugContext(ctx, "part of the status is unknown", "parts", names, logkey.Error, err)
			mu.Lock()
			defer mu.Unlock()
			out.Unknown = append(out.Unknown, names...)
		})
	}
	ask(func() error { return c.streams(ctx, out) }, partStreams, partDeadLetters)
	ask(func() error { return c.waiting(ctx, out) }, partWaiting)
	ask(func() error { return c.rules(ctx, out) }, partRules)
	ask(func() error { out.Services = c.services(ctx); return nil })
	parts.Wait()
	slices.Sort(out.Unknown)
	return out
}

func (c *Collector) waiting(ctx context.Context, out *consolev1.GetStatusResponse) error {
	got, err := c.o.Conversations.ListWaiting(ctx, &agentroutingv1.ListWaitingRequest{Limit: 1})
	out.Waiting = got.GetTotal()
	return err
}

// rules asks for the list, because GetRuleSet brings the whole file along.
func (c *Collector) rules(ctx context.Context, out *consolev1.GetStatusResponse) error {
	got, err := c.o.Rules.ListRuleSets(ctx, &rulev1.ListRuleSetsRequest{})
	for _, set := range got.GetRuleSets() {
		if set.GetLive() {
			out.RuleSetVersion = set.GetVersion()
		}
	}
	return err
}

// streams reads every stream at the same time. One that fails makes the whole part unknown: a sum
// or a largest value over the rest would look like an answer.
func (c *Collector) streams(ctx context.Context, out *consolev1.GetStatusResponse) error {
	rows := make([]*consolev1.StreamStatus, len(c.o.Streams))
	errs := make([]error, len(c.o.Streams))
	var all sync.WaitGroup
	for i, name := range c.o.Streams {
		all.Go(func() { rows[i], errs[i] = c.stream(ctx, name) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	out.Streams = rows
	for _, row := range rows {
		if row.GetName() == topology.StreamDeadLetters {
			out.DeadLetters = row.GetMessages()
		}
	}
	return nil
}

func (c *Collector) stream(ctx context.Context, name string) (*consolev1.StreamStatus, error) {
	s, err := c.o.JetStream.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	state := s.CachedInfo().State
	row := &consolev1.StreamStatus{Name: name, Messages: state.Msgs, Bytes: state.Bytes}
	for _, durable := range c.o.Durables[name] { // by name: listing is a right that nobody needs
		reader, err := s.Consumer(ctx, durable)
		if err != nil {
			return nil, err
		}
		// What was delivered and not acknowledged may be parked for a later try, so it is not done.
		info := reader.CachedInfo()
		row.Pending = max(row.Pending, info.NumPending+uint64(info.NumAckPending))
	}
	return row, nil
}

func (c *Collector) services(ctx context.Context) []*consolev1.ServiceStatus {
	rows := make([]*consolev1.ServiceStatus, 0, len(c.o.Health))
	var mu sync.Mutex // guards rows
	var all sync.WaitGroup
	for name, check := range c.o.Health {
		all.Go(func() {
			row := &consolev1.ServiceStatus{Name: name, Serving: true}
			if err := check(ctx); err != nil {
				row.Serving, row.Detail = false, detail(err)
			}
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, row)
		})
	}
	all.Wait()
	slices.SortFunc(rows, func(a, b *consolev1.ServiceStatus) int { return strings.Compare(a.GetName(), b.GetName()) })
	return rows
}

func detail(err error) string {
	text := err.Error()
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
