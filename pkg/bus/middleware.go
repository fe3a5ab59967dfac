package bus

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// namedMiddleware is one step around every handler.
type namedMiddleware struct {
	name   string
	reason string
	wrap   Middleware
}

// around lists the steps around every handler, outermost first. The reason says why a step stands
// where it does.
func (c *Consumer) around() []namedMiddleware {
	return []namedMiddleware{
		{"recover", "outermost: a defect in any step below must not end the process", recovered},
		{"trace", "before metrics and log, so that both carry the trace", c.traced},
		{"metrics", "sees the final error and the whole time, time-outs included", c.measured},
		{"log", "one line for each delivery with the final error", c.logged},
		{"dead-letter", "decides on the error of the handler or of the time-out; above it the decision is visible", c.decided},
		{"timeout", "bounds the handler only", c.bounded},
		{"recover handler", "innermost of ours: a panic is an error with a stack for every step above", recovered},
	}
}

func (c *Consumer) chain(h Handler, mw []Middleware) Handler {
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	steps := c.around()
	for i := len(steps) - 1; i >= 0; i-- {
		h = steps[i].wrap(h)
	}
	return h
}

func recovered(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = panicFault(v)
			}
		}()
		return next(ctx, d)
	}
}

// traced starts the span of a delivery: a child of the publisher's on the first delivery, else a root
// with a link to it, because a trace that goes on for hours helps nobody.
func (c *Consumer) traced(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		template := topology.Template(d.Subject)
		opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
		remote := trace.SpanContextFromContext(propagator.Extract(ctx, Carrier(d.Header)))
		if d.NumDelivered == 1 && d.Header.Get(HeaderReplay) == "" {
			ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
		} else {
			opts = append(opts, trace.WithNewRoot())
			if remote.IsValid() {
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: remote}))
			}
		}
		ctx, span := c.conn.tracer.Start(ctx, "process "+template, opts...)
		if !span.IsRecording() {
			return next(ctx, d)
		}
		defer span.End()
		span.SetAttributes(messageAttributes("process", template, d.Header.Get("Nats-Msg-Id"))...)
		span.SetAttributes(
			attribute.String("messaging.consumer.group.name", d.Durable),
			attribute.Int64("wxbus.stream.seq", int64(d.Seq)),
			attribute.Int64("wxbus.deliveries", int64(d.NumDelivered)),
		)
		err := next(ctx, d)
		span.SetAttributes(attribute.String("wxbus.outcome", disposition(err).String()))
		if err != nil {
			span.SetStatus(codes.Error, fault.KindOf(err).String())
			span.SetAttributes(attribute.String("error.type", fault.KindOf(err).String()))
		}
		return err
	}
}

func (c *Consumer) measured(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		start := time.Now()
		err := next(ctx, d)
		labels := c.labels.outcome(disposition(err).String())
		c.conn.metrics.handled.Add(ctx, 1, labels.add...)
		c.conn.metrics.handleTime.Record(ctx, time.Since(start).Seconds(), labels.record...)
		return err
	}
}

func (c *Consumer) logged(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		start := time.Now()
		err := next(ctx, d)
		outcome := disposition(err)
		level := slog.LevelDebug
		if outcome == fault.DeadLetter {
			level = slog.LevelWarn
		}
		if !c.conn.log.Enabled(ctx, level) {
			return err
		}
		attrs := []slog.Attr{
			slog.String("service", c.cfg.Service), slog.String("stream", d.Stream), slog.String("durable", d.Durable),
			slog.Uint64("seq", d.Seq), slog.String("message_id", SafeID(d.Header.Get("Nats-Msg-Id"))),
			slog.Uint64("deliveries", d.NumDelivered), slog.String("outcome", outcome.String()),
			slog.Duration("took", time.Since(start)), slog.Duration("age", start.Sub(d.Stored)),
		}
		if err != nil {
			attrs = append(attrs, slog.String("kind", fault.KindOf(err).String()), slog.String("error", err.Error()))
		}
		c.conn.log.LogAttrs(ctx, level, "message handled", attrs...)
		return err
	}
}

// decided ends the patience with a message that keeps failing.
func (c *Consumer) decided(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		err := next(ctx, d)
		if err != nil && fault.Dispose(err) == fault.Retry && c.lastTry(d) {
			return &triesSpentError{tries: d.attempt, err: err}
		}
		return err
	}
}

func (c *Consumer) bounded(next Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		return next(ctx, d)
	}
}
