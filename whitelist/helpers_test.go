package whitelist_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func pattern(t testing.TB, s string) whitelist.Pattern {
	t.Helper()
	return patterns(t, s)[0]
}

func patterns(t testing.TB, list ...string) []whitelist.Pattern {
	t.Helper()
	ps := make([]whitelist.Pattern, 0, len(list))
	for _, s := range list {
		p, err := whitelist.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func networks(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	ps, err := whitelist.ParseNetworks(list)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func policy(t testing.TB, merchants ...whitelist.Merchant) *whitelist.Policy {
	t.Helper()
	p, err := whitelist.NewPolicy(merchants)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decide(t testing.TB, p *whitelist.Policy, a whitelist.Args) whitelist.Decision {
	t.Helper()
	d, err := p.Decide(a)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// names are what a test certificate is issued for.
type names struct {
	common string
	dns    []string
	ips    []string
	uris   []string
	emails []string
}

func certificate(t testing.TB, n names) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:   big.NewInt(1),
		Subject:        pkix.Name{CommonName: n.common},
		DNSNames:       n.dns,
		EmailAddresses: n.emails,
	}
	for _, s := range n.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(s))
	}
	for _, s := range n.uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func fingerprintOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
