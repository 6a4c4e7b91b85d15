package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// maxRecent bounds what is kept in memory: as many as may be under way at once.
const maxRecent = 4096

// writer is the only connection that writes, with its statements. They are
// prepared once: a batch is mostly their work.
type writer struct {
	conn   *sql.Conn
	all    []*sql.Stmt
	broken bool // of no use any more

	// recent are rows as they were committed, which are likely to be asked for
	// next: what an exchange has inserted it settles soon. Nobody else writes.
	recent map[string]journal.Transaction

	begin, commit, rollback                 *sql.Stmt
	lockByRequest, lockByID, insert, update *sql.Stmt
	moveChain, addEvent                     *sql.Stmt
	readSpending, addSpending               *sql.Stmt
	addKey, setKey, addChain                *sql.Stmt
	addMessage, lockMessage, updateMessage  *sql.Stmt
	deleteMessages                          *sql.Stmt
	waitingLanes, messagesDue               *sql.Stmt
	addNonce, deleteNonces                  *sql.Stmt
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain("connecting to write", err)
	}
	w := &writer{conn: conn, recent: make(map[string]journal.Transaction)}
	if err := w.prepare(ctx); err != nil {
		w.discard()
		return nil, err
	}
	return w, nil
}

// discard closes the connection for good, with whatever is under way. With an
// open statement SQLite would keep it, and the log.
func (w *writer) discard() {
	for _, statement := range w.all {
		_ = statement.Close() // says what the statement said last
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn }) // which it returns
}

func (w *writer) prepare(ctx context.Context) error {
	for query, statement := range map[string]**sql.Stmt{
		"BEGIN IMMEDIATE": &w.begin,
		"COMMIT":          &w.commit,
		"ROLLBACK":        &w.rollback,

		"SELECT " + transactionColumns + " FROM transactions WHERE request_id = ? AND account = ?": &w.lockByRequest,
		"SELECT " + transactionColumns + " FROM transactions WHERE id = ?":                         &w.lockByID,
		"INSERT INTO transactions (" + transactionColumns + ") VALUES (" + placeholders(transactionColumns) +
			") ON CONFLICT (request_id, account) DO NOTHING": &w.insert,
		"UPDATE transactions SET (" + changingColumns + ") = (" + placeholders(changingColumns) + ") WHERE id = ?": &w.update,

		"UPDATE chains SET number = ?, mac = ?, sealing = ? WHERE id = ? AND number = ?":                             &w.moveChain,
		"INSERT INTO events (position, " + eventColumns + ") VALUES (?1 << 40 | ?2, " + numbered(eventColumns) + ")": &w.addEvent,

		"SELECT amount FROM spending WHERE day = ? AND merchant = ?": &w.readSpending,
		"INSERT INTO spending (day, merchant, amount) VALUES (?, ?, ?)" +
			" ON CONFLICT DO UPDATE SET amount = amount + excluded.amount": &w.addSpending,

		addMessage(): &w.addMessage,
		waitingLanes: &w.waitingLanes,
		messagesDue:  &w.messagesDue,
		"SELECT " + messageColumns + " FROM messages WHERE id = ?":                                                                     &w.lockMessage,
		"UPDATE messages SET (" + messageChanging + ") = (" + placeholders(messageChanging) + ") WHERE id = ?":                         &w.updateMessage,
		"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE state <> 'waiting' AND updated < ? ORDER BY updated LIMIT ?)": &w.deleteMessages,

		addNonce:     &w.addNonce,
		deleteNonces: &w.deleteNonces,

		"INSERT INTO data_keys (" + keyColumns + ") VALUES (" + placeholders(keyColumns) + ") ON CONFLICT DO NOTHING":  &w.addKey,
		"UPDATE data_keys SET wrapped = ? WHERE id = ?":                                                                &w.setKey,
		"INSERT INTO chains (" + chainColumns + ") VALUES (" + placeholders(chainColumns) + ") ON CONFLICT DO NOTHING": &w.addChain,
	} {
		prepared, err := w.conn.PrepareContext(ctx, query) //nolint:sqlclosecheck // discard closes all
		if err != nil {
			return explain("preparing to write", err)
		}
		*statement = prepared
		w.all = append(w.all, prepared)
	}
	return nil
}

// run runs a batch in a transaction, and reports how much it wrote, in pages or
// so.
func (w *writer) run(ctx context.Context, batch func(context.Context, journal.Tx) error) (written int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("beginning a batch: %w", err)
	}
	// A statement takes microseconds. Not to watch the context while it runs
	// saves a goroutine each, and leaves no doubt whether it was done.
	quiet := context.WithoutCancel(ctx)
	if _, err := w.begin.ExecContext(quiet); err != nil {
		w.broken = true
		return 0, explain("beginning a batch", err)
	}
	committed := false
	defer func() {
		if !committed {
			clear(w.recent)
			// After some errors SQLite has rolled back by itself, and says so.
			_, err := w.rollback.ExecContext(quiet)
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
	if _, err := w.commit.ExecContext(quiet); err != nil {
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
func (t *transaction) exec(ctx context.Context, doing string, statement *sql.Stmt, args ...any) (int64, error) {
	if err := t.ready(ctx, doing); err != nil {
		return 0, err
	}
	result, err := statement.ExecContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		t.failed = explain(doing, err)
		return 0, t.failed
	}
	n, err := result.RowsAffected()
	if err != nil {
		t.failed = explain(doing, err)
		return 0, t.failed
	}
	t.written += int(n)
	for _, arg := range args {
		if bytes, ok := arg.([]byte); ok {
			t.written += len(bytes) / pageSize
		}
	}
	return n, nil
}

// must is exec for what changes exactly one row.
func (t *transaction) must(ctx context.Context, doing string, statement *sql.Stmt, args ...any) error {
	n, err := t.exec(ctx, doing, statement, args...)
	if err == nil && n != 1 {
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

func (t *transaction) LockByID(ctx context.Context, ids []string) (all []journal.Transaction, err error) {
	for _, id := range ids {
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
	slices.SortFunc(all, func(a, b journal.Transaction) int { return cmp.Compare(a.ID, b.ID) })
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
		n, err := t.exec(ctx, "inserting a transaction", t.insert, transactionValues(&rows[i])...)
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
		err := t.must(ctx, "updating a transaction", t.update, append(changingValues(&rows[i]), rows[i].ID)...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) Append(ctx context.Context, events []journal.Event, before int64, next journal.Chain) error {
	err := t.must(ctx, "moving the head of a chain", t.moveChain,
		next.Number, blob(next.MAC), blob(next.Sealing), next.ID, before)
	if err != nil {
		return err
	}
	for i := range events {
		if err := t.must(ctx, "appending an event", t.addEvent, eventValues(&events[i])...); err != nil {
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
		if _, err := t.exec(ctx, "adding what is spent", t.addSpending, s.Day, s.Merchant, int64(s.Amount)); err != nil {
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
	return t.must(ctx, "replacing a key", t.setKey, blob(key.Wrapped), key.ID)
}

func (t *transaction) AddChain(ctx context.Context, chain journal.Chain) (added bool, err error) {
	n, err := t.exec(ctx, "adding a chain", t.addChain, chainValues(&chain)...)
	return n == 1, err
}

var _ journal.Tx = (*transaction)(nil)
