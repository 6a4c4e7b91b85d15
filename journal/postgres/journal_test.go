package postgres

import (
	"database/sql"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

func TestJournal(t *testing.T) {
	server := postgrestest.Start(t)
	journaltest.Run(t, func(t *testing.T) journaltest.Database {
		dsn := server.NewDatabase(t)
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return journaltest.Database{
			NewStore: func() journal.Store {
				store, err := New(dsn, nil)
				if err != nil {
					t.Fatal(err)
				}
				return store
			},
			Shared: true,
			SQL:    db,
		}
	})
}
