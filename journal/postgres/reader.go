package postgres

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// pageSize is how many rows are read at once. Nothing is held while the caller
// works on them: neither a connection nor a cursor.
const pageSize = 100

// openStates are those that a partial index holds; a query must repeat it to the
// letter to use it.
const openStates = `state IN ('created', 'sent', 'pending', 'unknown')`

// reader reads from a pool, or from a snapshot.
type reader struct{ db database }

type database interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// all returns the rows of a query.
func all[T any](ctx context.Context, r reader, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := r.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, failure("reading from PostgreSQL", err)
	}
	got, err := pgx.CollectRows(rows, scan)
	return got, failure("reading from PostgreSQL", err)
}

// one returns the row of a query, or [journal.ErrNotFound].
func one[T any](ctx context.Context, r reader, scan pgx.RowToFunc[T], sql string, args ...any) (got T, err error) {
	rows, err := all(ctx, r, scan, sql, args...)
	if err != nil {
		return got, err
	}
	if len(rows) == 0 {
		return got, journal.ErrNotFound
	}
	return rows[0], nil
}

// pages yields the rows of one page after the other, until one is not full. Given
// the last row so far (nil at first) and how many there were, next returns those
// behind it.
func pages[T any](next func(last *T, read int) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		last, read := (*T)(nil), 0
		for {
			page, err := next(last, read)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for i := range page {
				if !yield(page[i], nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			last = &page[len(page)-1]
			read += len(page)
		}
	}
}

// ByID implements [journal.Reader].
func (r reader) ByID(ctx context.Context, id string) (journal.Transaction, error) {
	return one(ctx, r, scanTransaction, `SELECT `+transactionColumns+` FROM transactions WHERE id = $1`, id)
}

// ByRequest implements [journal.Reader].
func (r reader) ByRequest(ctx context.Context, key journal.RequestKey) (journal.Transaction, error) {
	return one(ctx, r, scanTransaction, `SELECT `+transactionColumns+` FROM transactions
		WHERE request_id = $1 AND account = $2`, key.RequestID, key.Account)
}

// List implements [journal.Reader].
func (r reader) List(ctx context.Context, filter journal.Filter) iter.Seq2[journal.Transaction, error] {
	return pages(func(last *journal.Transaction, read int) ([]journal.Transaction, error) {
		f, limit := filter, pageSize
		if last != nil {
			f.Before = last.ID
		}
		if f.Limit > 0 {
			limit = min(limit, f.Limit-read)
		}
		if limit == 0 {
			return nil, nil
		}
		where, args := conditions(f)
		return all(ctx, r, scanTransaction, fmt.Sprintf(`SELECT %s FROM transactions %s ORDER BY id DESC LIMIT %d`,
			transactionColumns, where, limit), args...)
	})
}

// conditions are those of a filter, without its limit.
func conditions(f journal.Filter) (where string, args []any) {
	var terms []string
	add := func(term string, arg any) {
		args = append(args, arg)
		terms = append(terms, fmt.Sprintf(term, len(args)))
	}
	for _, field := range []struct{ term, value string }{
		{"account = $%d", f.Account},
		{"merchant = $%d", f.Merchant},
		{"operation = $%d", f.Operation},
		{"request_id = $%d", f.RequestID},
		{"provider_id = $%d AND provider_id <> ''", f.ProviderID}, // as its index says
		{"id < $%d", f.Before},
	} {
		if field.value != "" {
			add(field.term, field.value)
		}
	}
	if len(f.States) > 0 {
		add("state = ANY ($%d::TEXT[])", array(f.States, func(s *journal.State) string { return string(*s) }))
		if !slices.ContainsFunc(f.States, func(s journal.State) bool { return s.Final() }) {
			terms = append(terms, openStates)
		}
	}
	if !f.Since.IsZero() {
		add("created >= $%d", micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("created < $%d", micros(f.Until))
	}
	if f.Attention {
		terms = append(terms, "attention <> 0")
	}
	if f.Reversed {
		terms = append(terms, "reversed <> ''")
	}
	if len(terms) == 0 {
		return "", nil
	}
	return "WHERE " + strings.Join(terms, " AND "), args
}

// Events implements [journal.Reader].
func (r reader) Events(ctx context.Context, transaction string) ([]journal.Event, error) {
	return all(ctx, r, scanEvent, `SELECT `+eventColumns+` FROM events WHERE transaction_id = $1 ORDER BY seq`,
		transaction)
}

// NewestEvents implements [journal.Reader].
func (r reader) NewestEvents(ctx context.Context, transaction string, limit int) ([]journal.Event, error) {
	events, err := all(ctx, r, scanEvent, `SELECT `+eventColumns+` FROM events WHERE transaction_id = $1
		ORDER BY seq DESC LIMIT $2`, transaction, limit)
	slices.Reverse(events)
	return events, err
}

// AllEvents implements [journal.Reader].
func (r reader) AllEvents(ctx context.Context, chain int64) iter.Seq2[journal.Event, error] {
	return pages(func(last *journal.Event, _ int) ([]journal.Event, error) {
		from := int64(math.MinInt64) // whatever number somebody gave to an event
		if last != nil {
			from = last.Number + 1
		}
		return all(ctx, r, scanEvent, `SELECT `+eventColumns+` FROM events
			WHERE chain = $1 AND number >= $2 ORDER BY number LIMIT $3`, chain, from, pageSize)
	})
}

// CountEvents implements [journal.Reader].
func (r reader) CountEvents(ctx context.Context) (int, error) {
	return one(ctx, r, pgx.RowTo[int], `SELECT COUNT(*) FROM events`)
}

// LastEvents implements [journal.Reader].
func (r reader) LastEvents(ctx context.Context) iter.Seq2[journal.LastEvent, error] {
	return pages(func(last *journal.LastEvent, _ int) ([]journal.LastEvent, error) {
		from, than := "", ">="
		if last != nil {
			from, than = last.Transaction.ID, ">"
		}
		return all(ctx, r, scanLastEvent, `SELECT `+transactionColumns+`,
				COALESCE(chain, 0), COALESCE(number, 0), COALESCE(transaction_id, ''), COALESCE(seq, 0),
				COALESCE(at, 0), COALESCE(kind, ''), COALESCE(cause, ''), COALESCE(actor, ''),
				COALESCE(reason, ''), COALESCE(evidence, ''), COALESCE(row_digest, ''), COALESCE(mac, ''),
				(SELECT COUNT(*) FROM events AS e WHERE e.transaction_id = id)
			FROM transactions LEFT JOIN events ON transaction_id = id AND seq = version
			WHERE id `+than+` $1 ORDER BY id LIMIT $2`, from, pageSize)
	})
}

func scanLastEvent(row pgx.CollectableRow) (l journal.LastEvent, err error) {
	err = row.Scan(slices.Concat(transactionFields(&l.Transaction), eventFields(&l.Event), []any{&l.Events})...)
	return l, err
}

// Orphans implements [journal.Reader].
func (r reader) Orphans(ctx context.Context) iter.Seq2[string, error] {
	return pages(func(last *string, _ int) ([]string, error) {
		from, than := "", ">="
		if last != nil {
			from, than = *last, ">"
		}
		return all(ctx, r, pgx.RowTo[string], `SELECT DISTINCT transaction_id FROM events
			WHERE transaction_id `+than+` $1 AND NOT EXISTS (SELECT 1 FROM transactions WHERE id = transaction_id)
			ORDER BY transaction_id LIMIT $2`, from, pageSize)
	})
}

// Keys implements [journal.Reader].
func (r reader) Keys(ctx context.Context) ([]journal.DataKey, error) {
	return all(ctx, r, scanKey, `SELECT `+keyColumns+` FROM data_keys ORDER BY id`)
}

// Chains implements [journal.Reader].
func (r reader) Chains(ctx context.Context) ([]journal.Chain, error) {
	return all(ctx, r, scanChain, `SELECT `+chainColumns+` FROM chains ORDER BY id`)
}

// Chain implements [journal.Reader].
func (r reader) Chain(ctx context.Context, id int64) (journal.Chain, error) {
	return one(ctx, r, scanChain, `SELECT `+chainColumns+` FROM chains WHERE id = $1`, id)
}

// Stats implements [journal.Reader].
func (r reader) Stats(ctx context.Context) (journal.Stats, error) {
	type count struct {
		state  string // "" for those that need a person
		n      int
		oldest time.Time
	}
	counts, err := all(ctx, r, func(row pgx.CollectableRow) (c count, err error) {
		err = row.Scan(&c.state, &c.n, at(&c.oldest))
		return c, err
	}, `SELECT state, COUNT(*), MIN(created) FROM transactions WHERE `+openStates+` GROUP BY state
		UNION ALL SELECT '', COUNT(*), 0 FROM transactions WHERE attention <> 0`)
	if err != nil {
		return journal.Stats{}, err
	}
	stats := journal.Stats{Open: map[journal.State]int{}}
	for _, c := range counts {
		if c.state == "" {
			stats.Attention = c.n
			continue
		}
		stats.Open[journal.State(c.state)] = c.n
		if stats.Oldest.IsZero() || c.oldest.Before(stats.Oldest) {
			stats.Oldest = c.oldest
		}
	}
	return stats, nil
}

// Interface guard.
var _ journal.Reader = reader{}
