package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// beginning makes a commit wait for the disk (and for whatever a stronger
// setting waits for), and our locks end soon after us: a server does not notice
// for hours that a machine at the other end is gone.
const beginning = `SELECT
	CASE WHEN current_setting('synchronous_commit') <> 'remote_apply'
		THEN set_config('synchronous_commit', 'on', true) END,
	set_config('idle_in_transaction_session_timeout', '10000', true)`

// tx is one write transaction. Statements wait until an answer is needed, so
// that they share a round trip.
type tx struct {
	conn    *pgx.Conn
	waiting *pgx.Batch
	err     error // the first; nothing works after it
}

func begin(conn *pgx.Conn) *tx {
	t := &tx{conn: conn, waiting: &pgx.Batch{}}
	t.waiting.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
	t.waiting.Queue(beginning)
	return t
}

// commit sends what waits together with the commit. The server does not come to
// the commit if anything before it fails.
func (t *tx) commit(ctx context.Context) error {
	t.waiting.Queue(`COMMIT`)
	return t.send(ctx)
}

// rollback gives the connection back, as long as there is one.
func (t *tx) rollback(ctx context.Context) {
	if !t.conn.IsClosed() && t.conn.PgConn().TxStatus() != 'I' {
		_, _ = t.conn.Exec(ctx, `ROLLBACK`) // else the connection is closed
	}
}

// send sends what waits, and reads all answers.
func (t *tx) send(ctx context.Context) error {
	if t.err == nil {
		t.err = failure("writing to PostgreSQL", t.conn.SendBatch(ctx, t.waiting).Close())
		t.waiting = &pgx.Batch{}
	}
	return t.err
}

// query sends what waits and a query, and returns its rows.
func query[T any](ctx context.Context, t *tx, scan pgx.RowToFunc[T], sql string, args ...any) (got []T, err error) {
	t.waiting.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		got, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err := t.send(ctx); err != nil {
		return nil, err
	}
	return got, nil
}

// demand queues a change of exactly n rows, else of none: it divides by zero,
// which is the plainest way to make a statement fail at the server, so that a
// commit that follows in the same round trip does not come to pass. The change
// returns what it changed.
func (t *tx) demand(n int, change string, args ...any) {
	t.waiting.Queue(fmt.Sprintf(`WITH changed AS (%s)
		SELECT 1 / CASE WHEN count(*) = $%d THEN 1 ELSE 0 END FROM changed`,
		change, len(args)+1), append(args, n)...)
}

// LockByRequest implements [journal.Tx].
func (t *tx) LockByRequest(ctx context.Context, keys []journal.RequestKey) ([]journal.Transaction, error) {
	if len(keys) == 0 {
		return nil, t.err
	}
	keys = slices.SortedFunc(slices.Values(keys), compareRequests)
	return query(ctx, t, scanTransaction, `SELECT `+transactionColumns+`
		FROM transactions JOIN unnest($1::TEXT[], $2::TEXT[]) WITH ORDINALITY AS k (wanted_account, wanted_request, n)
			ON request_id = wanted_request AND account = wanted_account
		ORDER BY n FOR UPDATE OF transactions`,
		array(keys, func(k *journal.RequestKey) string { return k.Account }),
		array(keys, func(k *journal.RequestKey) string { return k.RequestID }))
}

func compareRequests(a, b journal.RequestKey) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.RequestID, b.RequestID))
}

// LockByID implements [journal.Tx].
func (t *tx) LockByID(ctx context.Context, ids []string) ([]journal.Transaction, error) {
	if len(ids) == 0 {
		return nil, t.err
	}
	return query(ctx, t, scanTransaction, `SELECT `+transactionColumns+`
		FROM transactions JOIN unnest($1::TEXT[]) WITH ORDINALITY AS k (wanted, n) ON id = wanted
		ORDER BY n FOR UPDATE OF transactions`, slices.Sorted(slices.Values(ids)))
}

// LockDue implements [journal.Tx].
func (t *tx) LockDue(ctx context.Context, accounts []string, now time.Time, limit int) ([]journal.Transaction, error) {
	if len(accounts) == 0 || limit <= 0 {
		return nil, t.err
	}
	return query(ctx, t, scanTransaction, `SELECT `+transactionColumns+` FROM transactions
		WHERE next_check <> 0 AND next_check <= $1 AND account = ANY ($2::TEXT[])
		ORDER BY next_check, id LIMIT $3 FOR UPDATE SKIP LOCKED`, micros(now), accounts, limit)
}

