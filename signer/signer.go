package signer

import (
	"context"
	"errors"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// ErrEncoding means that a body is not encoded as its operation wants it.
var ErrEncoding = errors.New("the body is not in the encoding of the operation")

// ErrCredentialInBody means that a body has a member `username` or `key` of
// its own, in any letter case.
var ErrCredentialInBody = errors.New("the body has a username or key already")

// ErrKey means that a credential's key is not of the kind that the scheme needs.
var ErrKey = errors.New("the key is not one for this scheme")

// ErrUnverified means that an answer carries no proof, or not the one that it
// must carry.
var ErrUnverified = errors.New("the answer is not proven to be the provider's")

// Request is what a merchant wants sent, admitted and checked.
type Request struct {
	Operation *nowpay.Operation
	Body      *nowpay.Body
	// URL is where it goes: scheme, host as in the Host header, path and query as
	// they are sent.
	URL string
}

// Signed is a request ready to be sent. Print none of it.
type Signed struct {
	// URL is that of the request.
	URL string

	// Header has the headers of the scheme, all set by us; nil if there are
	// none. Content-Type is not among them.
	Header http.Header

	// ContentType of the body.
	ContentType string

	// Body may hold the credential. It belongs to whoever asked for the
	// signature, who wipes it once it is sent.
	Body []byte

	signed *httpsig.Message // what is signed; nil: it is to be made
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
	// may be sent after one. One that wraps [secret.ErrUnavailable] may pass by
	// itself.
	Sign(ctx context.Context, r Request, c *secret.Credential) (Signed, error)
}

// Answer is a complete answer. Names of the header are in canonical form.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Unbound says of an answer that was verified that it may be the one to another
	// request of the same kind: its proof does not tie it to this one alone.
	Unbound bool
}

// RequestVerifier is a [Verifier] that also verifies requests of the provider's own:
// its callbacks.
type RequestVerifier interface {
	// VerifyRequest checks the signature of a request, and that its body is the one
	// that is signed. Known are as for Verify. Its errors wrap [ErrUnverified].
	VerifyRequest(ctx context.Context, m *httpsig.Message, body []byte, known []*secret.Credential) error
}

// Verifier is a way for the provider to prove that an answer is its own, and the
// one to a request. Verifiers are safe for concurrent use.
type Verifier interface {
	// Verify checks the proof of an answer to a request that was sent, whose body
	// may be wiped, and gives the answer as it is to be read: decrypted, where it
	// was encrypted. Known are the credentials that may have been used, the one
	// that signed first; Verify keeps none. One that reaches a network bounds the time
	// itself. Its errors wrap [ErrUnverified] and hold no secret.
	Verify(ctx context.Context, sent Signed, a Answer, known []*secret.Credential) (Answer, error)
}
