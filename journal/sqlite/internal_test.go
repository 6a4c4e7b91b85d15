package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// TestMigrations brings journals of every earlier version, with rows in them, to
// this one.
func TestMigrations(t *testing.T) {
	for version := int64(1); version <= 4; version++ {
		path := filepath.Join(t.TempDir(), "journal.db")
		row := journaltest.NewTransaction(1)
		event := journaltest.NewEvent(row, 1, 1)
		chain := journaltest.NewChain(1)
		key := journal.DataKey{ID: 1, Wrapped: []byte("wrapped"), Created: row.Created}
		writeVersion(t, path, version, map[string][]any{
			"transactions (" + transactionColumns + ")": transactionValues(nil, &row),
			"events (" + eventColumns + ")":             eventValues(nil, &event),
			"chains (" + chainColumns + ")":             chainValues(&chain),
			"data_keys (" + keyColumns + ")":            keyValues(&key),
		})

		store := New(path)
		if err := store.Open(t.Context()); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if got, err := store.ByID(t.Context(), row.ID); err != nil || got.RequestID != row.RequestID || !got.Deadline.Equal(row.Deadline) {
			t.Errorf("version %d: ByID() = %+v, %v", version, got, err)
		}
		if got, err := store.Events(t.Context(), row.ID); err != nil || len(got) != 1 || got[0].Evidence != event.Evidence {
			t.Errorf("version %d: Events() = %+v, %v", version, got, err)
		}
		if got, err := store.Chain(t.Context(), 1); err != nil || got.Gateway != chain.Gateway {
			t.Errorf("version %d: Chain() = %+v, %v", version, got, err)
		}
		if got, err := store.Keys(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("version %d: Keys() = %+v, %v", version, got, err)
		}
		spent := row.Amount
		if version >= 2 {
			spent = 0 // who writes the row adds to it, and nobody did
		}
		if got, err := store.Spent(t.Context(), row.Merchant, row.Day); err != nil || got.Amount != spent {
			t.Errorf("version %d: Spent() = %+v, %v, want %s", version, got, err, spent)
		}
		if err := store.Close(); err != nil {
			t.Errorf("version %d: Close() = %v", version, err)
		}
	}
}

