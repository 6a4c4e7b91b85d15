package httpsig

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Bounds of RSA keys, in bits. Below they are weak, above they are slow.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// Length of r and of s in a signature of P-256.
const scalarBytes = 32

func pssOptions() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: sha512.Size, Hash: crypto.SHA512}
}

// privateKey is a closure, so that there is nothing to print.
type privateKey struct {
	algorithm Algorithm
	sign      func(base []byte) ([]byte, error)
}

func (k privateKey) Algorithm() Algorithm { return k.algorithm }

func (k privateKey) Sign(_ context.Context, base []byte) ([]byte, error) { return k.sign(base) }

type publicKey struct {
	algorithm Algorithm
	fits      func(base, signature []byte) bool
}

func (k publicKey) Algorithm() Algorithm { return k.algorithm }

func (k publicKey) Verify(_ context.Context, base, signature []byte) error {
	if !k.fits(base, signature) {
		return ErrWrong
	}
	return nil
}

// ParsePrivateKey reads the one private key in text, in PEM: "PRIVATE KEY" (PKCS #8),
// "RSA PRIVATE KEY" or "EC PRIVATE KEY". It must be one of the algorithm: Ed25519,
// P-256, or RSA of 2048 to 8192 bits; the error wraps [ErrAlgorithm] if it is not.
// Keys for RSASSA-PSS alone, as RFC 9421 appendix B.1.2 has one, may not be
// restricted any further. Errors do not quote the key.
//
// What was decoded on the way is wiped; text is the caller's to wipe. The key itself
// is held by the standard library, which never wipes it.
func ParsePrivateKey(text []byte, a Algorithm) (SigningKey, error) {
	if err := hasPEM(a); err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	block, err := onlyBlock(text)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	defer clear(block.Bytes)
	key, err := decodePrivate(block)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	k := privateKey{algorithm: a}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		k.sign = func(base []byte) ([]byte, error) { return ed25519.Sign(key, base), nil }
		err = suits(key.Public(), a)
	case *ecdsa.PrivateKey:
		k.sign = func(base []byte) ([]byte, error) { return signECDSA(key, base) }
		err = suits(key.Public(), a)
	case *rsa.PrivateKey:
		k.sign = func(base []byte) ([]byte, error) { return signRSA(key, base) }
		err = suits(key.Public(), a)
	default:
		err = fmt.Errorf("%w: the key is of another kind than %s", ErrAlgorithm, a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	return k, nil
}

// ParsePublicKey reads the one public key in text, in PEM: "PUBLIC KEY" (PKIX),
// "RSA PUBLIC KEY", or that of a "CERTIFICATE", of which nothing else is looked at:
// not who issued it, nor whether it has expired. It must be one of the algorithm, as
// for [ParsePrivateKey].
func ParsePublicKey(text []byte, a Algorithm) (VerifyingKey, error) {
	if err := hasPEM(a); err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	block, err := onlyBlock(text)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	key, err := decodePublic(block)
	if err == nil {
		err = suits(key, a)
	}
	if err != nil {
		clear(block.Bytes) // it may be a private key by mistake; an Ed25519 key stays in there
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	k := publicKey{algorithm: a}
	switch key := key.(type) {
	case ed25519.PublicKey:
		k.fits = func(base, signature []byte) bool { return ed25519.Verify(key, base, signature) }
	case *ecdsa.PublicKey:
		k.fits = func(base, signature []byte) bool { return fitsECDSA(key, base, signature) }
	case *rsa.PublicKey:
		k.fits = func(base, signature []byte) bool { return fitsRSA(key, base, signature) }
	}
	return k, nil
}

func hasPEM(a Algorithm) error {
	switch {
	case a == HMACSHA256:
		return fmt.Errorf("%w: keys of %s are bytes, not PEM", ErrAlgorithm, a)
	case !a.Known():
		return fmt.Errorf("%w: there is no algorithm %q", ErrAlgorithm, a)
	default:
		return nil
	}
}

// onlyBlock returns the one block that there may be, besides the parameters that
// OpenSSL writes before an EC key.
func onlyBlock(text []byte) (*pem.Block, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, errors.New("it is not in PEM")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] != "":
		clear(block.Bytes)
		return nil, errors.New("it is encrypted: store it without a passphrase")
	}
	if more, _ := pem.Decode(rest); more != nil {
		clear(block.Bytes)
		clear(more.Bytes)
		return nil, errors.New("there is more than one key")
	}
	return block, nil
}

