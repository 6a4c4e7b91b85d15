package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	// connectTimeout bounds a connection attempt, unless the DSN does.
	connectTimeout = 5 * time.Second
	// pingTimeout bounds the check of a connection that was idle.
	pingTimeout = 2 * time.Second
	// writers is how many connections writes have to themselves, so that they
	// never wait for readers. The journal's writer uses one; the others are for
	// when that one is broken, and its end not yet seen.
	writers = 4
)

// errClosed says that the store is not open.
var errClosed = errors.New("the store is not open")

// Store is a [journal.Store] on PostgreSQL. It is made by [New]; the zero value
// cannot be used.
type Store struct {
	reader
	config *pgxpool.Config
	log    *slog.Logger
	pools  atomic.Pointer[pools] // nil unless open
}

// pools are the connections of an open store.
type pools struct{ writes, reads *pgxpool.Pool }

// latest is the database of a store as it is at each query: open or not.
type latest struct{ *Store }

// Query implements database.
func (l latest) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	p := l.pools.Load()
	if p == nil {
		return nil, errClosed
	}
	return p.reads.Query(ctx, sql, args...)
}

// New reads a DSN, a URL (postgres://…) or key=value pairs, and reaches no
// network. What the DSN leaves open is taken from the environment and files as
// by all clients of PostgreSQL (PGPASSFILE …). If it names several hosts, only
// one that can be written to is used, unless it says target_session_attrs.
// A connection pooler that shares sessions needs default_query_exec_mode=exec.
// Its pool_max_conns is how many connections readers have; writers have four
// more. Warnings about the server's settings go to log, which may be nil.
//
// Its errors do not repeat the DSN.
func New(dsn string, log *slog.Logger) (*Store, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		if file, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, fmt.Errorf("reading a file that the PostgreSQL DSN names: %w", file.Err)
		}
		return nil, errors.New("parsing the PostgreSQL DSN (not repeated here, it may hold a password): " +
			"it must be postgres://user:password@host/database?sslmode=verify-full, " +
			"special characters as %XX, or key='value' pairs")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	conn := config.ConnConfig
	if conn.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("default_query_exec_mode=simple_protocol puts values into statements, " +
			"which servers log; use exec")
	}
	config.PingTimeout = pingTimeout
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "nowpay-gateway"
	}
	fit := conn.ValidateConnect
	if fit == nil && severalHosts(conn) {
		fit = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if fit != nil {
		conn.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
			if err := fit(ctx, c); err != nil {
				return fmt.Errorf("%w: %w", errUnfit, err)
			}
			return nil
		}
	}
	s := &Store{config: config, log: log}
	s.reader = reader{latest{s}}
	return s, nil
}

// severalHosts tells hosts from the ways to reach one (with TLS and without).
func severalHosts(conn *pgx.ConnConfig) bool {
	for _, other := range conn.Fallbacks {
		if other.Host != conn.Host || other.Port != conn.Port {
			return true
		}
	}
	return false
}

// Exists reports whether the database has the journal's tables.
func (s *Store) Exists(ctx context.Context) (exists bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.ConnConfig.Copy())
	if err != nil {
		return false, failure("connecting to PostgreSQL", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it was read only
	err = conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, versionTable).Scan(&exists)
	return exists, failure("looking for the journal's tables", err)
}

// Open connects and brings the tables to the newest version. A database of a
// newer version than this program's is an error.
func (s *Store) Open(ctx context.Context) error {
	p, err := s.connect(ctx)
	if err == nil {
		err = s.prepare(ctx, p)
	}
	if err != nil {
		p.close()
		return err
	}
	s.pools.Store(p)
	return nil
}

// connect makes the pools. After an error it returns what there is of them.
func (s *Store) connect(ctx context.Context) (p *pools, err error) {
	ctx = context.WithoutCancel(ctx) // the pools have goroutines of their own, which Close ends
	writing := s.config.Copy()
	writing.MaxConns, writing.MinConns, writing.MinIdleConns = writers, 0, 0
	p = new(pools)
	if p.writes, err = pgxpool.NewWithConfig(ctx, writing); err != nil {
		return p, failure("connecting to PostgreSQL", err)
	}
	if p.reads, err = pgxpool.NewWithConfig(ctx, s.config.Copy()); err != nil {
		return p, failure("connecting to PostgreSQL", err)
	}
	return p, nil
}

// prepare looks at the server's settings and makes the tables.
func (s *Store) prepare(ctx context.Context, p *pools) error {
	var fsync *string // NULL where there is no such setting
	if err := p.reads.QueryRow(ctx, `SELECT current_setting('fsync', true)`).Scan(&fsync); err != nil {
		return failure("connecting to PostgreSQL", err)
	}
	if fsync != nil && *fsync == "off" {
		s.log.WarnContext(ctx, "PostgreSQL runs with fsync=off: a crash of its machine loses transactions "+
			"that were paid, or the whole database")
	}
	return p.migrate(ctx)
}

// Close closes all connections and waits for their end.
func (s *Store) Close() error {
	if p := s.pools.Swap(nil); p != nil {
		p.close()
	}
	return nil
}

func (p *pools) close() {
	for _, pool := range []*pgxpool.Pool{p.writes, p.reads} {
		if pool != nil {
			pool.Close()
		}
	}
}

// Write implements [journal.Store]. Changes that return nothing but an error are
// sent with the next statement that returns more, or with the commit: what the
// database says against them fails that one, and Write in any case.
func (s *Store) Write(ctx context.Context, batch func(ctx context.Context, tx journal.Tx) error) error {
	p := s.pools.Load()
	if p == nil {
		return failure("writing to PostgreSQL", errClosed)
	}
	conn, err := p.writes.Acquire(ctx)
	if err != nil {
		p.leave()
		return failure("connecting to PostgreSQL", err)
	}
	// A connection that is still in a transaction is closed, not given back.
	defer conn.Release()
	t := begin(conn.Conn())
	if err = batch(ctx, t); err == nil {
		err = t.commit(ctx)
	}
	if errors.Is(t.err, journal.ErrUnavailable) {
		p.leave()
	} else if err != nil {
		t.rollback(ctx)
	}
	return err
}

// leave closes all connections once they are idle. They may go to a server that
// answers but was demoted; a new one finds where the DSN leads now.
func (p *pools) leave() {
	p.writes.Reset()
	p.reads.Reset()
}

// Snapshot implements [journal.Store].
func (s *Store) Snapshot(ctx context.Context, read func(ctx context.Context, r journal.Reader) error) error {
	p := s.pools.Load()
	if p == nil {
		return failure("reading from PostgreSQL", errClosed)
	}
	tx, err := p.reads.BeginTx(ctx, pgx.TxOptions{
		// The state is that of the first statement: it is taken now.
		BeginQuery: "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ; SELECT 1",
	})
	if err != nil {
		return failure("reading from PostgreSQL", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // there is nothing to lose
	return read(ctx, reader{tx})
}

// Interface guard.
var _ journal.Store = (*Store)(nil)
