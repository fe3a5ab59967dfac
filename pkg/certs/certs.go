// Package certs keeps the certificate of a process, its key and the authority that it trusts, as files that may be
// replaced while the process runs, and makes from them what both sides of a connection between services need.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// maxFile bounds what is read of one file in bytes.
const maxFile = 1 << 20

// Files name what is loaded. The section is the path of the settings, for example "grpc": errors begin with it.
type Files struct {
	Section string
	// Cert and Key are PEM files, the certificate first and what it was signed by behind it. Both or none.
	Cert, Key string
	// CA is a PEM file with the authorities that the other side must be signed by; empty for those of the system.
	CA string
}

// Empty tells whether no file is named: the connection is plain text.
func (f Files) Empty() bool { return f.Cert == "" && f.Key == "" && f.CA == "" }

// Options of Load. Zero values mean the defaults.
type Options struct {
	Files Files
	Now   func() time.Time     // default time.Now
	Log   *slog.Logger         // nil discards
	Meter metric.MeterProvider // nil records nothing
}

// Store holds the files that were loaded last. It is safe for concurrent use. There is nothing to close but its
// metrics.
type Store struct {
	files        Files
	now          func() time.Time
	log          *slog.Logger
	metrics      *metrics
	registration metric.Registration

	mu      sync.Mutex // guards the fields below
	current *bundle
	refused string           // why the files that are there cannot be used, so that it is logged once
	server  func() time.Time // nil, or when the certificate of the server expires
}

// content is what the files contain.
type content struct{ cert, key, ca []byte }

func (c content) equal(other content) bool {
	return bytes.Equal(c.cert, other.cert) && bytes.Equal(c.key, other.key) && bytes.Equal(c.ca, other.ca)
}

// bundle is one set of files that belongs together.
type bundle struct {
	content content
	pair    *tls.Certificate // nil without a certificate
	pool    *x509.CertPool   // nil for the authorities of the system
	ends    map[string]time.Time
}

// Load reads the files. It fails with Invalid, and names the setting, the file and what to do, when one is missing, is
// not what it should be, has expired, or does not fit the others.
func Load(o Options) (*Store, error) {
	s := &Store{files: o.Files, now: o.Now, log: o.Log}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider()
	}
	c, err := s.read()
	if err != nil {
		return nil, err
	}
	if s.current, err = s.bundle(c); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(o.Meter, o.Files.Section); err != nil {
		return nil, err
	}
	if s.registration, err = s.metrics.observe(s.ends); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the metrics of the store.
func (s *Store) Close() error { return s.registration.Unregister() }

