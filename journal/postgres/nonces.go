package postgres

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// AddNonces implements [journal.Tx].
func (t *tx) AddNonces(ctx context.Context, nonces []journal.UsedNonce, now time.Time) ([]journal.NonceID, error) {
	if len(nonces) == 0 {
		return nil, t.err
	}
	nonces = slices.SortedFunc(slices.Values(nonces), func(a, b journal.UsedNonce) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return query(ctx, t, scanNonceID, `INSERT INTO nonces (id, expires)
		SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[])
		ON CONFLICT (id) DO UPDATE SET expires = excluded.expires WHERE nonces.expires <= $3 RETURNING id`,
		array(nonces, func(n *journal.UsedNonce) []byte { return n.ID[:] }),
		array(nonces, func(n *journal.UsedNonce) int64 { return micros(n.Expires) }), micros(now))
}

func scanNonceID(row pgx.CollectableRow) (id journal.NonceID, err error) {
	var bytes []byte
	if err = row.Scan(&bytes); err == nil {
		copy(id[:], bytes)
	}
	return id, err
}

// DeleteNonces implements [journal.Tx]. One that another gateway replaces
// meanwhile is left out by the condition that stands once more beside the lock.
func (t *tx) DeleteNonces(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := query(ctx, t, pgx.RowTo[int64], `DELETE FROM nonces WHERE id IN
		(SELECT id FROM nonces WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED)
		AND expires <= $1 RETURNING 1::BIGINT`, micros(before), limit)
	return len(deleted), err
}
