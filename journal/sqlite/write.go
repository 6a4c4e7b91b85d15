package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// maxRecent bounds what is kept in memory: as many as may be under way at once.
const maxRecent = 4096

// together is how many rows one statement inserts, if there are so many.
const together = 8

// writer is the only connection that writes, with its statements. They are
// prepared once: a batch is mostly their work.
type writer struct {
	conn    *sql.Conn
	quiet   context.Context //nolint:containedctx // never ends
	queries []*sql.Stmt
	changes []driver.Stmt
	args    []driver.NamedValue // of the statement that runs
	values  []any               // the same; both are kept for their room
	broken  bool                // of no use any more

	// recent are rows as they were committed, which are likely to be asked for
	// next: what an exchange has inserted it settles soon. Nobody else writes.
	recent map[string]journal.Transaction

	lockByRequest, lockByID, readSpending  *sql.Stmt
	lockMessage, waitingLanes, messagesDue *sql.Stmt

	begin, commit, rollback                   statement
	insert, update, moveChain                 statement
	addEvents                                 [together]statement // of so many and one
	addSpending, addKey, setKey, addChain     statement
	addMessage, updateMessage, deleteMessages statement
	addNonce, deleteNonces                    statement
}

// statement changes rows. It is the driver's own: database/sql makes a dozen
// allocations for each time one runs, and a batch is hundreds of them.
type statement driver.StmtExecContext

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain("connecting to write", err)
	}
	w := &writer{conn: conn, quiet: context.WithoutCancel(ctx), recent: make(map[string]journal.Transaction)}
	if err := w.prepare(ctx); err != nil {
		w.discard()
		return nil, explain("preparing to write", err)
	}
	return w, nil
}

// discard closes the connection for good, with whatever is under way. With an
// open statement SQLite would keep it, and the log.
func (w *writer) discard() {
	for _, query := range w.queries {
		_ = query.Close() // says what the statement said last
	}
	_ = w.conn.Raw(func(any) error {
		for _, change := range w.changes {
			_ = change.Close() // the same
		}
		return driver.ErrBadConn // so that it is not used again; Raw returns it
	})
}

func (w *writer) prepare(ctx context.Context) error {
	for text, query := range map[string]**sql.Stmt{
		"SELECT " + transactionColumns + " FROM transactions WHERE request_id = ? AND account = ?": &w.lockByRequest,
		"SELECT " + transactionColumns + " FROM transactions WHERE id = ?":                         &w.lockByID,
		"SELECT amount FROM spending WHERE day = ? AND merchant = ?":                               &w.readSpending,
		"SELECT " + messageColumns + " FROM messages WHERE id = ?":                                 &w.lockMessage,
		waitingLanes: &w.waitingLanes,
		messagesDue:  &w.messagesDue,
	} {
		prepared, err := w.conn.PrepareContext(ctx, text) //nolint:sqlclosecheck // discard closes all
		if err != nil {
			return err //nolint:wrapcheck // newWriter explains it
		}
		*query = prepared
		w.queries = append(w.queries, prepared)
	}
	changes := map[string]*statement{
		"BEGIN IMMEDIATE": &w.begin,
		"COMMIT":          &w.commit,
		"ROLLBACK":        &w.rollback,

		"INSERT INTO transactions (" + transactionColumns + ") VALUES (" + placeholders(transactionColumns) +
			") ON CONFLICT (request_id, account) DO NOTHING": &w.insert,
		"UPDATE transactions SET (" + changingColumns + ") = (" + placeholders(changingColumns) + ") WHERE id = ?": &w.update,
		"UPDATE chains SET number = ?, mac = ?, sealing = ? WHERE id = ? AND number = ?":                           &w.moveChain,

		"INSERT INTO spending (day, merchant, amount) VALUES (?, ?, ?)" +
			" ON CONFLICT DO UPDATE SET amount = amount + excluded.amount": &w.addSpending,

		addMessage(): &w.addMessage,
		"UPDATE messages SET (" + messageChanging + ") = (" + placeholders(messageChanging) + ") WHERE id = ?":                         &w.updateMessage,
		"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE state <> 'waiting' AND updated < ? ORDER BY updated LIMIT ?)": &w.deleteMessages,

		addNonce:     &w.addNonce,
		deleteNonces: &w.deleteNonces,

		"INSERT INTO data_keys (" + keyColumns + ") VALUES (" + placeholders(keyColumns) + ") ON CONFLICT DO NOTHING":  &w.addKey,
		"UPDATE data_keys SET wrapped = ? WHERE id = ?":                                                                &w.setKey,
		"INSERT INTO chains (" + chainColumns + ") VALUES (" + placeholders(chainColumns) + ") ON CONFLICT DO NOTHING": &w.addChain,
	}
	for i := range w.addEvents {
		changes[addEvents(i+1)] = &w.addEvents[i]
	}
	return w.conn.Raw(func(conn any) error { //nolint:wrapcheck // newWriter explains it
		for text, change := range changes {
			prepared, err := conn.(driver.ConnPrepareContext).PrepareContext(ctx, text) //nolint:forcetypeassert // the driver's are
			if err != nil {
				return err //nolint:wrapcheck // the same
			}
			*change = prepared.(statement) //nolint:forcetypeassert // the same
			w.changes = append(w.changes, prepared)
		}
		return nil
	})
}

