package postgres

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// LockSpending implements [journal.Tx].
func (t *tx) LockSpending(ctx context.Context, keys []journal.Spending) ([]journal.Spending, error) {
	if len(keys) == 0 {
		return nil, t.err
	}
	keys = slices.SortedFunc(slices.Values(keys), func(a, b journal.Spending) int {
		return cmp.Or(cmp.Compare(a.Merchant, b.Merchant), cmp.Compare(a.Day, b.Day))
	})
	merchants, days := spendingKeys(keys)
	t.waiting.Queue(`INSERT INTO spending (merchant, day, amount)
		SELECT k.merchant, k.day, 0 FROM unnest($1::TEXT[], $2::BIGINT[]) WITH ORDINALITY AS k (merchant, day, n)
		WHERE NOT EXISTS (SELECT 1 FROM spending AS s WHERE s.merchant = k.merchant AND s.day = k.day)
		ORDER BY n ON CONFLICT (merchant, day) DO NOTHING`, merchants, days)
	// A statement of its own: it sees what others committed while the one above
	// waited for them.
	return query(ctx, t, scanSpending, `SELECT s.merchant, s.day, s.amount
		FROM spending AS s JOIN unnest($1::TEXT[], $2::BIGINT[]) WITH ORDINALITY AS k (merchant, day, n)
			ON s.merchant = k.merchant AND s.day = k.day
		ORDER BY n FOR UPDATE OF s`, merchants, days)
}

// AddSpending implements [journal.Tx].
func (t *tx) AddSpending(_ context.Context, amounts []journal.Spending) error {
	if len(amounts) > 0 {
		merchants, days := spendingKeys(amounts)
		// Summed up, as a row can be changed only once by a statement, and in
		// order, so that gateways wait for each other rather than deadlock.
		t.waiting.Queue(`INSERT INTO spending (merchant, day, amount)
			SELECT merchant, day, CAST(SUM(amount) AS BIGINT)
			FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[]) AS u (merchant, day, amount)
			GROUP BY merchant, day ORDER BY merchant, day
			ON CONFLICT (merchant, day) DO UPDATE SET amount = spending.amount + excluded.amount`,
			merchants, days, array(amounts, func(s *journal.Spending) int64 { return int64(s.Amount) }))
	}
	return t.err
}

func spendingKeys(keys []journal.Spending) (merchants []string, days []int64) {
	return array(keys, func(s *journal.Spending) string { return s.Merchant }),
		array(keys, func(s *journal.Spending) int64 { return int64(s.Day) })
}

// Spent implements [journal.Reader].
func (r reader) Spent(ctx context.Context, merchant string, day int) (journal.Spending, error) {
	return one(ctx, r, scanSpending, `SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST(COALESCE(
		(SELECT amount FROM spending WHERE merchant = $1 AND day = $2), 0) AS BIGINT)`, merchant, day)
}

// Spending implements [journal.Reader].
func (r reader) Spending(ctx context.Context) iter.Seq2[journal.Spending, error] {
	return pages(func(last *journal.Spending, _ int) ([]journal.Spending, error) {
		from, than := journal.Spending{Day: math.MinInt}, ">="
		if last != nil {
			from, than = *last, ">"
		}
		return all(ctx, r, scanSpending, `SELECT merchant, day, amount FROM spending
			WHERE (merchant, day) `+than+` ($1, $2) ORDER BY merchant, day LIMIT $3`,
			from.Merchant, from.Day, pageSize)
	})
}