// writeVersion makes a file of an earlier version, with a row in each table.
func writeVersion(t *testing.T, path string, version int64, rows map[string][]any) {
	t.Helper()
	if err := prepareFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, 1, writerSettings)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := identify(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	provider, err := migrator(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, knows, err := provider.GetVersions(t.Context()); err != nil || knows != 4 {
		t.Fatalf("the newest version is %d, %v; this test knows 4", knows, err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for table, values := range rows {
		_, err := db.ExecContext(t.Context(), "INSERT INTO "+table+" VALUES ("+list(len(values))+")", values...)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlans: what is asked often, or while there are ten million rows, is found
// by an index.
func TestPlans(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		filter journal.Filter
		index  string
	}{
		{journal.Filter{RequestID: "1"}, "transactions_request"},
		{journal.Filter{RequestID: "1", Account: "main"}, "transactions_request"},
		{journal.Filter{ProviderID: "1"}, "transactions_provider"},
		{journal.Filter{States: []journal.State{journal.Unknown, journal.Pending}}, "transactions_watched"},
		{journal.Filter{Attention: true}, "transactions_watched"},
		{journal.Filter{Reversed: true}, "transactions_watched"},
		{journal.Filter{Since: now, Until: now.Add(24 * time.Hour)}, "PRIMARY KEY"},
		{journal.Filter{Merchant: "shop", Before: "01"}, "PRIMARY KEY"},
	} {
		query, args := selection(c.filter)
		if plan := planOf(t, store, query, args...); !strings.Contains(plan, c.index) {
			t.Errorf("List(%+v) is done by %s, want %s", c.filter, plan, c.index)
		}
	}
	due := "SELECT id FROM transactions WHERE next_check <> 0 AND next_check <= ? AND account IN (?) ORDER BY next_check LIMIT 1"
	if plan := planOf(t, store, due, 1, "main"); !strings.Contains(plan, "transactions_watched") || strings.Contains(plan, "B-TREE") {
		t.Errorf("due rows are found by %s", plan)
	}
	open := "SELECT state, count(*), min(created) FROM transactions WHERE " + isOpen + " GROUP BY state"
	if plan := planOf(t, store, open); !strings.Contains(plan, "COVERING INDEX transactions_watched") {
		t.Errorf("the statistics are found by %s", plan)
	}
	if plan := planOf(t, store, messagesDue, "out", "shop", 1, 4); !strings.Contains(plan, "messages_waiting") || strings.Contains(plan, "B-TREE") {
		t.Errorf("messages that are due are found by %s", plan)
	}
	if plan := planOf(t, store, deleteNonces, 1, 10); !strings.Contains(plan, "nonces_expires") || strings.Contains(plan, "SCAN") || strings.Contains(plan, "B-TREE") {
		t.Errorf("nonces that have expired are found by %s", plan)
	}
	if plan := planOf(t, store, waitingLanes, "out"); strings.Contains(plan, "SCAN messages") || !strings.Contains(plan, "messages_waiting") {
		t.Errorf("lanes are found by %s", plan)
	}
}

func planOf(t *testing.T, store *Store, query string, args ...any) string {
	t.Helper()
	rows, err := store.query(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var ignored int
		var step string
		if err := rows.Scan(&ignored, &ignored, &ignored, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "; ")
}

// After an error of a statement nothing of the batch is written, even if the
// batch goes on as if nothing had happened.
func TestIgnoredError(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	rows := []journal.Transaction{journaltest.NewTransaction(1), journaltest.NewTransaction(2)}
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		_ = tx.Update(ctx, rows[:1]) // it is not there
		_, _ = tx.Insert(ctx, rows)
		return nil
	})
	if err == nil {
		t.Error("Write() = nil, although a statement failed")
	}
	if ids := slices.Collect(idsOf(t, store)); len(ids) != 0 {
		t.Errorf("%v were written", ids)
	}
}

// After some errors SQLite rolls back by itself. The connection is replaced
// then, so that whatever else is wrong with it is over.
func TestConnectionIsReplaced(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	rows := []journal.Transaction{journaltest.NewTransaction(1)}
	refused := errors.New("refused by the test")
	first := store.opened.Load().writer
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.Insert(ctx, rows); err != nil {
			t.Errorf("Insert() = %v", err)
		}
		if _, err := first.change(first.rollback); err != nil {
			t.Errorf("rolling back: %v", err)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("Write() = %v, want %v", err, refused)
	}
	if store.opened.Load().writer == first {
		t.Error("the connection is kept")
	}
	if err := insertOne(t.Context(), store, rows[0]); err != nil {
		t.Errorf("writing by the next connection: %v", err)
	}
}

func insertOne(ctx context.Context, store *Store, row journal.Transaction) error {
	return store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.Insert(ctx, []journal.Transaction{row})
		return err
	})
}

func idsOf(t *testing.T, store *Store) func(func(string) bool) {
	return func(yield func(string) bool) {
		for row, err := range store.List(t.Context(), journal.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !yield(row.ID) {
				return
			}
		}
	}
}

// What is kept in memory of rows is what is in the file, and not too many.
func TestRecentRows(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	refused := errors.New("refused by the test")
	row := journaltest.NewTransaction(1)
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
			t.Errorf("Insert() = %v", err)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatalf("Write() = %v", err)
	}
	var rows []journal.Transaction
	for i := range maxRecent + 10 {
		rows = append(rows, journaltest.NewTransaction(i+2))
	}
	err = store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if found, err := tx.LockByID(ctx, []string{row.ID}); err != nil || len(found) > 0 {
			t.Errorf("LockByID() of what was rolled back = %v, %v", found, err)
		}
		if _, err := tx.Insert(ctx, rows); err != nil {
			return err
		}
		found, err := tx.LockByID(ctx, []string{rows[0].ID, rows[len(rows)-1].ID})
		if err == nil && len(found) != 2 {
			t.Errorf("%d rows are found, want 2", len(found))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(store.opened.Load().writer.recent); n > maxRecent {
		t.Errorf("%d rows are kept in memory, want at most %d", n, maxRecent)
	}
}

// Events are added by as few statements as possible, whatever their number.
func TestAppendMany(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	chain := journaltest.NewChain(1)
	appendTo := func(events []journal.Event) error {
		return store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			next := chain
			next.Number += int64(len(events))
			return tx.Append(ctx, events, chain.Number, next)
		})
	}
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.AddChain(ctx, chain)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []journal.Event
	for _, n := range []int{1, together - 1, together, together + 1, 3*together + 2} {
		events := make([]journal.Event, n)
		for i := range events {
			number := chain.Number + int64(i) + 1
			events[i] = journaltest.NewEvent(journaltest.NewTransaction(int(number)), 1, number)
		}
		if len(want) > 0 {
			wrong := slices.Clone(events)
			wrong[n-1].Transaction, wrong[n-1].Seq = want[0].Transaction, want[0].Seq
			if err := appendTo(wrong); err == nil {
				t.Fatalf("%d events were appended, of which one was there", n)
			}
		}
		if err := appendTo(events); err != nil {
			t.Fatalf("appending %d events: %v", n, err)
		}
		want, chain.Number = append(want, events...), chain.Number+int64(n)
	}
	var got []journal.Event
	for event, err := range store.AllEvents(t.Context(), chain.ID) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("there are %d events, want %d:\n%+v\n%+v", len(got), len(want), got, want)
	}
}

// A batch that panics is not written, and keeps nobody from writing.
func TestPanic(t *testing.T) {
	store := New(filepath.Join(t.TempDir(), "journal.db"))
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	row := journaltest.NewTransaction(1)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		_ = store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
				t.Errorf("Insert() = %v", err)
			}
			panic("by the test")
		})
	}()
	if ids := slices.Collect(idsOf(t, store)); len(ids) != 0 {
		t.Errorf("%v were written", ids)
	}
	if err := insertOne(t.Context(), store, row); err != nil {
		t.Errorf("writing after a panic: %v", err)
	}
}
