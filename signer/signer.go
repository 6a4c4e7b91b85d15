package signer

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// ErrUnsignable means that the request must not be signed: its body does not
// fit the operation, or already carries a username or key.
var ErrUnsignable = errors.New("request cannot be signed")

// Request is what is to be signed.
type Request struct {
	Operation *nowpay.Operation
	Body      *nowpay.Body
}

// Signed is a signed request. It holds the key: wipe it after use.
type Signed struct {
	Header      http.Header // further headers of the scheme; nil for none
	ContentType string
	Body        []byte
}

// Wipe overwrites the body.
func (s *Signed) Wipe() { clear(s.Body) }

// Scheme is a way to sign. It is safe for concurrent use.
type Scheme interface {
	// Sign signs with one version of a credential, which it does not keep.
	Sign(r Request, c *secret.Credential) (Signed, error)
}

// Credentials puts username and key into the body, as the provider documents.
// The zero value is ready for use.
type Credentials struct{}

// Sign implements Scheme. Other bytes of the body stay as they are.
func (Credentials) Sign(r Request, c *secret.Credential) (Signed, error) {
	if r.Body.Encoding() != r.Operation.Encoding {
		return Signed{}, fmt.Errorf("%w: the body is not %s", ErrUnsignable, r.Operation.Encoding)
	}
	if r.Body.Has("username") || r.Body.Has("key") {
		return Signed{}, fmt.Errorf("%w: it already carries a credential", ErrUnsignable)
	}
	body := r.Body.Splice(nil,
		nowpay.Member{Name: "username", Value: c.Username().Reveal()},
		nowpay.Member{Name: "key", Value: c.Key().Reveal()})
	return Signed{ContentType: r.Operation.Encoding.MediaType(), Body: body}, nil
}
