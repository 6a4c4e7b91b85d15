package journaltest

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// nonces are the tests of what is used once.
var nonces = []test{
	{name: "NoncesOnce", run: testNoncesOnce},
	{name: "NoncesExpire", run: testNoncesExpire},
	{name: "NoncesRollback", run: testNoncesRollback},
	{name: "NoncesDelete", run: testNoncesDelete},
	{name: "NoncesAtOnce", run: testNoncesAtOnce},
}

// newNonce is the n-th one. It expires n seconds after the start.
func newNonce(n int) journal.UsedNonce {
	nonce := journal.UsedNonce{Expires: start.Add(time.Duration(n) * time.Second)}
	binary.BigEndian.PutUint64(nonce.ID[3:], 0xff00_0000_0000_0000-uint64(n)) // with bytes that are no text
	return nonce
}

func numbered(numbers ...int) (all []journal.UsedNonce) {
	for _, n := range numbers {
		all = append(all, newNonce(n))
	}
	return all
}

// checkAdded adds nonces and compares the numbers of those that were added.
func checkAdded(t tb, store journal.Store, now time.Time, all []journal.UsedNonce, want ...int) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		added, err := tx.AddNonces(ctx, all, now)
		checkSet(t, "added", names(added), nonceIDs(numbered(want...)))
		return err
	})
}

func nonceIDs(all []journal.UsedNonce) (ids []string) {
	for _, nonce := range all {
		ids = append(ids, fmt.Sprintf("%x", nonce.ID))
	}
	return ids
}

func names(ids []journal.NonceID) (all []string) {
	for _, id := range ids {
		all = append(all, fmt.Sprintf("%x", id))
	}
	return all
}

func checkDeleted(t tb, store journal.Store, before time.Time, limit, want int) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		n, err := tx.DeleteNonces(ctx, before, limit)
		if n != want {
			t.Errorf("%d nonces deleted, want %d", n, want)
		}
		return err
	})
}

func testNoncesOnce(t *testing.T, store journal.Store) {
	checkAdded(t, store, start, nil)
	checkAdded(t, store, start, numbered(3, 1, 2), 1, 2, 3)
	checkAdded(t, store, start, numbered(1, 2, 3))
	checkAdded(t, store, start, numbered(4, 2, 5), 4, 5)
	write(t, store, func(ctx context.Context, tx journal.Tx) error { // also within a transaction
		for _, want := range []int{1, 0} {
			added, err := tx.AddNonces(ctx, numbered(6), start)
			if err != nil {
				return err
			}
			if len(added) != want {
				t.Errorf("%d were added, want %d", len(added), want)
			}
		}
		return nil
	})
}

// A nonce that has expired is replaced, to the microsecond, and lives on with the
// new time.
func testNoncesExpire(t *testing.T, store journal.Store) {
	checkAdded(t, store, start, numbered(1, 2), 1, 2)
	later := newNonce(1)
	later.Expires = start.Add(time.Hour)
	checkAdded(t, store, start.Add(time.Second-time.Microsecond), []journal.UsedNonce{later})
	checkDeleted(t, store, start.Add(time.Second-time.Microsecond), 10, 0)
	checkAdded(t, store, start.Add(time.Second), []journal.UsedNonce{later, newNonce(2)}, 1)
	checkAdded(t, store, start.Add(time.Hour-time.Microsecond), []journal.UsedNonce{later})
	checkAdded(t, store, start.Add(time.Hour), []journal.UsedNonce{later}, 1)
}

func testNoncesRollback(t *testing.T, store journal.Store) {
	checkAdded(t, store, start, numbered(1, 2), 1, 2)
	err := store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.AddNonces(ctx, numbered(3), start); err != nil {
			return err
		}
		if _, err := tx.DeleteNonces(ctx, start.Add(time.Second), 10); err != nil {
			return err
		}
		return errRefused
	})
	checkError(t, "Write", err, errRefused)
	checkAdded(t, store, start, numbered(1, 2, 3), 3)
}

func testNoncesDelete(t *testing.T, store journal.Store) {
	checkAdded(t, store, start, numbered(5, 4, 3, 2, 1), 1, 2, 3, 4, 5)
	checkDeleted(t, store, start, 10, 0)
	checkDeleted(t, store, start.Add(3*time.Second), 2, 2)
	checkAdded(t, store, start, numbered(1, 2, 3, 4, 5), 1, 2) // those that expired first
	checkDeleted(t, store, start.Add(3*time.Second), 0, 0)
	for _, want := range []int{2, 1, 0} {
		checkDeleted(t, store, start.Add(3*time.Second), 2, want)
	}
	checkAdded(t, store, start, numbered(1, 2, 3, 4, 5), 1, 2, 3)
}

// Of many writers that add the same nonces at once, new ones and some that have
// expired, and delete others meanwhile, one succeeds with each.
func testNoncesAtOnce(t *testing.T, store journal.Store) {
	const writers, rounds, each = 8, 10, 16
	added := make(map[journal.NonceID]int)
	var mu sync.Mutex
	for round := range rounds {
		now := start.Add(time.Duration(round) * time.Hour)
		clear(added)
		var work sync.WaitGroup
		for writer := range writers {
			work.Go(func() {
				var all []journal.UsedNonce
				for n := range each {
					n = (n*(2*writer+1) + writer) % each // each in another order
					nonce := newNonce(n + round/2*each)  // every other time they are there
					nonce.Expires = now.Add(time.Minute)
					all = append(all, nonce)
				}
				var ids []journal.NonceID
				batches := []func(context.Context, journal.Tx) error{
					func(ctx context.Context, tx journal.Tx) (err error) {
						ids, err = tx.AddNonces(ctx, all, now)
						return err
					},
					func(ctx context.Context, tx journal.Tx) error { _, err := tx.DeleteNonces(ctx, now, 3); return err },
				}
				for i := range batches {
					if err := store.Write(t.Context(), batches[(i+writer)%2]); err != nil {
						t.Errorf("Write() = %v", err)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for _, id := range ids {
					added[id]++
				}
			})
		}
		work.Wait()
		if len(added) != each {
			t.Errorf("round %d: %d were added, want %d", round, len(added), each)
		}
		for id, n := range added {
			if n != 1 {
				t.Errorf("round %d: %x was added %d times", round, id, n)
			}
		}
	}
}
