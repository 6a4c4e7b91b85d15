package journaltest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// writing are the tests of the methods of Tx, but for those about spending.
var writing = []test{
	{name: "Insert", run: testInsert},
	{name: "InsertTakenID", run: testInsertTakenID},
	{name: "Lock", run: testLock},
	{name: "LockDue", run: testLockDue},
	{name: "Update", run: testUpdate},
	{name: "UpdateMissing", run: testUpdateMissing},
	{name: "Append", run: testAppend},
	{name: "AppendElsewhere", run: testAppendElsewhere},
	{name: "Keys", run: testKeys},
	{name: "Chains", run: testChains},
	{name: "Nothing", run: testNothing},
}

func testInsert(t *testing.T, store journal.Store) {
	rows := newTransactions(4)
	insert(t, store, rows[:2]...)

	same := NewTransaction(10) // another body with the request ID of the first
	same.RequestID = rows[0].RequestID
	other := NewTransaction(11) // the request ID of the first in another account
	other.RequestID, other.Account = rows[0].RequestID, "other"
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		added, err := tx.Insert(ctx, []journal.Transaction{rows[2], same, other, rows[3]})
		checkSet(t, "added", added, []string{rows[2].ID, other.ID, rows[3].ID})
		return err
	})

	for _, want := range append(rows, other) {
		got, err := store.ByID(t.Context(), want.ID)
		checkOne(t, "ByID("+want.ID+")", got, err, want)
		got, err = store.ByRequest(t.Context(), keyOf(want))
		checkOne(t, "ByRequest("+want.RequestID+")", got, err, want)
	}
	_, err := store.ByID(t.Context(), same.ID)
	checkError(t, "ByID of a row that was not added", err, journal.ErrNotFound)
}

// An ID that is taken is no request ID that is known: to say "not added" would
// send the caller looking for a row that is not there.
func testInsertTakenID(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	insert(t, store, row)
	twin := NewTransaction(2)
	twin.ID = row.ID
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.Insert(ctx, []journal.Transaction{NewTransaction(3), twin})
		return err
	})
	if err == nil || errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrRetry) {
		t.Errorf("inserting a taken ID: %v, want an error for good", err)
	}
	check(t, "rows", collect(t, store.List(t.Context(), journal.Filter{})), []journal.Transaction{row})
}

func testLock(t *testing.T, store journal.Store) {
	rows := newTransactions(5)
	other := NewTransaction(5)
	other.Account = "other"
	insert(t, store, append(rows, other)...)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		got, err := tx.LockByRequest(ctx, []journal.RequestKey{
			keyOf(rows[3]),
			{Account: account, RequestID: "missing"},
			{Account: "other", RequestID: rows[0].RequestID},
			keyOf(rows[1]),
			keyOf(rows[2]),
		})
		check(t, "LockByRequest", got, rows[1:4])
		if err != nil {
			return err
		}
		got, err = tx.LockByRequest(ctx, []journal.RequestKey{keyOf(other)})
		check(t, "LockByRequest of another account", got, []journal.Transaction{other})
		if err != nil {
			return err
		}
		got, err = tx.LockByID(ctx, []string{rows[4].ID, "missing", rows[0].ID, other.ID})
		check(t, "LockByID", got, []journal.Transaction{rows[0], rows[4], other})
		return err
	})
}

func testLockDue(t *testing.T, store journal.Store) {
	now := start.Add(time.Hour)
	rows := newTransactions(6)
	for i, due := range []time.Time{
		now.Add(-time.Second), // due for a second
		now.Add(-time.Minute), // due for longer
		now,                   // just due
		now.Add(time.Microsecond),
		{}, // never
		now.Add(-time.Hour),
	} {
		rows[i].NextCheck = due
	}
	rows[5].Account = "other"
	insert(t, store, rows...)
	longest := []journal.Transaction{rows[1], rows[0], rows[2]}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		for _, c := range []struct {
			accounts []string
			limit    int
			want     []journal.Transaction
		}{
			{[]string{account}, 10, longest},
			{[]string{account}, 3, longest},
			{[]string{account}, 2, longest[:2]},
			{[]string{account}, 0, nil},
			{[]string{"other", account}, 10, append([]journal.Transaction{rows[5]}, longest...)},
			{[]string{"third"}, 10, nil},
			{nil, 10, nil},
		} {
			got, err := tx.LockDue(ctx, c.accounts, now, c.limit)
			if err != nil {
				return err
			}
			check(t, "LockDue", got, c.want)
		}
		return nil
	})
}

