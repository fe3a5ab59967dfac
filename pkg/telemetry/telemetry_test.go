package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var resource = telemetry.Resource{Service: "gateway", Version: "1.2.3", Instance: "gw-0"}

func start(t *testing.T, cfg telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	if cfg.LogOutput == nil {
		cfg.LogOutput = new(bytes.Buffer)
	}
	tel, err := telemetry.Start(t.Context(), cfg, resource)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return tel
}

// remote returns a context as it comes from another process.
func remote(t *testing.T, sampled bool) context.Context {
	flags := "00"
	if sampled {
		flags = "01"
	}
	return telemetry.Propagator().Extract(t.Context(), propagation.MapCarrier{
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-" + flags,
	})
}

func TestWithoutCollectorTracesPassThrough(t *testing.T) {
	tracer := start(t, telemetry.Config{SampleRatio: 1}).TracerProvider.Tracer("test")

	_, fresh := tracer.Start(t.Context(), "new")
	require.False(t, fresh.IsRecording(), "nobody would see it")
	require.True(t, fresh.SpanContext().TraceID().IsValid(), "logs still get a trace id")
	fresh.End()

	ctx, span := tracer.Start(remote(t, true), "continued")
	defer span.End()
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", span.SpanContext().TraceID().String())
	carrier := propagation.MapCarrier{}
	telemetry.Propagator().Inject(ctx, carrier)
	require.Regexp(t, "^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$", carrier["traceparent"], "a sampled trace stays sampled")
}

func TestSamplingFollowsRatioAndParent(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	tel := start(t, telemetry.Config{SampleRatio: 0, SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(exporter)}})
	tracer := tel.TracerProvider.Tracer("test")
	for name, ctx := range map[string]context.Context{"new": t.Context(), "unsampled parent": remote(t, false), "sampled parent": remote(t, true)} {
		_, span := tracer.Start(ctx, name)
		span.End()
	}
	require.Len(t, exporter.GetSpans(), 1)
	require.Equal(t, "sampled parent", exporter.GetSpans()[0].Name)
	require.Subset(t, attributes(exporter.GetSpans()[0]), map[string]string{
		"service.namespace": "wxbus", "service.name": "gateway", "service.version": "1.2.3", "service.instance.id": "gw-0",
	})
}

func attributes(s tracetest.SpanStub) map[string]string {
	m := map[string]string{}
	for _, kv := range s.Resource.Attributes() {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

// fakeCollector keeps the names of the spans it receives.
type fakeCollector struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string
}

func (c *fakeCollector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.names = append(c.names, s.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheCollectorBeforeShutdownReturns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, fake := grpc.NewServer(), &fakeCollector{}
	collector.RegisterTraceServiceServer(server, fake)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })

	tel, err := telemetry.Start(t.Context(), telemetry.Config{
		OTLPEndpoint: "http://" + l.Addr().String(), SampleRatio: 1, LogOutput: new(bytes.Buffer),
	}, resource)
	require.NoError(t, err)
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "push")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(t.Context()), "twice is fine")
	fake.mu.Lock()
	defer fake.mu.Unlock()
	require.Equal(t, []string{"push"}, fake.names)
}

func TestUnreachableCollectorDoesNotBlock(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), telemetry.Config{
		OTLPEndpoint: "http://127.0.0.1:1", SampleRatio: 1, LogOutput: new(bytes.Buffer),
	}, resource)
	require.NoError(t, err)
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "lost")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = tel.Component().Stop(ctx)
	require.ErrorContains(t, err, "shut down telemetry")
}

func TestMetrics(t *testing.T) {
	tel := start(t, telemetry.Config{})
	meter := tel.MeterProvider.Meter("wxbus/gateway")
	duration, err := meter.Float64Histogram("wxbus.push.duration", metric.WithUnit("s"))
	require.NoError(t, err)
	duration.Record(t.Context(), 0.1)
	pushes, err := meter.Int64Counter("wxbus.pushes")
	require.NoError(t, err)
	pushes.Add(t.Context(), 1)

	families, err := tel.Registry.Gather()
	require.NoError(t, err)
	labels := map[string]map[string]string{}
	for _, f := range families {
		labels[f.GetName()] = map[string]string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[f.GetName()][l.GetName()] = l.GetValue()
		}
	}
	require.Contains(t, labels, "wxbus_push_duration_seconds")
	require.Empty(t, labels["wxbus_pushes_total"], "no labels that nobody asked for")
	require.Contains(t, labels, "go_goroutines")
	require.Contains(t, labels, "process_start_time_seconds")
	require.Subset(t, labels["wxbus_build_info"], map[string]string{"service": "gateway", "version": "1.2.3"})
}

