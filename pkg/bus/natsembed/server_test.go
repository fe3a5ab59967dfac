package natsembed_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func connect(t *testing.T, s *natsembed.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s.InProcess()))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

func TestStreamsSurviveARestart(t *testing.T) {
	s := natsembed.New(natsembed.Options{StoreDir: t.TempDir(), SyncAlways: true, MaxStore: 256 << 20})
	require.ErrorContains(t, s.Healthy(), "not running")
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, s.Healthy())
	require.Empty(t, s.ClientURL(), "it listens nowhere")
	js := connect(t, s)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s", []byte("kept"))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LARGE", Subjects: []string{"large"}, MaxBytes: 257 << 20})
	require.ErrorContains(t, err, "insufficient storage", "MaxStore holds")
	require.Error(t, s.Start(t.Context()), "twice")
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()))
	require.Nil(t, s.InProcess())

	require.NoError(t, s.Start(t.Context()), "again after a stop")
	defer s.Shutdown()
	stream, err := connect(t, s).Stream(t.Context(), "S")
	require.NoError(t, err)
	m, err := stream.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "kept", string(m.Data))
}

func TestAPortInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	start := time.Now()
	_, err = natsembed.Start(natsembed.Options{Memory: true, Listen: l.Addr().String()})
	require.ErrorContains(t, err, "address already in use")
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestWrongOptions(t *testing.T) {
	for _, o := range []natsembed.Options{
		{},
		{Memory: true, Listen: "4222"},
		{Memory: true, Listen: "127.0.0.1:99999"},
		{Memory: true, Cluster: &natsembed.ClusterOptions{Listen: "x"}},
	} {
		_, err := natsembed.Start(o)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%+v", o)
	}
}

func TestMemoryLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s, err := natsembed.Start(natsembed.Options{Memory: true})
	require.NoError(t, err)
	s.Shutdown()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := natsembed.New(natsembed.Options{Memory: true})
	err := s.Start(ctx)
	if err == nil { // it was faster
		require.NoError(t, s.Stop(t.Context()))
		return
	}
	require.ErrorIs(t, err, context.Canceled)
}

func TestLogGoesToSlog(t *testing.T) {
	var buf lockedBuffer
	log := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := natsembed.Start(natsembed.Options{Memory: true, Listen: "127.0.0.1:-1", Log: log})
	require.NoError(t, err)
	require.Regexp(t, `^nats://127\.0\.0\.1:\d+$`, s.ClientURL())
	s.Shutdown()
	require.Contains(t, buf.String(), "component=nats")
	require.Contains(t, buf.String(), "Server is ready")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
