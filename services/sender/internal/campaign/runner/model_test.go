package runner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/runner"
)

// The model: a world with a ledger, a sender that keeps its promises (once for each key, for seven days), and fans who
// count what they get. Runners are actors that stop before everything they do to the world and go on when the test says so: in
// full, not at all because the process died, or with the effect but without living to see it. Several of them live at once, the older
// ones believing that the campaign is still theirs.

// errDied ends an actor whose process died.
var errDied = errors.New("the process died")

type verdict uint8

const (
	proceed verdict = iota
	dieBefore
	dieAfter
	noAnswer // the effect happens and the answer is lost; only for the sender
)

const (
	keyLife   = 7 * 24 * time.Hour // of the sender
	chunkSize = 3                  // small, so that work is in several chunks at once
)

type world struct {
	now     time.Time
	rec     *senderv1.CampaignRecord
	chunks  map[uint32]stored
	replays map[string]*senderv1.ReplaySelection
	sends   map[string]*send // by key
	log     []runner.Result
	got     map[string]int // messages that each fan got
	people  []*senderv1.AudienceRecipient
	actors  []*actor
	epoch   uint64
}

type stored struct {
	data     []byte
	revision uint64
}

type send struct {
	openid string
	ref    *senderv1.CampaignRef
	rec    *senderv1.SendRecord
	at     time.Time
}

// actor is one runner in a process of its own.
type actor struct {
	w     *world
	epoch uint64
	ask   chan struct{} // the actor wants to do something
	may   chan verdict
	done  chan struct{}
	dead  bool
	err   error
	seen  *senderv1.CampaignRecord // what its watch has brought
}

func newWorld(people int, plan *senderv1.CampaignPlan) *world {
	w := &world{
		now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), chunks: map[uint32]stored{}, replays: map[string]*senderv1.ReplaySelection{},
		sends: map[string]*send{}, got: map[string]int{},
	}
	for i := range people {
		w.people = append(w.people, &senderv1.AudienceRecipient{Openid: fmt.Sprintf("fan-%d", i), Values: []string{fmt.Sprint(i)}})
	}
	w.rec = &senderv1.CampaignRecord{
		Id: "spring", Account: "shop", State: campaignstate.Scheduled, Plan: plan, Progress: &senderv1.CampaignProgress{},
		Message: &senderv1.CampaignMessage{Content: &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hello {{n}}"}}}},
		Audience: &senderv1.CampaignAudience{
			Revision: "r", Recipients: uint32(people), Chunks: uint32((people + chunkSize - 1) / chunkSize), ChunkSize: chunkSize, Variables: []string{"n"},
		},
		Count: &senderv1.CampaignCount{Recipients: uint32(people)},
	}
	return w
}

func (w *world) change(c campaignstate.Change) (*senderv1.CampaignRecord, error) {
	next, err := campaignstate.Apply(w.rec, c, w.now)
	if err == nil {
		w.rec = next
	}
	return next, err
}

// start lets one more replica take the campaign over.
func (w *world) start() *actor {
	w.epoch++
	a := &actor{w: w, epoch: w.epoch, ask: make(chan struct{}), may: make(chan verdict), done: make(chan struct{}), seen: w.rec}
	w.actors = append(w.actors, a)
	go a.run()
	a.settle()
	return a
}

// settle waits until the actor wants something or has ended.
func (a *actor) settle() {
	select {
	case <-a.ask:
	case <-a.done:
	}
}

// advance lets the actor do what it wants to do.
func (a *actor) advance(v verdict) {
	select {
	case <-a.done:
		return
	default:
	}
	a.may <- v
	a.settle()
}

func (a *actor) alive() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// want stops the actor until the test lets it go on.
func (a *actor) want() (verdict, error) {
	if a.dead {
		return 0, errDied
	}
	a.ask <- struct{}{}
	v := <-a.may
	if v == dieBefore {
		a.dead = true
		return v, errDied
	}
	a.dead = v == dieAfter
	return v, nil
}