// addEvents is the statement that adds n of them.
func addEvents(n int) string {
	row := "(?, " + placeholders(eventColumns) + ")"
	return "INSERT INTO events (position, " + eventColumns + ") VALUES " + row + strings.Repeat(", "+row, n-1)
}

// change runs a statement, to its end: it takes microseconds. Not to watch a
// context while it runs saves a goroutine each time, and leaves no doubt whether
// it was done.
func (w *writer) change(change statement, values ...any) (changed int64, err error) {
	w.args = w.args[:0]
	for i, value := range values {
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: value})
	}
	err = w.conn.Raw(func(any) error {
		result, err := change.ExecContext(w.quiet, w.args)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err //nolint:wrapcheck // who calls explains it
	})
	return changed, err //nolint:wrapcheck // the same
}

// run runs a batch in a transaction, and reports how much it wrote, in pages or
// so.
func (w *writer) run(ctx context.Context, batch func(context.Context, journal.Tx) error) (written int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("beginning a batch: %w", err)
	}
	if _, err := w.change(w.begin); err != nil {
		w.broken = true
		return 0, explain("beginning a batch", err)
	}
	committed := false
	defer func() {
		if !committed {
			clear(w.recent)
			// After some errors SQLite has rolled back by itself, and says so.
			_, err := w.change(w.rollback)
			w.broken = err != nil
		}
	}()
	tx := &transaction{writer: w}
	if err := batch(ctx, tx); err != nil {
		return 0, err
	}
	if err := tx.ready(ctx, "committing a batch"); err != nil {
		return 0, err
	}
	if _, err := w.change(w.commit); err != nil {
		return 0, explain("committing a batch", err)
	}
	committed = true
	return tx.written, nil
}

// transaction is one that is under way.
type transaction struct {
	*writer
	written int
	// failed is the first error of a statement. SQLite may have rolled back by
	// itself then, and what followed would be written without a transaction.
	failed error
}

// exec runs a statement and reports how many rows it changed.
func (t *transaction) exec(ctx context.Context, doing string, change statement, values ...any) (int64, error) {
	if err := t.ready(ctx, doing); err != nil {
		return 0, err
	}
	n, err := t.change(change, values...)
	if err != nil {
		t.failed = explain(doing, err)
		return 0, t.failed
	}
	t.written += int(n)
	for _, value := range values {
		if bytes, ok := value.([]byte); ok {
			t.written += len(bytes) / pageSize
		}
	}
	return n, nil
}

// must is exec for what changes exactly so many rows.
func (t *transaction) must(ctx context.Context, doing string, rows int, change statement, values ...any) error {
	n, err := t.exec(ctx, doing, change, values...)
	if err == nil && n != int64(rows) {
		t.failed = fmt.Errorf("%s: it is not there, or not as expected", doing)
		return t.failed
	}
	return err
}

// ready refuses to go on after an error.
func (t *transaction) ready(ctx context.Context, doing string) error {
	if err := cmp.Or(t.failed, ctx.Err()); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// locked reads rows with a prepared statement. The transaction holds the only
// lock there is.
func locked[T any](
	ctx context.Context, t *transaction, scan func(*sql.Rows) (T, error), statement *sql.Stmt, args ...any,
) ([]T, error) {
	query := func(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
		return statement.QueryContext(ctx, args...)
	}
	return lockedBy(ctx, t, query, scan, "", args...)
}

// lockedBy reads rows with a query.
func lockedBy[T any](
	ctx context.Context, t *transaction, query func(context.Context, string, ...any) (*sql.Rows, error),
	scan func(*sql.Rows) (T, error), text string, args ...any,
) ([]T, error) {
	if err := t.ready(ctx, "reading what is locked"); err != nil {
		return nil, err
	}
	all, err := read(context.WithoutCancel(ctx), reader{query: query}, scan, text, args...)
	if err != nil {
		t.failed = err
	}
	return all, err
}

func (t *transaction) LockByRequest(ctx context.Context, keys []journal.RequestKey) (all []journal.Transaction, err error) {
	for _, key := range keys {
		found, err := locked(ctx, t, scanTransaction, t.lockByRequest, key.RequestID, key.Account)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b journal.Transaction) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.RequestID, b.RequestID))
	})
	return all, nil
}

