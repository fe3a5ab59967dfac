package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/pkg/fault"
)

func load(t *testing.T, o certs.Options) *certs.Store {
	t.Helper()
	s, err := certs.Load(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// handshake lets a client and a server meet, and returns what each says.
func handshake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		err := conn.HandshakeContext(t.Context())
		if err == nil {
			_, err = conn.Write([]byte("x")) // in TLS 1.3 a client learns with the first byte that it was refused
		}
		_ = far.Close()
		done <- err
	}()
	conn := tls.Client(near, client)
	clientErr = conn.HandshakeContext(t.Context())
	if clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 1))
	}
	_ = near.Close()
	return clientErr, <-done
}

func TestBothSidesShowACertificateOfTheAuthority(t *testing.T) {
	authority, stranger := certstest.New(t), certstest.New(t)
	server := load(t, certs.Options{Files: authority.Issue(t, "grpc", "rule", "rule")})
	client := load(t, certs.Options{Files: authority.Issue(t, "grpc", "console", "console")})
	other := load(t, certs.Options{Files: stranger.Issue(t, "grpc", "console", "console")})

	clientErr, serverErr := handshake(t, client.Client("rule"), server.Server())
	require.NoError(t, clientErr)
	require.NoError(t, serverErr)

	clientErr, _ = handshake(t, client.Client("token"), server.Server())
	require.ErrorContains(t, clientErr, "valid for rule, not token", "the server is not who was called")

	_, serverErr = handshake(t, &tls.Config{RootCAs: server.Client("").RootCAs, ServerName: "rule"}, server.Server())
	require.ErrorContains(t, serverErr, "didn't provide a certificate")

	trusting := other.Client("rule")
	trusting.RootCAs = client.Client("").RootCAs
	_, serverErr = handshake(t, trusting, server.Server())
	require.ErrorContains(t, serverErr, "certificate", "signed by another authority")
	clientErr, _ = handshake(t, other.Client("rule"), server.Server())
	require.ErrorContains(t, clientErr, "unknown authority")
}

func TestWrongFilesNameTheSettingTheFileAndTheFix(t *testing.T) {
	authority, stranger := certstest.New(t), certstest.New(t)
	now := time.Now()
	junk := filepath.Join(t.TempDir(), "junk")
	require.NoError(t, os.WriteFile(junk, []byte("-----BEGIN NOTHING-----\n"), 0o600))
	good, foreign := authority.Issue(t, "grpc", "rule"), stranger.Issue(t, "grpc", "rule")
	missing := filepath.Join(t.TempDir(), "tls.crt")

	for name, tc := range map[string]struct {
		files certs.Files
		at    time.Time
		want  []string
	}{
		"certificate missing": {certs.Files{Cert: missing, Key: good.Key, CA: good.CA}, now, []string{"grpc.tls_cert_file: cannot be read", missing, "mount the secret"}},
		"authority missing":   {certs.Files{Cert: good.Cert, Key: good.Key, CA: missing}, now, []string{"grpc.tls_ca_file: cannot be read", missing}},
		"not PEM":             {certs.Files{Cert: junk, Key: good.Key, CA: good.CA}, now, []string{"grpc.tls_cert_file: " + junk + ": no certificate in it", "PEM"}},
		"authority not PEM":   {certs.Files{Cert: good.Cert, Key: good.Key, CA: junk}, now, []string{"grpc.tls_ca_file: " + junk}},
		"another key":         {certs.Files{Cert: good.Cert, Key: foreign.Key, CA: good.CA}, now, []string{"grpc.tls_key_file: " + foreign.Key, good.Cert, "issued together"}},
		"no key":              {certs.Files{Cert: good.Cert, CA: good.CA}, now, []string{"grpc.tls_key_file"}},
		"another authority":   {certs.Files{Cert: good.Cert, Key: good.Key, CA: foreign.CA}, now, []string{"grpc.tls_cert_file: " + good.Cert + " is not signed by", foreign.CA}},
		"expired":             {good, now.Add(certstest.Valid + time.Hour), []string{"grpc.tls_cert_file: " + good.Cert + ": the certificate expired at", "renew it"}},
		"not yet valid":       {good, now.Add(-time.Hour), []string{"grpc.tls_cert_file", "clocks"}},
		"authority expired":   {good, now.Add(400 * 24 * time.Hour), []string{"grpc.tls_ca_file", "expired", "make a new one"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.files.Section = "grpc"
			_, err := certs.Load(certs.Options{Files: tc.files, Now: func() time.Time { return tc.at }})
			require.Error(t, err)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			for _, part := range tc.want {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

func serial(t *testing.T, c *tls.Config) string {
	t.Helper()
	require.Len(t, c.Certificates, 1)
	leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	require.NoError(t, err)
	return leaf.SerialNumber.String()
}

func TestARenewedCertificateCountsFromTheNextHandshake(t *testing.T) {
	authority := certstest.New(t)
	s := load(t, certs.Options{Files: authority.Issue(t, "grpc", "rule")})
	first := serial(t, s.Server())
	require.Equal(t, first, serial(t, s.Client("")))
	authority.Issue(t, "grpc", "rule")
	require.NotEqual(t, first, serial(t, s.Server()))
	require.Equal(t, serial(t, s.Server()), serial(t, s.Client("")))
}

func TestFilesThatDoNotFitChangeNothingAndAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	authority := certstest.New(t)
	files := authority.Issue(t, "grpc", "rule")
	s := load(t, certs.Options{Files: files, Log: slog.New(slog.NewTextHandler(&log, nil))})
	first := serial(t, s.Server())
	old, err := os.ReadFile(files.Key)
	require.NoError(t, err)
	authority.Issue(t, "grpc", "rule")
	renewed, err := os.ReadFile(files.Key)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(files.Key, old, 0o600)) // the certificate is new, its key is not there yet
	for range 3 {
		require.Equal(t, first, serial(t, s.Server()))
	}
	require.Equal(t, 1, strings.Count(log.String(), "cannot be used"), log.String())
	require.Contains(t, log.String(), "grpc.tls_key_file")
	require.NoError(t, os.WriteFile(files.Key, renewed, 0o600))
	require.NotEqual(t, first, serial(t, s.Server()))

	second := serial(t, s.Server())
	authority.IssueAt(t, time.Now().Add(-certstest.Valid-time.Hour), "grpc", "rule")
	require.Equal(t, second, serial(t, s.Server()), "one that has expired does not replace one that has not")
	require.NoError(t, os.Remove(files.CA))
	require.Equal(t, second, serial(t, s.Server()))
}

// measured returns the values of a metric by the attribute "what" or "result".
func measured(t *testing.T, reader *sdkmetric.ManualReader, name string) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.WithoutCancel(t.Context()), &all))
	out := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					what, _ := p.Attributes.Value("what")
					out[what.AsString()] = p.Value
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					result, _ := p.Attributes.Value("result")
					out[result.AsString()] = float64(p.Value)
				}
			}
		}
	}
	return out
}

