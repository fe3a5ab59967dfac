package backup_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/allinone/internal/backup"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// row is a stored message as a reader sees it.
type row struct{ subject, id, data string }

// readAll reads a stream from its first to its last message.
func readAll(t *testing.T, js jetstream.JetStream, name string) map[uint64]row {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	require.NoError(t, err)
	state := stream.CachedInfo().State
	out := map[uint64]row{}
	for seq := state.FirstSeq; seq <= state.LastSeq && state.LastSeq > 0; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // replaced or acknowledged
			continue
		}
		require.NoError(t, err)
		out[seq] = row{m.Subject, m.Header.Get(jetstream.MsgIDHeader), string(m.Data)}
	}
	return out
}

func publish(ctx context.Context, e *bustest.Env, n int) error {
	openid := fmt.Sprintf("oFan%d", n)
	subject, err := topology.SubjectInbound("shop", e.Topology.Partition("shop", openid), eventv1.EventKind_EVENT_KIND_MESSAGE, openid)
	if err != nil {
		return err
	}
	_, err = e.Conn.Publish(ctx, bus.Msg{Subject: subject, ID: fmt.Sprint(n), Data: []byte(fmt.Sprintf("event %d", n))})
	return err
}

// traffic publishes and changes keys until it is stopped.
func traffic(t *testing.T, e *bustest.Env) (stop func()) {
	t.Helper()
	kv, err := e.JS.KeyValue(t.Context(), topology.BucketSends)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var failed error
	work.Go(func() {
		for n := 1000; ctx.Err() == nil && failed == nil; n++ {
			_, err := kv.PutString(t.Context(), fmt.Sprintf("shop.%d", n%50), fmt.Sprint(n))
			failed = errors.Join(err, publish(t.Context(), e, n))
		}
	})
	return func() {
		cancel()
		work.Wait()
		require.NoError(t, failed)
	}
}

func database(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "desk.db")+"?_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func source(e *bustest.Env, sqlDir string) backup.Source {
	return backup.Source{NC: e.Conn.NC(), JS: e.JS, Topology: e.Topology, SQLDir: sqlDir, Version: "test"}
}

// TestWhatWasStoredIsThereAfterALoss is the drill: a backup under traffic, a loss of everything, a restore, and a
// complete read-back.
func TestWhatWasStoredIsThereAfterALoss(t *testing.T) {
	e := bustest.Start(t, bustest.WithFiles())
	for n := range 300 {
		require.NoError(t, publish(t.Context(), e, n))
	}
	read := handleSome(t, e, 120)
	sqlDir := t.TempDir()
	db := database(t, sqlDir)
	for _, q := range []string{"CREATE TABLE said (id INTEGER PRIMARY KEY, text TEXT)", "INSERT INTO said (text) VALUES ('你好')"} {
		_, err := db.ExecContext(t.Context(), q)
		require.NoError(t, err)
	}

	stop := traffic(t, e)
	dir := filepath.Join(t.TempDir(), "backup")
	taken, err := backup.Take(t.Context(), source(e, sqlDir), dir)
	stop()
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO said (text) VALUES ('later')")
	require.NoError(t, err)
	before := map[string]map[uint64]row{}
	for _, s := range taken.Streams {
		before[s.Name] = readAll(t, e.JS, s.Name)
	}
	require.NotEmpty(t, before[topology.StreamInbound])

	for _, s := range taken.Streams { // the loss
		require.NoError(t, e.JS.DeleteStream(t.Context(), s.Name))
	}
	require.NoError(t, db.Close())
	require.NoError(t, os.RemoveAll(sqlDir))

	m, err := backup.Open(dir)
	require.NoError(t, err)
	require.NoError(t, backup.Restore(t.Context(), source(e, sqlDir), dir, m))

	require.NoError(t, e.Topology.Check(t.Context(), e.JS), "streams and readers are as declared")
	for _, s := range m.Streams {
		after := readAll(t, e.JS, s.Name)
		if s.LastSeq > 0 && s.Messages > 0 {
			require.NotEmpty(t, after, s.Name)
		}
		for seq, want := range before[s.Name] {
			got, ok := after[seq]
			// A key that was changed after the snapshot has its former value.
			if seq <= s.LastSeq {
				require.True(t, ok, "%s: message %d is lost", s.Name, seq)
				require.Equal(t, want, got, "%s: message %d", s.Name, seq)
			}
		}
	}
	require.Equal(t, read, handled(t, e), "a reader goes on where it was")
	var texts int
	require.NoError(t, database(t, sqlDir).QueryRowContext(t.Context(), "SELECT count(*) FROM said").Scan(&texts))
	require.Equal(t, 1, texts, "the database is that of the backup")
	require.NoError(t, publish(t.Context(), e, 1_000_000), "the system goes on")
}

