package httpsig

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Algorithm is the name of a signature algorithm, RFC 9421 section 6.2.2.
type Algorithm string

// The algorithms there are.
const (
	HMACSHA256      Algorithm = "hmac-sha256"
	Ed25519         Algorithm = "ed25519"
	ECDSAP256SHA256 Algorithm = "ecdsa-p256-sha256"
	RSAPSSSHA512    Algorithm = "rsa-pss-sha512"
)

// Message is what of a request or a response can be signed.
type Message struct {
	// Of a request:
	Method    string
	Scheme    string // http or https
	Authority string // host, and port where it is not the scheme's own, in lower case
	Target    string // path and query as they are sent

	// Status of a response; 0: it is a request.
	Status int
	// Request that a response answers, for components with `;req`.
	Request *Message

	Header http.Header
}

// Component is a part of a message that a signature covers, such as "@method" or
// "content-digest", with its parameters.
type Component struct{ text string }

// ParseComponent reads a component as a signature names it, "@method";req, or
// without the quotes, @method;req.
func ParseComponent(s string) (Component, error) { return Component{s}, nil }

// String returns the component as a signature names it, with quotes.
func (c Component) String() string { return c.text }

// SigningKey makes signatures of one algorithm. It is safe for concurrent use.
type SigningKey interface {
	Algorithm() Algorithm
	// Sign returns the signature of a signature base. Its errors hold no secret.
	Sign(ctx context.Context, base []byte) ([]byte, error)
}

// VerifyingKey checks signatures of one algorithm. It is safe for concurrent use.
type VerifyingKey interface {
	Algorithm() Algorithm
	// Verify fails with an error that wraps ErrWrong if the signature is not that
	// of the base, and with another one if that could not be found out.
	Verify(ctx context.Context, base, signature []byte) error
}

// HMAC is a shared key of hmac-sha256. It refers to the bytes and copies them
// nowhere that it does not forget at once.
type HMAC []byte

// ParsePrivateKey reads a private key in PEM (PKCS #8, or as OpenSSL writes RSA and EC keys).
func ParsePrivateKey(text []byte, a Algorithm) (SigningKey, error) { return nil, errors.ErrUnsupported }

// ParsePublicKey reads a public key or a certificate in PEM.
func ParsePublicKey(text []byte, a Algorithm) (VerifyingKey, error) {
	return nil, errors.ErrUnsupported
}

// Params are those of a signature to be made.
type Params struct {
	Label      string // of the signature in its fields
	Components []Component
	Created    time.Time // zero: left out, as are the others
	Expires    time.Time
	Nonce      string
	KeyID      string
	Tag        string
	NameAlg    bool // names the algorithm in the parameters
}

// Sign returns the values of Signature-Input and Signature.
func Sign(ctx context.Context, m *Message, p Params, key SigningKey) (input, signature string, err error) {
	return "", "", errors.ErrUnsupported
}

// Policy says which signatures are accepted.
type Policy struct {
	// Label names the signature. Empty: there must be exactly one.
	Label string
	// Components must be covered.
	Components []Component
	// Keys are those of a key ID that may have signed, with their algorithms.
	Keys func(keyID string) []VerifyingKey
	// Now is the time by which a signature is fresh: created not longer than MaxAge
	// ago, nor more than Skew in the future, and expired not longer than Skew ago.
	Now    time.Time
	MaxAge time.Duration
	Skew   time.Duration
	// Tag that the signature must have. Empty: any or none.
	Tag string
	// NeedNonce refuses signatures without one.
	NeedNonce bool
}

// Verified is what a good signature says.
type Verified struct {
	Label      string
	KeyID      string
	Nonce      string
	Tag        string
	Created    time.Time
	Expires    time.Time // zero: never
	Components []Component
	Signature  []byte
}

// Covers reports whether all components are among those that are signed.
func (v Verified) Covers(components ...Component) bool { return false }

// Why a signature is not accepted.
var (
	ErrMissing      = errors.New("there is no signature")
	ErrMalformed    = errors.New("the signature fields cannot be read")
	ErrUnknownKey   = errors.New("the key is not known")
	ErrAlgorithm    = errors.New("the algorithm is not the key's")
	ErrNotCovered   = errors.New("a component is not signed that must be")
	ErrNotFresh     = errors.New("the signature is not fresh")
	ErrWrong        = errors.New("the signature is wrong")
	ErrWrongDigest  = errors.New("the body is not the one that is signed")
	ErrNoDigest     = errors.New("there is no digest of the body that is understood")
	ErrWrongPurpose = errors.New("the signature is for something else")
)

// Verify checks the signature of a message by the policy. It does not look at the
// body: see CheckDigest.
func Verify(ctx context.Context, m *Message, p Policy) (Verified, error) {
	return Verified{}, errors.ErrUnsupported
}

// Digest returns the value of Content-Digest for a body (RFC 9530), by SHA-256.
func Digest(body []byte) string { return "" }

// CheckDigest holds a body against Content-Digest. Every digest of an algorithm that
// is understood (sha-256, sha-512) must fit, and there must be one.
func CheckDigest(header http.Header, body []byte) error { return errors.ErrUnsupported }