func testUpdate(t *testing.T, store journal.Store) {
	rows := newTransactions(3)
	insert(t, store, rows...)
	changed := journal.Transaction{ // all but the ID
		ID:        rows[1].ID,
		Account:   "changed",
		RequestID: "changed",
		Merchant:  "changed",
		Operation: "changed",
		Amount:    1,
		Created:   start.Add(-time.Hour),

		Day:         20270101,
		State:       journal.Success,
		Attempt:     2,
		ProviderID:  "20261126pm231537111806",
		Integrity:   "verified",
		Reversed:    journal.Failed,
		Attention:   start.Add(1 * time.Minute),
		Updated:     start.Add(2 * time.Minute),
		Deadline:    start.Add(3 * time.Minute),
		Version:     4,
		NextCheck:   start.Add(5 * time.Minute),
		Checks:      6,
		KeyID:       7,
		Fingerprint: bytes.Repeat([]byte{8}, 32),
		Sealed:      []byte("sealed anew"),
	}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.LockByID(ctx, []string{changed.ID}); err != nil {
			return err
		}
		return tx.Update(ctx, []journal.Transaction{changed})
	})

	want := changed
	want.Account, want.RequestID, want.Merchant = rows[1].Account, rows[1].RequestID, rows[1].Merchant
	want.Operation, want.Amount, want.Created = rows[1].Operation, rows[1].Amount, rows[1].Created
	check(t, "rows", collect(t, store.List(t.Context(), journal.Filter{})),
		[]journal.Transaction{rows[2], want, rows[0]})

	want.Attention, want.NextCheck = time.Time{}, time.Time{}
	want.Reversed, want.ProviderID, want.Sealed = "", "", nil
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.Update(ctx, []journal.Transaction{rows[0], want})
	})
	got, err := store.ByID(t.Context(), want.ID)
	checkOne(t, "after emptying fields", got, err, want)
}

// A change that changes nothing must not look like one that is durable.
func testUpdateMissing(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	insert(t, store, row)
	changed := row
	changed.State = journal.Sent
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		return tx.Update(ctx, []journal.Transaction{changed, NewTransaction(2)})
	})
	if err == nil {
		t.Error("updating a row that is not there: no error")
	}
	got, err := store.ByID(t.Context(), row.ID)
	checkOne(t, "the other row of the batch", got, err, row)
}

func testAppend(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	insert(t, store, row)
	events := make([]journal.Event, 5)
	for i := range events {
		row.Version = i + 1
		events[i] = NewEvent(row, 1, int64(i+1))
	}
	events[3].Actor, events[3].Reason, events[3].Cause = "asha", "the bank's statement says so", journal.ByOperator

	chain := NewChain(1)
	appendTo(t, store, chain, events[:2]...)
	head := after(chain, events[:2]...)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if err := tx.Append(ctx, events[2:3], 2, after(head, events[2])); err != nil {
			return err
		}
		return tx.Append(ctx, events[3:], 3, after(head, events[3:]...))
	})
	got, err := store.Events(t.Context(), row.ID)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "Events", got, events)
	check(t, "AllEvents", collect(t, store.AllEvents(t.Context(), 1)), events)
	gotChain, err := store.Chain(t.Context(), 1)
	checkOne(t, "Chain", gotChain, err, after(chain, events...))
}