// handleSome lets the rule service handle some events and returns how far each of its readers is.
func handleSome(t *testing.T, e *bustest.Env, least int) map[string]uint64 {
	t.Helper()
	var done sync.WaitGroup
	done.Add(least)
	var mu sync.Mutex
	n := 0
	block := make(chan struct{})
	c := e.Conn.NewConsumer(bus.ConsumerConfig{Service: topology.ServiceRule, Stream: topology.StreamInbound, Partitions: e.Topology.Partitions(), Confirm: true},
		func(ctx context.Context, _ *bus.Delivery) error {
			mu.Lock()
			n++
			mine := n
			mu.Unlock()
			if mine > least {
				select {
				case <-block:
				case <-ctx.Done():
				}
				return fault.New(fault.Retryable, "not now")
			}
			done.Done()
			return nil
		})
	require.NoError(t, c.Start(t.Context()))
	done.Wait()
	close(block)
	require.NoError(t, c.Stop(t.Context()))
	return handled(t, e)
}

// handled returns the position of each reader of the rule service.
func handled(t *testing.T, e *bustest.Env) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	for _, durable := range e.Topology.Durables(topology.ServiceRule, topology.StreamInbound) {
		c, err := e.JS.Consumer(t.Context(), topology.StreamInbound, durable)
		require.NoError(t, err)
		out[durable] = c.CachedInfo().AckFloor.Stream
	}
	return out
}

func TestADamagedBackupIsRefusedBeforeAnythingIsReplaced(t *testing.T) {
	e := bustest.Start(t, bustest.WithFiles())
	require.NoError(t, publish(t.Context(), e, 1))
	dir := filepath.Join(t.TempDir(), "backup")
	_, err := backup.Take(t.Context(), source(e, ""), dir)
	require.NoError(t, err)

	file := filepath.Join(dir, "INBOUND.snapshot")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text[len(text)/2] ^= 1
	require.NoError(t, os.WriteFile(file, text, 0o600))
	_, err = backup.Open(dir)
	require.ErrorContains(t, err, "damaged")

	require.NoError(t, os.Remove(filepath.Join(dir, "manifest.json")))
	_, err = backup.Open(dir)
	require.ErrorContains(t, err, "was not finished")
}

func TestABackupNeverReplacesAnother(t *testing.T) {
	e := bustest.Start(t, bustest.WithFiles())
	dir := filepath.Join(t.TempDir(), "backup")
	_, err := backup.Take(t.Context(), source(e, ""), dir)
	require.NoError(t, err)
	_, err = backup.Take(t.Context(), source(e, ""), dir)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestWhatARestoreReplacesIsNamedBefore(t *testing.T) {
	e := bustest.Start(t, bustest.WithFiles())
	dir := filepath.Join(t.TempDir(), "backup")
	m, err := backup.Take(t.Context(), source(e, ""), dir)
	require.NoError(t, err)
	inTheWay, err := backup.InTheWay(t.Context(), source(e, ""), m)
	require.NoError(t, err)
	require.Empty(t, inTheWay, "empty streams are in nobody's way")
	require.NoError(t, publish(t.Context(), e, 1))
	inTheWay, err = backup.InTheWay(t.Context(), source(e, ""), m)
	require.NoError(t, err)
	require.Equal(t, []string{"INBOUND (1 messages)"}, inTheWay)
}
