package audit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/console/internal/audit"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// book is a log whose database may be away.
type book struct {
	mu      sync.Mutex // guards the rest
	fail    error
	entries []*store.Entry
	pruned  []int64
}

func (b *book) AppendAudit(_ context.Context, entries []*store.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.entries = append(b.entries, entries...)
	return nil
}

func (b *book) PruneAudit(_ context.Context, beforeMS int64) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pruned = append(b.pruned, beforeMS)
	return 1, nil
}

func (b *book) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func (b *book) kept() []*store.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries
}

func recorder(b *book, log *bytes.Buffer) *audit.Recorder {
	return audit.New(audit.Options{To: b, Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
}

func TestARecordIsStoredWhenItReturns(t *testing.T) {
	b, log := &book{}, &bytes.Buffer{}
	r := recorder(b, log)
	require.NoError(t, r.Start(t.Context()))
	r.Record(t.Context(), &store.Entry{Actor: "li", Target: string(make([]byte, 500))})
	require.Len(t, b.kept(), 1)
	require.Len(t, b.kept()[0].Target, 200)
	require.NotZero(t, b.kept()[0].AtMS)
	require.NoError(t, r.Stop(t.Context()))
	require.NoError(t, r.Stop(t.Context()))
	require.Empty(t, log.String())
}

func TestEntriesWaitForTheDatabaseAndRequestsDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := &book{fail: fault.New(fault.Unavailable, "away")}, &bytes.Buffer{}
		r := recorder(b, log)
		require.NoError(t, r.Start(t.Context()))
		begin := time.Now()
		r.Record(t.Context(), &store.Entry{Actor: "li"})
		require.LessOrEqual(t, time.Since(begin), 2*time.Second)
		b.answer(nil)
		<-time.After(2 * time.Second)
		require.Len(t, b.kept(), 1)
		require.NoError(t, r.Stop(t.Context()))
		require.Empty(t, log.String())
	})
}

func TestWhatCannotBeKeptGoesToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := &book{fail: fault.New(fault.Unavailable, "away")}, &bytes.Buffer{}
		r := recorder(b, log)
		require.NoError(t, r.Start(t.Context()))
		r.Record(t.Context(), &store.Entry{Actor: "li", Action: "Reply"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, r.Stop(ctx))
		require.Contains(t, log.String(), "audit entry is not stored")
		require.Contains(t, log.String(), "action=Reply")
		log.Reset()
		r.Record(t.Context(), &store.Entry{Actor: "wang"})
		require.Contains(t, log.String(), "actor=wang", "also after the end")
	})
}

func TestADefectOfOneBatchDoesNotHoldUpTheNext(t *testing.T) {
	b, log := &book{fail: fault.Wrap(fault.Invalid, errors.New("too long"))}, &bytes.Buffer{}
	r := recorder(b, log)
	require.NoError(t, r.Start(t.Context()))
	r.Record(t.Context(), &store.Entry{Actor: "li"})
	b.answer(nil)
	r.Record(t.Context(), &store.Entry{Actor: "wang"})
	require.NoError(t, r.Stop(t.Context()))
	require.Len(t, b.kept(), 1)
	require.Contains(t, log.String(), "actor=li")
}

func TestEntriesAreKeptForAtLeastHalfAYear(t *testing.T) {
	b := &book{}
	r := recorder(b, &bytes.Buffer{})
	r.Prune(t.Context())
	require.LessOrEqual(t, b.pruned[0], time.Now().Add(-180*24*time.Hour).UnixMilli())
}

func TestADigestLeavesSecretsAndTextsOut(t *testing.T) {
	login := func(name, secret string) string {
		return audit.Digest(&consolev1.LogInRequest{Name: name, Password: secret})
	}
	require.Equal(t, login("li", "one"), login("li", "two"))
	require.NotEqual(t, login("li", "one"), login("wang", "one"))
	batch := func(text string) string {
		return audit.Digest(&senderv1.SendBatchRequest{Requests: []*senderv1.SendRequest{{Account: "shop", Content: &eventv1.Content{
			Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: text}},
		}}}})
	}
	require.Equal(t, batch("a"), batch("b"), "also within lists")
}

func TestAChangeIsHashedBeforeAndAfter(t *testing.T) {
	ctx, change := audit.WithChange(t.Context())
	audit.Changed(ctx, nil, map[string]int{"a": 1})
	before, after := change.Hashes()
	require.Empty(t, before)
	require.Equal(t, audit.Hash(map[string]int{"a": 1}), after)
	audit.Changed(t.Context(), 1, 2) // outside a request it does nothing
}

func TestAChangeBeginsWithAnEntryThatIsStored(t *testing.T) {
	b, log := &book{}, &bytes.Buffer{}
	r := recorder(b, log)
	require.NoError(t, r.Start(t.Context()))
	attempt := r.Begin(t.Context(), &store.Entry{Actor: "li", Action: "Reply", Outcome: "ok"})
	// The process may die here: the entry is there.
	require.Len(t, b.kept(), 1)
	require.Equal(t, []string{store.Attempted, attempt}, []string{b.kept()[0].Outcome, b.kept()[0].Attempt})
	require.NotEmpty(t, attempt)
	require.NoError(t, r.Stop(t.Context()))
	require.Empty(t, log.String())
}

func TestAChangeThatBeginsWithoutADatabaseIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := &book{fail: fault.New(fault.Unavailable, "away")}, &bytes.Buffer{}
		r := recorder(b, log)
		require.NoError(t, r.Start(t.Context()))
		r.Begin(t.Context(), &store.Entry{Actor: "li", Action: "Reply"})
		require.Contains(t, log.String(), "action=Reply")
		begin := time.Now()
		r.Begin(t.Context(), &store.Entry{Actor: "wang", Action: "Close"})
		require.Equal(t, begin, time.Now(), "once it is known that the database is away nobody waits for it")
		require.Contains(t, log.String(), "action=Close")
		b.answer(nil)
		<-time.After(2 * time.Second)
		require.Len(t, b.kept(), 2, "both are stored when it is back")
		require.NoError(t, r.Stop(t.Context()))
	})
}
