package certs

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wxbus/wxbus/pkg/fault"
)

const scope = "github.com/wxbus/wxbus/pkg/certs"

// What expires: our own certificate with what it was signed by, the authority that we trust, or the certificate of the
// server that we are connected to.
const (
	endCertificate = "certificate"
	endAuthority   = "authority"
	endServer      = "server"
)

// What became of files that were read again.
const (
	resultOK      = "ok"
	resultRefused = "refused"
)

// metrics are the instruments of one use of certificates: grpc or nats.
type metrics struct {
	meter  metric.Meter
	expiry metric.Float64ObservableGauge
	loads  metric.Int64Counter
	use    attribute.KeyValue
}

func newMetrics(provider metric.MeterProvider, use string) (*metrics, error) {
	m := &metrics{meter: provider.Meter(scope), use: attribute.String("use", use)}
	var errs [2]error
	m.expiry, errs[0] = m.meter.Float64ObservableGauge("wxbus.tls.expiry.timestamp", metric.WithUnit("s"),
		metric.WithDescription("When what is loaded expires, in Unix seconds, by use (grpc, nats) and what (certificate, authority, server)."))
	m.loads, errs[1] = m.meter.Int64Counter("wxbus.tls.loads",
		metric.WithDescription("Files with certificates that had changed, by use and result; refused ones count at every look until they are repaired."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	for _, result := range []string{resultOK, resultRefused} {
		m.loads.Add(context.Background(), 0, metric.WithAttributes(m.use, attribute.String("result", result)))
	}
	return m, nil
}

// observe reports what ends returns whenever somebody reads the metrics.
func (m *metrics) observe(ends func() map[string]time.Time) (metric.Registration, error) {
	r, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for what, at := range ends() {
			o.ObserveFloat64(m.expiry, float64(at.Unix()), metric.WithAttributes(m.use, attribute.String("what", what)))
		}
		return nil
	}, m.expiry)
	return r, fault.Wrap(fault.Internal, err)
}

func (m *metrics) loaded(result string) {
	m.loads.Add(context.Background(), 1, metric.WithAttributes(m.use, attribute.String("result", result)))
}
