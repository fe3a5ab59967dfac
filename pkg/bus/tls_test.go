package bus_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/pkg/fault"
)

// verifyingServer runs NATS as components/tls configures it: no connection without a certificate of the authority.
func verifyingServer(t *testing.T, files certs.Files, seen func(tls.ConnectionState) error) (url string) {
	t.Helper()
	settings, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: files.Cert, KeyFile: files.Key, CaFile: files.CA, Verify: true})
	require.NoError(t, err)
	settings.VerifyConnection = seen
	srv, err := server.NewServer(&server.Options{
		ServerName: "tls", Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		TLSConfig: settings, TLSVerify: true, TLSTimeout: 30,
	})
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(t, srv.ReadyForConnections(time.Minute))
	return srv.ClientURL()
}

func certificates(t *testing.T, o certs.Options) *certs.Store {
	t.Helper()
	s, err := certs.Load(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestNATSTakesConnectionsWithACertificateOnly(t *testing.T) {
	authority, stranger := certstest.New(t), certstest.New(t)
	url := verifyingServer(t, authority.Issue(t, "nats", "nats"), nil)
	reader := sdkmetric.NewManualReader()
	own := authority.Issue(t, "nats", "rule", "rule")
	store := certificates(t, certs.Options{Files: own, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "rule", URLs: []string{url}, Conns: 2, Certificates: store})
	require.NoError(t, err)
	_, err = conn.JS().AccountInfo(t.Context())
	require.NoError(t, err)
	require.Contains(t, expiries(t, reader), "server", "the servers' certificate is watched too")

	authorityOnly := certs.Files{Section: "nats", CA: own.CA}
	for name, tc := range map[string]struct {
		files certs.Files
		kind  fault.Kind
		text  string
	}{
		"without a certificate":      {authorityOnly, fault.Unavailable, "connect to NATS as rule"},
		"trusting another authority": {stranger.Issue(t, "nats", "rule", "rule"), fault.Permanent, "nats.tls_ca_file"},
		"in plain text":              {certs.Files{}, fault.Permanent, "nats.tls_ca_file"},
	} {
		t.Run(name, func(t *testing.T) {
			// The server hangs up on those, and a server that hangs up is tried again until the context ends.
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if tc.kind == fault.Permanent {
				ctx = t.Context()
			}
			o := bus.Options{Name: "rule", URLs: []string{url}}
			if !tc.files.Empty() {
				o.Certificates = certificates(t, certs.Options{Files: tc.files})
			}
			_, err := bus.Connect(ctx, o)
			require.Equal(t, tc.kind, fault.KindOf(err), "%v", err)
			require.ErrorContains(t, err, tc.text)
		})
	}
	require.NoError(t, conn.Close(t.Context()))
	require.NotContains(t, expiries(t, reader), "server", "no connection, no server")
}

func TestARenewedCertificateIsShownAtTheNextConnection(t *testing.T) {
	authority := certstest.New(t)
	shown := make(chan string, 10)
	url := verifyingServer(t, authority.Issue(t, "nats", "nats"), func(state tls.ConnectionState) error {
		shown <- state.PeerCertificates[0].SerialNumber.String()
		return nil
	})
	store := certificates(t, certs.Options{Files: authority.Issue(t, "nats", "rule", "rule")})
	conn, err := bus.Connect(t.Context(), bus.Options{Name: "rule", URLs: []string{url}, Certificates: store})
	require.NoError(t, err)
	first := <-shown
	authority.Issue(t, "nats", "rule", "rule")
	require.NoError(t, conn.NC().ForceReconnect())
	require.NotEqual(t, first, <-shown)
	require.NoError(t, conn.Close(t.Context()))
}

func expiries(t *testing.T, reader *sdkmetric.ManualReader) []string {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.WithoutCancel(t.Context()), &all))
	var out []string
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, ok := m.Data.(metricdata.Gauge[float64])
			if !ok {
				continue
			}
			for _, p := range gauge.DataPoints {
				what, _ := p.Attributes.Value("what")
				out = append(out, what.AsString())
			}
		}
	}
	return out
}
