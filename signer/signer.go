package signer

import (
	"errors"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// ErrEncoding means that a body is not encoded as its operation wants it.
var ErrEncoding = errors.New("the body is not in the encoding of the operation")

// ErrCredentialInBody means that a body has a member `username` or `key` of
// its own, in any letter case.
var ErrCredentialInBody = errors.New("the body has a username or key already")

// Request is what a merchant wants sent, admitted and checked.
type Request struct {
	Operation *nowpay.Operation
	Body      *nowpay.Body
}

// Signed is a request ready to be sent. Print none of it.
type Signed struct {
	// Header has the headers of the scheme, all set by us; nil if there are
	// none. Content-Type is not among them.
	Header http.Header

	// ContentType of the body.
	ContentType string

	// Body holds the credential. It belongs to whoever asked for the
	// signature, who wipes it once it is sent.
	Body []byte
}

// Wipe overwrites the body with zeros and forgets it. Nothing may be sending
// it any more.
func (s *Signed) Wipe() {
	clear(s.Body[:cap(s.Body)])
	s.Body = nil
}

// Scheme is a way to prove to the provider who is calling. Schemes are safe
// for concurrent use.
type Scheme interface {
	// Sign makes the signed request. It keeps neither r nor c, which the
	// caller must hold until Sign returns. Its errors hold no secret; nothing
	// may be sent after one.
	Sign(r Request, c *secret.Credential) (Signed, error)
}
