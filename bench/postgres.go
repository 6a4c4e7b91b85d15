package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
)

// startWithPostgres starts a PostgreSQL server, and the gateway with its journal there.
func startWithPostgres(ctx context.Context, s *stand, v variant) (*subject, error) {
	dsn, err := s.startPostgres(ctx)
	if err != nil {
		return nil, err
	}
	return startCaddy(gateway().with(func(c *caddyfile) { c.Journal = "postgres " + dsn }))(ctx, s, v)
}

// startPostgres starts a server that is as durable as in production, and returns
// the DSN of a database.
func (s *stand) startPostgres(ctx context.Context) (dsn string, err error) {
	h := &host{ctx: ctx}
	s.ends(h.close)
	defer func() {
		if recovered := recover(); recovered != nil {
			given, ok := recovered.(hostError)
			if !ok {
				panic(recovered)
			}
			err = given.error
		}
	}()
	server := postgrestest.Start(h, postgrestest.With("fsync", "on"), postgrestest.With("shared_buffers", "128MB"))
	s.postgres = server.Version()
	return server.NewDatabase(h), nil
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
	panic(hostError{fmt.Errorf("PostgreSQL %w: apt-get install postgresql", errMissing)})
}

// close ends the server.
func (h *host) close() error {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	return h.err
}

var _ postgrestest.TB = (*host)(nil)
