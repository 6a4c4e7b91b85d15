package simulation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// providerKeyID is the name of the simulated provider's own key in signatures.
const providerKeyID = "nowpay-simulated"

// schemeFlags say how requests and answers are protected.
type schemeFlags struct{ scheme, jweAlgorithm, algorithm, providerKey string }

func addSchemeFlags(flags *pflag.FlagSet) *schemeFlags {
	f := new(schemeFlags)
	flags.StringVar(&f.scheme, "scheme", "credentials", "how requests and answers are protected: credentials, httpsig or jwe")
	flags.StringVar(&f.jweAlgorithm, "jwe-algorithm", "", "with --scheme jwe: dir or A256GCMKW (default dir)")
	flags.StringVar(&f.algorithm, "algorithm", "", "with --scheme httpsig: hmac-sha256, ed25519, ecdsa-p256-sha256 or rsa-pss-sha512 (default hmac-sha256)")
	flags.StringVar(&f.providerKey, "provider-key", "nowpay-provider.pem", "with --scheme httpsig: where the provider's private key is kept, and with .pub at the end the public one that the gateway needs; made where they do not exist; not for hmac-sha256")
	return f
}

// protect chooses how requests and answers are protected, and reads the account from
// the secret file or makes up one that fits.
func (f *schemeFlags) protect(config *simulator.Config, secretFile string) (credential, error) {
	switch {
	case f.jweAlgorithm != "" && f.scheme != "jwe":
		return credential{}, errors.New("reading --jwe-algorithm: it needs --scheme jwe")
	case f.algorithm != "" && f.scheme != "httpsig":
		return credential{}, errors.New("reading --algorithm: it needs --scheme httpsig")
	case f.scheme == "credentials":
		return loadCredential(secretFile, newCredential)
	case f.scheme == "jwe":
		config.JWE = &simulator.JWEConfig{Algorithm: f.jweAlgorithm}
		return loadCredential(secretFile, newCipherCredential)
	case f.scheme == "httpsig":
		return f.signatures(config, secretFile)
	}
	return credential{}, fmt.Errorf("reading --scheme: it is credentials, httpsig or jwe, not %q", f.scheme)
}

// signatures has everything signed: with the account's key on both sides, or with a
// private key on each.
func (f *schemeFlags) signatures(config *simulator.Config, secretFile string) (credential, error) {
	algorithm := httpsig.Algorithm(f.algorithm)
	config.Signatures = &simulator.SignatureConfig{Algorithm: algorithm, KeyID: providerKeyID}
	if algorithm == "" || algorithm == httpsig.HMACSHA256 {
		return loadCredential(secretFile, newCredential)
	}
	if !algorithm.Known() {
		return credential{}, fmt.Errorf("reading --algorithm: there is no %q", f.algorithm)
	}
	var made error
	account, err := loadCredential(secretFile, func() credential {
		c := newCredential()
		var private []byte
		private, made = newPrivateKey(algorithm)
		c.Key = string(private)
		return c
	})
	if err := errors.Join(made, err); err != nil {
		return credential{}, err
	}
	if config.Signatures.PartnerKey, err = publicOf([]byte(account.Key)); err != nil {
		return credential{}, fmt.Errorf("reading %s: its key must be a private one in PEM for %s: %w", secretFile, algorithm, err)
	}
	config.Signatures.PrivateKey, err = f.ownKey(algorithm)
	return account, err
}

// ownKey is the provider's, whose public part it leaves for the gateway.
func (f *schemeFlags) ownKey(algorithm httpsig.Algorithm) ([]byte, error) {
	private, err := os.ReadFile(f.providerKey)
	if errors.Is(err, fs.ErrNotExist) {
		if private, err = newPrivateKey(algorithm); err == nil {
			err = os.WriteFile(f.providerKey, private, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading or making the provider's key: %w", err)
	}
	public, err := publicOf(private)
	if err == nil {
		err = os.WriteFile(f.providerKey+".pub", public, 0o644) //nolint:gosec // G306: it is public
	}
	if err != nil {
		return nil, fmt.Errorf("writing the provider's public key: %w", err)
	}
	return private, nil
}

// newPrivateKey makes a key for an algorithm, in PEM.
func newPrivateKey(algorithm httpsig.Algorithm) ([]byte, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case httpsig.ECDSAP256SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case httpsig.RSAPSSSHA512:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		_, key, err = ed25519.GenerateKey(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// publicOf is the public part of a private key, both in PEM.
func publicOf(private []byte) ([]byte, error) {
	block, _ := pem.Decode(private)
	if block == nil {
		return nil, errors.New("it is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is not a key that signs")
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("writing a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