// Insert implements [journal.Tx].
func (t *tx) Insert(ctx context.Context, rows []journal.Transaction) (added []string, err error) {
	if len(rows) == 0 {
		return nil, t.err
	}
	rows = slices.SortedFunc(slices.Values(rows), func(a, b journal.Transaction) int {
		return compareRequests(journal.RequestKey{Account: a.Account, RequestID: a.RequestID},
			journal.RequestKey{Account: b.Account, RequestID: b.RequestID})
	})
	return query(ctx, t, pgx.RowTo[string], `INSERT INTO transactions (`+transactionColumns+`)
		SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::TEXT[], $6::TEXT[],
			$7::TEXT[], $8::BIGINT[], $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[],
			$13::BIGINT[], $14::BIGINT[], $15::BYTEA[], $16::BYTEA[], $17::TEXT[], $18::TEXT[],
			$19::TEXT[], $20::TEXT[], $21::BIGINT[], $22::BIGINT[])
		ON CONFLICT (request_id, account) DO NOTHING RETURNING id`,
		append(changing(rows), fixed(rows)...)...)
}

// Update implements [journal.Tx].
func (t *tx) Update(_ context.Context, rows []journal.Transaction) error {
	if len(rows) > 0 {
		t.demand(len(rows), `UPDATE transactions SET day = n.day, state = n.state, attempt = n.attempt,
				provider_id = n.provider_id, integrity = n.integrity, reversed = n.reversed,
				attention = n.attention, updated = n.updated, deadline = n.deadline, version = n.version,
				next_check = n.next_check, checks = n.checks, key_id = n.key_id,
				fingerprint = n.fingerprint, sealed = n.sealed
			FROM unnest($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::TEXT[], $6::TEXT[],
				$7::TEXT[], $8::BIGINT[], $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[],
				$13::BIGINT[], $14::BIGINT[], $15::BYTEA[], $16::BYTEA[]) AS n (`+changingColumns+`)
			WHERE transactions.id = n.id RETURNING 1`, changing(rows)...)
	}
	return t.err
}

// Append implements [journal.Tx].
func (t *tx) Append(_ context.Context, events []journal.Event, before int64, next journal.Chain) error {
	t.demand(1, `UPDATE chains SET number = $3, mac = $4, sealing = $5
		WHERE id = $1 AND number = $2 RETURNING 1`,
		next.ID, before, next.Number, blob(next.MAC), blob(next.Sealing))
	if len(events) > 0 {
		t.waiting.Queue(`INSERT INTO events (`+eventColumns+`)
			SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[],
				$7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::BYTEA[], $12::BYTEA[])`,
			eventArrays(events)...)
	}
	return t.err
}

// AddKey implements [journal.Tx].
func (t *tx) AddKey(ctx context.Context, key journal.DataKey) (added bool, err error) {
	got, err := query(ctx, t, pgx.RowTo[int64], `INSERT INTO data_keys (`+keyColumns+`) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO NOTHING RETURNING id`, key.ID, blob(key.Wrapped), micros(key.Created))
	return len(got) > 0, err
}

// SetKey implements [journal.Tx].
func (t *tx) SetKey(_ context.Context, key journal.DataKey) error {
	t.demand(1, `UPDATE data_keys SET wrapped = $2 WHERE id = $1 RETURNING 1`, key.ID, blob(key.Wrapped))
	return t.err
}

// AddChain implements [journal.Tx].
func (t *tx) AddChain(ctx context.Context, chain journal.Chain) (added bool, err error) {
	got, err := query(ctx, t, pgx.RowTo[int64], `INSERT INTO chains (`+chainColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING RETURNING id`,
		chain.ID, chain.Gateway, micros(chain.Started), chain.KeyID, chain.Heads, blob(chain.Opening),
		chain.Number, blob(chain.MAC), blob(chain.Sealing))
	return len(got) > 0, err
}

// Interface guard.
var _ journal.Tx = (*tx)(nil)
