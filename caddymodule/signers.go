package caddymodule

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

func init() {
	caddy.RegisterModule(new(CredentialsSigner))
}

// CredentialsSigner signs as Nowpay documents it: the username and the key go
// into the body of the request, JSON or form. It has no options.
type CredentialsSigner struct{}

// CaddyModule returns the Caddy module information.
func (*CredentialsSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.signers.credentials",
		New: func() caddy.Module { return new(CredentialsSigner) },
	}
}

// UnmarshalCaddyfile reads
//
//	sign credentials
func (*CredentialsSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{}.parse(d, "sign credentials")
}

// Sign implements [signer.Scheme].
func (*CredentialsSigner) Sign(ctx context.Context, r signer.Request, c *secret.Credential) (signer.Signed, error) {
	return signer.Credentials{}.Sign(ctx, r, c)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*CredentialsSigner)(nil)
	_ signer.Scheme         = (*CredentialsSigner)(nil)
)
