package sqlite

import (
	"context"
	"database/sql"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// page is how many rows are read at once. What is read is handed out when the
// query is over: who takes the rows slowly keeps neither a connection nor an old
// state of the file, which could not be checkpointed meanwhile.
const page = 100

// reader reads, from the current state or from a snapshot.
type reader struct {
	query func(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// read returns all rows of a query.
func read[T any](
	ctx context.Context, r reader, scan func(*sql.Rows) (T, error), query string, args ...any,
) (all []T, err error) {
	rows, err := r.query(ctx, query, args...)
	if err != nil {
		return nil, explain("reading the journal", err)
	}
	defer rows.Close()
	for rows.Next() {
		value, err := scan(rows)
		if err != nil {
			return nil, explain("reading a row of the journal", err)
		}
		all = append(all, value)
	}
	return all, explain("reading the journal", rows.Err())
}

// one returns the only row of a query.
func one[T any](
	ctx context.Context, r reader, scan func(*sql.Rows) (T, error), query string, args ...any,
) (value T, err error) {
	all, err := read(ctx, r, scan, query, args...)
	switch {
	case err != nil:
		return value, err
	case len(all) == 0:
		return value, journal.ErrNotFound
	default:
		return all[0], nil
	}
}

// pages yields what next returns, which is given the last value before, until
// there is less than a page.
func pages[T any](next func(last *T) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var last *T
		for {
			values, err := next(last)
			for i := range values {
				if !yield(values[i], nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
			}
			if err != nil || len(values) < page {
				return
			}
			last = &values[len(values)-1]
		}
	}
}

func (r reader) ByID(ctx context.Context, id string) (journal.Transaction, error) {
	return one(ctx, r, scanTransaction, "SELECT "+transactionColumns+" FROM transactions WHERE id = ?", id)
}

func (r reader) ByRequest(ctx context.Context, key journal.RequestKey) (journal.Transaction, error) {
	return one(ctx, r, scanTransaction, "SELECT "+transactionColumns+
		" FROM transactions WHERE request_id = ? AND account = ?", key.RequestID, key.Account)
}

func (r reader) Events(ctx context.Context, transaction string) ([]journal.Event, error) {
	return read(ctx, r, scanEvent, "SELECT "+eventColumns+
		" FROM events WHERE transaction_id = ? ORDER BY seq", transaction)
}

func (r reader) NewestEvents(ctx context.Context, transaction string, limit int) ([]journal.Event, error) {
	events, err := read(ctx, r, scanEvent, "SELECT "+eventColumns+
		" FROM events WHERE transaction_id = ? ORDER BY seq DESC LIMIT ?", transaction, limit)
	slices.Reverse(events)
	return events, err
}

func (r reader) AllEvents(ctx context.Context, chain int64) iter.Seq2[journal.Event, error] {
	return pages(func(last *journal.Event) ([]journal.Event, error) {
		if last == nil { // whatever number somebody gave to an event
			return read(ctx, r, scanEvent, "SELECT "+eventColumns+
				" FROM events WHERE position >= ?1 << 40 AND position < (?1 + 1) << 40 ORDER BY position LIMIT ?2", chain, page)
		}
		return read(ctx, r, scanEvent, "SELECT "+eventColumns+
			" FROM events WHERE position > (?1 << 40 | ?2) AND position < (?1 + 1) << 40 ORDER BY position LIMIT ?3", chain, last.Number, page)
	})
}

func (r reader) CountEvents(ctx context.Context) (int, error) {
	return one(ctx, r, scanValue[int], "SELECT count(*) FROM events")
}

func (r reader) LastEvents(ctx context.Context) iter.Seq2[journal.LastEvent, error] {
	return pages(func(last *journal.LastEvent) ([]journal.LastEvent, error) {
		from, than := "", ">="
		if last != nil {
			from, than = last.Transaction.ID, ">"
		}
		return read(ctx, r, scanLastEvent, "SELECT "+transactionColumns+", "+lastEventColumns+
			", (SELECT count(*) FROM events AS e WHERE e.transaction_id = id)"+
			" FROM transactions LEFT JOIN events ON transaction_id = id AND seq = version"+
			" WHERE id "+than+" ? ORDER BY id LIMIT ?", from, page)
	})
}

func scanLastEvent(rows *sql.Rows) (l journal.LastEvent, err error) {
	err = rows.Scan(slices.Concat(transactionFields(&l.Transaction), eventFields(&l.Event), []any{&l.Events})...)
	return l, err
}

func (r reader) Orphans(ctx context.Context) iter.Seq2[string, error] {
	return pages(func(last *string) ([]string, error) {
		from, than := "", ">="
		if last != nil {
			from, than = *last, ">"
		}
		return read(ctx, r, scanValue[string], "SELECT DISTINCT transaction_id FROM events"+
			" WHERE transaction_id "+than+" ? AND NOT EXISTS (SELECT 1 FROM transactions WHERE id = transaction_id)"+
			" ORDER BY transaction_id LIMIT ?", from, page)
	})
}

func (r reader) Keys(ctx context.Context) ([]journal.DataKey, error) {
	return read(ctx, r, scanKey, "SELECT "+keyColumns+" FROM data_keys ORDER BY id")
}

func (r reader) Chains(ctx context.Context) ([]journal.Chain, error) {
	return read(ctx, r, scanChain, "SELECT "+chainColumns+" FROM chains ORDER BY id")
}

func (r reader) Chain(ctx context.Context, id int64) (journal.Chain, error) {
	return one(ctx, r, scanChain, "SELECT "+chainColumns+" FROM chains WHERE id = ?", id)
}

// isOpen is a condition of the index of watched transactions, to the letter: else
// the index is not used.
const isOpen = "(state = 'created' OR state = 'sent' OR state = 'pending' OR state = 'unknown')"

func (r reader) Stats(ctx context.Context) (journal.Stats, error) {
	type row struct {
		state  journal.State // "": those that need a person
		count  int
		oldest time.Time
	}
	rows, err := read(ctx, r, func(rows *sql.Rows) (v row, err error) {
		err = rows.Scan(&v.state, &v.count, at(&v.oldest))
		return v, err
	}, "SELECT state, count(*), min(created) FROM transactions WHERE "+isOpen+" GROUP BY state"+
		" UNION ALL SELECT '', count(*), 0 FROM transactions WHERE attention <> 0")
	if err != nil {
		return journal.Stats{}, err
	}
	stats := journal.Stats{Open: map[journal.State]int{}}
	for _, v := range rows {
		if v.state == "" {
			stats.Attention = v.count
			continue
		}
		stats.Open[v.state] = v.count
		if stats.Oldest.IsZero() || v.oldest.Before(stats.Oldest) {
			stats.Oldest = v.oldest
		}
	}
	return stats, nil
}

func (r reader) Spent(ctx context.Context, merchant string, day int) (journal.Spending, error) {
	spent := journal.Spending{Merchant: merchant, Day: day}
	amount, err := one(ctx, r, scanValue[int64],
		"SELECT coalesce((SELECT amount FROM spending WHERE day = ?1 AND merchant = ?2), 0)", day, merchant)
	spent.Amount = nowpay.Paise(amount)
	return spent, err
}

func (r reader) Spending(ctx context.Context) iter.Seq2[journal.Spending, error] {
	return pages(func(last *journal.Spending) ([]journal.Spending, error) {
		from, than := journal.Spending{Day: math.MinInt}, ">="
		if last != nil {
			from, than = *last, ">"
		}
		return read(ctx, r, func(rows *sql.Rows) (s journal.Spending, err error) {
			err = rows.Scan(&s.Merchant, &s.Day, &s.Amount)
			return s, err
		}, "SELECT merchant, day, amount FROM spending WHERE (merchant, day) "+than+" (?, ?)"+
			" ORDER BY merchant, day LIMIT ?", from.Merchant, from.Day, page)
	})
}

var _ journal.Reader = reader{}
