package journaltest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// reading are the tests of the methods of Reader, but for List.
var reading = []test{
	{name: "NotFound", run: testNotFound},
	{name: "Events", run: testEvents},
	{name: "LastEvents", run: testLastEvents},
	{name: "Orphans", run: testOrphans},
	{name: "Stats", run: testStats},
	{name: "Snapshot", run: testSnapshot},
	{name: "SnapshotReads", run: testSnapshotReads},
}

func testNotFound(t *testing.T, store journal.Store) {
	insert(t, store, NewTransaction(1))
	appendTo(t, store, NewChain(1), NewEvent(NewTransaction(1), 1, 1))

	_, err := store.ByID(t.Context(), "missing")
	checkError(t, "ByID", err, journal.ErrNotFound)
	_, err = store.ByRequest(t.Context(), journal.RequestKey{Account: account, RequestID: "missing"})
	checkError(t, "ByRequest", err, journal.ErrNotFound)
	_, err = store.ByRequest(t.Context(), journal.RequestKey{Account: "other", RequestID: NewTransaction(1).RequestID})
	checkError(t, "ByRequest of another account", err, journal.ErrNotFound)
	_, err = store.Chain(t.Context(), 2)
	checkError(t, "Chain", err, journal.ErrNotFound)

	events, err := store.Events(t.Context(), "missing")
	if err != nil || len(events) != 0 {
		t.Errorf("Events of nothing = %v, %v, want none", events, err)
	}
	check(t, "AllEvents", collect(t, store.AllEvents(t.Context(), 2)), nil)
}

// history adds n transactions with two events each, the events of the first
// chain interleaved with those of the second.
func history(t tb, store journal.Store, n int) (rows []journal.Transaction, first, second []journal.Event) {
	t.Helper()
	rows = newTransactions(n)
	for i := range rows {
		first = append(first, NewEvent(rows[i], 1, int64(i+1)))
		rows[i].State, rows[i].Version = journal.Sent, 2
		rows[i].Updated = rows[i].Updated.Add(time.Second)
		second = append(second, NewEvent(rows[i], 2, int64(i+1)))
	}
	insert(t, store, rows...)
	appendTo(t, store, NewChain(1), first...)
	appendTo(t, store, NewChain(2), second...)
	return rows, first, second
}

func testEvents(t *testing.T, store journal.Store) {
	rows, first, second := history(t, store, 250)
	check(t, "AllEvents(1)", collect(t, store.AllEvents(t.Context(), 1)), first)
	check(t, "AllEvents(2)", collect(t, store.AllEvents(t.Context(), 2)), second)
	outside := NewEvent(NewTransaction(300), 1, -1)
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.Append(ctx, []journal.Event{outside}, 250, after(NewChain(1), first...))
	})
	all := collect(t, store.AllEvents(t.Context(), 1))
	check(t, "AllEvents(1)", slices.DeleteFunc(all, func(e journal.Event) bool { return e.Number < 1 }), first)
	count, err := store.CountEvents(t.Context())
	checkOne(t, "CountEvents", count, err, 501)
	for i, row := range rows[:5] {
		got, err := store.Events(t.Context(), row.ID)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "Events", got, []journal.Event{first[i], second[i]})
		for limit, want := range map[int][]journal.Event{1: {second[i]}, 2: got, 3: got} {
			newest, err := store.NewestEvents(t.Context(), row.ID, limit)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "NewestEvents", newest, want)
		}
	}
}

func testLastEvents(t *testing.T, store journal.Store) {
	rows, _, second := history(t, store, 250)
	want := make([]journal.LastEvent, len(rows))
	for i := range rows {
		want[i] = journal.LastEvent{Transaction: rows[i], Event: second[i], Events: 2}
	}
	without, behind := NewTransaction(300), NewTransaction(301)
	behind.Version = 5 // there is only the event of version 1
	insert(t, store, without, behind)
	event := NewEvent(NewTransaction(301), 3, 1)
	appendTo(t, store, NewChain(3), event)
	want = append(want, journal.LastEvent{Transaction: without}, journal.LastEvent{Transaction: behind, Events: 1})
	nameless := NewTransaction(302)
	nameless.ID = ""
	insert(t, store, nameless)
	want = slices.Insert(want, 0, journal.LastEvent{Transaction: nameless})
	check(t, "LastEvents", collect(t, store.LastEvents(t.Context())), want)
}

func testOrphans(t *testing.T, store journal.Store) {
	history(t, store, 3)
	check(t, "Orphans", collect(t, store.Orphans(t.Context())), nil)

	var events []journal.Event
	var want []string
	for i := range 250 {
		row := NewTransaction(1000 + i)
		want = append(want, row.ID)
		for range 2 {
			events = append(events, NewEvent(row, 3, int64(len(events)+1)))
			row.Version++
		}
	}
	nameless := NewEvent(journal.Transaction{}, 3, int64(len(events)+1))
	appendTo(t, store, NewChain(3), append(events, nameless)...)
	want = append(want, "")
	checkSet(t, "Orphans", collect(t, store.Orphans(t.Context())), want)
}