func TestTheMetricsSayWhenWhatIsLoadedExpires(t *testing.T) {
	const expiry, loads = "wxbus.tls.expiry.timestamp", "wxbus.tls.loads"
	reader := sdkmetric.NewManualReader()
	authority := certstest.New(t)
	files := authority.Issue(t, "nats", "rule")
	s := load(t, certs.Options{Files: files, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	first := measured(t, reader, expiry)
	require.Equal(t, float64(authority.Expires().Unix()), first["authority"])
	require.InDelta(t, float64(time.Now().Add(certstest.Valid).Unix()), first["certificate"], 600)
	require.NotContains(t, first, "server")
	require.Equal(t, map[string]float64{"ok": 0, "refused": 0}, measured(t, reader, loads), "what alerts count starts at zero")

	authority.IssueAt(t, time.Now().Add(time.Minute), "nats", "rule")
	end := time.Now().Add(3 * time.Hour)
	s.WatchServer(func() time.Time { return end })
	second := measured(t, reader, expiry)
	require.Greater(t, second["certificate"], first["certificate"], "a look at the metrics finds the new one")
	require.Equal(t, float64(end.Unix()), second["server"])
	require.NoError(t, os.WriteFile(files.Cert, nil, 0o600))
	require.Equal(t, second["certificate"], measured(t, reader, expiry)["certificate"])
	got := measured(t, reader, loads)
	require.Equal(t, 1.0, got["ok"])
	require.Positive(t, got["refused"])
}

func TestAnAuthorityComesBackFromItsFilesAndBoundsWhatItSigns(t *testing.T) {
	a, err := certs.NewAuthority("wxbus", time.Now(), time.Hour)
	require.NoError(t, err)
	again, err := certs.ReadAuthority(a.PEM())
	require.NoError(t, err)
	pair, err := again.Issue([]string{"rule", "10.0.0.1"}, time.Now(), 24*time.Hour)
	require.NoError(t, err)
	both, err := tls.X509KeyPair(pair.Cert, pair.Key)
	require.NoError(t, err)
	require.Equal(t, a.Expires(), both.Leaf.NotAfter, "not longer than its authority")
	require.Equal(t, []string{"rule"}, both.Leaf.DNSNames)
	require.Len(t, both.Leaf.IPAddresses, 1)

	_, err = certs.ReadAuthority(pair)
	require.ErrorContains(t, err, "not one of an authority")
	_, err = certs.ReadAuthority(certs.Pair{})
	require.Error(t, err)
	_, err = a.Issue(nil, time.Now(), time.Hour)
	require.Error(t, err)
}
