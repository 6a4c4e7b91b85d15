// Package postgres runs a PostgreSQL server for journals that is as durable as one in
// production.
package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
)

// Server is one that runs.
type Server struct {
	host   *host
	server *postgrestest.Server
}

// Start starts a server. Where PostgreSQL is not installed, the error is
// machine.ErrMissing.
func Start(ctx context.Context) (s *Server, err error) {
	s = &Server{host: &host{ctx: ctx}}
	if err := attempt(func() {
		s.server = postgrestest.Start(s.host, postgrestest.With("fsync", "on"), postgrestest.With("shared_buffers", "128MB"))
	}); err != nil {
		_ = s.Stop() // what it says is of this error
		return nil, err
	}
	return s, nil
}

// Version is that of the server.
func (s *Server) Version() string { return s.server.Version() }

// Database makes one, and returns its DSN.
func (s *Server) Database() (dsn string, err error) {
	err = attempt(func() { dsn = s.server.NewDatabase(s.host) })
	return dsn, err
}

// Stop ends it.
func (s *Server) Stop() error {
	for _, f := range slices.Backward(s.host.cleanups) {
		f()
	}
	return s.host.err
}

// attempt does what may fail its host.
func attempt(do func()) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			given, ok := recovered.(hostError)
			if !ok {
				panic(recovered)
			}
			err = given.error
		}
	}()
	do()
	return nil
}

// host is what a server is run by, which would be a test otherwise.
type host struct {
	ctx      context.Context //nolint:containedctx // Context must return one
	cleanups []func()
	err      error
}

// hostError is what host panics with: postgrestest expects not to return.
type hostError struct{ error }

func (h *host) Helper()                           {}
func (h *host) Context() context.Context          { return h.ctx }
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Failed() bool                      { return h.err != nil }
func (h *host) Logf(format string, args ...any)   { h.Errorf(format, args...) }
func (h *host) Errorf(format string, args ...any) { h.err = fmt.Errorf(format, args...) }
func (h *host) Fatal(args ...any)                 { panic(hostError{fmt.Errorf("starting PostgreSQL: %v", args)}) }

func (h *host) Fatalf(format string, args ...any) {
	panic(hostError{fmt.Errorf("starting PostgreSQL: "+format, args...)})
}

func (h *host) Skipf(string, ...any) {
	panic(hostError{fmt.Errorf("PostgreSQL %w: apt-get install postgresql", machine.ErrMissing)})
}

var _ postgrestest.TB = (*host)(nil)
