package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// The columns of the tables, in the order of the functions below. A
// transaction's are its ID and those that change, then those that never do.
const (
	changingColumns = `id, day, state, attempt, provider_id, integrity, reversed, attention,
		updated, deadline, version, next_check, checks, key_id, fingerprint, sealed`
	fixedColumns       = `account, request_id, merchant, operation, amount, created`
	transactionColumns = changingColumns + `, ` + fixedColumns

	eventColumns = `chain, number, transaction_id, seq, at, kind, cause, actor, reason,
		evidence, row_digest, mac`
	chainColumns = `id, gateway, started, key_id, heads, opening, number, mac, sealing`
	keyColumns   = `id, wrapped, created`
)

// changing returns the changing columns of the rows as arrays.
func changing(rows []journal.Transaction) []any {
	return []any{
		array(rows, func(t *journal.Transaction) string { return t.ID }),
		array(rows, func(t *journal.Transaction) int64 { return int64(t.Day) }),
		array(rows, func(t *journal.Transaction) string { return string(t.State) }),
		array(rows, func(t *journal.Transaction) int64 { return int64(t.Attempt) }),
		array(rows, func(t *journal.Transaction) string { return t.ProviderID }),
		array(rows, func(t *journal.Transaction) string { return t.Integrity }),
		array(rows, func(t *journal.Transaction) string { return string(t.Reversed) }),
		array(rows, func(t *journal.Transaction) int64 { return micros(t.Attention) }),
		array(rows, func(t *journal.Transaction) int64 { return micros(t.Updated) }),
		array(rows, func(t *journal.Transaction) int64 { return micros(t.Deadline) }),
		array(rows, func(t *journal.Transaction) int64 { return int64(t.Version) }),
		array(rows, func(t *journal.Transaction) int64 { return micros(t.NextCheck) }),
		array(rows, func(t *journal.Transaction) int64 { return int64(t.Checks) }),
		array(rows, func(t *journal.Transaction) int64 { return t.KeyID }),
		array(rows, func(t *journal.Transaction) []byte { return blob(t.Fingerprint) }),
		array(rows, func(t *journal.Transaction) []byte { return blob(t.Sealed) }),
	}
}

// fixed returns the other columns of the rows as arrays.
func fixed(rows []journal.Transaction) []any {
	return []any{
		array(rows, func(t *journal.Transaction) string { return t.Account }),
		array(rows, func(t *journal.Transaction) string { return t.RequestID }),
		array(rows, func(t *journal.Transaction) string { return t.Merchant }),
		array(rows, func(t *journal.Transaction) string { return t.Operation }),
		array(rows, func(t *journal.Transaction) int64 { return int64(t.Amount) }),
		array(rows, func(t *journal.Transaction) int64 { return micros(t.Created) }),
	}
}

func transactionFields(t *journal.Transaction) []any {
	return []any{
		&t.ID, &t.Day, (*string)(&t.State), &t.Attempt, &t.ProviderID, &t.Integrity,
		(*string)(&t.Reversed), at(&t.Attention), at(&t.Updated), at(&t.Deadline),
		&t.Version, at(&t.NextCheck), &t.Checks, &t.KeyID, &t.Fingerprint, &t.Sealed,
		&t.Account, &t.RequestID, &t.Merchant, &t.Operation, (*int64)(&t.Amount), at(&t.Created),
	}
}

func scanTransaction(row pgx.CollectableRow) (t journal.Transaction, err error) {
	err = row.Scan(transactionFields(&t)...)
	return t, err
}

func eventArrays(events []journal.Event) []any {
	return []any{
		array(events, func(e *journal.Event) int64 { return e.Chain }),
		array(events, func(e *journal.Event) int64 { return e.Number }),
		array(events, func(e *journal.Event) string { return e.Transaction }),
		array(events, func(e *journal.Event) int64 { return int64(e.Seq) }),
		array(events, func(e *journal.Event) int64 { return micros(e.At) }),
		array(events, func(e *journal.Event) string { return string(e.Kind) }),
		array(events, func(e *journal.Event) string { return string(e.Cause) }),
		array(events, func(e *journal.Event) string { return e.Actor }),
		array(events, func(e *journal.Event) string { return e.Reason }),
		array(events, func(e *journal.Event) string { return e.Evidence }),
		array(events, func(e *journal.Event) []byte { return blob(e.Row) }),
		array(events, func(e *journal.Event) []byte { return blob(e.MAC) }),
	}
}

func eventFields(e *journal.Event) []any {
	return []any{
		&e.Chain, &e.Number, &e.Transaction, &e.Seq, at(&e.At), (*string)(&e.Kind),
		(*string)(&e.Cause), &e.Actor, &e.Reason, &e.Evidence, &e.Row, &e.MAC,
	}
}

func scanEvent(row pgx.CollectableRow) (e journal.Event, err error) {
	err = row.Scan(eventFields(&e)...)
	return e, err
}

func scanChain(row pgx.CollectableRow) (c journal.Chain, err error) {
	err = row.Scan(&c.ID, &c.Gateway, at(&c.Started), &c.KeyID, &c.Heads, &c.Opening, &c.Number, &c.MAC, &c.Sealing)
	return c, err
}

func scanKey(row pgx.CollectableRow) (k journal.DataKey, err error) {
	err = row.Scan(&k.ID, &k.Wrapped, at(&k.Created))
	return k, err
}

func scanSpending(row pgx.CollectableRow) (s journal.Spending, err error) {
	err = row.Scan(&s.Merchant, &s.Day, (*int64)(&s.Amount))
	return s, err
}

// array is one column of the rows.
func array[R, V any](rows []R, value func(*R) V) []V {
	values := make([]V, len(rows))
	for i := range rows {
		values[i] = value(&rows[i])
	}
	return values
}

// blob makes of no bytes an empty value: nil would be NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant reads a time out of microseconds.
type instant struct{ t *time.Time }

func at(t *time.Time) instant { return instant{t} }

// ScanInt64 implements pgtype.Int64Scanner.
func (i instant) ScanInt64(v pgtype.Int8) error {
	*i.t = time.Time{}
	if v.Int64 != 0 {
		*i.t = time.UnixMicro(v.Int64).UTC()
	}
	return nil
}

// Interface guard.
var _ pgtype.Int64Scanner = instant{}
