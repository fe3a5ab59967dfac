// Package telemetrytest gives tests a Telemetry that keeps spans and log lines in memory.
package telemetrytest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wxbus/wxbus/pkg/telemetry"
)

// Telemetry records every span as soon as it ends.
type Telemetry struct {
	*telemetry.Telemetry
	// Exporter holds the spans that have ended.
	Exporter *tracetest.InMemoryExporter
	// Log holds the log, one JSON object per line, from level debug.
	Log *Log
}

// New returns a Telemetry that is shut down when the test ends.
func New(t testing.TB) *Telemetry {
	t.Helper()
	exporter, log := tracetest.NewInMemoryExporter(), &Log{}
	tel, err := telemetry.Start(t.Context(), telemetry.Config{
		SampleRatio:    1,
		SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(exporter)},
		LogLevel:       "debug",
		LogOutput:      log,
	}, telemetry.Resource{Service: "test", Version: "test", Instance: "test-0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return &Telemetry{Telemetry: tel, Exporter: exporter, Log: log}
}

// Spans returns the spans that have ended, in that order.
func (t *Telemetry) Spans() tracetest.SpanStubs { return t.Exporter.GetSpans() }

// Named returns the ended spans with that name.
func (t *Telemetry) Named(name string) tracetest.SpanStubs {
	var named tracetest.SpanStubs
	for _, s := range t.Exporter.GetSpans() {
		if s.Name == name {
			named = append(named, s)
		}
	}
	return named
}

// Log is an in-memory log, safe for concurrent use.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
