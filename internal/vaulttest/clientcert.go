package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Authority makes client certificates.
type Authority struct {
	tb     testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// NewAuthority makes an authority for the test.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, serial: 1, key: newKey(tb)}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: "vaulttest client authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	a.cert = a.sign(template, template, a.key)
	return a
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("vaulttest: making a key: %v", err)
	}
	return key
}

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.tb.Fatalf("vaulttest: signing a certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatalf("vaulttest: reading a certificate: %v", err)
	}
	return cert
}

func encodeCertificate(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() string { return encodeCertificate(a.cert) }

// Issue returns a new client certificate of that name and its key, as PEM. It
// ends after ttl, or has ended if that is negative.
func (a *Authority) Issue(name string, ttl time.Duration) (cert, key string) {
	a.tb.Helper()
	a.serial++
	private := newKey(a.tb)
	now := time.Now()
	issued := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ttl),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, private)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.tb.Fatalf("vaulttest: encoding a key: %v", err)
	}
	return encodeCertificate(issued), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Revocation returns a list of revoked certificates with these in it, as PEM.
func (a *Authority) Revocation(certs ...string) string {
	a.tb.Helper()
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour)}
	for _, text := range certs {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			a.tb.Fatalf("vaulttest: reading a certificate: %v", err)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: now.Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.tb.Fatalf("vaulttest: signing a revocation list: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// Cert writes a role of the cert auth method, mounted with the first one, for
// certificates of the authority with the name "gateway.internal". The server
// must have been started with WithTLS.
func (s *Server) Cert(name string, authority *Authority, opts RoleOptions) {
	s.tb.Helper()
	mount := s.enableAuth("cert", opts.Mount)
	s.write(mount+"/certs/"+name, opts.settings(map[string]any{
		"certificate": authority.PEM(), "allowed_common_names": "gateway.internal",
	}))
}

// RevokeCertificates has Vault's cert method at the mount (empty: cert) know a
// revocation list of the authority with these certificates.
func (s *Server) RevokeCertificates(mount string, authority *Authority, certs ...string) {
	s.tb.Helper()
	if mount == "" {
		mount = "cert"
	}
	s.write("auth/"+mount+"/crls/vaulttest", map[string]any{"crl": authority.Revocation(certs...)})
}
