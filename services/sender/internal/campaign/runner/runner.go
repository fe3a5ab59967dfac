// Package runner takes a campaign from its start to its end. One runner in the whole cluster works on a campaign; any replica can
// take over at any moment.
//
// A recipient goes through these steps, and whoever dies in between leaves a trace that says what to do:
//
//	PENDING     write SUBMITTING by compare-and-set              nothing was sent: begin
//	SUBMITTING  hand over under the key (campaign, number, round)  hand over again: the sender knows the key
//	QUEUED      the result comes on DELIVERY                      wait; read DELIVERY from the last checkpoint
//
// A runner that was replaced and does not know it yet cannot write SUBMITTING any more, because its successor has written
// since or will find its write; what it still hands over has the same keys. So nobody gets two messages.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// Config of a Runner; the service's Config documents and checks the values.
type Config struct {
	// Window is how many messages may be with the sender at once.
	Window int
	// Batch is how many are handed over after one write of the ledger.
	Batch int
	// Parallel is how many are handed over at the same time.
	Parallel int
	// FlushEvery is how long results may wait to be written, ReportEvery how long progress may.
	FlushEvery, ReportEvery time.Duration
	// KeyLife is how long the sender certainly remembers a key.
	KeyLife time.Duration
	// ResultWait is how long the result events of WeChat are awaited at the end.
	ResultWait time.Duration
	// LostAfter is after what time the sender is asked about a message whose result never came.
	LostAfter time.Duration
}

// Ledger is the ledger of the campaign, written under the epoch of the runner.
type Ledger interface {
	Load(ctx context.Context, number uint32, size int) (*ledger.Chunk, error)
	Save(ctx context.Context, c *ledger.Chunk) error
	LoadReplay(ctx context.Context, name string) (*senderv1.ReplaySelection, error)
}

// Audience is the frozen audience of the campaign.
type Audience interface {
	Chunk(ctx context.Context, number uint32) ([]*senderv1.AudienceRecipient, error)
}

// Sender is the intake of the sender.
type Sender interface {
	// Send is SenderService.Send.
	Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error)
	// Lookup returns the record of a send; nil when it is not known.
	Lookup(ctx context.Context, id string) (*senderv1.SendRecord, error)
	// ID returns the id that a key gives.
	ID(key string) string
	// Held returns why the account's messages wait, and until when; ok is false when they do not.
	Held() (reason string, until time.Time, ok bool)
}

// Records is the record of the campaign.
type Records interface {
	// Current returns the newest record that is known here.
	Current() *senderv1.CampaignRecord
	// Change applies a change by compare-and-set.
	Change(ctx context.Context, c campaignstate.Change) (*senderv1.CampaignRecord, error)
}

// Result is what the stream DELIVERY told about one message.
type Result struct {
	// Seq is its sequence in the stream.
	Seq uint64
	// Ref is the recipient of a message that came to its end; nil for other facts.
	Ref *senderv1.CampaignRef
	// Settled is the end of the message.
	Settled *senderv1.DeliverySettled
	// ID is the id of a message that WeChat has taken and whose result is awaited.
	ID string
	// At is when it happened, Unix milliseconds.
	At int64
}

// Deps of a Runner.
type Deps struct {
	Ledger   Ledger
	Audience Audience
	Sender   Sender
	Records  Records
	Tracer   trace.Tracer
	Log      *slog.Logger
	Now      func() time.Time
}

// Runner works on one campaign under one epoch. Its methods belong to one goroutine. Every error but those of
// single messages ends it: the ledger knows everything, so the next runner starts from there.
type Runner struct {
	cfg   Config
	epoch uint64
	Deps

	rec      *senderv1.CampaignRecord
	book     *book
	ids      map[string]uint32 // recipients whose message is with the sender, by send id; only with result events
	bucket   bucket
	progress progress

	folded    uint64 // newest result that is in the book
	stored    uint64 // newest result that is in the ledger
	flushed   time.Time
	submitted time.Time
	retry     time.Time // not before, after the sender had no answer
	swept     time.Time
	replayed  uint32 // newest round of replay that is in the ledger
}

