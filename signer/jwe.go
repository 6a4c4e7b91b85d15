package signer

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// JWEAlgorithm is how the key of an account encrypts a body: the `alg` of RFC
// 7518, section 4.1.
type JWEAlgorithm string

const (
	// JWEDirect encrypts the body with the key itself (RFC 7518, section 4.5).
	JWEDirect JWEAlgorithm = "dir"
	// JWEKeyWrap encrypts each body with a key of its own, and that with the
	// account's key (RFC 7518, section 4.7).
	JWEKeyWrap JWEAlgorithm = "A256GCMKW"
)

// ParseJWEAlgorithm reads the name of an algorithm.
func ParseJWEAlgorithm(s string) (JWEAlgorithm, error) {
	switch a := JWEAlgorithm(s); a {
	case JWEDirect, JWEKeyWrap:
		return a, nil
	}
	return "", fmt.Errorf("unknown algorithm %q: it is %s or %s", s, JWEDirect, JWEKeyWrap)
}

const (
	// joseMediaType is that of a compact JWE (RFC 7515, section 9.2.1).
	joseMediaType = "application/jose"
	// jweKeySize is what AES-256 needs, for the body as for the key of a body.
	jweKeySize = 32
)

// JWE is a scheme that encrypts and authenticates bodies with the key of the
// account, as JSON Web Encryption (RFC 7516) in compact serialization, with
// A256GCM. Of the credential the username alone is sent: in the body, where it is
// documented, and in the protected header as `kid`. The zero value is ready.
//
// Unlike other schemes it draws random numbers, from the operating system: a
// nonce for each body, and with JWEKeyWrap a key.
//
// The bytes of the key that are decoded here are overwritten. The library and the
// standard library's AES keep copies of their own, which are not: they go with
// the next collections of garbage.
type JWE struct {
	// Algorithm of requests. Empty: JWEDirect.
	Algorithm JWEAlgorithm
	// Accepted are the algorithms of answers. Empty: that of requests.
	Accepted []JWEAlgorithm
	// Encoding is how the 32 bytes of the key are written. Empty: KeyBase64.
	Encoding KeyEncoding
}

// Sign implements [Scheme]. Its errors wrap [ErrEncoding] if the body is not in
// the encoding of the operation, [ErrCredentialInBody] if it has a username or
// key already, [secret.ErrUnavailable] if the credential was released, and
// [ErrKey] if its key is not 32 bytes.
func (j JWE) Sign(_ context.Context, r Request, c *secret.Credential) (Signed, error) {
	err := check(r, c)
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	key, err := j.key(c)
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	defer clear(key)
	plain := r.Body.Splice(nil, nowpay.Member{Name: "username", Value: c.Username().Reveal()})
	defer clear(plain)
	body, err := j.encrypt(plain, r.Operation.Encoding.MediaType(), key, c.Username())
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	return Signed{URL: r.URL, ContentType: joseMediaType, Body: body}, nil
}

func (j JWE) encrypt(plain []byte, mediaType string, key []byte, username secret.Value) ([]byte, error) {
	algorithm, err := ParseJWEAlgorithm(string(j.algorithm()))
	if err != nil { // the library would take others that the key fits
		return nil, err
	}
	recipient := jose.Recipient{
		Algorithm: jose.KeyAlgorithm(algorithm),
		Key:       key,
		KeyID:     string(username.Reveal()),
	}
	options := new(jose.EncrypterOptions).WithContentType(jose.ContentType(mediaType))
	encrypter, err := jose.NewEncrypter(jose.A256GCM, recipient, options)
	if err != nil {
		return nil, errEncrypting
	}
	sealed, err := encrypter.Encrypt(plain)
	if err != nil {
		return nil, errEncrypting
	}
	text, err := sealed.CompactSerialize()
	if err != nil {
		return nil, errEncrypting
	}
	return []byte(text), nil
}

// errEncrypting takes the place of the library's errors, whose text is not ours.
var errEncrypting = errors.New("the body cannot be encrypted")

// key gives the bytes of the account's key, to be wiped.
func (j JWE) key(c *secret.Credential) ([]byte, error) {
	encoding := cmp.Or(j.Encoding, KeyBase64)
	key, err := encoding.Decode(c.Key().Reveal())
	if err == nil && len(key) == jweKeySize {
		return key, nil
	}
	clear(key)
	return nil, fmt.Errorf("%w: it must be %d bytes, %s", ErrKey, jweKeySize, written(encoding))
}

func written(e KeyEncoding) string {
	switch e {
	case KeyText:
		return "as they are"
	case KeyBase64:
		return "written in base64 (43 or 44 characters)"
	case KeyHex:
		return "written in hex (64 digits)"
	}
	return "in an encoding that is known"
}

func (j JWE) algorithm() JWEAlgorithm { return cmp.Or(j.Algorithm, JWEDirect) }

func (j JWE) accepted() []JWEAlgorithm {
	if len(j.Accepted) == 0 {
		return []JWEAlgorithm{j.algorithm()}
	}
	return j.Accepted
}

// Interface guards
var (
	_ Scheme   = JWE{}
	_ Verifier = JWE{}
)
