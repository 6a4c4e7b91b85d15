package sqlite

import (
	"context"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	addNonce = "INSERT INTO nonces (id, expires) VALUES (?, ?)" +
		" ON CONFLICT DO UPDATE SET expires = excluded.expires WHERE nonces.expires <= ?"
	deleteNonces = "DELETE FROM nonces WHERE id IN (SELECT id FROM nonces WHERE expires <= ? ORDER BY expires LIMIT ?)"
)

func (t *transaction) AddNonces(ctx context.Context, nonces []journal.UsedNonce, now time.Time) (added []journal.NonceID, err error) {
	for i := range nonces {
		n, err := t.exec(ctx, "adding a nonce", t.addNonce, nonces[i].ID[:], micros(nonces[i].Expires), micros(now))
		if err != nil {
			return nil, err
		}
		if n == 1 {
			added = append(added, nonces[i].ID)
		}
	}
	return added, nil
}

func (t *transaction) DeleteNonces(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "deleting nonces", t.deleteNonces, micros(before), int64(limit))
	return int(n), err
}
