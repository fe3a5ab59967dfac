package tokens

import (
	"context"
	"sync"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// flights lets concurrent callers with the same question share one answer. The work lives as long
// as the question may take, not as long as the caller that came first.
type flights struct {
	timeout time.Duration

	mu     sync.Mutex // guards calls and closed
	calls  map[flightKey]*call
	closed bool
	wg     sync.WaitGroup
}

type flightKey struct {
	account    string
	generation uint64 // that went bad; 0 asks for the current one
}

type call struct {
	done   chan struct{}
	cancel context.CancelFunc
	token  Token
	err    error
}

// answered is the done of a call that never had to be made.
var answered = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

var errStopped = fault.New(fault.Unavailable, "token client is stopped")

// do returns what is known, or the answer of work, which runs once for all callers that ask meanwhile.
// work must make its answer known before it returns.
func (f *flights) do(ctx context.Context, key flightKey, known func() (Token, bool), work func(context.Context) (Token, error)) (Token, error) {
	if t, ok := known(); ok {
		return t, nil
	}
	c, err := f.join(ctx, key, known, work)
	if err != nil {
		return Token{}, err
	}
	select {
	case <-c.done:
		return c.token, c.err
	case <-ctx.Done():
		return Token{}, context.Cause(ctx)
	}
}

func (f *flights) join(ctx context.Context, key flightKey, known func() (Token, bool), work func(context.Context) (Token, error)) (*call, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errStopped
	}
	if c, ok := f.calls[key]; ok {
		return c, nil
	}
	if t, ok := known(); ok { // the call that answered ended while we waited for the lock
		return &call{done: answered, token: t}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
	c := &call{done: make(chan struct{}), cancel: cancel}
	f.calls[key] = c
	f.wg.Go(func() {
		defer cancel()
		c.token, c.err = work(ctx)
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	})
	return c, nil
}

// close refuses new calls, ends those under way and waits for them.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, c := range f.calls {
		c.cancel()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
