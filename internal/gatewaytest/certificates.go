package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificates are a throw-away authority and a server certificate, also as
// PEM files ca.pem, server.pem and server-key.pem.
type certificates struct {
	authorities *x509.CertPool
	server      tls.Certificate
	ca          *x509.Certificate
	caKey       *ecdsa.PrivateKey
}

func newCertificates(tb testing.TB, dir string, ips ...string) certificates {
	tb.Helper()
	c := certificates{authorities: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gatewaytest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.caKey = newKey(tb)
	c.ca = sign(tb, template, template, c.caKey, c.caKey)
	c.authorities.AddCert(c.ca)
	writePEM(tb, filepath.Join(dir, "ca.pem"), "CERTIFICATE", c.ca.Raw)

	leaf := &x509.Certificate{DNSNames: []string{"localhost"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter}
	for _, ip := range ips {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(ip))
	}
	c.server = c.issue(tb, leaf, x509.ExtKeyUsageServerAuth)
	writePEM(tb, filepath.Join(dir, "server.pem"), "CERTIFICATE", c.server.Certificate[0])
	key, err := x509.MarshalPKCS8PrivateKey(c.server.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, filepath.Join(dir, "server-key.pem"), "PRIVATE KEY", key)
	return c
}

// issue makes a certificate of the authority.
func (c certificates) issue(tb testing.TB, template *x509.Certificate, usage x509.ExtKeyUsage) tls.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	template.SerialNumber, template.ExtKeyUsage = serial, []x509.ExtKeyUsage{usage}
	key := newKey(tb)
	leaf := sign(tb, template, c.ca, key, c.caKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// ClientCertificate makes a client certificate with a DNS name, of the
// authority whose certificate is in the file CAFile.
func (g *Gateway) ClientCertificate(name string) tls.Certificate {
	g.tb.Helper()
	return g.certs.client(g.tb, name)
}

// ForeignCertificate makes a client certificate of an authority that nobody
// knows.
func ForeignCertificate(tb testing.TB, name string) tls.Certificate {
	tb.Helper()
	return newCertificates(tb, tb.TempDir()).client(tb, name)
}

func (c certificates) client(tb testing.TB, name string) tls.Certificate {
	tb.Helper()
	return c.issue(tb, &x509.Certificate{
		DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, x509.ExtKeyUsageClientAuth)
}

// CAFile is the certificate of the test's authority.
func (g *Gateway) CAFile() string { return filepath.Join(g.dir, "ca.pem") }

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}

func writePEM(tb testing.TB, file, kind string, der []byte) {
	tb.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
}
