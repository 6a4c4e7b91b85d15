package vaulttest

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// activeTimeout bounds the time from unsealed to answering.
	activeTimeout = 30 * time.Second
	// rebindTimeout bounds the time in which a restarted server's old port may
	// be somebody else's: a connection going out can be given it.
	rebindTimeout = 10 * time.Second
	// pollInterval is how often a state is asked for.
	pollInterval = 20 * time.Millisecond
)

var errNotActive = errors.New("not active")

// Server is a running Vault server of one test. Its methods end the test when
// they fail, so they are for the test's own goroutine, and one at a time.
type Server struct {
	// Address is the server's URL. It stays the same over restarts.
	Address string
	// RootToken may do everything.
	RootToken string
	// CAFile is the PEM file of the authority that signed the server's
	// certificate; empty without WithTLS.
	CAFile string

	tb        testing.TB
	path      string   // of the program
	args      []string // of the program, without -listen
	log       logTail
	proc      *process // nil while stopped
	transport *http.Transport
	unsealKey string
	auditFile string
	kv2Mounts []string
}

// Option changes how Start starts a server.
type Option func(*options)

type options struct{ tls bool }

// WithTLS gives the server a certificate for 127.0.0.1 and localhost, from an
// authority made for this test (see Server.CAFile). Without it the server
// speaks plain HTTP.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// Start runs a new, empty Vault server, unsealed and active, with a file audit
// device and no secrets engine. It is stopped when the test ends.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	dir := tb.TempDir()
	s := &Server{
		tb:        tb,
		path:      executable(tb),
		args:      []string{"-storage", filepath.Join(dir, "storage")},
		transport: &http.Transport{},
		auditFile: filepath.Join(dir, "audit.log"),
	}
	if o.tls {
		files, roots, err := makeCertificates(dir)
		if err != nil {
			tb.Fatalf("vaulttest: %v", err)
		}
		s.CAFile = files.ca
		s.args = append(s.args, "-tls-cert", files.cert, "-tls-key", files.key)
		s.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	// Registered after TempDir's own cleanup, so run before it.
	tb.Cleanup(func() {
		s.Stop()
		if log := s.log.String(); tb.Failed() && log != "" {
			tb.Logf("log of the Vault server:\n%s", log)
		}
	})

	if err := s.launch("127.0.0.1:0"); err != nil {
		tb.Fatalf("vaulttest: %v\n%s", err, &s.log)
	}
	s.Address = s.proc.address

	init, err := s.Client().Sys().InitWithContext(s.ctx(), &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		tb.Fatalf("vaulttest: initialising: %v", err)
	}
	s.RootToken, s.unsealKey = init.RootToken, init.KeysB64[0]
	s.Unseal()
	err = s.Client().Sys().EnableAuditWithOptionsWithContext(s.ctx(), "file", &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": s.auditFile},
	})
	if err != nil {
		tb.Fatalf("vaulttest: enabling the audit device: %v", err)
	}
	return s
}

// launch starts the program on the server's data.
func (s *Server) launch(listen string) error {
	proc, err := startProcess(s.path, slices.Concat(s.args, []string{"-listen", listen}), &s.log)
	if err != nil {
		return err
	}
	s.proc = proc
	return nil
}

// Client returns a new client with the root token. It does not repeat failed
// requests, and takes nothing from the environment.
func (s *Server) Client() *api.Client {
	s.tb.Helper()
	return s.ClientWithToken(s.RootToken)
}

// ClientWithToken is Client with another token.
func (s *Server) ClientWithToken(token string) *api.Client {
	s.tb.Helper()
	client, err := api.NewClient(&api.Config{
		Address: s.Address,
		Timeout: time.Minute,
		HttpClient: &http.Client{
			Transport:     s.transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	if err != nil {
		s.tb.Fatalf("vaulttest: making a client: %v", err)
	}
	client.ClearNamespace()
	client.SetToken(token)
	return client
}

// Stop kills the server, as a crash would, and waits for its end. Stopping a
// stopped server does nothing.
func (s *Server) Stop() {
	if s.proc != nil {
		s.proc.kill()
		s.proc = nil
	}
	s.transport.CloseIdleConnections()
}

// Restart stops the server if it runs, and starts it again on the same address
// and data, unsealed.
func (s *Server) Restart() {
	s.tb.Helper()
	s.RestartSealed()
	s.Unseal()
}

// RestartSealed is Restart without unsealing: what a server comes back as.
func (s *Server) RestartSealed() {
	s.tb.Helper()
	s.Stop()
	u, err := url.Parse(s.Address)
	if err != nil {
		s.tb.Fatalf("vaulttest: parsing the server's address: %v", err)
	}
	for deadline := time.Now().Add(rebindTimeout); ; time.Sleep(5 * pollInterval) {
		err := s.launch(u.Host)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("vaulttest: restarting: %v\n%s", err, &s.log)
		}
	}
}

// Seal seals the server: it answers 503 until unsealed.
func (s *Server) Seal() {
	s.tb.Helper()
	if err := s.Client().Sys().SealWithContext(s.ctx()); err != nil {
		s.tb.Fatalf("vaulttest: sealing: %v", err)
	}
}

// Unseal unseals the server and waits until it is active and its KV version 2
// mounts answer.
func (s *Server) Unseal() {
	s.tb.Helper()
	sys := s.Client().Sys()
	if _, err := sys.UnsealWithContext(s.ctx(), s.unsealKey); err != nil {
		s.tb.Fatalf("vaulttest: unsealing: %v", err)
	}
	s.eventually("the server to be active", func() error {
		health, err := sys.HealthWithContext(s.ctx())
		if err != nil {
			return err
		}
		if !health.Initialized || health.Sealed || health.Standby {
			return errNotActive
		}
		return nil
	})
	for _, mount := range s.kv2Mounts {
		s.waitKV2(mount)
	}
}

// eventually repeats f until it succeeds.
func (s *Server) eventually(what string, f func() error) {
	s.tb.Helper()
	for deadline := time.Now().Add(activeTimeout); ; time.Sleep(pollInterval) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("vaulttest: waiting for %s: %v", what, err)
		}
	}
}

// ctx outlives the test's own context, so that methods work in its cleanup.
func (s *Server) ctx() context.Context { return context.WithoutCancel(s.tb.Context()) }
