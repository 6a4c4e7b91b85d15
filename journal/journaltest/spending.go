package journaltest

import (
	"cmp"
	"context"
	"slices"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// spending are the tests of what merchants spend.
var spending = []test{
	{name: "SpendingStates", run: testSpendingStates},
	{name: "SpendingKeys", run: testSpendingKeys},
	{name: "SpendingAdds", run: testSpendingAdds},
	{name: "SpendingRollsBack", run: testSpendingRollsBack},
}

// lockSpending locks and returns what the merchants spend, in order.
func lockSpending(t tb, store journal.Store, keys ...journal.Spending) (spent []journal.Spending) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) (err error) {
		spent, err = tx.LockSpending(ctx, keys)
		return err
	})
	sortSpending(spent)
	return spent
}

func sortSpending(spent []journal.Spending) {
	slices.SortFunc(spent, func(a, b journal.Spending) int {
		return cmp.Or(cmp.Compare(a.Merchant, b.Merchant), cmp.Compare(a.Day, b.Day))
	})
}

// checkSpent asks without locking.
func checkSpent(t tb, store journal.Store, name string, day int, want nowpay.Paise) {
	t.Helper()
	got, err := store.Spent(t.Context(), name, day)
	checkOne(t, "Spent", got, err, journal.Spending{Merchant: name, Day: day, Amount: want})
}

// Each amount has a digit of its own: a sum tells which were counted.
func testSpendingStates(t *testing.T, store journal.Store) {
	rows := newTransactions(len(states))
	want, unit := nowpay.Paise(0), nowpay.Paise(1)
	for i, state := range states {
		rows[i].State, rows[i].Amount = state, unit
		if state.Spends() {
			want += unit
		}
		unit *= 10
	}
	insert(t, store, rows...)
	checkSpent(t, store, merchant, today, want)
	check(t, "LockSpending", lockSpending(t, store, journal.Spending{Merchant: merchant, Day: today}),
		[]journal.Spending{{Merchant: merchant, Day: today, Amount: want}})
	checkSpent(t, store, merchant, today, want)
}

func testSpendingKeys(t *testing.T, store journal.Store) {
	rows := newTransactions(4)
	for i, amount := range []nowpay.Paise{1, 10, 100, 1000} {
		rows[i].Amount = amount
	}
	rows[1].Day = today + 1
	rows[2].Merchant = "kiosk"
	rows[3].Account = "other" // spending is the merchant's, whatever the account
	insert(t, store, rows...)
	want := []journal.Spending{
		{Merchant: "kiosk", Day: today, Amount: 100},
		{Merchant: "nobody", Day: today},
		{Merchant: merchant, Day: today, Amount: 1001},
		{Merchant: merchant, Day: today + 1, Amount: 10},
	}
	keys := slices.Clone(want)
	for i := range keys {
		keys[i].Amount = 5 // is not read
	}
	slices.Reverse(keys)
	check(t, "LockSpending", lockSpending(t, store, keys...), want)
	for _, w := range want {
		checkSpent(t, store, w.Merchant, w.Day, w.Amount)
	}
	checkSpent(t, store, "nobody else", today, 0)
}

func testSpendingAdds(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	row.Amount = 500
	insert(t, store, row)
	key := journal.Spending{Merchant: merchant, Day: today}
	lockSpending(t, store, key)

	// What is there is not summed up again: who changes rows adds the difference.
	insert(t, store, NewTransaction(2))
	check(t, "after an insert", lockSpending(t, store, key),
		[]journal.Spending{{Merchant: merchant, Day: today, Amount: 500}})

	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if err := tx.AddSpending(ctx, []journal.Spending{
			{Merchant: merchant, Day: today, Amount: 70},
			{Merchant: "kiosk", Day: today, Amount: 70}, // has no sum yet
		}); err != nil {
			return err
		}
		got, err := tx.LockSpending(ctx, []journal.Spending{key})
		check(t, "within the batch", got, []journal.Spending{{Merchant: merchant, Day: today, Amount: 570}})
		return err
	})
	checkSpent(t, store, merchant, today, 570)
	checkSpent(t, store, "kiosk", today, 0)

	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.AddSpending(ctx, []journal.Spending{{Merchant: merchant, Day: today, Amount: -600}})
	})
	checkSpent(t, store, merchant, today, -30)
}

// A sum that is added first sees the rows of its own batch.
func testSpendingRollsBack(t *testing.T, store journal.Store) {
	row := NewTransaction(1)
	key := journal.Spending{Merchant: merchant, Day: today}
	want := []journal.Spending{{Merchant: merchant, Day: today, Amount: row.Amount}}
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
			return err
		}
		got, err := tx.LockSpending(ctx, []journal.Spending{key})
		check(t, "within the batch", got, want)
		if err != nil {
			return err
		}
		return errRefused
	})
	checkError(t, "Write", err, errRefused)
	check(t, "after a rollback", lockSpending(t, store, key),
		[]journal.Spending{{Merchant: merchant, Day: today}})
}
