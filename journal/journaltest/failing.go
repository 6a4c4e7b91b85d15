package journaltest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// failing are the tests of what goes wrong, and of values at the edges.
var failing = []test{
	{name: "Rollback", run: testRollback},
	{name: "Values", run: testValues},
	{name: "UnfitText", run: testUnfitText},
	{name: "Cancelled", run: testCancelled},
	{name: "CancelledWithin", run: testCancelledWithin},
	{name: "Closed", run: testClosed, closes: true},
	{name: "Concurrent", run: testConcurrent},
}

// errRefused is what batches fail with on purpose.
var errRefused = errors.New("refused by the test")

func testRollback(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	key := journal.DataKey{ID: 1, Wrapped: []byte("wrapped"), Created: start}
	insert(t, store, row)
	changed := row
	changed.State = journal.Sent
	event := NewEvent(row, 1, 1)
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		_, err1 := tx.Insert(ctx, []journal.Transaction{NewTransaction(2)})
		err2 := tx.Update(ctx, []journal.Transaction{changed})
		_, err3 := tx.AddChain(ctx, NewChain(1))
		err4 := tx.Append(ctx, []journal.Event{event}, 0, after(NewChain(1), event))
		_, err5 := tx.AddKey(ctx, key)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Errorf("within the batch: %v", err)
		}
		return errRefused
	})
	checkError(t, "Write", err, errRefused)
	if errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrRetry) {
		t.Errorf("Write() = %v, which says more than the batch did", err)
	}
	check(t, "rows", collect(t, store.List(t.Context(), journal.Filter{})), []journal.Transaction{row})
	check(t, "events", collect(t, store.AllEvents(t.Context(), 1)), nil)
	keys, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, "keys", keys, nil)
	insert(t, store, NewTransaction(2))
}

// atTheEdges returns transactions with values that are easily kept wrong.
func atTheEdges() []journal.Transaction {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	rows := newTransactions(8)
	rows[0].Amount, rows[0].KeyID = math.MaxInt64, math.MaxInt64
	rows[1].Amount, rows[1].Day, rows[1].Attempt, rows[1].Checks = 0, 0, math.MaxInt32, math.MaxInt32
	rows[2].Amount = -1
	rows[3].Fingerprint, rows[3].Sealed = nil, []byte{}
	rows[4].Fingerprint, rows[4].Sealed = every, bytes.Repeat(every, 4096) // 1 MiB
	rows[5].Created, rows[5].Updated, rows[5].Deadline, rows[5].NextCheck = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	rows[6].Created = time.UnixMicro(1)
	rows[6].Updated = time.UnixMicro(-1)
	rows[6].Deadline = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.FixedZone("IST", 19800))
	rows[6].Attention = time.UnixMicro(1)
	rows[7].RequestID = "'; DROP TABLE transactions; -- \"\\%_\r\n\t\x01"
	rows[7].ProviderID = " Überweisung नमस्ते 😀 "
	rows[7].Integrity = strings.Repeat("x", 1<<20)
	return rows
}

func testValues(t *testing.T, store journal.Store) {
	rows := atTheEdges()
	insert(t, store, rows...)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		locked, err := tx.LockByRequest(ctx, []journal.RequestKey{keyOf(rows[7])})
		check(t, "locked", locked, rows[7:])
		if err != nil {
			return err
		}
		return tx.Update(ctx, rows)
	})
	for _, want := range rows {
		got, err := store.ByID(t.Context(), want.ID)
		checkOne(t, "row", got, err, want)
	}

	events := []journal.Event{NewEvent(rows[0], 1, 1), NewEvent(rows[1], 1, 2), NewEvent(rows[2], 1, 3)}
	events[0].Evidence = "{ \"b\" : 1,\n\"a\":2, \"a\": 1e2 }" // as it is: the MAC is over it
	events[1].At, events[1].Evidence, events[1].Row, events[1].MAC = time.Time{}, "", nil, nil
	events[2].Reason, events[2].Actor = strings.Repeat("नमस्ते ", 10000), "O'Neil"
	chain := NewChain(1)
	chain.Started, chain.Opening = time.Time{}, nil
	appendTo(t, store, chain, events...)
	check(t, "events", collect(t, store.AllEvents(t.Context(), 1)), events)
	got, err := store.Chain(t.Context(), 1)
	checkOne(t, "chain", got, err, after(chain, events...))
}

// A database need not hold every text, but it must not hold another one.
func testUnfitText(t *testing.T, store journal.Store) {
	for i, text := range []string{"nul\x00within", "\x00", "trailing\x00", "no UTF-8 \xff\xfe"} {
		row, beside := NewTransaction(2*i), NewTransaction(2*i+1)
		row.RequestID, row.ProviderID = text, text
		err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			_, err := tx.Insert(ctx, []journal.Transaction{beside, row})
			return err
		})
		if errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrRetry) {
			t.Errorf("%q: Write() = %v, but trying again does not help", text, err)
		}
		if err != nil {
			_, err = store.ByID(t.Context(), beside.ID)
			checkError(t, "the row beside one that was refused", err, journal.ErrNotFound)
			continue
		}
		got, err := store.ByID(t.Context(), row.ID)
		checkOne(t, "row", got, err, row)
		got, err = store.ByRequest(t.Context(), keyOf(row))
		checkOne(t, "row", got, err, row)
	}
	insert(t, store, NewTransaction(100))
}

