package caddymodule

import (
	"context"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

func init() {
	caddy.RegisterModule(new(JWESigner))
	caddy.RegisterModule(new(JWEVerifier))
}

// JWESigner encrypts the body of each request with the key of the account, as
// JSON Web Encryption (RFC 7516) with A256GCM. The username is in it, the key is
// not sent. Answers are decrypted only if `verify` says so too.
type JWESigner struct {
	// How the key takes part: `dir` encrypts each body with the key itself,
	// `A256GCMKW` with a key of its own, which is encrypted with the account's.
	// Default: `dir`.
	Algorithm string `json:"algorithm,omitempty"`

	// How the 32 bytes of the key are written in the secret source: `base64` (in
	// the standard or the URL alphabet, padded or not), `hex`, or `text` (the 32
	// bytes themselves). Default: `base64`.
	KeyEncoding string `json:"key_encoding,omitempty"`

	jwe signer.JWE
}

// CaddyModule returns the Caddy module information.
func (*JWESigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.signers.jwe",
		New: func() caddy.Module { return new(JWESigner) },
	}
}

// UnmarshalCaddyfile reads
//
//	sign jwe {
//		algorithm    dir|A256GCMKW
//		key_encoding base64|hex|text
//	}
func (j *JWESigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"algorithm":    oneText(&j.Algorithm),
		"key_encoding": oneText(&j.KeyEncoding),
	}.parse(d, "sign jwe")
}

// Provision resolves and checks the options. The key is looked at when it is used.
func (j *JWESigner) Provision(caddy.Context) error {
	r := newResolver()
	j.jwe = signer.JWE{
		Algorithm: parseOne(r, "algorithm", j.Algorithm, signer.ParseJWEAlgorithm),
		Encoding:  parseOne(r, "key_encoding", j.KeyEncoding, signer.ParseKeyEncoding),
	}
	return r.err
}

// Sign implements [signer.Scheme].
func (j *JWESigner) Sign(ctx context.Context, r signer.Request, c *secret.Credential) (signer.Signed, error) {
	return j.jwe.Sign(ctx, r, c)
}

// JWEVerifier takes only answers that are JSON Web Encryption (RFC 7516) with
// A256GCM, and decrypts and authenticates them with the key of the account before
// anything else is checked. While a key is being rotated, the old and the new one
// are tried.
type JWEVerifier struct {
	// The algorithms that answers may have: `dir`, `A256GCMKW` or both. Default:
	// `dir`.
	Algorithms []string `json:"algorithms,omitempty"`

	// How the 32 bytes of the key are written in the secret source: `base64` (in
	// the standard or the URL alphabet, padded or not), `hex`, or `text` (the 32
	// bytes themselves). Default: `base64`.
	KeyEncoding string `json:"key_encoding,omitempty"`

	jwe signer.JWE
}

// CaddyModule returns the Caddy module information.
func (*JWEVerifier) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.verifiers.jwe",
		New: func() caddy.Module { return new(JWEVerifier) },
	}
}

// UnmarshalCaddyfile reads
//
//	verify jwe {
//		algorithm    dir|A256GCMKW...
//		key_encoding base64|hex|text
//	}
func (j *JWEVerifier) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"algorithm":    manyTexts(&j.Algorithms),
		"key_encoding": oneText(&j.KeyEncoding),
	}.parse(d, "verify jwe")
}

// Provision resolves and checks the options. The key is looked at when it is used.
func (j *JWEVerifier) Provision(caddy.Context) error {
	r := newResolver()
	j.jwe = signer.JWE{
		Accepted: parseEach(r, "algorithm", j.Algorithms, signer.ParseJWEAlgorithm),
		Encoding: parseOne(r, "key_encoding", j.KeyEncoding, signer.ParseKeyEncoding),
	}
	if r.err != nil {
		return r.err
	}
	for i, algorithm := range j.jwe.Accepted {
		if slices.Contains(j.jwe.Accepted[:i], algorithm) {
			return fmt.Errorf("algorithm: %s is given twice", algorithm)
		}
	}
	return nil
}

// Verify implements [signer.Verifier].
func (j *JWEVerifier) Verify(ctx context.Context, sent signer.Signed, a signer.Answer, known []*secret.Credential) (signer.Answer, error) {
	return j.jwe.Verify(ctx, sent, a, known)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*JWESigner)(nil)
	_ caddyfile.Unmarshaler = (*JWESigner)(nil)
	_ signer.Scheme         = (*JWESigner)(nil)
	_ caddy.Provisioner     = (*JWEVerifier)(nil)
	_ caddyfile.Unmarshaler = (*JWEVerifier)(nil)
	_ signer.Verifier       = (*JWEVerifier)(nil)
)
