package journaltest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const (
	account  = "main"
	merchant = "shop"
	today    = 20261126
)

// states are all there are.
var states = []journal.State{
	journal.Created, journal.Sent, journal.Success, journal.Failed,
	journal.Refused, journal.Pending, journal.Unknown, journal.Unsent,
}

// start is when the first transaction of a test was created.
var start = time.Date(2026, 11, 26, 9, 30, 0, 123457000, time.UTC)

// tb is what the helpers need of a test, also of a random one.
type tb interface {
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Helper()
}

// newID returns a ULID of that time; n makes it unique.
func newID(at time.Time, n int) string {
	var id ulid.ULID
	if err := id.SetTime(ulid.Timestamp(at)); err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id.String()
}

// NewTransaction returns the n-th transaction of an account, just recorded. It
// is created n seconds after the one of 0, and its ID and request ID are unique.
func NewTransaction(n int) journal.Transaction {
	created := start.Add(time.Duration(n) * time.Second)
	return journal.Transaction{
		ID:          newID(created, n),
		Account:     account,
		RequestID:   fmt.Sprintf("R%06d", n),
		Merchant:    merchant,
		Operation:   "bank/payout",
		Amount:      nowpay.Paise(100 + n),
		Day:         today,
		State:       journal.Created,
		Attempt:     1,
		Created:     created,
		Updated:     created,
		Deadline:    created.Add(2 * time.Minute),
		Version:     1,
		NextCheck:   created.Add(3 * time.Minute),
		KeyID:       1,
		Fingerprint: bytes.Repeat([]byte{byte(n)}, 32),
		Sealed:      fmt.Appendf(nil, "sealed content %d", n),
	}
}

// newTransactions returns those from 0 to n-1.
func newTransactions(n int) []journal.Transaction {
	rows := make([]journal.Transaction, n)
	for i := range rows {
		rows[i] = NewTransaction(i)
	}
	return rows
}

// NewEvent returns the event that led to the row as it is, of that chain and
// number.
func NewEvent(row journal.Transaction, chain, number int64) journal.Event {
	return journal.Event{
		Chain:       chain,
		Number:      number,
		Transaction: row.ID,
		Seq:         row.Version,
		At:          row.Updated,
		Kind:        journal.Kind(row.State),
		Cause:       journal.ByExchange,
		Evidence:    fmt.Sprintf(`{"number": %d, "http_status": 200}`, number),
		Row:         bytes.Repeat([]byte{'r', byte(number)}, 16),
		MAC:         bytes.Repeat([]byte{'m', byte(number)}, 16),
	}
}

// NewChain returns a chain without events.
func NewChain(id int64) journal.Chain {
	opening := bytes.Repeat([]byte{'o', byte(id)}, 16)
	return journal.Chain{
		ID:      id,
		Gateway: fmt.Sprintf("gateway-%d", id),
		Started: start.Add(time.Duration(id) * time.Hour),
		KeyID:   1,
		Heads:   fmt.Sprintf(`[{"chain": %d}]`, id-1),
		Opening: opening,
		MAC:     opening,
		Sealing: bytes.Repeat([]byte{'s', byte(id)}, 16),
	}
}

// after returns the chain with its head moved to the last of the events.
func after(chain journal.Chain, events ...journal.Event) journal.Chain {
	last := events[len(events)-1]
	chain.Number, chain.MAC = last.Number, last.MAC
	chain.Sealing = bytes.Repeat([]byte{'s', byte(last.Number)}, 16)
	return chain
}

// keyOf returns what the transaction is unique by.
func keyOf(row journal.Transaction) journal.RequestKey {
	return journal.RequestKey{Account: row.Account, RequestID: row.RequestID}
}

// idsOf returns the IDs, in order.
func idsOf(rows []journal.Transaction) []string {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	return ids
}

// write runs a batch that must succeed.
func write(t tb, store journal.Store, batch func(ctx context.Context, tx journal.Tx) error) {
	t.Helper()
	if err := store.Write(t.Context(), batch); err != nil {
		t.Fatalf("Write() = %v", err)
	}
}

// insert adds rows that are not there yet.
func insert(t tb, store journal.Store, rows ...journal.Transaction) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		added, err := tx.Insert(ctx, rows)
		if err == nil && len(added) != len(rows) {
			t.Errorf("Insert() added %d rows, want %d", len(added), len(rows))
		}
		return err
	})
}

// appendTo adds a chain and its first events.
func appendTo(t tb, store journal.Store, chain journal.Chain, events ...journal.Event) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.AddChain(ctx, chain); err != nil {
			return err
		}
		return tx.Append(ctx, events, chain.Number, after(chain, events...))
	})
}

// collect returns all that a reader yields.
func collect[T any](t tb, all iter.Seq2[T, error]) []T {
	t.Helper()
	var got []T
	for value, err := range all {
		if err != nil {
			t.Fatalf("reading: %v", err)
		}
		got = append(got, value)
	}
	return got
}

// check compares what was read with what was written.
func check[T any](t tb, what string, got, want []T) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %d of %d, missing %+v", what, len(got), len(want), want[i])
			return
		case i >= len(want):
			t.Errorf("%s: %d instead of %d, too many: %+v", what, len(got), len(want), got[i])
			return
		case !reflect.DeepEqual(plain(got[i]), plain(want[i])):
			t.Errorf("%s: number %d is\n%+v, want\n%+v", what, i, got[i], want[i])
			return
		}
	}
}

// checkOne is check for a single value and its error.
func checkOne[T any](t tb, what string, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	check(t, what, []T{got}, []T{want})
}

// checkSet is check where the order is left open.
func checkSet(t tb, what string, got, want []string) {
	t.Helper()
	check(t, what, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

// checkError fails unless err wraps want.
func checkError(t tb, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// plain returns a value that is deeply equal to those that mean the same: the
// zone of a time is left open, and so is whether bytes are nil or empty.
func plain(value any) any {
	copied := reflect.New(reflect.TypeOf(value)).Elem()
	copied.Set(reflect.ValueOf(value))
	settle(copied)
	return copied.Interface()
}

func settle(value reflect.Value) {
	switch field := value.Addr().Interface().(type) {
	case *time.Time:
		*field = field.UTC()
	case *[]byte:
		if len(*field) == 0 {
			*field = nil
		}
	default:
		if value.Kind() == reflect.Struct {
			for _, field := range value.Fields() {
				settle(field)
			}
		}
	}
}

func byID(a, b journal.Transaction) int { return cmp.Compare(a.ID, b.ID) }
