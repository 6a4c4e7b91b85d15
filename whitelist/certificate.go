package whitelist

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// certificateName is one thing that a client certificate can be recognised by.
// The kind keeps a DNS name and, say, a URI with the same text apart.
type certificateName struct {
	kind  nameKind
	value string // in canonical form: compared byte for byte
}

type nameKind string

const (
	fingerprint nameKind = "sha256"
	dnsName     nameKind = "dns"
	ipAddress   nameKind = "ip"
	uri         nameKind = "uri"
	email       nameKind = "email"
)

// parseCertificateName parses a rule: sha256:<hex> over the DER of the
// certificate, or a subject alternative name, whose kind its form tells.
func parseCertificateName(s string) (certificateName, error) {
	invalid := func(hint string) (certificateName, error) {
		return certificateName{}, fmt.Errorf("parsing client certificate %q: %s", s, hint)
	}
	if len(s) >= len(hashPrefix) && strings.EqualFold(s[:len(hashPrefix)], hashPrefix) {
		sum, ok := parseSHA256(s)
		if !ok {
			return invalid("write the fingerprint as `sha256:` and 64 hexadecimal digits without colons, " +
				"the SHA-256 of the certificate in DER form")
		}
		return certificateName{fingerprint, string(sum[:])}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return invalid("write the address without the zone")
		}
		return certificateName{ipAddress, addr.Unmap().String()}, nil
	}
	switch {
	case strings.Contains(s, ":"):
		if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.String() != s {
			return invalid("write a URI as the certificate has it, such as `spiffe://example.org/shop`")
		}
		return certificateName{uri, s}, nil
	case strings.Contains(s, "@"):
		return certificateName{email, s}, nil
	case strings.ContainsAny(s, "=*"):
		return invalid("write a whole subject alternative name, such as `shop.internal`; " +
			"common names and wildcards are not matched")
	case !isHostname(s):
		return invalid("write `sha256:<fingerprint>`, or a DNS name, IP address, URI or email address " +
			"that the certificate is issued for")
	}
	return certificateName{dnsName, lowerASCII(s)}, nil
}

// namesOf returns what the certificate may be recognised by: its fingerprint
// and, only if its chain was verified, its subject alternative names. The
// common name is not among them: nothing constrains what it may say.
func namesOf(cert *x509.Certificate, verified bool) []certificateName {
	sum := sha256.Sum256(cert.Raw)
	names := []certificateName{{fingerprint, string(sum[:])}}
	if !verified {
		return names
	}
	for _, name := range cert.DNSNames {
		names = append(names, certificateName{dnsName, lowerASCII(name)})
	}
	for _, ip := range cert.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			names = append(names, certificateName{ipAddress, addr.Unmap().String()})
		}
	}
	for _, u := range cert.URIs {
		names = append(names, certificateName{uri, u.String()})
	}
	for _, address := range cert.EmailAddresses {
		names = append(names, certificateName{email, address})
	}
	return names
}

// isHostname reports whether s looks like a DNS name: dot-separated labels of
// ASCII letters, digits, - and _.
func isHostname(s string) bool {
	for label := range strings.SplitSeq(lowerASCII(s), ".") {
		if !isWord(strings.ReplaceAll(label, "-", "_")) {
			return false
		}
	}
	return true
}

// lowerASCII leaves other letters alone, as DNS does; [strings.ToLower] would
// turn the Kelvin sign into a k.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

const hashPrefix = "sha256:"

// parseSHA256 parses "sha256:" and 64 hexadecimal digits in either letter case.
func parseSHA256(s string) (sum [sha256.Size]byte, ok bool) {
	digits, ok := strings.CutPrefix(s, hashPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}
