package postgres

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened returns an open store on that database, closed at the test's end.
func opened(tb testing.TB, dsn string) *Store {
	tb.Helper()
	s := made(tb, dsn)
	if err := s.Open(tb.Context()); err != nil {
		tb.Fatalf("Open() = %v", err)
	}
	return s
}

// made returns a store that is not open yet, closed at the test's end.
func made(tb testing.TB, dsn string) *Store {
	tb.Helper()
	s, err := New(dsn, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// insert adds rows and returns the IDs of those that were new.
func insert(ctx context.Context, s *Store, rows ...journal.Transaction) (added []string, err error) {
	err = s.Write(ctx, func(ctx context.Context, tx journal.Tx) (err error) {
		added, err = tx.Insert(ctx, rows)
		return err
	})
	return added, err
}

func TestStore(t *testing.T) {
	server := postgrestest.Start(t)
	journaltest.RunStore(t, func(t *testing.T) journal.Store {
		return opened(t, server.NewDatabase(t))
	})
}

// A snapshot is of when it was asked for, not of its first read.
func TestSnapshotIsTakenAtOnce(t *testing.T) {
	server := postgrestest.Start(t)
	s := opened(t, server.NewDatabase(t))
	row := journaltest.NewTransaction(1)
	err := s.Snapshot(t.Context(), func(ctx context.Context, r journal.Reader) error {
		if _, err := insert(ctx, s, row); err != nil {
			return err
		}
		if _, err := r.ByID(ctx, row.ID); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("ByID() = %v, want %v", err, journal.ErrNotFound)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
