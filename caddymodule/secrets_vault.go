package caddymodule

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func init() {
	caddy.RegisterModule(new(VaultSecret))
}

// VaultSecret takes the credential from a key-value store in HashiCorp Vault,
// of version 1 or 2, which it finds out by itself. The credential is fetched at
// the start and refreshed in the background; no request waits for Vault. A new
// version is used from the next request on.
type VaultSecret struct {
	// Where Vault is, such as `https://vault.internal:8200`. Plain `http://` is
	// for loopback addresses only. Required.
	Address string `json:"address,omitempty"`

	// The namespace (Vault Enterprise, HCP, OpenBao). Default: none.
	Namespace string `json:"namespace,omitempty"`

	// A file with PEM certificates of the authorities that may vouch for Vault,
	// instead of the system's. It is read when the configuration is loaded.
	CA string `json:"ca,omitempty"`

	// How the gateway logs in. Required.
	Auth *VaultAuth `json:"auth,omitempty"`

	// The mount and the path of the secret, such as `secret/nowpay`. For
	// version 2 without the `data/` of Vault's HTTP API. Required.
	Path string `json:"path,omitempty"`

	// The fields of the secret that hold the username and the key. Default:
	// `username` and `key`.
	UsernameField string `json:"username_field,omitempty"`
	// See `username_field`.
	KeyField string `json:"key_field,omitempty"`

	// There is no key: the secret holds the username only, and Vault signs (see
	// `transit` in `sign httpsig`). A `key_field` must not be given then. Default:
	// false.
	NoKey bool `json:"no_key,omitempty"`

	// How often the credential is fetched anew. Default: `30s`. A rotated key is
	// in use after this time at the latest.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long a credential is used after it was last fetched, while Vault cannot
	// be reached. Requests are refused with `credential-unavailable` then.
	// Default: `10m`. Must be clearly longer than `refresh`.
	StaleFor caddy.Duration `json:"stale_for,omitempty"`

	config vault.Config // resolved
	key    string
}

// VaultAuth is a way to log in to Vault.
type VaultAuth struct {
	// `token` or `approle`. Required.
	Method string `json:"method,omitempty"`

	// For `token`: a file with the token. It is read again when the token is about
	// to expire or is refused, so that an agent may keep it fresh.
	TokenFile string `json:"token_file,omitempty"`

	// For `approle`: the role id.
	RoleID string `json:"role_id,omitempty"`

	// For `approle`: a file with the secret id. It is read at each login.
	SecretIDFile string `json:"secret_id_file,omitempty"`
}

// authMethods lists the methods for errors.
const authMethods = "approle, token"

// CaddyModule returns the Caddy module information.
func (*VaultSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.vault",
		New: func() caddy.Module { return new(VaultSecret) },
	}
}

// UnmarshalCaddyfile reads
//
//	secret vault {
//		address   <url>
//		namespace <namespace>
//		ca        <file>
//		auth      token <token file>
//		auth      approle <role id> <secret id file>
//		path      <mount>/<path>
//		fields    <username field> [<key field>]
//		refresh   <duration>
//		stale_for <duration>
//	}
//
// of which one `auth` line.
func (v *VaultSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"address":   oneText(&v.Address),
		"namespace": oneText(&v.Namespace),
		"ca":        oneText(&v.CA),
		"auth":      v.parseAuth,
		"path":      oneText(&v.Path),
		"fields":    v.parseFields,
		"refresh":   oneDuration(&v.Refresh),
		"stale_for": oneDuration(&v.StaleFor),
	}.parse(d, "secret vault")
}

func (v *VaultSecret) parseAuth(d *caddyfile.Dispenser) error {
	if v.Auth != nil {
		return d.Err("auth is given twice in this block")
	}
	if !d.NextArg() {
		return d.Errf("auth takes one of: %s", authMethods)
	}
	v.Auth = &VaultAuth{Method: d.Val()}
	switch v.Auth.Method {
	case "token":
		args, err := values(d, 1, 1)
		if err != nil {
			return err
		}
		v.Auth.TokenFile = args[0]
	case "approle":
		args, err := values(d, 2, 2)
		if err != nil {
			return err
		}
		v.Auth.RoleID, v.Auth.SecretIDFile = args[0], args[1]
	default:
		return d.Errf("unknown auth method %q; there is: %s", v.Auth.Method, authMethods)
	}
	return nil
}

