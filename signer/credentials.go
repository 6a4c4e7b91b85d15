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
// key already, and [secret.ErrUnavailable] if the credential was released.
func (Credentials) Sign(_ context.Context, r Request, c *secret.Credential) (Signed, error) {
	username := nowpay.Member{Name: "username", Value: c.Username().Reveal()}
	key := nowpay.Member{Name: "key", Value: c.Key().Reveal()}
	switch {
	case r.Body.Encoding() != r.Operation.Encoding:
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, ErrEncoding)
	case r.Body.Has(username.Name) || r.Body.Has(key.Name):
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, ErrCredentialInBody)
	case len(username.Value) == 0 || len(key.Value) == 0:
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, secret.ErrUnavailable)
	}
	signed := Signed{URL: r.URL, ContentType: r.Operation.Encoding.MediaType()}
	secret.Do(func() {
		signed.Body = r.Body.Splice(nil, username, key) // grows once, to its final size
	})
	return signed, nil
}
