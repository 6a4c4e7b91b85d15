package sqlite

import (
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// The columns, in the order of the functions below.
const (
	// Those that never change come first.
	transactionColumns = "id, account, request_id, merchant, operation, amount, created, " + changingColumns
	changingColumns    = "day, state, attempt, provider_id, integrity, reversed, attention, updated, deadline, " +
		"version, next_check, checks, key_id, fingerprint, sealed"
	eventColumns = "chain, number, transaction_id, seq, at, kind, cause, actor, reason, evidence, row_digest, mac"
	// Those of an event that may be absent.
	lastEventColumns = "coalesce(chain, 0), coalesce(number, 0), coalesce(transaction_id, ''), coalesce(seq, 0), " +
		"coalesce(at, 0), coalesce(kind, ''), coalesce(cause, ''), coalesce(actor, ''), coalesce(reason, ''), " +
		"coalesce(evidence, ''), coalesce(row_digest, x''), coalesce(mac, x'')"
	chainColumns = "id, gateway, started, key_id, heads, opening, number, mac, sealing"
	keyColumns   = "id, wrapped, created"
)

// placeholders returns as many as there are columns.
func placeholders(columns string) string {
	return "?" + strings.Repeat(", ?", strings.Count(columns, ","))
}

// The values of a row, behind others: as the driver takes them.

func transactionValues(values []any, t *journal.Transaction) []any {
	return changingValues(append(values,
		t.ID, t.Account, t.RequestID, t.Merchant, t.Operation, int64(t.Amount), micros(t.Created),
	), t)
}

func changingValues(values []any, t *journal.Transaction) []any {
	return append(values,
		int64(t.Day), string(t.State), int64(t.Attempt), t.ProviderID, t.Integrity, string(t.Reversed),
		micros(t.Attention), micros(t.Updated), micros(t.Deadline), int64(t.Version),
		micros(t.NextCheck), int64(t.Checks), t.KeyID, blob(t.Fingerprint), blob(t.Sealed),
	)
}

func transactionFields(t *journal.Transaction) []any {
	return []any{
		&t.ID, &t.Account, &t.RequestID, &t.Merchant, &t.Operation, &t.Amount, at(&t.Created),
		&t.Day, &t.State, &t.Attempt, &t.ProviderID, &t.Integrity, &t.Reversed,
		at(&t.Attention), at(&t.Updated), at(&t.Deadline), &t.Version,
		at(&t.NextCheck), &t.Checks, &t.KeyID, &t.Fingerprint, &t.Sealed,
	}
}

func scanTransaction(rows *sql.Rows) (t journal.Transaction, err error) {
	err = rows.Scan(transactionFields(&t)...)
	return t, err
}

func eventValues(values []any, e *journal.Event) []any {
	return append(values,
		e.Chain, e.Number, e.Transaction, int64(e.Seq), micros(e.At), string(e.Kind), string(e.Cause),
		e.Actor, e.Reason, e.Evidence, blob(e.Row), blob(e.MAC),
	)
}

func eventFields(e *journal.Event) []any {
	return []any{
		&e.Chain, &e.Number, &e.Transaction, &e.Seq, at(&e.At), &e.Kind, &e.Cause,
		&e.Actor, &e.Reason, &e.Evidence, &e.Row, &e.MAC,
	}
}

func scanEvent(rows *sql.Rows) (e journal.Event, err error) {
	err = rows.Scan(eventFields(&e)...)
	return e, err
}

func chainValues(c *journal.Chain) []any {
	return []any{
		c.ID, c.Gateway, micros(c.Started), c.KeyID, c.Heads, blob(c.Opening), c.Number, blob(c.MAC), blob(c.Sealing),
	}
}

func scanChain(rows *sql.Rows) (c journal.Chain, err error) {
	err = rows.Scan(&c.ID, &c.Gateway, at(&c.Started), &c.KeyID, &c.Heads, &c.Opening, &c.Number, &c.MAC, &c.Sealing)
	return c, err
}

func keyValues(k *journal.DataKey) []any { return []any{k.ID, blob(k.Wrapped), micros(k.Created)} }

func scanKey(rows *sql.Rows) (k journal.DataKey, err error) {
	err = rows.Scan(&k.ID, &k.Wrapped, at(&k.Created))
	return k, err
}

// scanValue reads the only column of a row.
func scanValue[T any](rows *sql.Rows) (value T, err error) {
	err = rows.Scan(&value)
	return value, err
}

// micros is how a time is kept.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at reads into t what micros made.
func at(t *time.Time) instant { return instant{t} }

type instant struct{ time *time.Time }

func (i instant) Scan(value any) error {
	kept, ok := value.(int64)
	switch {
	case !ok:
		return fmt.Errorf("reading a time: %T", value)
	case kept == 0:
		*i.time = time.Time{}
	default:
		*i.time = time.UnixMicro(kept).UTC()
	}
	return nil
}

// blob is never NULL, as the driver makes it of nil.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

var _ sql.Scanner = instant{}
