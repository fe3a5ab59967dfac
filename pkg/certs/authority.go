package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// skew is how far clocks of machines may be apart.
const skew = 5 * time.Minute

// Authority signs certificates for an installation that has nothing else for it, and for tests.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  Pair
}

// Pair is a certificate and its key as PEM.
type Pair struct{ Cert, Key []byte }

// NewAuthority makes a new one that is valid from now.
func NewAuthority(name string, now time.Time, valid time.Duration) (*Authority, error) {
	template, err := templateFor(name, now, valid)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	pair, err := sign(template, template, nil)
	if err != nil {
		return nil, err
	}
	return ReadAuthority(pair)
}

// ReadAuthority returns an authority that NewAuthority made. Certificate and key may be one text.
func ReadAuthority(p Pair) (*Authority, error) {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("read authority: the certificate is not one of an authority")
	}
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw})
	return &Authority{cert: pair.Leaf, key: key, pem: Pair{Cert: own, Key: p.Key}}, nil
}

// PEM returns the certificate and the key.
func (a *Authority) PEM() Pair { return a.pem }

// Expires returns when the authority, and everything that it signed, stops being valid.
func (a *Authority) Expires() time.Time { return a.cert.NotAfter }

// Issue signs a certificate for both sides of connections, valid from now, at most as long as the authority. The hosts
// are names or addresses; the first is also the name of the holder.
func (a *Authority) Issue(hosts []string, now time.Time, valid time.Duration) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("issue certificate: needs a host")
	}
	template, err := templateFor(hosts[0], now, valid)
	if err != nil {
		return Pair{}, err
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return sign(template, a.cert, a.key)
}

func templateFor(name string, now time.Time, valid time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"wxbus"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(valid),
	}, nil
}

// sign makes a key and a certificate for it. Without a signer it signs itself.
func sign(template, parent *x509.Certificate, signer crypto.Signer) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make key: %w", err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}
