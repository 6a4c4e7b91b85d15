package caddymodule

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func init() {
	caddy.RegisterModule(new(EnvSecret))
	caddy.RegisterModule(new(SystemdSecret))
	caddy.RegisterModule(new(VaultAgentSecret))
}

// EnvSecret takes the credential from two variables of the gateway's
// environment. It is made for development: whoever may look at the process can
// read its environment, and the key stays in memory as long as the process
// lives.
type EnvSecret struct {
	// The name of the variable with the username. Required.
	UsernameVariable string `json:"username_variable,omitempty"`

	// The name of the variable with the key. Required.
	KeyVariable string `json:"key_variable,omitempty"`

	username, key string // resolved
}

// CaddyModule returns the Caddy module information.
func (*EnvSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.env",
		New: func() caddy.Module { return new(EnvSecret) },
	}
}

// UnmarshalCaddyfile reads
//
//	secret env <username variable> <key variable>
func (e *EnvSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	if err := twoTexts(&e.UsernameVariable, &e.KeyVariable)(d); err != nil {
		return err
	}
	return words{}.parse(d, "secret env")
}

// Provision resolves and checks the options. It does not read the variables.
func (e *EnvSecret) Provision(ctx caddy.Context) error {
	r := newResolver()
	e.username, e.key = r.text("username_variable", e.UsernameVariable), r.text("key_variable", e.KeyVariable)
	if r.err != nil {
		return r.err
	}
	for _, name := range []string{e.username, e.key} {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return errors.New("two names of variables are needed: write `secret env <username variable> <key variable>`")
		}
	}
	ctx.Slogger().Warn("the key is taken from the environment, which is for development only", "variable", e.key)
	return nil
}

// Key implements [SecretProvider].
func (e *EnvSecret) Key() string { return fmt.Sprintf("env %q %q", e.username, e.key) }

// Where implements [SecretProvider].
func (e *EnvSecret) Where() string { return "$" + e.username + " and $" + e.key }

// New implements [SecretProvider].
func (e *EnvSecret) New(logger *slog.Logger) (ManagedSource, error) {
	return vault.NewEnvironment(e.username, e.key, vault.Options{Logger: logger}), nil
}

// SystemdSecret takes the credential from what systemd hands to the gateway's
// unit by `LoadCredential=`, `LoadCredentialEncrypted=`, `SetCredential=` and the
// like: files in `$CREDENTIALS_DIRECTORY`. Either one of them holds a JSON object
// `{"username": "…", "key": "…"}`, or two hold the username and the key.
type SystemdSecret struct {
	// The name of the systemd credential with the JSON object.
	Credential string `json:"credential,omitempty"`

	// The name of the systemd credential with the username, as plain text.
	UsernameCredential string `json:"username_credential,omitempty"`

	// The name of the systemd credential with the key, as plain text.
	KeyCredential string `json:"key_credential,omitempty"`

	paths []string // resolved: of the object, or of username and key
}

// CaddyModule returns the Caddy module information.
func (*SystemdSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.systemd",
		New: func() caddy.Module { return new(SystemdSecret) },
	}
}

// UnmarshalCaddyfile reads
//
//	secret systemd <credential>
//	secret systemd <username credential> <key credential>
func (s *SystemdSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	args, err := values(d, 1, 2)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		s.Credential = args[0]
	} else {
		s.UsernameCredential, s.KeyCredential = args[0], args[1]
	}
	return words{}.parse(d, "secret systemd")
}

// Provision resolves and checks the options. It does not touch the files.
func (s *SystemdSecret) Provision(caddy.Context) error {
	r := newResolver()
	object := r.text("credential", s.Credential)
	username, key := r.text("username_credential", s.UsernameCredential), r.text("key_credential", s.KeyCredential)
	names := []string{object}
	if object == "" {
		names = []string{username, key}
	}
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	switch {
	case r.err != nil:
		return r.err
	case object != "" && username+key != "":
		return errors.New("either one credential with both is needed, or one with the username and one with the key")
	}
	s.paths = nil
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return errors.New("the name of a systemd credential is missing or not that of a file: " +
				"write `secret systemd <credential>` or `secret systemd <username credential> <key credential>`")
		}
		if folder == "" {
			return errors.New("the environment variable CREDENTIALS_DIRECTORY is not set: " +
				"systemd sets it for a unit with LoadCredential= or the like")
		}
		path, err := filepath.Abs(filepath.Join(folder, name))
		if err != nil {
			return fmt.Errorf("making the path absolute: %w", err)
		}
		s.paths = append(s.paths, path)
	}
	return nil
}

// Key implements [SecretProvider].
func (s *SystemdSecret) Key() string { return fmt.Sprintf("systemd %q", s.paths) }

// Where implements [SecretProvider].
func (s *SystemdSecret) Where() string { return strings.Join(s.paths, " and ") }

// New implements [SecretProvider].
func (s *SystemdSecret) New(logger *slog.Logger) (ManagedSource, error) {
	options := vault.Options{Logger: logger}
	if len(s.paths) == 1 {
		return vault.NewSharedFile(s.paths[0], options), nil
	}
	return vault.NewFilePair(s.paths[0], s.paths[1], options), nil
}

// VaultAgentSecret takes the credential from a file that Vault Agent (or OpenBao
// Agent) renders from a template: a JSON object
// `{"username": "…", "key": "…"}`. It is read again when it changes. The group
// of the file may read it, others may not.
type VaultAgentSecret struct {
	// The path of the file. Required.
	Path string `json:"path,omitempty"`

	path string // resolved, absolute
}

// CaddyModule returns the Caddy module information.
func (*VaultAgentSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.vault_agent",
		New: func() caddy.Module { return new(VaultAgentSecret) },
	}
}

// UnmarshalCaddyfile reads
//
//	secret vault_agent <path>
func (a *VaultAgentSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	if err := oneText(&a.Path)(d); err != nil {
		return err
	}
	return words{}.parse(d, "secret vault_agent")
}

// Provision resolves and checks the options. It does not touch the file.
func (a *VaultAgentSecret) Provision(caddy.Context) (err error) {
	a.path, err = resolvePath(a.Path, "secret vault_agent <path>")
	return err
}

// Key implements [SecretProvider].
func (a *VaultAgentSecret) Key() string { return "vault_agent " + a.path }

// Where implements [SecretProvider].
func (a *VaultAgentSecret) Where() string { return a.path }

// New implements [SecretProvider].
func (a *VaultAgentSecret) New(logger *slog.Logger) (ManagedSource, error) {
	return vault.NewSharedFile(a.path, vault.Options{Logger: logger}), nil
}

// Interface guards
var (
	_ SecretProvider        = (*EnvSecret)(nil)
	_ SecretProvider        = (*SystemdSecret)(nil)
	_ SecretProvider        = (*VaultAgentSecret)(nil)
	_ caddyfile.Unmarshaler = (*EnvSecret)(nil)
	_ caddyfile.Unmarshaler = (*SystemdSecret)(nil)
	_ caddyfile.Unmarshaler = (*VaultAgentSecret)(nil)
	_ caddy.Provisioner     = (*EnvSecret)(nil)
	_ caddy.Provisioner     = (*SystemdSecret)(nil)
	_ caddy.Provisioner     = (*VaultAgentSecret)(nil)
)
