package bus

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// consumerLabels are the metric labels of one consumer, made once.
type consumerLabels struct {
	service, stream attribute.KeyValue
	consumer        metric.MeasurementOption
	outcomes        map[string]metric.MeasurementOption
	durables        *sync.Map // durable -> metric.MeasurementOption; as many as there are partitions
}

func newConsumerLabels(service, stream string) consumerLabels {
	l := consumerLabels{
		service: attribute.String("service", service), stream: attribute.String("stream", stream),
		outcomes: make(map[string]metric.MeasurementOption), durables: &sync.Map{},
	}
	l.consumer = metric.WithAttributeSet(attribute.NewSet(l.service, l.stream))
	for _, outcome := range []string{"ack", "retry", "dead_letter", outcomeSkipped} {
		l.outcomes[outcome] = metric.WithAttributeSet(attribute.NewSet(l.service, l.stream, attribute.String("outcome", outcome)))
	}
	return l
}

func (l consumerLabels) outcome(outcome string) metric.MeasurementOption { return l.outcomes[outcome] }

func (l consumerLabels) of(durable string) metric.MeasurementOption {
	if v, ok := l.durables.Load(durable); ok {
		return v.(metric.MeasurementOption)
	}
	option := metric.WithAttributeSet(attribute.NewSet(l.service, l.stream, attribute.String("durable", durable)))
	l.durables.Store(durable, option)
	return option
}
