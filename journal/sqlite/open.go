package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

//go:embed migrations/*.sql
var migrations embed.FS

// mark is in the head of the file, for SQLite's application_id: "NPGJ".
const mark = 0x4e50474a

// maxReaders is how many reads run at once; more wait for one another.
const maxReaders = 8

// What each connection is set to. The log is synced with every commit, and
// checkpoints are made by the checkpointer. Who writes keeps less of the file in
// memory than who reads: most commits walk through all of it, since SQLite has
// used the number of a page that never is for a moment, to sort others.
var (
	everySetting   = []string{"busy_timeout(5000)", "synchronous(FULL)", "cell_size_check(1)", "trusted_schema(0)"}
	writerSettings = append([]string{"wal_autocheckpoint(0)", "journal_size_limit(67108864)", "cache_size(-4096)"}, everySetting...)
	readerSettings = append([]string{"query_only(1)", "cache_size(-16384)"}, everySetting...)
)

// prepareFolder makes the file's folder, and returns the file's only path: the
// lock would be of no use if the file had two.
func prepareFolder(path string) (string, error) {
	if path == "" {
		return "", errors.New("no file is named")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding the file: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("making the file's folder: %w", err)
	}
	switch real, err := filepath.EvalSymlinks(path); {
	case err == nil:
		return real, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("finding the file: %w", err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("finding the file's folder: %w", err)
	}
	return filepath.Join(folder, filepath.Base(path)), nil
}

// takeLock takes the file's ownership. The lock's file stays for ever: to remove
// it could part two processes that both hold a lock of that name.
func takeLock(path string) (*flock.Flock, error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	taken, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("taking the ownership by %s; the gateway's user needs to write in its folder: %w",
			lock.Path(), err)
	}
	if !taken {
		return nil, fmt.Errorf("%w: %s is locked; stop the other gateway, or give this one a file of its own "+
			"(several gateways share a journal in PostgreSQL)", journal.ErrLocked, lock.Path())
	}
	return lock, nil
}

// prepareFile makes the file if it is absent, durably.
func prepareFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return errors.New("it is a folder; name a file in it")
	case err == nil && !info.Mode().IsRegular():
		return errors.New("it is no regular file; name another one")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking at the file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the gateway's user needs to read and write the file: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening the file's folder: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("syncing the file's folder: %w", err)
	}
	return nil
}

// connect returns a pool of connections with their settings. It reaches nothing.
func connect(path string, connections int, settings []string) (*sql.DB, error) {
	name := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma":    settings,
		"_defensive": {"1"},
		"_dqs":       {"0"},
		"_error_rc":  {"1"},
		"mode":       {"rw"}, // the file is there
	}.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, fmt.Errorf("preparing connections: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// migrate brings the tables to this version. Nobody else has the file.
func migrate(ctx context.Context, db *sql.DB) error {
	if err := identify(ctx, db); err != nil {
		return err
	}
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	has, knows, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return explain("reading the version of the tables", err)
	case has > knows:
		return fmt.Errorf("its tables have version %d, and this gateway knows them up to %d: "+
			"a newer gateway wrote it; run that one", has, knows)
	}
	if _, err := provider.Up(ctx); err != nil {
		return explain("bringing the tables to the newest version", err)
	}
	return nil
}

func migrator(db *sql.DB) (*goose.Provider, error) {
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, scripts, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return provider, nil
}

// identify refuses a file that has something else in it, marks a new one, and
// has changes written to a log beside it, which the file remembers.
func identify(ctx context.Context, db *sql.DB) error {
	var tables, found int
	err := db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM sqlite_schema), application_id"+
		" FROM pragma_application_id").Scan(&tables, &found)
	switch {
	case err != nil:
		return explain("reading the file", err)
	case found != mark && (tables > 0 || found != 0):
		return errors.New("it is a database of something else; name another file")
	case found != mark:
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", mark)); err != nil {
			return explain("marking the file", err)
		}
	}
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return explain("preparing the log", err)
	}
	if mode != "wal" {
		return fmt.Errorf("its disk cannot have SQLite's log beside the file (but %q); use a local disk", mode)
	}
	return nil
}
