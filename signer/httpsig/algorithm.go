package httpsig

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"io"
)

// Algorithm is the name of a signature algorithm, RFC 9421 section 6.2.2.
type Algorithm string

// The algorithms there are.
const (
	HMACSHA256      Algorithm = "hmac-sha256"       // section 3.3.3
	Ed25519         Algorithm = "ed25519"           // section 3.3.6
	ECDSAP256SHA256 Algorithm = "ecdsa-p256-sha256" // section 3.3.4; signatures are r and s, 32 bytes each
	RSAPSSSHA512    Algorithm = "rsa-pss-sha512"    // section 3.3.1; with a salt of 64 bytes
)

// Known reports whether the algorithm is one of those there are.
func (a Algorithm) Known() bool {
	switch a {
	case HMACSHA256, Ed25519, ECDSAP256SHA256, RSAPSSSHA512:
		return true
	default:
		return false
	}
}

// SigningKey makes signatures of one algorithm. It is safe for concurrent use.
type SigningKey interface {
	Algorithm() Algorithm
	// Sign returns the signature of a signature base, of which it keeps nothing.
	// Its errors hold no secret.
	Sign(ctx context.Context, base []byte) ([]byte, error)
}

// VerifyingKey checks signatures of one algorithm. It is safe for concurrent use.
type VerifyingKey interface {
	Algorithm() Algorithm
	// Verify fails with an error that wraps ErrWrong if the signature is not that
	// of the base, and with another one if that could not be found out.
	Verify(ctx context.Context, base, signature []byte) error
}

// HMAC is a shared key of hmac-sha256. It refers to the bytes, which must not
// change while it is used; the standard library's HMAC holds a padded copy for the
// time of a call and leaves it to the garbage collector. An empty key signs and
// verifies nothing. It prints as "[redacted]".
type HMAC []byte

var errNoKey = errors.New("the key is empty")

// Algorithm implements [SigningKey] and [VerifyingKey].
func (HMAC) Algorithm() Algorithm { return HMACSHA256 }

// Sign implements [SigningKey].
func (k HMAC) Sign(_ context.Context, base []byte) ([]byte, error) {
	if len(k) == 0 {
		return nil, errNoKey
	}
	h := hmac.New(sha256.New, k)
	h.Write(base)
	return h.Sum(nil), nil
}

// Verify implements [VerifyingKey]. It compares in constant time.
func (k HMAC) Verify(ctx context.Context, base, signature []byte) error {
	want, err := k.Sign(ctx, base)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, signature) {
		return ErrWrong
	}
	return nil
}

const redacted = "[redacted]"

// Format implements [fmt.Formatter] for every verb.
func (HMAC) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements [encoding.TextMarshaler], which JSON and log/slog use.
func (HMAC) MarshalText() ([]byte, error) { return []byte(redacted), nil }

var (
	_ SigningKey             = HMAC(nil)
	_ VerifyingKey           = HMAC(nil)
	_ fmt.Formatter          = HMAC(nil)
	_ encoding.TextMarshaler = HMAC(nil)
)
