package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// CertAuth logs in with a role and a TLS client certificate. Both files are PEM
// and are read at each connection, so that the certificate can be renewed while
// the gateway runs. It needs https.
func CertAuth(role, certFile, keyFile string) Auth {
	return certAuth{role: role, pair: keyPair{cert: certFile, key: keyFile}}
}

type certAuth struct {
	role string
	pair keyPair
}

func (certAuth) String() string { return "cert" }

func (a certAuth) validate() error {
	if a.role == "" {
		return errors.New("no role given")
	}
	return a.pair.validate()
}

func (a certAuth) login(ctx context.Context, d door) (*api.Secret, error) {
	return d.login(ctx, map[string]any{"name": a.role})
}

// keyPair are the files of a client certificate: PEM, the certificate with its
// chain.
type keyPair struct{ cert, key string }

func (p keyPair) validate() error {
	switch {
	case p.cert == "":
		return errors.New("no certificate file given")
	case p.key == "":
		return errors.New("no key file given")
	}
	return nil
}

// load is what tls.Config calls for a client certificate, in each handshake
// with a server that asks for one.
func (p keyPair) load(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := readRegular(p.cert)
	if err != nil {
		return nil, &certificateError{err}
	}
	key, err := readRegular(p.key)
	if err != nil {
		return nil, &certificateError{err}
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // it repeats nothing of the files
		return nil, &certificateError{fmt.Errorf("%s with %s: %w", p.cert, p.key, err)}
	}
	return &pair, nil
}

// certificateError says why there is no client certificate.
type certificateError struct{ err error }

func (e *certificateError) Error() string { return "reading the client certificate: " + e.err.Error() }

func (e *certificateError) Unwrap() error { return e.err }
