package egress

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const pinPrefix = "sha256/"

// ParsePin reads a pin as it is written in a configuration: "sha256/" and the
// standard base64 of the hash.
func ParsePin(s string) (pin [sha256.Size]byte, err error) {
	hash, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, pinPrefix))
	copy(pin[:], hash)
	if err != nil || len(hash) != len(pin) || formatPin(pin) != s {
		return [sha256.Size]byte{}, fmt.Errorf("pin %q is not %s and the base64 of a SHA-256 hash", s, pinPrefix)
	}
	return pin, nil
}

func spki(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

func formatPin(pin [sha256.Size]byte) string {
	return pinPrefix + base64.StdEncoding.EncodeToString(pin[:])
}

// tlsConfig is shared by all connections and never modified.
func tlsConfig(host string, roots *x509.CertPool, pins [][sha256.Size]byte) *tls.Config {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		RootCAs:            roots,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if len(pins) > 0 {
		// Unlike VerifyPeerCertificate this runs for resumed sessions too.
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return checkPins(state.VerifiedChains, pins)
		}
	}
	return config
}

func checkPins(chains [][]*x509.Certificate, pins [][sha256.Size]byte) error {
	for _, chain := range chains {
		if slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return slices.Contains(pins, spki(c)) }) {
			return nil
		}
	}
	if len(chains) == 0 {
		return errors.New("no verified chain")
	}
	return fmt.Errorf("no certificate has a pinned key; the server's own is %s", formatPin(spki(chains[0][0])))
}