// Two gateways that believe to own one chain must not both write to it.
func testAppendElsewhere(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	first, second := NewEvent(row, 1, 1), NewEvent(row, 1, 2)
	second.Seq = 2
	chain := NewChain(1)
	appendTo(t, store, chain, first)
	head := after(chain, first)

	for name, c := range map[string]struct {
		events []journal.Event
		before int64
		next   journal.Chain
	}{
		"behind":     {[]journal.Event{second}, 0, after(head, second)},
		"ahead":      {[]journal.Event{second}, 2, after(head, second)},
		"no chain":   {[]journal.Event{NewEvent(row, 9, 1)}, 0, after(NewChain(9), first)},
		"same again": {[]journal.Event{first}, 1, head},
	} {
		err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
				return err
			}
			return tx.Append(ctx, c.events, c.before, c.next)
		})
		if err == nil || errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrRetry) {
			t.Errorf("%s: Append() = %v, want an error for good", name, err)
		}
		check(t, name+": rows", collect(t, store.List(t.Context(), journal.Filter{})), nil)
		check(t, name+": events", collect(t, store.AllEvents(t.Context(), 1)), []journal.Event{first})
		got, err := store.Chain(t.Context(), 1)
		checkOne(t, name+": chain", got, err, head)
	}
}

func testKeys(t *testing.T, store journal.Store) {
	second := journal.DataKey{ID: 2, Wrapped: []byte("wrapped 2"), Created: start}
	first := journal.DataKey{ID: 1, Wrapped: []byte("wrapped 1"), Created: start.Add(time.Second)}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		for _, c := range []struct {
			key   journal.DataKey
			added bool
		}{
			{second, true},
			{first, true},
			{journal.DataKey{ID: 2, Wrapped: []byte("another"), Created: start}, false},
		} {
			added, err := tx.AddKey(ctx, c.key)
			if err != nil {
				return err
			}
			if added != c.added {
				t.Errorf("AddKey(%d) = %t, want %t", c.key.ID, added, c.added)
			}
		}
		return nil
	})
	keys, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, "Keys", keys, []journal.DataKey{first, second})

	first.Wrapped = []byte("wrapped with another key file")
	write(t, store, func(ctx context.Context, tx journal.Tx) error { return tx.SetKey(ctx, first) })
	if keys, err = store.Keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, "Keys after SetKey", keys, []journal.DataKey{first, second})

	err = store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		return tx.SetKey(ctx, journal.DataKey{ID: 3, Wrapped: []byte("lost")})
	})
	if err == nil {
		t.Error("SetKey of a key that is not there: no error")
	}
}

func testChains(t *testing.T, store journal.Store) {
	first, second := NewChain(1), NewChain(2)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		for _, c := range []struct {
			chain journal.Chain
			added bool
		}{
			{second, true},
			{first, true},
			{journal.Chain{ID: 2, Gateway: "another", Started: start}, false},
		} {
			added, err := tx.AddChain(ctx, c.chain)
			if err != nil {
				return err
			}
			if added != c.added {
				t.Errorf("AddChain(%d) = %t, want %t", c.chain.ID, added, c.added)
			}
		}
		return nil
	})
	chains, err := store.Chains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(t, "Chains", chains, []journal.Chain{first, second})
	got, err := store.Chain(t.Context(), 2)
	checkOne(t, "Chain(2)", got, err, second)
}

// Empty slices mean that there is nothing to do, not that something is missing.
func testNothing(t *testing.T, store journal.Store) {
	chain := NewChain(1)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.AddChain(ctx, chain); err != nil {
			return err
		}
		locked, err := tx.LockByRequest(ctx, nil)
		check(t, "LockByRequest", locked, nil)
		lockedByID, err2 := tx.LockByID(ctx, nil)
		check(t, "LockByID", lockedByID, nil)
		added, err3 := tx.Insert(ctx, nil)
		check(t, "Insert", added, nil)
		spent, err4 := tx.LockSpending(ctx, nil)
		check(t, "LockSpending", spent, nil)
		return errors.Join(err, err2, err3, err4,
			tx.Update(ctx, nil),
			tx.Append(ctx, nil, 0, chain),
			tx.AddSpending(ctx, nil))
	})
	got, err := store.Chain(t.Context(), 1)
	checkOne(t, "Chain", got, err, chain)
	write(t, store, func(context.Context, journal.Tx) error { return nil })

	// A head without events is written, so it must fit.
	err = store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error { return tx.Append(ctx, nil, 7, chain) })
	if err == nil {
		t.Error("Append without events moved a head that is elsewhere")
	}
}
