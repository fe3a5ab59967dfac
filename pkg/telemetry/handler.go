package telemetry

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// traceHandler adds trace_id and span_id of the context to every line, always at the top level.
type traceHandler struct {
	// inner has all attributes and groups; it writes lines without a trace.
	inner slog.Handler
	// top is inner before the first group, and steps is what came after. Once a group is open, attributes
	// can no longer be added at the top, so lines with a trace are built again from there.
	top   slog.Handler
	steps []func(slog.Handler) slog.Handler
}

// NewHandler wraps h so that lines logged with a traced context carry trace_id and span_id.
func NewHandler(h slog.Handler) slog.Handler { return &traceHandler{inner: h, top: h} }

func (h *traceHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

func (h *traceHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return h.inner.Handle(ctx, r)
	}
	ids := []slog.Attr{
		slog.String(logkey.TraceID, sc.TraceID().String()),
		slog.String(logkey.SpanID, sc.SpanID().String()),
	}
	if len(h.steps) == 0 {
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.inner.Handle(ctx, r)
	}
	out := h.top.WithAttrs(ids)
	for _, step := range h.steps {
		out = step(out)
	}
	return out.Handle(ctx, r)
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	inner := h.inner.WithAttrs(attrs)
	if len(h.steps) == 0 {
		return &traceHandler{inner: inner, top: inner}
	}
	return h.grouped(inner, func(x slog.Handler) slog.Handler { return x.WithAttrs(attrs) })
}

func (h *traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.grouped(h.inner.WithGroup(name), func(x slog.Handler) slog.Handler { return x.WithGroup(name) })
}

func (h *traceHandler) grouped(inner slog.Handler, step func(slog.Handler) slog.Handler) slog.Handler {
	return &traceHandler{inner: inner, top: h.top, steps: append(slices.Clip(h.steps), step)}
}