func (a *actor) run() {
	defer close(a.done)
	ctx := context.Background()
	r, err := runner.New(ctx, runner.Config{
		Window: 5, Batch: 3, Parallel: 1, FlushEvery: 2 * time.Second, ReportEvery: 3 * time.Second,
		KeyLife: keyLife - 24*time.Hour, ResultWait: time.Minute, LostAfter: 49 * time.Hour,
	}, a.epoch, runner.Deps{
		Ledger: a, Audience: people{a.w}, Sender: a, Records: a,
		Tracer: noop.NewTracerProvider().Tracer(""), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return a.w.now },
	})
	for err == nil {
		if err = r.Fold(ctx, a.w.since(r.Folded())); err != nil {
			break
		}
		var wait time.Duration
		var ended bool
		if wait, ended, err = r.Step(ctx); ended || err != nil {
			break
		}
		if wait > 0 {
			if _, err = a.want(); err == nil {
				a.seen = a.w.rec
			}
		}
	}
	a.err = err
}

func (w *world) since(seq uint64) []runner.Result { return slices.Clone(w.log[seq:]) }

type people struct{ w *world }

func (p people) Chunk(_ context.Context, n uint32) ([]*senderv1.AudienceRecipient, error) {
	first := int(n) * chunkSize
	return p.w.people[first:min(len(p.w.people), first+chunkSize)], nil
}

// Current implements runner.Records.
func (a *actor) Current() *senderv1.CampaignRecord { return a.seen }

// Change implements runner.Records.
func (a *actor) Change(_ context.Context, c campaignstate.Change) (*senderv1.CampaignRecord, error) {
	if _, err := a.want(); err != nil {
		return nil, err
	}
	next, err := a.w.change(c)
	a.seen = a.w.rec
	if a.dead {
		return nil, errDied
	}
	return next, err
}

// Load implements runner.Ledger.
func (a *actor) Load(_ context.Context, n uint32, size int) (*ledger.Chunk, error) {
	s, ok := a.w.chunks[n]
	if !ok {
		return ledger.New(n, size), nil
	}
	return ledger.Decode(s.data, s.revision, n, size)
}

// Save implements runner.Ledger: it is a compare-and-set.
func (a *actor) Save(_ context.Context, c *ledger.Chunk) error {
	if _, err := a.want(); err != nil {
		return err
	}
	if a.w.chunks[c.Number].revision != c.Revision() {
		return ledger.ErrStale
	}
	data, err := c.Encode(a.epoch)
	if err != nil {
		return err
	}
	a.w.chunks[c.Number] = stored{data, c.Revision() + 1}
	if a.dead {
		return errDied
	}
	c.Saved(c.Revision()+1, a.epoch)
	return nil
}

// LoadReplay implements runner.Ledger.
func (a *actor) LoadReplay(_ context.Context, name string) (*senderv1.ReplaySelection, error) {
	return a.w.replays[name], nil
}

// Send implements runner.Sender as the sender promises it.
func (a *actor) Send(_ context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	asked := a.w.now
	v, err := a.want()
	if err != nil {
		return nil, err
	}
	if a.w.now.Sub(asked) > time.Hour {
		return nil, fault.New(fault.Unavailable, "the deadline of the call is over")
	}
	rec := a.w.accept(req)
	switch {
	case a.dead:
		return nil, errDied
	case v == noAnswer:
		return nil, fault.New(fault.Unavailable, "no answer")
	case rec.GetState() == senderv1.SendState_SEND_STATE_REFUSED:
		return nil, fault.New(fault.Refused, "window closed")
	}
	return &senderv1.SendResponse{Record: proto.CloneOf(rec)}, nil
}

func (w *world) accept(req *senderv1.SendRequest) *senderv1.SendRecord {
	key := req.GetIdempotencyKey()
	if s, known := w.sends[key]; known && w.now.Sub(s.at) < keyLife {
		return s.rec
	}
	s := &send{openid: req.GetOpenid(), ref: req.GetCampaign(), at: w.now, rec: &senderv1.SendRecord{Id: key, State: senderv1.SendState_SEND_STATE_QUEUED}}
	w.sends[key] = s
	return s.rec
}

