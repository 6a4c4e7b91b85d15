package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

func TestJournal(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Database {
		path := filepath.Join(t.TempDir(), "journal.db")
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return journaltest.Database{
			NewStore: func() journal.Store { return sqlite.New(path) },
			SQL:      db,
			Files: func() []string {
				files, err := filepath.Glob(path + "*") // with the log
				if err != nil {
					t.Fatal(err)
				}
				return files
			},
		}
	})
}
