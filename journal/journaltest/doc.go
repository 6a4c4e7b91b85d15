// Package journaltest tests stores of the journal, and the journal on them.
//
// [Run] holds a [journal.Journal] on a store to what it promises to its callers,
// with tampered tables, restarts and, if the store allows it, two gateways on
// one database.
//
// [RunStore] holds a store to all that [journal.Store], [journal.Tx] and
// [journal.Reader] promise, so that the journal may rely on each of them alike.
// It is strict about what is kept and what is not, and lenient about what the
// interfaces leave open: a text that a database cannot hold (with a NUL byte,
// or no UTF-8) may be refused, but then nothing of its batch is kept.
package journaltest

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// RunStore runs the suite. Each test calls open once, for an opened store with
// empty tables, and closes the store when it is done.
func RunStore(t *testing.T, open func(t *testing.T) journal.Store) {
	t.Helper()
	for _, group := range [][]test{writing, spending, messages, nonces, reading, listing, failing, random} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				store := open(t)
				t.Cleanup(func() {
					if err := store.Close(); err != nil && !test.closes {
						t.Errorf("Close() = %v", err)
					}
				})
				test.run(t, store)
			})
		}
	}
}

// test is one of the suite.
type test struct {
	name   string
	run    func(t *testing.T, store journal.Store)
	closes bool // it closes the store itself
}