// Lookup implements runner.Sender.
func (a *actor) Lookup(_ context.Context, id string) (*senderv1.SendRecord, error) {
	if s, known := a.w.sends[id]; known && a.w.now.Sub(s.at) < keyLife {
		return proto.CloneOf(s.rec), nil
	}
	return nil, nil
}

// ID implements runner.Sender.
func (a *actor) ID(key string) string { return key }

// Held implements runner.Sender.
func (a *actor) Held() (string, time.Time, bool) { return "", time.Time{}, false }

// work ends one message that the sender has, in whatever way WeChat or the window want.
func (w *world) work(key string, end senderv1.SendState) {
	s := w.sends[key]
	s.rec = proto.CloneOf(s.rec)
	s.rec.State, s.rec.Attempts = end, 1
	if end == senderv1.SendState_SEND_STATE_SENT {
		w.got[s.openid]++
	}
	w.log = append(w.log, runner.Result{Seq: uint64(len(w.log) + 1), Ref: s.ref, At: w.now.UnixMilli(), Settled: &senderv1.DeliverySettled{
		State: end, Attempts: 1, AtUnixMs: w.now.UnixMilli(),
	}})
}

// queued are the keys of messages that the sender has and that have no end.
func (w *world) queued() []string {
	var keys []string
	for key, s := range w.sends {
		if s.rec.GetState() == senderv1.SendState_SEND_STATE_QUEUED {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// replay asks for all failures of the ledger once more, as the service does.
func (w *world) replay(t *rapid.T) {
	selection := &senderv1.ReplaySelection{}
	count := uint32(0)
	for n := range w.rec.GetAudience().GetChunks() {
		c := w.chunk(t, n)
		chosen := &senderv1.SelectedChunk{Chunk: n}
		for i := range c.Len() {
			if ledger.Replayable(c.Entry(i).GetState()) {
				chosen.Recipients = append(chosen.Recipients, uint32(i))
				count++
			}
		}
		selection.Chunks = append(selection.Chunks, chosen)
	}
	name := fmt.Sprint("selection-", len(w.replays))
	w.replays[name] = selection
	_, _ = w.change(campaignstate.Replay{Replay: &senderv1.CampaignReplay{ // refused in most states
		Round: uint32(len(w.rec.GetReplays()) + 1), Recipients: count, Selection: name,
	}})
}

func (w *world) chunk(t require.TestingT, n uint32) *ledger.Chunk {
	size := audience.SizeOf(w.rec.GetAudience(), n)
	s, ok := w.chunks[n]
	if !ok {
		return ledger.New(n, size)
	}
	c, err := ledger.Decode(s.data, s.revision, n, size)
	require.NoError(t, err)
	return c
}

var ends = []senderv1.SendState{
	senderv1.SendState_SEND_STATE_SENT, senderv1.SendState_SEND_STATE_SENT, senderv1.SendState_SEND_STATE_SENT,
	senderv1.SendState_SEND_STATE_FAILED, senderv1.SendState_SEND_STATE_REFUSED, senderv1.SendState_SEND_STATE_AMBIGUOUS,
}

// chaos is one thing that happens in the world.
func (w *world) chaos(t *rapid.T) {
	switch pick := rapid.IntRange(0, 39).Draw(t, "what"); {
	case pick == 0:
		if len(w.actors) < 6 {
			w.start()
		}
	case pick == 1:
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 50 * time.Hour, 200 * time.Hour}).Draw(t, "later"))
	case pick == 2:
		_, _ = w.change(campaignstate.Pause{})
	case pick <= 5:
		_, _ = w.change(campaignstate.Resume{})
	case pick == 6 && rapid.IntRange(0, 4).Draw(t, "really") == 0:
		_, _ = w.change(campaignstate.Cancel{})
	case pick <= 8:
		w.replay(t)
	case pick <= 16:
		if keys := w.queued(); len(keys) > 0 {
			w.work(rapid.SampledFrom(keys).Draw(t, "message"), rapid.SampledFrom(ends).Draw(t, "end"))
		}
	case len(w.actors) > 0:
		w.now = w.now.Add(300 * time.Millisecond)
		a := rapid.SampledFrom(w.actors).Draw(t, "who")
		fate := rapid.IntRange(0, 29).Draw(t, "fate")
		if fate > 3 {
			fate = int(proceed)
		}
		a.advance(verdict(fate))
	}
}

