package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// versionTable tells which migrations a database has seen. Its name is not the
// usual one, which may belong to another program in the same database.
const versionTable = "journal_version"

// migrate brings the tables to the newest version. Gateways of the version
// before may be running: they must be able to go on with what a migration makes.
func (p *pools) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	db := stdlib.OpenDBFromPool(p.reads)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	current, newest, err := provider.GetVersions(ctx)
	if err == nil && current < newest {
		err = p.locked(ctx, func() error {
			_, err := provider.Up(ctx)
			return err
		})
		if err == nil {
			current, newest, err = provider.GetVersions(ctx)
		}
	}
	if err != nil {
		return failure("migrating the journal's tables", err)
	}
	if current > newest {
		return fmt.Errorf("the journal's tables have version %d, and this program knows them up to %d: "+
			"run the newer program, or one more recent", current, newest)
	}
	return nil
}

// locked runs f while no other gateway does. The lock is a row that is inserted
// and never committed: others wait until it is gone, which it is with our
// connection too. No engine needs more for that than its unique indexes.
func (p *pools) locked(ctx context.Context, f func() error) error {
	_, err := p.writes.Exec(ctx, `CREATE TABLE IF NOT EXISTS journal_lock (id BIGINT NOT NULL PRIMARY KEY)`)
	if err != nil && !madeMeanwhile(err) {
		return err
	}
	tx, err := p.writes.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // at the latest, the connection's end does it
	for _, statement := range []string{
		`SELECT set_config('idle_in_transaction_session_timeout', '0', true)`,
		`INSERT INTO journal_lock (id) VALUES (1)`,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return f()
}

// madeMeanwhile reports whether a table could not be made because another gateway
// made it at the same time. The server does not always notice at the same place.
func madeMeanwhile(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"42P07", "42710", "23505"}, server.Code) // table, its type, a row of the catalogue
}
