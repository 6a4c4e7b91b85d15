package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// newestVersion is that of the last migration.
func newestVersion(t *testing.T) int64 {
	t.Helper()
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(files))
}

// migratedTo makes the tables of an earlier version; 0 has none.
func migratedTo(t *testing.T, dsn string, version int64) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if version == 0 {
		return pool
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versionTable))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return pool
}

// A database of each earlier version is brought up to date with what it holds.
func TestMigrate(t *testing.T) {
	server := postgrestest.Start(t)
	for version := range newestVersion(t) {
		t.Run(fmt.Sprintf("from version %d", version), func(t *testing.T) {
			dsn := server.NewDatabase(t)
			pool := migratedTo(t, dsn, version)
			row, chain := journaltest.NewTransaction(1), journaltest.NewChain(1)
			row.State, row.Amount = journal.Success, 500
			event := journaltest.NewEvent(row, 1, 1)
			head := chain
			head.Number = 1
			// All of this is as it was in the first version.
			fill := func(ctx context.Context, tx journal.Tx) error {
				if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
					return err
				}
				if _, err := tx.AddChain(ctx, chain); err != nil {
					return err
				}
				if _, err := tx.AddKey(ctx, journal.DataKey{ID: 1}); err != nil {
					return err
				}
				return tx.Append(ctx, []journal.Event{event}, 0, head)
			}
			if version > 0 {
				earlier := new(Store)
				earlier.pools.Store(&pools{writes: pool, reads: pool})
				if err := earlier.Write(t.Context(), fill); err != nil {
					t.Fatal(err)
				}
			}

			s := opened(t, dsn)
			spent := row.Amount
			if version >= 2 {
				spent = 0 // who writes the row adds to it, and nobody did
			}
			if version == 0 {
				if err := s.Write(t.Context(), fill); err != nil {
					t.Fatal(err)
				}
				spent = 0 // who writes the row adds to it, and nobody did
			}
			if got, err := s.ByID(t.Context(), row.ID); err != nil || got.Amount != 500 {
				t.Errorf("ByID() = %+v, %v", got, err)
			}
			if got, err := s.Events(t.Context(), row.ID); err != nil || len(got) != 1 {
				t.Errorf("Events() = %v, %v", got, err)
			}
			if got, err := s.Chain(t.Context(), 1); err != nil || got.Number != 1 {
				t.Errorf("Chain() = %v, %v", got, err)
			}
			if got, err := s.Keys(t.Context()); err != nil || len(got) != 1 {
				t.Errorf("Keys() = %v, %v", got, err)
			}
			err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
				got, err := tx.LockSpending(ctx, []journal.Spending{{Merchant: row.Merchant, Day: row.Day}})
				if err == nil && (len(got) != 1 || got[0].Amount != spent) {
					t.Errorf("LockSpending() = %v, want %s", got, spent)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Gateways that start at once on an empty database, or on an old one, all do.
func TestOpenAtOnce(t *testing.T) {
	server := postgrestest.Start(t)
	for _, version := range []int64{0, 0, newestVersion(t) - 1} {
		dsn := server.NewDatabase(t)
		migratedTo(t, dsn, version)
		var all sync.WaitGroup
		for i := range 4 {
			s := made(t, dsn)
			all.Go(func() {
				if err := s.Open(t.Context()); err != nil {
					t.Errorf("Open() = %v", err)
					return
				}
				if _, err := insert(t.Context(), s, journaltest.NewTransaction(i)); err != nil {
					t.Errorf("Insert() = %v", err)
				}
			})
		}
		all.Wait()
	}
}

// A gateway that starts while another one migrates waits for it.
func TestOpenWaits(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	other := opened(t, dsn)
	if _, err := other.pools.Load().writes.Exec(t.Context(), `DELETE FROM journal_version WHERE version_id = 4;
		DROP TABLE nonces`); err != nil {
		t.Fatal(err)
	}
	s, result := made(t, dsn), make(chan error, 1)
	err := other.pools.Load().locked(t.Context(), func() error {
		go func() { result <- s.Open(t.Context()) }()
		for waiting := 0; waiting == 0; {
			select {
			case err := <-result:
				return fmt.Errorf("it did not wait: %w", err)
			default:
			}
			err := other.pools.Load().reads.QueryRow(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("Open() = %v", err)
	}
}

// A database of a newer program is left alone.
func TestNewerSchema(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	s := opened(t, dsn)
	if _, err := s.pools.Load().writes.Exec(t.Context(),
		`INSERT INTO journal_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	err := made(t, dsn).Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "version 9999") {
		t.Errorf("Open() = %v, want it to tell the version", err)
	}
}

// Open succeeds when what it failed for is over.
func TestOpenAgain(t *testing.T) {
	server := postgrestest.Start(t)
	s := made(t, server.NewDatabase(t))
	server.Stop()
	checkUnavailable(t, "Open", s.Open(t.Context()), server.Password())
	server.Restart()
	server.RestartAsStandby()
	checkUnavailable(t, "Open on an empty standby", s.Open(t.Context()), server.Password())
	server.Promote()
	if err := s.Open(t.Context()); err != nil {
		t.Fatalf("Open() = %v", err)
	}
	eventuallyInserts(t, s, journaltest.NewTransaction(1))
}

// Tables that we may not make are an error that says so.
func TestOpenWithoutPermission(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	if err := server.Exec(`CREATE ROLE poor LOGIN PASSWORD 'secret'`); err != nil {
		t.Fatal(err)
	}
	poor := strings.Replace(dsn, "postgres:"+server.Password(), "poor:secret", 1)
	pool := migratedTo(t, dsn, 0)
	if _, err := pool.Exec(t.Context(), `REVOKE CREATE ON SCHEMA public FROM PUBLIC`); err != nil {
		t.Fatal(err)
	}
	err := made(t, poor).Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Open() = %v, want it to say that the permission is missing", err)
	}

	// Who may not make tables can use those that are there.
	opened(t, dsn)
	if _, err := pool.Exec(t.Context(), `GRANT ALL ON ALL TABLES IN SCHEMA public TO poor`); err != nil {
		t.Fatal(err)
	}
	eventuallyInserts(t, opened(t, poor), journaltest.NewTransaction(1))
}
