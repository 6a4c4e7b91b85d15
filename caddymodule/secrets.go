package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func init() {
	caddy.RegisterModule(new(FileSecret))
}

// SecretProvider is what a module in the namespace `nowpay.secrets` must be: a
// description of a source of credentials. Describing it reaches no network and
// reads no secret.
type SecretProvider interface {
	// Key identifies the source and all its options. Configurations with the
	// same key share one source, which so lives on over a reload. It may appear
	// in logs and holds no secret. Valid once the module is provisioned.
	Key() string

	// Where tells operators where the credential is kept. It holds no secret.
	// Valid once the module is provisioned.
	Where() string

	// New makes the source. It does not start it.
	New(logger *slog.Logger) (ManagedSource, error)
}

// ManagedSource is a source of credentials with a life of its own.
type ManagedSource interface {
	secret.Source

	// Start begins the work, and returns when there is a credential, or when
	// ctx ends, or with the reason why there is none. The work goes on after an
	// error: the source recovers by itself. It is called at most once.
	Start(ctx context.Context) error

	// Keep sets for how long after a rotation Known returns the credential before
	// as well. The last word counts, at once. The default, 0, is not at all.
	Keep(d time.Duration)

	// SetLogger replaces the logger, whose configuration may be about to end.
	SetLogger(logger *slog.Logger)

	// Close ends the work and waits for it. It is called once.
	Close()
}

// FileSecret takes the credential from a file with a JSON object
// `{"username": "…", "key": "…"}`. It is made for development. The file's mode must
// let neither its group nor others read it; who its owner is does not matter. It is
// read again when it changes.
type FileSecret struct {
	// The path of the file. Required.
	Path string `json:"path,omitempty"`

	path string // resolved, absolute
}

// CaddyModule returns the Caddy module information.
func (*FileSecret) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.secrets.file",
		New: func() caddy.Module { return new(FileSecret) },
	}
}

// UnmarshalCaddyfile reads
//
//	secret file <path>
func (f *FileSecret) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	if err := oneText(&f.Path)(d); err != nil {
		return err
	}
	return words{}.parse(d, "secret file")
}

// Provision resolves and checks the options. It does not touch the file.
func (f *FileSecret) Provision(caddy.Context) (err error) {
	f.path, err = resolvePath(f.Path, "secret file <path>")
	return err
}

// resolvePath makes a path absolute, since it is a part of the key.
func resolvePath(configured, usage string) (string, error) {
	r := newResolver()
	path := r.text("path", configured)
	switch {
	case r.err != nil:
		return "", r.err
	case path == "":
		return "", fmt.Errorf("no path: write `%s`", usage)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("making the path absolute: %w", err)
	}
	return absolute, nil
}

// Key implements [SecretProvider].
func (f *FileSecret) Key() string { return "file " + f.path }

// Where implements [SecretProvider].
func (f *FileSecret) Where() string { return f.path }

// New implements [SecretProvider].
func (f *FileSecret) New(logger *slog.Logger) (ManagedSource, error) {
	return vault.NewFile(f.path, vault.Options{Logger: logger}), nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*FileSecret)(nil)
	_ caddyfile.Unmarshaler = (*FileSecret)(nil)
	_ SecretProvider        = (*FileSecret)(nil)
	_ ManagedSource         = (*vault.File)(nil)
)