func (s *Store) read() (c content, err error) {
	for _, f := range []struct {
		setting, name string
		into          *[]byte
	}{{"tls_cert_file", s.files.Cert, &c.cert}, {"tls_key_file", s.files.Key, &c.key}, {"tls_ca_file", s.files.CA, &c.ca}} {
		if f.name == "" {
			continue
		}
		if *f.into, err = readFile(f.name); err != nil {
			return content{}, s.wrong(f.setting, "cannot be read: %w; mount the secret there, or change the setting", err)
		}
	}
	return c, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading only
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// wrong is an error about one setting.
func (s *Store) wrong(setting, format string, args ...any) error {
	return fault.Wrap(fault.Invalid, fmt.Errorf("%s.%s: %w", s.files.Section, setting, fmt.Errorf(format, args...)))
}

// bundle checks that the files can be used together now.
func (s *Store) bundle(c content) (*bundle, error) {
	b := &bundle{content: c, ends: map[string]time.Time{}}
	var authorities []*x509.Certificate
	if s.files.CA != "" {
		var err error
		if authorities, err = certificates(c.ca); err != nil {
			return nil, s.wrong("tls_ca_file", "%s: %w; it must be the authority's certificate as PEM", s.files.CA, err)
		}
		if authorities = slices.DeleteFunc(authorities, func(a *x509.Certificate) bool { return s.now().After(a.NotAfter) }); len(authorities) == 0 {
			return nil, s.wrong("tls_ca_file", "%s: every authority in it has expired; make a new one, and certificates signed by it", s.files.CA)
		}
		b.pool = x509.NewCertPool()
		for _, a := range authorities {
			b.pool.AddCert(a)
		}
		// While an authority is being replaced both are in the file: the last one counts.
		b.ends[endAuthority] = slices.MaxFunc(authorities, func(x, y *x509.Certificate) int { return x.NotAfter.Compare(y.NotAfter) }).NotAfter
	}
	if s.files.Cert != "" {
		if err := s.addPair(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// addPair adds the certificate and its key, which must fit each other, the clock and the authority.
func (s *Store) addPair(b *bundle) error {
	chain, err := certificates(b.content.cert)
	if err != nil {
		return s.wrong("tls_cert_file", "%s: %w; it must be the certificate as PEM", s.files.Cert, err)
	}
	pair, err := tls.X509KeyPair(b.content.cert, b.content.key)
	if err != nil {
		return s.wrong("tls_key_file", "%s is not the key of the certificate in %s: %w; use the two that were issued together", s.files.Key, s.files.Cert, err)
	}
	leaf, now := chain[0], s.now()
	switch {
	case now.After(leaf.NotAfter):
		return s.wrong("tls_cert_file", "%s: the certificate expired at %s; renew it", s.files.Cert, leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return s.wrong("tls_cert_file", "%s: the certificate begins at %s; compare the clocks of this machine and of the authority", s.files.Cert, leaf.NotBefore.Format(time.RFC3339))
	}
	if b.pool != nil {
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: b.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			return s.wrong("tls_cert_file", "%s is not signed by an authority in %s: %w; the others would refuse it", s.files.Cert, s.files.CA, err)
		}
	}
	pair.Leaf = leaf
	b.pair = &pair
	b.ends[endCertificate] = slices.MinFunc(chain, func(x, y *x509.Certificate) int { return x.NotAfter.Compare(y.NotAfter) }).NotAfter
	return nil
}

// certificates reads all certificates of a PEM file; there is at least one.
func certificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

// latest reads the files again, which are small, so that no clock and no watcher decides when a new certificate counts.
// What cannot be used is logged, and what was loaded before stays: a renewal may write one file after the other.
func (s *Store) latest() *bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.read()
	if err == nil && c.equal(s.current.content) {
		s.refused = ""
		return s.current
	}
	var b *bundle
	if err == nil {
		b, err = s.bundle(c)
	}
	if err != nil {
		s.metrics.loaded(resultRefused)
		if err.Error() != s.refused {
			s.refused = err.Error()
			s.log.Error("new certificates cannot be used, the former ones stay", logkey.Component, s.files.Section, logkey.Error, err)
		}
		return s.current
	}
	s.current, s.refused = b, ""
	s.metrics.loaded(resultOK)
	s.log.Info("certificates are new", logkey.Component, s.files.Section)
	return b
}

// WatchServer adds to the metrics when the certificate of the server expires that the process is connected to. The
// function returns the zero time while there is none, and must be safe for concurrent use.
func (s *Store) WatchServer(expires func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = expires
}

// ends returns when everything expires.
func (s *Store) ends() map[string]time.Time {
	out := maps.Clone(s.latest().ends)
	s.mu.Lock()
	server := s.server
	s.mu.Unlock()
	if server != nil {
		if at := server(); !at.IsZero() {
			out[endServer] = at
		}
	}
	return out
}

// Server returns the settings of the next handshake of a server, which needs all three files: a client must have a
// certificate of the authority.
func (s *Store) Server() *tls.Config {
	b := s.latest()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Time: s.now, ClientCAs: b.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		// A session that is resumed would go on with an authority that is gone.
		SessionTicketsDisabled: true,
	}
	if b.pair != nil {
		config.Certificates = []tls.Certificate{*b.pair}
	}
	return config
}

// Client returns the settings of the next handshake of a client. With an empty name the server must be who its
// address says.
func (s *Store) Client(serverName string) *tls.Config {
	b := s.latest()
	config := &tls.Config{MinVersion: tls.VersionTLS12, Time: s.now, ServerName: serverName, RootCAs: b.pool}
	if b.pair != nil {
		config.Certificates = []tls.Certificate{*b.pair}
	}
	return config
}
