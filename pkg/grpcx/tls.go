package grpcx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// handshakes are credentials that ask for the settings of each handshake, so that a renewed certificate, or another
// authority, counts from the next connection on. Connections of servers last minutes (MaxConnectionAge).
type handshakes struct{ settings func() *tls.Config }

var _ credentials.TransportCredentials = handshakes{}

// ClientHandshake implements credentials.TransportCredentials. The settings may name the server; otherwise it must be
// who its address says.
func (h handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := h.settings()
	if config.ServerName != "" {
		authority = config.ServerName
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
}

// ServerHandshake implements credentials.TransportCredentials.
func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(h.settings()).ServerHandshake(raw)
}

// Info implements credentials.TransportCredentials.
func (handshakes) Info() credentials.ProtocolInfo { return credentials.NewTLS(nil).Info() }

// Clone implements credentials.TransportCredentials.
func (h handshakes) Clone() credentials.TransportCredentials { return h }

// OverrideServerName implements credentials.TransportCredentials; the settings name the server.
func (handshakes) OverrideServerName(string) error { return errors.ErrUnsupported }