var errUnreadable = errors.New("it cannot be read")

// decodePrivate leaves out what the standard library says: it could quote the key.
func decodePrivate(block *pem.Block) (any, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		if inner, ok := pssPrivate(block.Bytes); ok {
			key, err = x509.ParsePKCS1PrivateKey(inner)
			clear(inner)
		} else {
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("it is none: want a PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")
	}
	if err != nil {
		return nil, errUnreadable
	}
	return key, nil
}

func decodePublic(block *pem.Block) (any, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		if inner, ok := pssPublic(block.Bytes); ok {
			key, err = x509.ParsePKCS1PublicKey(inner)
		} else {
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		}
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		return nil, errors.New("it is none: want a PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE")
	}
	if err != nil {
		return nil, errUnreadable
	}
	return key, nil
}

// pssPrivate takes the key out of PKCS #8 whose algorithm is RSASSA-PSS, which the
// standard library does not know.
func pssPrivate(der []byte) (inner []byte, ok bool) {
	var pkcs8 struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	rest, err := asn1.Unmarshal(der, &pkcs8)
	return pkcs8.Key, err == nil && len(rest) == 0 && unrestrictedPSS(pkcs8.Algorithm)
}

func pssPublic(der []byte) (inner []byte, ok bool) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &spki)
	return spki.Key.Bytes, err == nil && len(rest) == 0 && spki.Key.BitLength%8 == 0 && unrestrictedPSS(spki.Algorithm)
}

// unrestrictedPSS: parameters would say with which digests the key may be used.
func unrestrictedPSS(a pkix.AlgorithmIdentifier) bool {
	return a.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}) && len(a.Parameters.FullBytes) == 0
}

// suits reports whether a public key is one of the algorithm.
func suits(key crypto.PublicKey, a Algorithm) error {
	switch key := key.(type) {
	case ed25519.PublicKey:
		if a == Ed25519 {
			return nil
		}
	case *ecdsa.PublicKey:
		if a == ECDSAP256SHA256 && key.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case a != RSAPSSSHA512:
		case bits < minRSABits || bits > maxRSABits:
			return fmt.Errorf("the RSA key has %d bits: want %d to %d", bits, minRSABits, maxRSABits)
		default:
			return nil
		}
	}
	return fmt.Errorf("%w: the key is of another kind than %s", ErrAlgorithm, a)
}

// signECDSA is deterministic (RFC 6979): there is no randomness that could fail.
func signECDSA(key *ecdsa.PrivateKey, base []byte) ([]byte, error) {
	digest := sha256.Sum256(base)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", ECDSAP256SHA256, err)
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", ECDSAP256SHA256, err)
	}
	signature := make([]byte, 2*scalarBytes)
	point.R.FillBytes(signature[:scalarBytes])
	point.S.FillBytes(signature[scalarBytes:])
	return signature, nil
}

func fitsECDSA(key *ecdsa.PublicKey, base, signature []byte) bool {
	if len(signature) != 2*scalarBytes {
		return false
	}
	digest := sha256.Sum256(base)
	r := new(big.Int).SetBytes(signature[:scalarBytes])
	s := new(big.Int).SetBytes(signature[scalarBytes:])
	return ecdsa.Verify(key, digest[:], r, s)
}

func signRSA(key *rsa.PrivateKey, base []byte) ([]byte, error) {
	digest := sha512.Sum512(base)
	//nolint:forbidigo // a salt that repeats costs no security, so that nobody need bring another source
	signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA512, digest[:], pssOptions())
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", RSAPSSSHA512, err)
	}
	return signature, nil
}

func fitsRSA(key *rsa.PublicKey, base, signature []byte) bool {
	digest := sha512.Sum512(base)
	return rsa.VerifyPSS(key, crypto.SHA512, digest[:], signature, pssOptions()) == nil
}