func (t *transaction) LockByID(ctx context.Context, ids []string) ([]journal.Transaction, error) {
	all := make([]journal.Transaction, 0, len(ids))
	for _, id := range slices.Sorted(slices.Values(ids)) {
		if row, ok := t.recent[id]; ok {
			all = append(all, row)
			continue
		}
		found, err := locked(ctx, t, scanTransaction, t.lockByID, id)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (t *transaction) LockDue(
	ctx context.Context, accounts []string, now time.Time, limit int,
) ([]journal.Transaction, error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	args := []any{micros(now)}
	for _, account := range accounts {
		args = append(args, account)
	}
	return lockedBy(ctx, t, t.conn.QueryContext, scanTransaction, "SELECT "+transactionColumns+
		" FROM transactions WHERE next_check <> 0 AND next_check <= ? AND account IN ("+list(len(accounts))+
		") ORDER BY next_check LIMIT ?", append(args, limit)...)
}

func (t *transaction) Insert(ctx context.Context, rows []journal.Transaction) (added []string, err error) {
	for i := range rows {
		t.values = transactionValues(t.values[:0], &rows[i])
		n, err := t.exec(ctx, "inserting a transaction", t.insert, t.values...)
		if err != nil {
			return nil, err
		}
		if n == 1 {
			added = append(added, rows[i].ID)
			t.keep(rows[i])
		}
	}
	return added, nil
}

// keep keeps a row in memory until it changes.
func (t *transaction) keep(row journal.Transaction) {
	if len(t.recent) >= maxRecent { // most were not settled: who asks for one reads it
		clear(t.recent)
	}
	t.recent[row.ID] = row
}

func (t *transaction) Update(ctx context.Context, rows []journal.Transaction) error {
	for i := range rows {
		delete(t.recent, rows[i].ID)
		t.values = append(changingValues(t.values[:0], &rows[i]), rows[i].ID)
		if err := t.must(ctx, "updating a transaction", 1, t.update, t.values...); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) Append(ctx context.Context, events []journal.Event, before int64, next journal.Chain) error {
	err := t.must(ctx, "moving the head of a chain", 1, t.moveChain,
		next.Number, blob(next.MAC), blob(next.Sealing), next.ID, before)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(events, together) {
		t.values = t.values[:0]
		for i := range some {
			t.values = eventValues(append(t.values, some[i].Chain<<40|some[i].Number), &some[i])
		}
		if err := t.must(ctx, "appending events", len(some), t.addEvents[len(some)-1], t.values...); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) LockSpending(ctx context.Context, keys []journal.Spending) (all []journal.Spending, err error) {
	for _, key := range keys {
		found, err := locked(ctx, t, scanValue[int64], t.readSpending, key.Day, key.Merchant)
		if err != nil {
			return nil, err
		}
		key.Amount = 0
		if len(found) > 0 {
			key.Amount = nowpay.Paise(found[0])
		}
		all = append(all, key)
	}
	return all, nil
}

func (t *transaction) AddSpending(ctx context.Context, amounts []journal.Spending) error {
	for _, s := range amounts {
		if _, err := t.exec(ctx, "adding what is spent", t.addSpending, int64(s.Day), s.Merchant, int64(s.Amount)); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) AddKey(ctx context.Context, key journal.DataKey) (added bool, err error) {
	n, err := t.exec(ctx, "adding a key", t.addKey, keyValues(&key)...)
	return n == 1, err
}

func (t *transaction) SetKey(ctx context.Context, key journal.DataKey) error {
	return t.must(ctx, "replacing a key", 1, t.setKey, blob(key.Wrapped), key.ID)
}

func (t *transaction) AddChain(ctx context.Context, chain journal.Chain) (added bool, err error) {
	n, err := t.exec(ctx, "adding a chain", t.addChain, chainValues(&chain)...)
	return n == 1, err
}

var _ journal.Tx = (*transaction)(nil)