// New reads the ledger and claims the campaign for epoch.
func New(ctx context.Context, cfg Config, epoch uint64, d Deps) (*Runner, error) {
	r := &Runner{cfg: cfg, epoch: epoch, Deps: d}
	rec, err := d.Records.Change(ctx, campaignstate.Claim{Epoch: epoch})
	if errors.Is(err, campaignstate.ErrUnchanged) {
		rec, err = d.Records.Current(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("claim campaign: %w", err)
	}
	r.rec = rec
	now := d.Now()
	from, to := r.span()
	r.book, r.ids = newBook(d.Ledger, rec.GetAudience(), from, to), map[string]uint32{}
	if err := r.book.read(ctx, now, r.remember); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	r.folded, r.stored = rec.GetDeliverySeq(), rec.GetDeliverySeq()
	r.bucket = bucket{rate: rec.GetPlan().GetRate(), at: now}
	r.progress = progress{since: now, step: rec.GetProgress().GetStepUnixMs()}
	r.flushed, r.swept = now, now
	return r, nil
}

// Folded returns the sequence in DELIVERY after which results are wanted.
func (r *Runner) Folded() uint64 { return r.folded }

// ResultEvents tells whether WeChat tells by an event what became of the messages of this campaign.
func (r *Runner) ResultEvents() bool {
	m := r.rec.GetMessage()
	for _, c := range append([]*eventv1.Content{m.GetContent()}, m.GetFallback()...) {
		if c.GetTemplate() != nil || c.GetSubscribe() != nil {
			return true
		}
	}
	return false
}

// remember keeps the id of a message that the sender has, so that WeChat's answer to it is recognized.
func (r *Runner) remember(number uint32, e *senderv1.LedgerEntry) {
	if r.ResultEvents() && (e.GetState() == ledger.Queued || e.GetState() == ledger.Submitting) {
		r.ids[r.Sender.ID(Key(r.rec.GetId(), number, e.GetRound()))] = number
	}
}

// span is the range of recipients whose results are judged: those of the step.
func (r *Runner) span() (from, to uint32) { return r.rec.GetProgress().GetJudgeFrom(), r.limit() }

// limit is how many recipients may be taken up in this step.
func (r *Runner) limit() uint32 {
	steps := r.rec.GetPlan().GetSteps()
	step := int(r.rec.GetProgress().GetStep())
	if step >= len(steps) {
		return r.rec.GetAudience().GetRecipients()
	}
	return steps[step].GetRecipients()
}

// Step does what is to do now and returns how long nothing else is, unless a result comes or the record changes. ended is
// true when the books are closed.
func (r *Runner) Step(ctx context.Context) (wait time.Duration, ended bool, err error) {
	r.rec = r.Records.Current()
	if r.rec.GetEpoch() != r.epoch {
		return 0, true, campaignstate.ErrFenced
	}
	if err := r.replays(ctx); err != nil {
		return 0, true, err
	}
	wait, ended, err = r.work(ctx)
	if err != nil || ended {
		return 0, true, err
	}
	if err := r.tidy(ctx); err != nil {
		return 0, true, err
	}
	return wait, false, nil
}

// work does what the state asks for.
func (r *Runner) work(ctx context.Context) (time.Duration, bool, error) {
	now := r.Now()
	switch r.rec.GetState() {
	case campaignstate.Scheduled:
		if left := time.UnixMilli(r.rec.GetPlan().GetStartUnixMs()).Sub(now); left > 0 {
			return min(left, idle), false, nil
		}
		return 0, false, r.change(ctx, campaignstate.Begin{Epoch: r.epoch})
	case campaignstate.Canary, campaignstate.Running:
		wait, err := r.send(ctx, now)
		return wait, false, err
	case campaignstate.Draining:
		return r.drain(ctx, now)
	case campaignstate.Paused:
		return r.rest(ctx, now)
	default:
		return 0, true, nil
	}
}

// rest takes in what is still on its way while the campaign is paused. After that a runner is not needed until
// somebody resumes it.
func (r *Runner) rest(ctx context.Context, now time.Time) (time.Duration, bool, error) {
	if r.book.states[ledger.Queued]+r.book.states[ledger.Submitting] > 0 {
		return idle, false, r.sweep(ctx, now)
	}
	if err := r.flush(ctx, now); err != nil {
		return 0, false, err
	}
	return 0, true, r.report(ctx, now)
}

// Needed tells whether a campaign needs a runner now.
func Needed(rec *senderv1.CampaignRecord, now time.Time) bool {
	replay := false
	for _, one := range rec.GetReplays() {
		replay = replay || !one.GetApplied()
	}
	switch rec.GetState() {
	case campaignstate.Scheduled:
		return now.Add(early).UnixMilli() >= rec.GetPlan().GetStartUnixMs()
	case campaignstate.Paused:
		return replay || rec.GetProgress().GetInFlight() > 0
	default:
		return campaignstate.Active(rec.GetState())
	}
}

// early is how long before its time a scheduled campaign gets a runner.
const early = 10 * time.Second

// idle is how long a runner sleeps when it waits for nothing in particular.
const idle = time.Second

// change applies a change to the record. A state that has changed under us is no failure: the next step sees it.
func (r *Runner) change(ctx context.Context, c campaignstate.Change) error {
	rec, err := r.Records.Change(ctx, c)
	switch {
	case errors.Is(err, campaignstate.ErrNotAllowed), errors.Is(err, campaignstate.ErrUnchanged):
		r.rec = r.Records.Current()
		return nil
	case err != nil:
		return fmt.Errorf("change campaign: %w", err)
	}
	r.rec = rec
	return nil
}

// tidy writes results and progress when it is time.
func (r *Runner) tidy(ctx context.Context) error {
	now := r.Now()
	if now.Sub(r.flushed) >= r.cfg.FlushEvery {
		if err := r.flush(ctx, now); err != nil {
			return err
		}
	}
	if now.Sub(r.progress.reported) < r.cfg.ReportEvery {
		return nil
	}
	return r.report(ctx, now)
}

func (r *Runner) flush(ctx context.Context, now time.Time) error {
	if err := r.book.flush(ctx); err != nil {
		return err
	}
	r.stored, r.flushed = r.folded, now
	return nil
}

// Close writes what is known, for whoever takes over.
func (r *Runner) Close(ctx context.Context) error {
	now := r.Now()
	if err := r.flush(ctx, now); err != nil {
		return err
	}
	if !campaignstate.Active(r.rec.GetState()) {
		return nil
	}
	return r.report(ctx, now)
}

// replays puts recipients that are replayed back to the beginning, in a round of their own.
func (r *Runner) replays(ctx context.Context) error {
	for _, replay := range r.rec.GetReplays() {
		if replay.GetApplied() || replay.GetRound() <= r.replayed {
			continue
		}
		selection, err := r.Ledger.LoadReplay(ctx, replay.GetSelection())
		if err != nil {
			return err
		}
		if err := r.take(ctx, replay.GetRound(), selection); err != nil {
			return err
		}
		r.replayed = replay.GetRound()
		r.progress.step = 0
		if err := r.change(ctx, campaignstate.Applied{Epoch: r.epoch, Round: replay.GetRound()}); err != nil {
			return err
		}
	}
	return nil
}

// take makes recipients pending again that certainly did not get the message. Doing it twice changes nothing.
func (r *Runner) take(ctx context.Context, round uint32, selection *senderv1.ReplaySelection) error {
	now := r.Now()
	for _, chunk := range selection.GetChunks() {
		p, err := r.book.page(ctx, chunk.GetChunk(), now)
		if err != nil {
			return err
		}
		for _, i := range chunk.GetRecipients() {
			e := p.Entry(int(i))
			if !ledger.Replayable(e.GetState()) || e.GetRound() >= round {
				continue
			}
			r.book.set(p, int(i), &senderv1.LedgerEntry{State: ledger.Pending, Round: round, AtUnixMs: now.UnixMilli()}, "")
		}
		if err := r.book.save(ctx, p); err != nil {
			return err
		}
		if err := r.book.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Key is the idempotency key of one message of a campaign. Callers of the sender cannot use it: theirs are printable.
func Key(campaign string, number, round uint32) string {
	return fmt.Sprintf("\x00campaign\x00%s\x00%d\x00%d", campaign, number, round)
}
