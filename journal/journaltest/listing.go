package journaltest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// listing are the tests of List.
var listing = []test{
	{name: "ListFilters", run: testListFilters},
	{name: "ListPages", run: testListPages},
	{name: "ListStops", run: testListStops},
}

// selects says what a filter should select, its limit aside.
func selects(f journal.Filter, row journal.Transaction) bool {
	return (f.Account == "" || row.Account == f.Account) &&
		(f.Merchant == "" || row.Merchant == f.Merchant) &&
		(f.Operation == "" || row.Operation == f.Operation) &&
		(f.RequestID == "" || row.RequestID == f.RequestID) &&
		(f.ProviderID == "" || row.ProviderID == f.ProviderID) &&
		(len(f.States) == 0 || slices.Contains(f.States, row.State)) &&
		(f.Since.IsZero() || !row.Created.Before(f.Since)) &&
		(f.Until.IsZero() || row.Created.Before(f.Until)) &&
		(!f.Attention || !row.Attention.IsZero()) &&
		(!f.Reversed || row.Reversed != "") &&
		(f.Before == "" || row.ID < f.Before)
}

// list says what List should yield.
func list(f journal.Filter, rows []journal.Transaction) []journal.Transaction {
	var want []journal.Transaction
	for _, row := range rows {
		if selects(f, row) {
			want = append(want, row)
		}
	}
	slices.SortFunc(want, func(a, b journal.Transaction) int { return byID(b, a) })
	if f.Limit > 0 && len(want) > f.Limit {
		want = want[:f.Limit]
	}
	return want
}

// mixture returns transactions that differ in all that a filter asks for.
func mixture(n int) []journal.Transaction {
	rows := newTransactions(n)
	for i := range rows {
		row := &rows[i]
		row.Account = []string{account, "other"}[i%2]
		row.Merchant = []string{merchant, "kiosk", "payroll"}[i%3]
		row.Operation = []string{"bank/payout", "recharge/dorecharge"}[i/2%2]
		row.RequestID = fmt.Sprintf("R%04d", i/2) // in both accounts
		row.State = states[i%len(states)]
		if i%5 == 0 {
			row.ProviderID = fmt.Sprintf("P%04d", i/10)
		}
		if i%7 == 0 {
			row.Attention = start
		}
		if i%11 == 0 {
			row.Reversed = journal.Failed
		}
	}
	return rows
}

func testListFilters(t *testing.T, store journal.Store) {
	rows := mixture(250)
	insert(t, store, rows...)
	open := []journal.State{journal.Created, journal.Sent, journal.Pending, journal.Unknown}
	for _, f := range []journal.Filter{
		{},
		{Account: "other"},
		{Merchant: "kiosk"},
		{Operation: "recharge/dorecharge"},
		{RequestID: "R0007"},
		{RequestID: "R0007", Account: "other"},
		{ProviderID: "P0003"},
		{ProviderID: "P0003", Merchant: "payroll"},
		{States: []journal.State{journal.Failed}},
		{States: []journal.State{journal.Unknown}, Account: "other"},
		{States: open},
		{States: open[1:3], Limit: 7},
		{States: states},
		{States: []journal.State{"no such state"}},
		{Since: rows[200].Created},
		{Since: rows[200].Created.Add(time.Microsecond)},
		{Until: rows[50].Created},
		{Until: rows[50].Created.Add(time.Microsecond)},
		{Since: rows[50].Created, Until: rows[200].Created, Merchant: "kiosk"},
		{Since: rows[200].Created, Until: rows[50].Created},
		{Attention: true},
		{Attention: true, States: open},
		{Reversed: true},
		{Reversed: true, Attention: true},
		{Before: rows[100].ID},
		{Before: rows[100].ID, Limit: 3},
		{Before: rows[0].ID},
		{Limit: 1},
		{Limit: 249},
		{Limit: 1000},
		{Account: account, Merchant: merchant, Operation: "bank/payout", Limit: 5},
		{Account: "nobody's"},
	} {
		check(t, fmt.Sprintf("List(%+v)", f), collect(t, store.List(t.Context(), f)), list(f, rows))
	}
}

func testListPages(t *testing.T, store journal.Store) {
	rows := mixture(40)
	insert(t, store, rows...)
	filter := journal.Filter{Merchant: "kiosk", Limit: 4}
	var got []journal.Transaction
	for {
		page := collect(t, store.List(t.Context(), filter))
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		filter.Before = page[len(page)-1].ID
	}
	check(t, "all pages", got, list(journal.Filter{Merchant: "kiosk"}, rows))
}

// Who stops early, or reads and writes on in the loop, must not keep a
// connection from others.
func testListStops(t *testing.T, store journal.Store) {
	rows, first, second := history(t, store, 30)
	for range 30 {
		for row, err := range store.List(t.Context(), journal.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			check(t, "first of List", []journal.Transaction{row}, rows[len(rows)-1:])
			break
		}
		for event, err := range store.AllEvents(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			check(t, "first of AllEvents", []journal.Event{event}, first[:1])
			break
		}
		for last, err := range store.LastEvents(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			check(t, "first of LastEvents", []journal.Transaction{last.Transaction}, rows[:1])
			break
		}
	}
	n := len(rows)
	for row, err := range store.List(t.Context(), journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n--
		events, err := store.Events(t.Context(), row.ID)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "Events within List", events, []journal.Event{first[n], second[n]})
		if n == 7 {
			insert(t, store, NewTransaction(100))
		}
	}
	if n != 0 {
		t.Errorf("List left out %d rows", n)
	}
}
