package httpx

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/wxbus/wxbus/pkg/telemetry"
)

const scope = "github.com/wxbus/wxbus/pkg/httpx"

// durationBuckets resolve both a push that is answered in a millisecond and one that is kept for 15 s.
var durationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 4, 5, 7.5, 10, 15}

// TraceOptions tune Trace. Nil providers record nothing.
type TraceOptions struct {
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Public starts a new trace and links the caller's. Set it where strangers call.
	Public bool
	// Skip leaves requests out, for example long streams; nil traces all.
	Skip func(*http.Request) bool
}

// Trace makes a server span and counts the duration of every request, both by method and route.
// Put it outside the ServeMux, and other middleware between the two. Unlike the general
// instrumentation it records no path, query, host or client address: they hold openids, signatures and
// personal data, and as metric labels they would have no bound.
func Trace(o TraceOptions) Middleware {
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	tracer := o.Tracer.Tracer(scope)
	duration, err := o.Meter.Meter(scope).Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP requests."),
		metric.WithExplicitBucketBoundaries(durationBuckets...))
	if err != nil { // only for an invalid name; a constant one is valid
		duration = metricnoop.Float64Histogram{}
	}
	propagator := telemetry.Propagator()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if o.Skip != nil && o.Skip(r) {
				next.ServeHTTP(w, r)
				return
			}
			begin := time.Now()
			ctx := propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
			opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
			if remote := trace.SpanContextFromContext(ctx); o.Public {
				opts = append(opts, trace.WithNewRoot())
				if remote.IsValid() {
					opts = append(opts, trace.WithLinks(trace.Link{SpanContext: remote}))
				}
			}
			ctx, span := tracer.Start(ctx, method(r), opts...)
			rec, traced, finished := &recorder{ResponseWriter: w}, r.WithContext(ctx), false
			defer func() {
				if finished && rec.status == 0 {
					rec.status = http.StatusOK // net/http sends it for a handler that wrote nothing
				}
				attrs := requestAttributes(traced, rec.status)
				duration.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(attrs...))
				span.SetAttributes(attrs...)
				span.SetName(method(traced) + " " + route(traced))
				if rec.status >= http.StatusInternalServerError {
					span.SetStatus(codes.Error, "")
				}
				span.End()
			}()
			next.ServeHTTP(rec, traced)
			finished = true
		})
	}
}

// requestAttributes are the bounded ones. No status means the connection was broken on purpose.
func requestAttributes(r *http.Request, status int) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(method(r)),
		semconv.HTTPRoute(route(r)),
	}
	if status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(status))
	}
	return attrs
}

// route returns the pattern that the ServeMux matched, without the method.
func route(r *http.Request) string {
	_, path, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		path = r.Pattern
	}
	if path == "" {
		return "unmatched"
	}
	return path
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// method bounds the label: clients may invent methods.
func method(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return "_OTHER"
}
