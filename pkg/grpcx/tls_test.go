package grpcx_test

import (
	"crypto/tls"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
)

// clock is one that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func loadCerts(t *testing.T, files certs.Files, now func() time.Time) *certs.Store {
	t.Helper()
	s, err := certs.Load(certs.Options{Files: files, Now: now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// client returns settings for calls to a server whose certificate names "rule".
func client(s *certs.Store) func() *tls.Config {
	return func() *tls.Config { return s.Client("rule") }
}

// dialTo is one more connection to the server of a world.
func dialTo(t *testing.T, w world, settings func() *tls.Config) pb.TestServiceClient {
	t.Helper()
	conn, err := grpcx.Dial(t.Context(), w.server.Addr(), grpcx.DialOptions{TLS: settings, Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return pb.NewTestServiceClient(conn)
}

// called calls and returns the serial number of the certificate that the server showed.
func called(t *testing.T, c pb.TestServiceClient) string {
	t.Helper()
	var p peer.Peer
	_, err := c.EmptyCall(t.Context(), &pb.Empty{}, grpc.Peer(&p))
	require.NoError(t, err)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	require.True(t, ok)
	require.Equal(t, uint16(tls.VersionTLS13), info.State.Version)
	return info.State.PeerCertificates[0].SerialNumber.String()
}

func TestOnlyClientsWithACertificateAreServed(t *testing.T) {
	authority, stranger := certstest.New(t), certstest.New(t)
	server := loadCerts(t, authority.Issue(t, "grpc", "rule", "rule"), nil)
	console := loadCerts(t, authority.Issue(t, "grpc", "console", "console"), nil)
	other := loadCerts(t, stranger.Issue(t, "grpc", "console", "console"), nil)
	w := start(t, true, &service{}, grpcx.Options{TLS: server.Server}, grpcx.DialOptions{TLS: client(console)})
	called(t, w.client)

	for name, settings := range map[string]func() *tls.Config{
		"plain text": nil,
		"without a certificate": func() *tls.Config {
			return &tls.Config{RootCAs: console.Client("").RootCAs, ServerName: "rule"}
		},
		"with one of another authority": func() *tls.Config {
			c := other.Client("rule")
			c.RootCAs = console.Client("").RootCAs
			return c
		},
		"that trusts another authority": client(other),
		"that calls another name":       func() *tls.Config { return console.Client("token") },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dialTo(t, w, settings).EmptyCall(t.Context(), &pb.Empty{})
			require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
		})
	}
	called(t, w.client)
}

func TestRenewedCertificatesAndAuthoritiesNeedNoRestart(t *testing.T) {
	authority := certstest.New(t)
	server := loadCerts(t, authority.Issue(t, "grpc", "rule", "rule"), nil)
	console := loadCerts(t, authority.Issue(t, "grpc", "console", "console"), nil)
	w := start(t, true, &service{}, grpcx.Options{TLS: server.Server}, grpcx.DialOptions{TLS: client(console)})
	first := called(t, w.client)
	authority.Issue(t, "grpc", "rule", "rule")
	second := called(t, dialTo(t, w, client(console)))
	require.NotEqual(t, first, second)
	require.Equal(t, first, called(t, w.client), "connections that are there go on")
}

func TestAnExpiredCertificateIsRefusedOnBothSides(t *testing.T) {
	authority := certstest.New(t)
	var serverClock, clientClock clock
	server := loadCerts(t, authority.Issue(t, "grpc", "rule", "rule"), serverClock.now)
	console := loadCerts(t, authority.Issue(t, "grpc", "console", "console"), clientClock.now)
	w := start(t, true, &service{}, grpcx.Options{TLS: server.Server}, grpcx.DialOptions{TLS: client(console)})
	called(t, w.client)

	clientClock.ahead.Store(int64(certstest.Valid + time.Hour))
	_, err := dialTo(t, w, client(console)).EmptyCall(t.Context(), &pb.Empty{})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorContains(t, err, "expired", "the client says why")

	clientClock.ahead.Store(0)
	serverClock.ahead.Store(int64(certstest.Valid + time.Hour))
	_, err = dialTo(t, w, client(console)).EmptyCall(t.Context(), &pb.Empty{})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
