package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

var errNotOpen = fmt.Errorf("%w: it is not open", journal.ErrUnavailable)

// explain says what failed, and whether it is the database that is not there.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) {
		return fmt.Errorf("%w: %s: %w", journal.ErrUnavailable, doing, err)
	}
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch failure.Code() & 0xff { // the rest says more precisely what it was
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %s: the file is damaged; stop the gateway, keep a copy of all files, "+
			"and restore a backup: %w", journal.ErrUnavailable, doing, err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %s: the file is no SQLite database, or its beginning is damaged; "+
			"name another file, or restore a backup: %w", journal.ErrUnavailable, doing, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %s: the disk is full: %w", journal.ErrUnavailable, doing, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
		sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %s: %w", journal.ErrUnavailable, doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
