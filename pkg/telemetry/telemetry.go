// Package telemetry sets up traces, metrics and logs for a process, without globals: everything
// that traces or measures takes a provider from Telemetry, and everything that carries a trace across a border
// uses Propagator.
//
// Traces go to a collector by OTLP over gRPC when an endpoint is set. Without one no span is
// recorded, but trace ids are still made and passed on, so logs can be joined and a sampled caller's trace
// is not cut. Metrics are pulled by Prometheus from Registry. Logs are written by log/slog, with trace_id
// and span_id on every line that is logged with a traced context.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/lifecycle"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Bounds of the trace exporter: spans above the queue are dropped and counted, never waited for.
const (
	spanQueue     = 4096
	exportTimeout = 10 * time.Second
)

// seriesLimit bounds the label combinations of one instrument; the rest is summed as overflow.
const seriesLimit = 2000

// Config says what to set up. The zero value traces nothing and logs JSON from info to stderr.
type Config struct {
	// OTLPEndpoint is the collector as http://host:port or https://host:port; "" for none.
	OTLPEndpoint string
	// SampleRatio is the share of new traces that are recorded, 0 to 1.
	SampleRatio float64
	// SpanProcessors see every recorded span, beside the exporter. Shutdown closes them.
	SpanProcessors []sdktrace.SpanProcessor
	// LogLevel is debug, info, warn or error; default info.
	LogLevel string
	// LogFormat is json or text; default json.
	LogFormat string
	// LogOutput receives the log; default os.Stderr.
	LogOutput io.Writer
}

// Resource names the process in traces, metrics and logs.
type Resource struct {
	Service  string // for example "gateway"
	Version  string
	Instance string // unique among the replicas
}

// Telemetry holds the providers of a process. All of it is safe for concurrent use.
type Telemetry struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Registry is what /metrics serves: all instruments of MeterProvider, the Go runtime, the process
	// and wxbus_build_info.
	Registry *prometheus.Registry
	Logger   *slog.Logger
	// Level can be changed while the process runs.
	Level *slog.LevelVar

	once     sync.Once
	shutdown func(context.Context) error
	err      error
}

// Start sets everything up. It does not wait for the collector. The caller must call Shutdown.
func Start(ctx context.Context, cfg Config, res Resource) (*Telemetry, error) {
	level := new(slog.LevelVar)
	handler, err := newHandler(cfg, level)
	if err != nil {
		return nil, err
	}
	traces, stopTraces, err := newTracerProvider(ctx, cfg, res)
	if err != nil {
		return nil, err
	}
	registry, meters, err := newMeterProvider(res)
	if err != nil {
		return nil, errors.Join(err, stopTraces(ctx))
	}
	return &Telemetry{
		TracerProvider: traces,
		MeterProvider:  meters,
		Registry:       registry,
		Logger:         slog.New(handler).With(logkey.Service, res.Service, logkey.Instance, res.Instance),
		Level:          level,
		shutdown: func(ctx context.Context) error {
			return errors.Join(stopTraces(ctx), meters.Shutdown(ctx))
		},
	}, nil
}

// Shutdown exports what is left and ends all goroutines, until ctx ends. Later calls return the
// result of the first.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.once.Do(func() {
		if err := t.shutdown(ctx); err != nil {
			t.err = fmt.Errorf("shut down telemetry: %w", err)
		}
	})
	return t.err
}

// Component returns t as the first component of a group, so that it is shut down last.
func (t *Telemetry) Component() lifecycle.Component { return component{t} }

type component struct{ t *Telemetry }

func (component) Name() string                     { return "telemetry" }
func (component) Start(context.Context) error      { return nil }
func (c component) Stop(ctx context.Context) error { return c.t.Shutdown(ctx) }

// Propagator carries traces across borders: W3C trace context and baggage.
func Propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// RedirectErrors sends errors of the OpenTelemetry SDK, such as an unreachable collector, to log.
// The SDK only has a global hook for them, so a program calls this once.
func RedirectErrors(log *slog.Logger) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry error", logkey.Error, err)
	}))
}

func (r Resource) attributes() *resource.Resource {
	return resource.NewSchemaless(
		semconv.ServiceNamespace("wxbus"),
		semconv.ServiceName(r.Service),
		semconv.ServiceVersion(r.Version),
		semconv.ServiceInstanceID(r.Instance),
	)
}

func newTracerProvider(ctx context.Context, cfg Config, res Resource) (*sdktrace.TracerProvider, func(context.Context) error, error) {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res.attributes())}
	sampler := sdktrace.NeverSample()
	if cfg.OTLPEndpoint != "" || len(cfg.SpanProcessors) > 0 {
		sampler = sdktrace.TraceIDRatioBased(cfg.SampleRatio)
	}
	opts = append(opts, sdktrace.WithSampler(sdktrace.ParentBased(sampler)))
	for _, p := range cfg.SpanProcessors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	abort := func(context.Context) error { return nil }
	if cfg.OTLPEndpoint != "" {
		exporter, err := otlptracegrpc.New(ctx,
			otlptracegrpc.WithEndpointURL(cfg.OTLPEndpoint), otlptracegrpc.WithTimeout(exportTimeout))
		if err != nil {
			return nil, nil, fmt.Errorf("create trace exporter: %w", err)
		}
		abort = exporter.Shutdown
		opts = append(opts, sdktrace.WithBatcher(exporter,
			sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithExportTimeout(exportTimeout)))
	}
	provider := sdktrace.NewTracerProvider(opts...)
	return provider, func(ctx context.Context) error {
		err := provider.Shutdown(ctx)
		if err == nil {
			return nil
		}
		// When time is over the SDK goes on exporting behind our back; this cuts the connection.
		return errors.Join(err, abort(ctx))
	}, nil
}

func newMeterProvider(res Resource) (*prometheus.Registry, *sdkmetric.MeterProvider, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		// wxbus.push.duration becomes wxbus_push_duration_seconds whatever the library's default is.
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("create metric exporter: %w", err)
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wxbus_build_info",
		Help: "Always 1; the labels tell what is running.",
	}, []string{"service", "version", "go_version"})
	build.WithLabelValues(res.Service, res.Version, runtime.Version()).Set(1)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
	} {
		if err := registry.Register(c); err != nil {
			return nil, nil, fmt.Errorf("register collector: %w", err)
		}
	}
	return registry, sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter),
		sdkmetric.WithResource(res.attributes()),
		sdkmetric.WithCardinalityLimit(seriesLimit),
	), nil
}

func newHandler(cfg Config, level *slog.LevelVar) (slog.Handler, error) {
	if cfg.LogLevel != "" {
		if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
			return nil, fmt.Errorf("log level: %w", err)
		}
	}
	out := cfg.LogOutput
	if out == nil {
		out = os.Stderr
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: durationSeconds}
	switch cfg.LogFormat {
	case "", "json":
		return NewHandler(slog.NewJSONHandler(out, opts)), nil
	case "text":
		return NewHandler(slog.NewTextHandler(out, opts)), nil
	default:
		return nil, fmt.Errorf("log format %q: must be json or text", cfg.LogFormat)
	}
}

// durationSeconds writes durations as seconds, the unit of all our metrics, not as nanoseconds.
func durationSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}
