package journaltest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// spending are the tests of what merchants spend.
var spending = []test{
	{name: "SpendingKeys", run: testSpendingKeys},
	{name: "SpendingAdds", run: testSpendingAdds},
	{name: "SpendingRollsBack", run: testSpendingRollsBack},
	{name: "SpendingOfAll", run: testSpendingOfAll},
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

func testSpendingKeys(t *testing.T, store journal.Store) {
	want := []journal.Spending{
		{Merchant: "kiosk", Day: today, Amount: 100},
		{Merchant: "nobody", Day: today},
		{Merchant: merchant, Day: today, Amount: 1001},
		{Merchant: merchant, Day: today + 1, Amount: 10},
	}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.AddSpending(ctx, []journal.Spending{want[0], want[2], want[3]})
	})
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
	insert(t, store, NewTransaction(1)) // who writes rows adds what they spend
	key := journal.Spending{Merchant: merchant, Day: today}
	check(t, "LockSpending", lockSpending(t, store, key), []journal.Spending{key})

	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if err := tx.AddSpending(ctx, []journal.Spending{
			{Merchant: merchant, Day: today, Amount: 570},
			{Merchant: "kiosk", Day: today, Amount: 70},
		}); err != nil {
			return err
		}
		got, err := tx.LockSpending(ctx, []journal.Spending{key})
		check(t, "within the batch", got, []journal.Spending{{Merchant: merchant, Day: today, Amount: 570}})
		return err
	})
	checkSpent(t, store, merchant, today, 570)
	checkSpent(t, store, "kiosk", today, 70)

	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		return tx.AddSpending(ctx, []journal.Spending{{Merchant: merchant, Day: today, Amount: -600}})
	})
	checkSpent(t, store, merchant, today, -30)
}

func testSpendingRollsBack(t *testing.T, store journal.Store) {
	key := journal.Spending{Merchant: merchant, Day: today, Amount: 500}
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if err := tx.AddSpending(ctx, []journal.Spending{key}); err != nil {
			return err
		}
		got, err := tx.LockSpending(ctx, []journal.Spending{key})
		check(t, "within the batch", got, []journal.Spending{key})
		if err != nil {
			return err
		}
		return errRefused
	})
	checkError(t, "Write", err, errRefused)
	check(t, "after a rollback", lockSpending(t, store, key),
		[]journal.Spending{{Merchant: merchant, Day: today}})
}

func testSpendingOfAll(t *testing.T, store journal.Store) {
	check(t, "Spending of nobody", collect(t, store.Spending(t.Context())), nil)
	want := []journal.Spending{{Amount: 7}, {Day: -1, Amount: 8}} // of nobody, and on no day
	for i := range 250 {
		want = append(want, journal.Spending{
			Merchant: fmt.Sprintf("shop%d", i%10), Day: today + i/10, Amount: nowpay.Paise(i - 100),
		})
	}
	write(t, store, func(ctx context.Context, tx journal.Tx) error { return tx.AddSpending(ctx, want) })
	got := collect(t, store.Spending(t.Context()))
	sortSpending(got)
	sortSpending(want)
	check(t, "Spending", got, want)
}
