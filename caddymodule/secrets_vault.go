package caddymodule

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func init() {
	caddy.RegisterModule(new(VaultSecret))
	caddy.RegisterModule(new(OpenBaoSecret))
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
	// instead of the system's, or a directory with such files (`.pem`, `.crt`,
	// `.cer`). It is read when the configuration is loaded.
	CA string `json:"ca,omitempty"`

	// The name that Vault's certificate must have. Default: the host in the
	// address.
	TLSServerName string `json:"tls_server_name,omitempty"`

	// A PEM file with the TLS client certificate and its chain, where Vault or a
	// proxy in front of it demands one beside the login. It is read at each
	// connection. Default: none. The login `cert` brings its own.
	ClientCertFile string `json:"client_cert_file,omitempty"`

	// A PEM file with the key of `client_cert_file`.
	ClientKeyFile string `json:"client_key_file,omitempty"`

	// How the gateway logs in. Required.
	Auth *VaultAuth `json:"auth,omitempty"`

	// Where in Vault the auth method is enabled, without `auth/` in front.
	// Default: the method's name.
	AuthMount string `json:"auth_mount,omitempty"`

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
	key    string       // of the source
	login  string       // key of the login
}

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
//		address         <url>
//		namespace       <namespace>
//		ca              <file or directory>
//		tls_server_name <name>
//		client_cert     <certificate file> <key file>
//		auth            token <token file>
//		auth            approle <role id> <secret id file> [wrapped]
//		auth            kubernetes <role> [<jwt file>]
//		auth            jwt <role> <jwt file>
//		auth            cert <role> <certificate file> <key file>
//		auth_mount      <path>
//		path            <mount>/<path>
//		fields          <username field> [<key field>]
//		refresh         <duration>
//		stale_for       <duration>
//	}
//
// of which one `auth` line.
func (v *VaultSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	name := "secret " + sourceName(d)
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"address":         oneText(&v.Address),
		"namespace":       oneText(&v.Namespace),
		"ca":              oneText(&v.CA),
		"tls_server_name": oneText(&v.TLSServerName),
		"client_cert":     twoTexts(&v.ClientCertFile, &v.ClientKeyFile),
		"auth":            v.parseAuth,
		"auth_mount":      oneText(&v.AuthMount),
		"path":            oneText(&v.Path),
		"fields":          v.parseFields,
		"refresh":         oneDuration(&v.Refresh),
		"stale_for":       oneDuration(&v.StaleFor),
	}.parse(d, name)
}

// sourceName takes the name of the source from its line.
func sourceName(d *caddyfile.Dispenser) string {
	d.Next()
	return d.Val()
}

func (v *VaultSecret) parseAuth(d *caddyfile.Dispenser) error {
	if v.Auth != nil {
		return d.Err("auth is given twice in this block")
	}
	v.Auth = new(VaultAuth)
	return v.Auth.parse(d)
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
	auth := v.Auth.resolve(r)
	v.config = vault.Config{
		Address:        r.text("address", v.Address),
		Namespace:      r.text("namespace", v.Namespace),
		CAFile:         r.text("ca", v.CA),
		TLSServerName:  r.text("tls_server_name", v.TLSServerName),
		ClientCertFile: r.text("client_cert_file", v.ClientCertFile),
		ClientKeyFile:  r.text("client_key_file", v.ClientKeyFile),
		AuthMount:      r.text("auth_mount", v.AuthMount),
		Path:           r.text("path", v.Path),
		UsernameField:  r.text("username_field", v.UsernameField),
		KeyField:       r.text("key_field", v.KeyField),
		NoKey:          v.NoKey,
		Refresh:        time.Duration(v.Refresh),
		StaleFor:       time.Duration(v.StaleFor),
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

// identify makes the keys: what is safe to show in plain text, and a hash of
// everything that may change.
func (v *VaultSecret) identify(auth VaultAuth) error {
	var ca []byte
	if v.config.CAFile != "" {
		var err error
		if ca, err = vault.ReadAuthorities(v.config.CAFile); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
	}
	c := v.config
	login := fmt.Sprintf("%q %q %q %#v", c.Address, c.Namespace, c.AuthMount, auth)
	all := fmt.Sprintf("%s %q %q %q %q %q %q %q %d %d %x %t", login, c.CAFile, c.TLSServerName, c.ClientCertFile, c.ClientKeyFile,
		c.Path, c.UsernameField, c.KeyField, c.Refresh, c.StaleFor, sha256.Sum256(ca), c.NoKey)
	v.key = fmt.Sprintf("vault %s %s %x", c.Address, c.Path, sha256.Sum256([]byte(all)))
	v.login = login
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
	config := v.config
	shared, _, err := logins.LoadOrNew(v.login, func() (caddy.Destructor, error) { return sharedLogin{config.Auth}, nil })
	if err != nil {
		return nil, fmt.Errorf("making the login: %w", err)
	}
	config.Auth = shared.(sharedLogin).Auth
	source, err := vault.New(config, vault.Options{Logger: logger})
	if err != nil {
		_, _ = logins.Delete(v.login) // never fails
		return nil, err
	}
	return &vaultSource{Source: source, login: v.login}, nil
}

// logins are shared by the sources that log in the same way, those of the next
// configuration among them: what a login has unwrapped cannot be had again.
var logins = caddy.NewUsagePool()

type sharedLogin struct{ vault.Auth }

// Destruct implements caddy.Destructor.
func (sharedLogin) Destruct() error { return nil }

// vaultSource is a source and its share in a login.
type vaultSource struct {
	*vault.Source
	login string // in the pool
}

// Close implements [ManagedSource].
func (s *vaultSource) Close() {
	s.Source.Close()
	_, _ = logins.Delete(s.login) // never fails
}

// OpenBaoSecret takes the credential from a key-value store in OpenBao, which
// has the API of HashiCorp Vault: all of [VaultSecret] holds for it. It is
// tested against Vault.
type OpenBaoSecret struct{ VaultSecret }

// CaddyModule returns the Caddy module information.
func (*OpenBaoSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.openbao",
		New: func() caddy.Module { return new(OpenBaoSecret) },
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*VaultSecret)(nil)
	_ caddyfile.Unmarshaler = (*VaultSecret)(nil)
	_ SecretProvider        = (*VaultSecret)(nil)
	_ SecretProvider        = (*OpenBaoSecret)(nil)
	_ ManagedSource         = (*vaultSource)(nil)
)
