// Command vaultserver runs a HashiCorp Vault core over HTTP, for tests only.
//
// It has the secrets engines, auth methods and the audit device that the
// gateway's tests use, and nothing else of Vault's command. Initialising and
// unsealing are left to the client. It ends on SIGINT, on SIGTERM and at the
// end of its standard input, so that it does not outlive a test that crashed.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	jwtauth "github.com/hashicorp/vault-plugin-auth-jwt"
	kubeauth "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

// shutdownTimeout bounds the orderly end; the storage survives a kill anyway.
const shutdownTimeout = 5 * time.Second

// options are the command's flags.
type options struct {
	listen   string
	storage  string
	tlsCert  string
	tlsKey   string
	logLevel string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to listen on")
	flag.StringVar(&o.storage, "storage", "", "`directory` to keep Vault's (encrypted) data in")
	flag.StringVar(&o.tlsCert, "tls-cert", "", "certificate `file`, PEM; plain HTTP without it")
	flag.StringVar(&o.tlsKey, "tls-key", "", "key `file`, PEM")
	flag.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn or error")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		// Whoever started us holds the other end of the pipe.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vaultserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends and writes the address to ready once it listens.
func run(ctx context.Context, o options, ready io.Writer) error {
	if o.storage == "" {
		return errors.New("reading flags: -storage is required")
	}
	level := hclog.LevelFromString(o.logLevel)
	if level == hclog.NoLevel {
		return fmt.Errorf("reading flags: unknown -log-level %q", o.logLevel)
	}
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return err
	}
	logger := hclog.New(&hclog.LoggerOptions{
		Name:   "vault",
		Level:  level,
		Output: os.Stderr,
	})
	core, err := newCore(o.storage, logger)
	if err != nil {
		return err
	}

	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{Address: ln.Addr().String()},
		}),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          logger.StandardLogger(nil),
	}
	served := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			served <- server.ServeTLS(ln, "", "")
			return
		}
		served <- server.Serve(ln)
	}()
	if err := json.NewEncoder(ready).Encode(map[string]string{
		"address": scheme + "://" + ln.Addr().String(),
	}); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}

	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	// A core that hangs in its shutdown must not keep the process.
	time.AfterFunc(shutdownTimeout, func() { os.Exit(1) })
	_ = server.Close()
	if err := core.Shutdown(); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	return nil
}

// tlsConfig returns nil for plain HTTP. A client certificate is asked for but
// not verified: that is the business of the cert auth method.
func (o options) tlsConfig() (*tls.Config, error) {
	if o.tlsCert == "" && o.tlsKey == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequestClientCert,
	}, nil
}

// newCore makes a sealed core on the data in dir.
func newCore(dir string, logger hclog.Logger) (*vault.Core, error) {
	storage, err := file.NewFileBackend(map[string]string{"path": dir}, logger.Named("storage"))
	if err != nil {
		return nil, fmt.Errorf("opening the storage: %w", err)
	}
	secrets := map[string]logical.Factory{
		"kv":      kv.Factory,
		"transit": transit.Factory,
	}
	auths := map[string]logical.Factory{
		"approle":    approle.Factory,
		"cert":       cert.Factory,
		"jwt":        jwtauth.Factory,
		"kubernetes": kubeauth.Factory,
		"userpass":   userpass.Factory,
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "file",
		LogicalBackends:    secrets,
		CredentialBackends: auths,
		AuditBackends:      map[string]audit.Factory{audit.TypeFile: audit.NewFileBackend},
		BuiltinRegistry:    registry{secrets: secrets, auths: auths},
		DisableMlock:       true,
		Logger:             logger,
		LogLevel:           logger.GetLevel().String(),
	})
	if err != nil {
		return nil, fmt.Errorf("making the core: %w", err)
	}
	return core, nil
}