func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Config{LogOutput: &out})
	ctx := remote(t, true)
	tests := map[string]struct {
		log  func(*slog.Logger)
		want map[string]any // "-" means the key must be absent
	}{
		"traced": {
			func(l *slog.Logger) { l.InfoContext(ctx, "hello", "took", 1500*time.Millisecond) },
			map[string]any{"msg": "hello", "service": "gateway", "instance": "gw-0", "took": 1.5,
				"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"},
		},
		"not traced": {
			func(l *slog.Logger) { l.Info("hello") },
			map[string]any{"trace_id": "-", "span_id": "-"},
		},
		"traced inside a group": {
			func(l *slog.Logger) {
				l.With("a", 1).WithGroup("push").With("b", 2).WithGroup("").InfoContext(ctx, "hello", "c", 3)
			},
			map[string]any{"a": 1.0, "push": map[string]any{"b": 2.0, "c": 3.0},
				"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"},
		},
		"not traced inside a group": {
			func(l *slog.Logger) { l.WithGroup("push").With("b", 2).Info("hello", "c", 3) },
			map[string]any{"push": map[string]any{"b": 2.0, "c": 3.0}, "trace_id": "-"},
		},
		"secret": {
			func(l *slog.Logger) { l.Info("hello", "token", secret.New("canary")) },
			map[string]any{"token": "[redacted]"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out.Reset()
			tt.log(tel.Logger)
			var line map[string]any
			require.NoError(t, json.Unmarshal(out.Bytes(), &line))
			for key, want := range tt.want {
				if want == "-" {
					require.NotContains(t, line, key)
				} else {
					require.Equal(t, want, line[key], key)
				}
			}
		})
	}
}

// Two loggers made from one must not write into each other's attributes.
func TestLoggersAreIndependent(t *testing.T) {
	var out bytes.Buffer
	base := start(t, telemetry.Config{LogOutput: &out}).Logger.WithGroup("g").With("x", 0)
	a, b := base.With("a", 1), base.With("b", 1)
	a.InfoContext(remote(t, true), "m")
	require.Contains(t, out.String(), `"g":{"x":0,"a":1}`)
	out.Reset()
	b.InfoContext(remote(t, true), "m")
	require.Contains(t, out.String(), `"g":{"x":0,"b":1}`)
}

func TestLogLevelAndFormat(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Config{LogOutput: &out, LogLevel: "warn", LogFormat: "text"})
	tel.Logger.Info("quiet")
	tel.Logger.Warn("loud")
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), "msg=loud")
	tel.Level.Set(slog.LevelDebug)
	tel.Logger.Debug("now")
	require.Contains(t, out.String(), "msg=now")

	for _, cfg := range []telemetry.Config{{LogLevel: "loud"}, {LogFormat: "xml"}} {
		_, err := telemetry.Start(t.Context(), cfg, resource)
		require.Error(t, err)
	}
}

func TestErrorsOfTheSDKAreLogged(t *testing.T) {
	var out bytes.Buffer
	telemetry.RedirectErrors(slog.New(slog.NewTextHandler(&out, nil)))
	t.Cleanup(func() { telemetry.RedirectErrors(slog.New(slog.DiscardHandler)) })
	reportSDKError(errors.New("collector is gone"))
	require.True(t, strings.Contains(out.String(), "collector is gone"), out.String())
}

func TestSpanContextOfTheLogIsThatOfTheSpan(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Config{LogOutput: &out})
	ctx, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "x")
	defer span.End()
	tel.Logger.InfoContext(ctx, "m")
	require.Contains(t, out.String(), trace.SpanContextFromContext(ctx).TraceID().String())
}