func testCancelled(t *testing.T, store journal.Store) {
	rows, _, _ := history(t, store, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.Insert(ctx, []journal.Transaction{NewTransaction(10)})
		return err
	})
	checkError(t, "Write", err, context.Canceled)
	_, err = store.ByID(ctx, rows[0].ID)
	checkError(t, "ByID", err, context.Canceled)
	_, err = store.Stats(ctx)
	checkError(t, "Stats", err, context.Canceled)
	err = store.Snapshot(ctx, func(ctx context.Context, r journal.Reader) error {
		_, err := r.ByID(ctx, rows[0].ID)
		return err
	})
	checkError(t, "Snapshot", err, context.Canceled)
	checkError(t, "List", onlyError(t, store.List(ctx, journal.Filter{})), context.Canceled)
	checkError(t, "AllEvents", onlyError(t, store.AllEvents(ctx, 1)), context.Canceled)

	insert(t, store, NewTransaction(10))
	check(t, "rows", collect(t, store.List(t.Context(), journal.Filter{Limit: 2})),
		[]journal.Transaction{NewTransaction(10), rows[2]})
}

// onlyError returns the error that a reader yields instead of anything else.
func onlyError[T any](t tb, all iter.Seq2[T, error]) (failed error) {
	t.Helper()
	for value, err := range all {
		switch {
		case failed != nil:
			t.Errorf("it goes on after an error")
		case err == nil:
			t.Errorf("it yields %+v", value)
		}
		failed = err
	}
	return failed
}

// Whether a context that ends within the batch ends the batch is left open; the
// answer must be true in any case.
func testCancelledWithin(t *testing.T, store journal.Store) {
	for i := range 5 {
		row := NewTransaction(i)
		ctx, cancel := context.WithCancel(t.Context())
		written := store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
			if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
				return err
			}
			cancel()
			return nil
		})
		cancel()
		_, err := store.ByID(t.Context(), row.ID)
		if (written == nil) != (err == nil) {
			t.Errorf("Write() = %v, but ByID() = %v", written, err)
		}
	}
	insert(t, store, NewTransaction(10))
}

func testClosed(t *testing.T, store journal.Store) {
	rows, _, _ := history(t, store, 3)
	if err := store.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	ctx := t.Context()
	_, byID := store.ByID(ctx, rows[0].ID)
	_, byRequest := store.ByRequest(ctx, keyOf(rows[0]))
	_, events := store.Events(ctx, rows[0].ID)
	_, newest := store.NewestEvents(ctx, rows[0].ID, 1)
	_, keys := store.Keys(ctx)
	_, chains := store.Chains(ctx)
	_, chain := store.Chain(ctx, 1)
	_, stats := store.Stats(ctx)
	_, spent := store.Spent(ctx, merchant, today)
	_, count := store.CountEvents(ctx)
	for what, err := range map[string]error{
		"ByID": byID, "ByRequest": byRequest, "Events": events, "NewestEvents": newest, "Keys": keys,
		"Chains": chains, "Chain": chain, "Stats": stats, "Spent": spent, "CountEvents": count,
		"List":       onlyError(t, store.List(ctx, journal.Filter{})),
		"AllEvents":  onlyError(t, store.AllEvents(ctx, 1)),
		"LastEvents": onlyError(t, store.LastEvents(ctx)),
		"Orphans":    onlyError(t, store.Orphans(ctx)),
		"Spending":   onlyError(t, store.Spending(ctx)),
		"Write":      store.Write(ctx, func(context.Context, journal.Tx) error { return nil }),
		"Snapshot":   store.Snapshot(ctx, func(context.Context, journal.Reader) error { return nil }),
	} {
		checkError(t, what+" after Close", err, journal.ErrUnavailable)
	}
}

// Batches of four are written while others read: nobody ever sees a part of
// one, neither in a snapshot nor in an aggregate.
func testConcurrent(t *testing.T, store journal.Store) {
	const batches = 50
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for seen := -1; ; {
				select {
				case <-done:
					return
				default:
				}
				seen = checkWhole(t, store, seen)
			}
		})
	}
	var head journal.Chain
	for i := range batches {
		write(t, store, func(ctx context.Context, tx journal.Tx) error {
			if i == 0 {
				head = NewChain(1)
				if _, err := tx.AddChain(ctx, head); err != nil {
					return err
				}
			}
			var rows []journal.Transaction
			var events []journal.Event
			for j := range 4 {
				rows = append(rows, NewTransaction(4*i+j))
				events = append(events, NewEvent(rows[j], 1, int64(4*i+j+1)))
			}
			if _, err := tx.Insert(ctx, rows); err != nil {
				return err
			}
			before := head.Number
			head = after(head, events...)
			return tx.Append(ctx, events, before, head)
		})
	}
	close(done)
	readers.Wait()
	if seen := checkWhole(t, store, 0); seen != 4*batches {
		t.Errorf("%d rows in the end, want %d", seen, 4*batches)
	}
}

// checkWhole looks for parts of batches, and for batches that vanished since.
func checkWhole(t *testing.T, store journal.Store, since int) (rows int) {
	stats, err := store.Stats(t.Context())
	if err != nil {
		t.Errorf("Stats() = %v", err)
	}
	if n := stats.Open[journal.Created]; n%4 != 0 || n < since {
		t.Errorf("Stats: %d rows after %d", n, since)
	}
	err = store.Snapshot(t.Context(), func(ctx context.Context, r journal.Reader) error {
		for _, err := range r.List(ctx, journal.Filter{}) {
			if err != nil {
				return err
			}
			rows++
		}
		events := 0
		for _, err := range r.AllEvents(ctx, 1) {
			if err != nil {
				return err
			}
			events++
		}
		if rows%4 != 0 || rows != events || rows < since {
			t.Errorf("a snapshot has %d rows and %d events, after %d", rows, events, since)
		}
		return nil
	})
	if err != nil {
		t.Errorf("Snapshot() = %v", err)
	}
	return rows
}