func (v *VaultSecret) parseFields(d *caddyfile.Dispenser) error {
	args, err := values(d, 1, 2)
	switch {
	case err != nil:
		return err
	case v.UsernameField != "":
		return d.Err("fields is given twice in this block")
	}
	v.UsernameField = args[0]
	if v.NoKey = len(args) == 1; !v.NoKey {
		v.KeyField = args[1]
	}
	return nil
}

// Provision resolves and checks the options. It does not talk to Vault.
func (v *VaultSecret) Provision(caddy.Context) error {
	r := newResolver()
	v.config = vault.Config{
		Address:       r.text("address", v.Address),
		Namespace:     r.text("namespace", v.Namespace),
		CAFile:        r.text("ca", v.CA),
		Path:          r.text("path", v.Path),
		UsernameField: r.text("username_field", v.UsernameField),
		KeyField:      r.text("key_field", v.KeyField),
		NoKey:         v.NoKey,
		Refresh:       time.Duration(v.Refresh),
		StaleFor:      time.Duration(v.StaleFor),
	}
	var auth VaultAuth
	if v.Auth != nil {
		auth = VaultAuth{
			Method:       r.text("auth: method", v.Auth.Method),
			TokenFile:    r.text("auth: token_file", v.Auth.TokenFile),
			RoleID:       r.text("auth: role_id", v.Auth.RoleID),
			SecretIDFile: r.text("auth: secret_id_file", v.Auth.SecretIDFile),
		}
	}
	if r.err != nil {
		return r.err
	}
	var err error
	if v.config.Auth, err = auth.build(); err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	if _, err := vault.New(v.config, vault.Options{}); err != nil {
		return err
	}
	return v.identify(auth)
}

// build makes the login of the method, nil if none is given.
func (a VaultAuth) build() (vault.Auth, error) {
	switch a.Method {
	case "":
		return nil, nil
	case "token":
		if a.RoleID != "" || a.SecretIDFile != "" {
			return nil, errors.New("token takes a token_file and nothing else")
		}
		return vault.TokenAuth(a.TokenFile), nil
	case "approle":
		if a.TokenFile != "" {
			return nil, errors.New("approle takes a role_id and a secret_id_file and nothing else")
		}
		return vault.AppRoleAuth(a.RoleID, a.SecretIDFile), nil
	}
	return nil, fmt.Errorf("unknown auth method %q; there is: %s", a.Method, authMethods)
}

// identify makes the key: what is safe to show in plain text, and a hash of
// everything that may change.
func (v *VaultSecret) identify(auth VaultAuth) error {
	var ca []byte
	if v.config.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(v.config.CAFile); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
	}
	c := v.config
	all := fmt.Sprintf("%q %q %q %q %q %q %q %d %d %x %t",
		c.Address, c.Namespace, c.CAFile, c.Path, c.UsernameField, c.KeyField, auth, c.Refresh, c.StaleFor, sha256.Sum256(ca), c.NoKey)
	v.key = fmt.Sprintf("vault %s %s %x", c.Address, c.Path, sha256.Sum256([]byte(all)))
	return nil
}

// keyless reports whether the secret has no key.
func (v *VaultSecret) keyless() bool { return v.NoKey }

// Key implements [SecretProvider].
func (v *VaultSecret) Key() string { return v.key }

// Where implements [SecretProvider].
func (v *VaultSecret) Where() string {
	where := v.config.Path + " at " + v.config.Address
	if v.config.Namespace != "" {
		where += ", namespace " + v.config.Namespace
	}
	return where
}

// New implements [SecretProvider].
func (v *VaultSecret) New(logger *slog.Logger) (ManagedSource, error) {
	return vault.New(v.config, vault.Options{Logger: logger})
}

// Interface guards
var (
	_ caddy.Provisioner     = (*VaultSecret)(nil)
	_ caddyfile.Unmarshaler = (*VaultSecret)(nil)
	_ SecretProvider        = (*VaultSecret)(nil)
	_ ManagedSource         = (*vault.Source)(nil)
)
