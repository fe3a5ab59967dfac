package topology

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// ensureTries bounds how often Ensure repeats one step that lost a race against another process.
	ensureTries = 5
	// formingTries bounds how often Ensure asks again while the servers of a cluster still find each other: 15 s.
	formingTries = 60
	formingPause = 250 * time.Millisecond
	// lookTimeout bounds one question of Check: a cluster without a leader does not answer at all, and what was
	// asked then is lost.
	lookTimeout = 5 * time.Second
	// codeNoPeers is JetStream's "no suitable peers for placement". A server that has just started answers it
	// until the meta leader has heard of enough peers; a cluster that is too small answers it for ever.
	codeNoPeers jetstream.ErrorCode = 10005
)

// Ensure creates what is missing and updates what differs. It is idempotent and may run in several
// processes at once. What the server cannot change in place (storage, the kind of retention) is an
// error that names the stream; nothing is ever deleted. The caller needs the right to create streams.
func (t *Topology) Ensure(ctx context.Context, js jetstream.JetStream) error {
	for _, want := range t.assets() {
		if err := again(ctx, func() error { return ensureStream(ctx, js, want) }); err != nil {
			return fmt.Errorf("provision stream %s: %w", want.Name, err)
		}
	}
	for _, want := range t.consumers {
		if err := again(ctx, func() error { return ensureConsumer(ctx, js, want) }); err != nil {
			return fmt.Errorf("provision durable %s on %s: %w", want.Config.Durable, want.Stream, err)
		}
	}
	if t.opts.Replicas == 1 {
		return nil
	}
	return t.SpreadLeaders(ctx, js)
}

// errAgain marks a step that another process did at the same time.
var errAgain = errors.New("changed at the same time")

func again(ctx context.Context, step func() error) error {
	for try := 1; ; try++ {
		err := step()
		pause := pauseAfter(err, try)
		if pause == 0 {
			return fault.Wrap(kindOf(err), err)
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, errors.Join(err, ctx.Err()))
		case <-time.After(pause):
		}
	}
}

// pauseAfter returns how long to wait before the step that failed with err is tried again, 0 to give up.
func pauseAfter(err error, try int) time.Duration {
	switch {
	case errors.Is(err, errAgain) && try < ensureTries:
		return time.Duration(try) * 20 * time.Millisecond
	case isForming(err) && try < formingTries:
		return formingPause
	}
	return 0
}

// isForming tells whether err is what a cluster says whose servers have not all found each other.
func isForming(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == codeNoPeers || api.Code == http.StatusServiceUnavailable)
}

// kindOf tells a server that says no from one that cannot answer now. A change that is not
// allowed, or a store that is too small, comes with 500; a cluster without a leader with 503.
func kindOf(err error) fault.Kind {
	if _, ok := errors.AsType[*jetstream.APIError](err); ok && !isForming(err) {
		return fault.Permanent
	}
	return fault.Unavailable
}

func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	have, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return errors.Join(errAgain, err)
		}
		return err
	}
	if err != nil {
		return err
	}
	config := have.CachedInfo().Config
	if len(diffStream(want, config)) == 0 {
		return nil
	}
	_, err = js.UpdateStream(ctx, overlayStream(config, want))
	return err
}

// overlayStream keeps what an operator set and we do not declare.
func overlayStream(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	want.Placement, want.Compression, want.RePublish = have.Placement, have.Compression, have.RePublish
	want.ConsumerLimits, want.Metadata = have.ConsumerLimits, have.Metadata
	return want
}

func ensureConsumer(ctx context.Context, js jetstream.JetStream, want Consumer) error {
	have, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = js.CreateConsumer(ctx, want.Stream, want.Config)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return errors.Join(errAgain, err)
		}
		return err
	}
	if err != nil {
		return err
	}
	if len(diffConsumer(want.Config, have.CachedInfo().Config)) == 0 {
		return nil
	}
	_, err = js.UpdateConsumer(ctx, want.Stream, want.Config)
	return err
}

// Check joins everything that is missing on the server or differs from the declaration, each with its
// name; nil when all is as declared. It changes nothing and needs no right to create. The kind is
// Permanent when the server differs, Unavailable when it could not be asked.
func (t *Topology) Check(ctx context.Context, js jetstream.JetStream) error {
	var wrong []error
	note := func(format string, a ...any) { wrong = append(wrong, fmt.Errorf(format, a...)) }
	for _, want := range t.assets() {
		have, err := look(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, want.Name) })
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			note("stream %s: missing", want.Name)
		case err != nil:
			return fault.Errorf(fault.Unavailable, "look at stream %s: %w", want.Name, err)
		default:
			if d := diffStream(want, have.CachedInfo().Config); len(d) > 0 {
				note("stream %s: %s", want.Name, describe(d))
			}
		}
	}
	for _, want := range t.consumers {
		have, err := look(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return js.Consumer(ctx, want.Stream, want.Config.Durable)
		})
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
			note("durable %s on %s: missing", want.Config.Durable, want.Stream)
		case err != nil:
			return fault.Errorf(fault.Unavailable, "look at durable %s on %s: %w", want.Config.Durable, want.Stream, err)
		default:
			if d := diffConsumer(want.Config, have.CachedInfo().Config); len(d) > 0 {
				note("durable %s on %s: %s", want.Config.Durable, want.Stream, describe(d))
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	wrong = append(wrong, errors.New(`run "wxbus provision" to create and update them`))
	return fault.Wrap(fault.Permanent, errors.Join(wrong...))
}

func look[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return ask(ctx)
}