// Nobody gets two messages, whoever dies at whatever moment, however many replicas believe that the campaign is
// theirs, whatever people ask for, and however long everything stands still. And when the dust has settled, the ledger says
// of everybody what is true.
func TestWhoeverDiesNobodyGetsTwoMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := rapid.IntRange(1, 14).Draw(t, "people")
		plan := &senderv1.CampaignPlan{Steps: []*senderv1.CampaignStep{{Recipients: uint32(people)}}}
		if people > 4 {
			plan.Steps = []*senderv1.CampaignStep{{Recipients: 2, HoldMs: 1000}, {Recipients: 4}, {Recipients: uint32(people)}}
		}
		w := newWorld(people, plan)
		defer w.bury()
		w.start()
		for range rapid.IntRange(0, 250).Draw(t, "events") {
			w.chaos(t)
			w.onlyOnce(t)
		}
		w.finish(t)
		w.onlyOnce(t)
		w.true(t)
	})
}

func (w *world) onlyOnce(t *rapid.T) {
	for openid, n := range w.got {
		require.LessOrEqual(t, n, 1, "%s got %d messages", openid, n)
	}
}

// finish kills everybody and lets one last replica bring the campaign to its end.
func (w *world) finish(t *rapid.T) {
	w.bury()
	for try := 0; ; try++ {
		require.Less(t, try, 20, "the campaign never ends: %s", w.rec)
		last := w.start()
		for n := 0; last.alive(); n++ {
			require.Less(t, n, 5000, "the campaign does not end: %s", w.rec)
			_, _ = w.change(campaignstate.Resume{})
			for _, key := range w.queued() {
				w.work(key, senderv1.SendState_SEND_STATE_SENT)
			}
			w.now = w.now.Add(time.Second)
			last.advance(proceed)
		}
		if !campaignstate.Active(w.rec.GetState()) {
			return
		}
		require.True(t, errors.Is(last.err, ledger.ErrStale) || errors.Is(last.err, campaignstate.ErrFenced), "%v", last.err)
	}
}

func (w *world) bury() {
	for _, a := range w.actors {
		for a.alive() {
			a.advance(dieBefore)
		}
	}
}

// true compares the ledger with the fans.
func (w *world) true(t *rapid.T) {
	for n := range w.rec.GetAudience().GetChunks() {
		c := w.chunk(t, n)
		for i := range c.Len() {
			openid := w.people[audience.Number(w.rec.GetAudience(), n, i)].GetOpenid()
			switch state := c.Entry(i).GetState(); state {
			case ledger.Sent:
				require.Equal(t, 1, w.got[openid], "%s", openid)
			case ledger.Failed, ledger.Refused:
				require.Zero(t, w.got[openid], "%s is %s", openid, state)
			case ledger.Skipped:
				require.True(t, w.rec.GetCancelled())
				require.Zero(t, w.got[openid], "%s is %s", openid, state)
			case ledger.Ambiguous: // may have got it
			default:
				t.Fatalf("%s is %s after the end", openid, state)
			}
		}
	}
	p := w.rec.GetProgress()
	require.EqualValues(t, len(w.people), p.GetPending()+p.GetInFlight()+p.GetSent()+p.GetFailed()+p.GetRefused()+p.GetAmbiguous()+p.GetSkipped(), "%s", p)
}