func testStats(t *testing.T, store journal.Store) {
	checkStats := func(open map[journal.State]int, attention int, oldest time.Time) {
		t.Helper()
		got, err := store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			if got.Open[state] != open[state] {
				t.Errorf("Stats: %d are %s, want %d", got.Open[state], state, open[state])
			}
		}
		if got.Attention != attention || !got.Oldest.Equal(oldest) {
			t.Errorf("Stats: attention %d, oldest %v, want %d, %v", got.Attention, got.Oldest, attention, oldest)
		}
	}
	checkStats(nil, 0, time.Time{})

	var rows []journal.Transaction
	for i, state := range []journal.State{
		journal.Success, journal.Unsent, // the oldest are not open
		journal.Created, journal.Sent, journal.Sent, journal.Pending, journal.Unknown,
		journal.Failed, journal.Refused,
	} {
		row := NewTransaction(i)
		row.State = state
		rows = append(rows, row)
	}
	rows[0].Attention, rows[4].Attention = start, start.Add(time.Hour)
	insert(t, store, rows...)
	checkStats(map[journal.State]int{
		journal.Created: 1, journal.Sent: 2, journal.Pending: 1, journal.Unknown: 1,
	}, 2, rows[2].Created)

	for i := range rows {
		rows[i].State, rows[i].Attention = journal.Failed, time.Time{}
	}
	rows[3].State = journal.Unknown
	write(t, store, func(ctx context.Context, tx journal.Tx) error { return tx.Update(ctx, rows) })
	checkStats(map[journal.State]int{journal.Unknown: 1}, 0, rows[3].Created)
}

func testSnapshot(t *testing.T, store journal.Store) {
	before := NewTransaction(1)
	insert(t, store, before)
	changed := before
	changed.State = journal.Unknown
	added := NewTransaction(2)

	err := store.Snapshot(t.Context(), func(ctx context.Context, r journal.Reader) error {
		got, err := r.ByID(ctx, before.ID)
		checkOne(t, "before the write", got, err, before)

		insert(t, store, added)
		write(t, store, func(ctx context.Context, tx journal.Tx) error {
			return tx.Update(ctx, []journal.Transaction{changed})
		})
		_, err = r.ByID(ctx, added.ID)
		checkError(t, "ByID of a row that was added meanwhile", err, journal.ErrNotFound)
		check(t, "List", collect(t, r.List(ctx, journal.Filter{})), []journal.Transaction{before})
		stats, err := r.Stats(ctx)
		if err != nil || stats.Open[journal.Created] != 1 || stats.Open[journal.Unknown] != 0 {
			t.Errorf("Stats = %+v, %v, want one that is created", stats, err)
		}
		return errRefused
	})
	checkError(t, "Snapshot", err, errRefused)
	check(t, "List", collect(t, store.List(t.Context(), journal.Filter{})), []journal.Transaction{added, changed})
}

// A snapshot's reader can do all that the store's can.
func testSnapshotReads(t *testing.T, store journal.Store) {
	rows, first, second := history(t, store, 3)
	key := journal.DataKey{ID: 1, Wrapped: []byte("wrapped"), Created: start}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.AddKey(ctx, key)
		return err
	})
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.AddSpending(ctx, []journal.Spending{{Merchant: merchant, Day: today, Amount: 500}})
	})
	err := store.Snapshot(t.Context(), func(ctx context.Context, r journal.Reader) error {
		row, err := r.ByRequest(ctx, keyOf(rows[1]))
		checkOne(t, "ByRequest", row, err, rows[1])
		events, err := r.Events(ctx, rows[1].ID)
		if err != nil {
			return err
		}
		check(t, "Events", events, []journal.Event{first[1], second[1]})
		check(t, "AllEvents", collect(t, r.AllEvents(ctx, 2)), second)
		check(t, "Orphans", collect(t, r.Orphans(ctx)), nil)
		if last := collect(t, r.LastEvents(ctx)); len(last) != len(rows) {
			t.Errorf("LastEvents yields %d, want %d", len(last), len(rows))
		}
		keys, err := r.Keys(ctx)
		if err != nil {
			return err
		}
		check(t, "Keys", keys, []journal.DataKey{key})
		chains, err := r.Chains(ctx)
		if err != nil {
			return err
		}
		check(t, "Chains", chains, []journal.Chain{after(NewChain(1), first...), after(NewChain(2), second...)})
		chain, err := r.Chain(ctx, 2)
		checkOne(t, "Chain", chain, err, after(NewChain(2), second...))
		spent, err := r.Spent(ctx, merchant, today)
		checkOne(t, "Spent", spent, err, journal.Spending{
			Merchant: merchant, Day: today, Amount: 500,
		})
		check(t, "Spending", collect(t, r.Spending(ctx)), []journal.Spending{spent})
		count, err := r.CountEvents(ctx)
		checkOne(t, "CountEvents", count, err, len(first)+len(second))
		return nil
	})
	if err != nil {
		t.Errorf("Snapshot() = %v", err)
	}
}
