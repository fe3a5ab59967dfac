package bus

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
)

// consumerLabels are the metric labels of one consumer, made once.
type consumerLabels struct {
	service, stream attribute.KeyValue
	consumer        *labelled
	outcomes        map[string]*labelled
	durables        *sync.Map // durable -> *labelled; as many as there are partitions
}

func newConsumerLabels(service, stream string) consumerLabels {
	l := consumerLabels{
		service: attribute.String("service", service), stream: attribute.String("stream", stream),
		outcomes: make(map[string]*labelled), durables: &sync.Map{},
	}
	l.consumer = newLabelled(l.service, l.stream)
	for _, outcome := range []string{"ack", "retry", "dead_letter", outcomeSkipped} {
		l.outcomes[outcome] = newLabelled(l.service, l.stream, attribute.String("outcome", outcome))
	}
	return l
}

// promise makes what alerts count exist at zero, see metrics.promise.
func (l consumerLabels) promise(m *metrics) {
	for _, labels := range l.outcomes {
		m.handled.Add(context.Background(), 0, labels.add...)
	}
	m.ackErrors.Add(context.Background(), 0, l.consumer.add...)
}

func (l consumerLabels) outcome(outcome string) *labelled { return l.outcomes[outcome] }

func (l consumerLabels) of(durable string) *labelled {
	if v, ok := l.durables.Load(durable); ok {
		return v.(*labelled)
	}
	labels := newLabelled(l.service, l.stream, attribute.String("durable", durable))
	l.durables.Store(durable, labels)
	return labels
}
