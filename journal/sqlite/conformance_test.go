package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

func TestConformance(t *testing.T) {
	journaltest.RunStore(t, func(t *testing.T) journal.Store {
		return open(t, filepath.Join(t.TempDir(), "journal.db"))
	})
}

// open returns an open store that the caller closes.
func open(tb testing.TB, path string) *sqlite.Store {
	tb.Helper()
	store := sqlite.New(path)
	if err := store.Open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return store
}
