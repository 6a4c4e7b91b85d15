package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// Among many settled rows, what the journal asks for all the time is found by
// indexes.
func TestNoScans(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	s := opened(t, dsn)
	const groups, group = 20, 500
	for g := range groups {
		rows := make([]journal.Transaction, group)
		events := make([]journal.Event, group)
		for i := range rows {
			n := g*group + i
			row := journaltest.NewTransaction(n)
			row.State, row.NextCheck, row.Day = journal.Success, time.Time{}, 20260101+g
			if n%1000 == 7 { // a few are not settled
				row.State, row.NextCheck, row.Attention, row.ProviderID = journal.Unknown, row.Created, row.Created, row.ID
			}
			rows[i], events[i] = row, journaltest.NewEvent(row, 1, int64(n+1))
		}
		chain := journaltest.NewChain(1)
		chain.Number = int64((g + 1) * group)
		err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			if _, err := tx.AddChain(ctx, journaltest.NewChain(1)); err != nil {
				return err
			}
			if _, err := tx.Insert(ctx, rows); err != nil {
				return err
			}
			return tx.Append(ctx, events, int64(g*group), chain)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.pools.Load().writes.Exec(t.Context(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	s.Close()

	before := scans(t, dsn)
	s = opened(t, dsn)
	askAll(t, s, journaltest.NewTransaction(1007))
	s.Close()
	if after := scans(t, dsn); after != before {
		t.Errorf("%d scans of whole tables, want none", after-before)
	}
}

// askAll asks what the journal asks in operation, of an unsettled row.
func askAll(t *testing.T, s *Store, row journal.Transaction) {
	t.Helper()
	ctx := t.Context()
	for range 7 { // the server makes a plan for all values after five
		_, err := s.ByRequest(ctx, journal.RequestKey{Account: row.Account, RequestID: row.RequestID})
		check(t, "ByRequest", err)
		_, err = s.Events(ctx, row.ID)
		check(t, "Events", err)
		_, err = s.NewestEvents(ctx, row.ID, 100)
		check(t, "NewestEvents", err)
		_, err = s.Stats(ctx)
		check(t, "Stats", err)
		_, err = s.Spent(ctx, row.Merchant, 20260102)
		check(t, "Spent", err)
		for _, filter := range []journal.Filter{
			{Attention: true},
			{ProviderID: row.ID},
			{RequestID: row.RequestID},
			{States: []journal.State{journal.Pending, journal.Unknown}},
			{Limit: 10},
		} {
			for _, err := range s.List(ctx, filter) {
				check(t, "List", err)
			}
		}
		check(t, "Write", s.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
			due, err := tx.LockDue(ctx, []string{row.Account}, row.Created.AddDate(1, 0, 0), 64)
			check(t, "LockDue", err)
			_, err = tx.LockByID(ctx, array(due, func(t *journal.Transaction) string { return t.ID }))
			check(t, "LockByID", err)
			_, err = tx.LockByRequest(ctx, array(due, func(t *journal.Transaction) journal.RequestKey {
				return journal.RequestKey{Account: t.Account, RequestID: t.RequestID}
			}))
			check(t, "LockByRequest", err)
			check(t, "Update", tx.Update(ctx, due))
			_, err = tx.LockSpending(ctx, []journal.Spending{{Merchant: row.Merchant, Day: 20260102}})
			return err
		}))
	}
}

func check(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// scans is how often the big tables were read from end to end, by sessions that
// have ended: it waits for them, since each counts when it does.
func scans(t *testing.T, dsn string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	check(t, "connecting", err)
	defer conn.Close(t.Context())
	for sessions := 1; sessions > 0; {
		check(t, "waiting for sessions", conn.QueryRow(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&sessions))
	}
	check(t, "asking for the scans", conn.QueryRow(t.Context(), `SELECT SUM(seq_scan)::BIGINT FROM pg_stat_user_tables
		WHERE relname IN ('transactions', 'events')`).Scan(&n))
	return n
}
