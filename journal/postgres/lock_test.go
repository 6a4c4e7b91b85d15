package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// Many gateways that are asked for the same payment at once record it once.
func TestSameRequestAtOnce(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	stores := []*Store{opened(t, dsn), opened(t, dsn)}
	const inserts = 50
	added := make([]string, inserts)
	var all sync.WaitGroup
	for i := range inserts {
		row := journaltest.NewTransaction(i)
		row.RequestID = "the same"
		all.Go(func() {
			ids, err := insert(t.Context(), stores[i%2], row)
			if err != nil {
				t.Errorf("Insert() = %v", err)
			}
			added[i] = strings.Join(ids, " ")
		})
	}
	all.Wait()
	got, err := stores[0].ByRequest(t.Context(), journal.RequestKey{Account: "main", RequestID: "the same"})
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(strings.Fields(strings.Join(added, " ")), " "); all != got.ID {
		t.Errorf("the inserts added %q, and the row is %s", all, got.ID)
	}
}

// Gateways that look for due rows at the same time share them.
func TestDueRowsAreShared(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	first, second := opened(t, dsn), opened(t, dsn)
	var rows []journal.Transaction
	for i := range 10 {
		rows = append(rows, journaltest.NewTransaction(i))
	}
	if _, err := insert(t.Context(), first, rows...); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	lock := func(ctx context.Context, tx journal.Tx, limit, want int) {
		due, err := tx.LockDue(ctx, []string{"main"}, time.Now().AddDate(10, 0, 0), limit)
		if err != nil || len(due) != want {
			t.Errorf("LockDue() = %d rows, %v, want %d", len(due), err, want)
		}
		for _, row := range due {
			seen[row.ID]++
		}
	}
	err := first.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		lock(ctx, tx, 6, 6)
		return second.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
			lock(ctx, tx, 10, 4)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if seen[row.ID] != 1 {
			t.Errorf("%s was given out %d times", row.ID, seen[row.ID])
		}
	}
}

// Gateways that want the same rows in another order wait for each other, and do
// not deadlock.
func TestOrderOfLocks(t *testing.T) {
	server := postgrestest.Start(t, postgrestest.With("deadlock_timeout", "10ms"))
	dsn := server.NewDatabase(t)
	stores := []*Store{opened(t, dsn), opened(t, dsn)}
	// atOnce runs a step in both, with the rows in opposite orders.
	atOnce := func(name string, rows []journal.Transaction, step func(context.Context, journal.Tx, []journal.Transaction) error) {
		var both, ready sync.WaitGroup
		ready.Add(len(stores))
		for _, s := range stores {
			mine := slices.Clone(rows)
			slices.Reverse(rows)
			both.Go(func() {
				err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
					ready.Done()
					ready.Wait()
					return step(ctx, tx, mine)
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		both.Wait()
	}

	var ids atomic.Int64
	for round := range 20 {
		rows := make([]journal.Transaction, 200)
		for i := range rows {
			rows[i] = journaltest.NewTransaction(1000*round + i)
			rows[i].Merchant = strconv.Itoa(round)
		}
		atOnce("Insert", rows, func(ctx context.Context, tx journal.Tx, rows []journal.Transaction) error {
			for i := range rows {
				rows[i].ID = strconv.FormatInt(ids.Add(1), 10) // each gateway makes its own
			}
			_, err := tx.Insert(ctx, rows)
			return err
		})
		rows = nil
		for row, err := range stores[0].List(t.Context(), journal.Filter{Merchant: strconv.Itoa(round)}) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		atOnce("LockByRequest", rows, func(ctx context.Context, tx journal.Tx, rows []journal.Transaction) error {
			_, err := tx.LockByRequest(ctx, array(rows, func(t *journal.Transaction) journal.RequestKey {
				return journal.RequestKey{Account: t.Account, RequestID: t.RequestID}
			}))
			return err
		})
		atOnce("LockByID", rows, func(ctx context.Context, tx journal.Tx, rows []journal.Transaction) error {
			_, err := tx.LockByID(ctx, array(rows, func(t *journal.Transaction) string { return t.ID }))
			return err
		})
		for _, name := range []string{"LockSpending, new", "LockSpending, known"} {
			atOnce(name, rows, func(ctx context.Context, tx journal.Tx, rows []journal.Transaction) error {
				_, err := tx.LockSpending(ctx, array(rows, func(t *journal.Transaction) journal.Spending {
					return journal.Spending{Merchant: t.RequestID, Day: t.Day}
				}))
				return err
			})
		}
	}
}

// Two that wait for each other are told to try again, and then can.
func TestDeadlock(t *testing.T) {
	server := postgrestest.Start(t, postgrestest.With("deadlock_timeout", "50ms"))
	dsn := server.NewDatabase(t)
	first, second := opened(t, dsn), opened(t, dsn)
	rows := []journal.Transaction{journaltest.NewTransaction(0), journaltest.NewTransaction(1)}
	if _, err := insert(t.Context(), first, rows...); err != nil {
		t.Fatal(err)
	}
	lockBoth := func(s *Store, one, other string, between func()) error {
		return s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			if _, err := tx.LockByID(ctx, []string{one}); err != nil {
				return err
			}
			between()
			_, err := tx.LockByID(ctx, []string{other})
			return err
		})
	}
	var both sync.WaitGroup
	both.Add(2)
	meet := func() { both.Done(); both.Wait() }
	errs := make(chan error, 2)
	go func() { errs <- lockBoth(first, rows[0].ID, rows[1].ID, meet) }()
	go func() { errs <- lockBoth(second, rows[1].ID, rows[0].ID, meet) }()
	failed := errors.Join(<-errs, <-errs)
	if !errors.Is(failed, journal.ErrRetry) || errors.Is(failed, journal.ErrUnavailable) {
		t.Errorf("a deadlock: %v, want %v", failed, journal.ErrRetry)
	}
	if err := lockBoth(first, rows[0].ID, rows[1].ID, func() {}); err != nil {
		t.Errorf("trying again: %v", err)
	}
}
