package signer

import (
	"context"
	"fmt"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// Credentials is the provider's documented scheme: `username` and `key` as the
// first two members of the JSON body or form, as text. The zero value is ready.
type Credentials struct{}

var _ Scheme = Credentials{}

// Sign implements [Scheme]. Its errors wrap [ErrEncoding] if the body is not in
// the encoding of the operation, [ErrCredentialInBody] if it has a username or
// key already, [secret.ErrUnavailable] if the credential was released, and
// [ErrKey] if the key is a private one, which must not be shown to anybody.
func (Credentials) Sign(_ context.Context, r Request, c *secret.Credential) (Signed, error) {
	username := nowpay.Member{Name: "username", Value: c.Username().Reveal()}
	key := nowpay.Member{Name: "key", Value: c.Key().Reveal()}
	if err := check(r, c); err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	switch {
	case len(key.Value) == 0:
		return Signed{}, fmt.Errorf("signing %s: %w: there is none", r.Operation.Name, ErrKey)
	case c.IsPEM():
		return Signed{}, fmt.Errorf("signing %s: %w: it is a private key in PEM, which is never sent", r.Operation.Name, ErrKey)
	}
	signed := Signed{URL: r.URL, ContentType: r.Operation.Encoding.MediaType()}
	secret.Do(func() {
		signed.Body = r.Body.Splice(nil, username, key) // grows once, to its final size
	})
	return signed, nil
}

// check refuses what no scheme that writes into the body may sign.
func check(r Request, c *secret.Credential) error {
	switch {
	case r.Body.Encoding() != r.Operation.Encoding:
		return ErrEncoding
	case r.Body.Has("username") || r.Body.Has("key"):
		return ErrCredentialInBody
	case len(c.Username().Reveal()) == 0:
		return secret.ErrUnavailable
	}
	return nil
}
