package journal_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

func nonce(value string) journal.Nonce {
	return journal.Nonce{Scope: "shop", Value: value, Expires: time.Now().Add(time.Hour)}
}

// checkUse uses a nonce and compares the error; nil is none.
func checkUse(t *testing.T, j *journal.Journal, value string, want error) {
	t.Helper()
	if err := j.UseNonce(t.Context(), nonce(value)); !errors.Is(err, want) {
		t.Errorf("UseNonce(%s) = %v, want %v", value, err, want)
	}
}

// Whatever happens to the write of a nonce, nobody is told that it was used by
// another who is the first, and it is not used twice.
func TestNonceInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		again error // for who comes with the same nonce
	}{
		"not committed":   {down, nil},
		"nothing written": {full, nil},
		"committed":       {lost, journal.ErrReplayed},
		"committed later": {late, journal.ErrReplayed},
	} {
		t.Run(name, func(t *testing.T) {
			j, store := started(t)
			store.set(c.fault, 1)
			checkUse(t, j, "1", journal.ErrUnavailable)
			recovered(t, j)
			checkUse(t, j, "1", c.again)
			checkUse(t, j, "1", journal.ErrReplayed)
			checkUse(t, j, "2", nil)
			checkHonest(t, j)
		})
	}
}

// What the database rolls back is run again, and finds nothing of itself.
func TestNonceRetried(t *testing.T) {
	j, store := started(t)
	store.set(retry, 3)
	checkUse(t, j, "1", nil)
	if n := store.tries.Load(); n < 4 {
		t.Errorf("written after %d tries", n)
	}
	checkUse(t, j, "1", journal.ErrReplayed)
}

// together has a nonce used, twice, and intents begun in one batch, with a fault.
func together(t *testing.T, j *journal.Journal, store *faulty, f fault, intents ...string) (used []error) {
	store.set(hangs, 1) // so that all come into one batch
	go func() { _, _ = j.Begin(t.Context(), intent("first")) }()
	eventually(t, "the writer is busy", func() bool { return store.times.Load() == 0 })
	time.Sleep(time.Second) // so that those who wait give up later than the writer
	store.set(f, 1)
	var work sync.WaitGroup
	for _, requestID := range intents {
		work.Go(func() { _, _ = j.Begin(t.Context(), intent(requestID)) })
	}
	used = make([]error, 2)
	for i := range used {
		work.Go(func() { used[i] = j.UseNonce(t.Context(), nonce("1")) })
	}
	work.Wait()
	return used
}

// checkOnce compares what two were told of whom one is the first.
func checkOnce(t *testing.T, used []error) {
	t.Helper()
	if used[0] != nil {
		used[0], used[1] = used[1], used[0]
	}
	if used[0] != nil || !errors.Is(used[1], journal.ErrReplayed) {
		t.Errorf("UseNonce() = %v; want one nil, one %v", used, journal.ErrReplayed)
	}
}

// The chain tells of nonces too whether a batch was committed.
func TestNonceInChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := started(t)
		checkOnce(t, together(t, j, store, lost, "R1"))
		recovered(t, j)
		checkUse(t, j, "1", journal.ErrReplayed)
		checkEvents(t, j, "R1", "created sent")
		checkHonest(t, j)
	})
}

// A nonce beside what the database does not take is used all the same.
func TestNonceBesidePoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := started(t)
		store.poison = "poison"
		checkOnce(t, together(t, j, store, works, "R1", "poison"))
		recovered(t, j)
		checkUse(t, j, "1", journal.ErrReplayed)
		checkEvents(t, j, "R1", "created sent")
		checkHonest(t, j)
	})
}

// A batch of nonces whose answer is lost, and an earlier one that turns out to be
// committed: the nonces are not written again, since they would be found.
func TestNonceBehindDoubt(t *testing.T) {
	j, store := started(t)
	store.slow.Store(true)
	store.set(late, 1)
	refuse(t, j, "R1")
	recovered(t, j)
	store.set(lost, 1)
	store.slow.Store(false)
	checkUse(t, j, "1", journal.ErrUnavailable)
	checkUse(t, j, "1", journal.ErrReplayed)
	checkEvents(t, j, "R1", "created sent unsent")
	checkHonest(t, j)
}

// Who gives up before it is written has not used it; who gives up while it is
// written is told what became of it.
func TestNonceGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := started(t)
		store.set(hangs, 1)
		go func() { _, _ = j.Begin(t.Context(), intent("first")) }()
		eventually(t, "the writer is busy", func() bool { return store.times.Load() == 0 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := j.UseNonce(ctx, nonce("1")); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("UseNonce() = %v", err)
		}
		store.set(works, 0)
		recovered(t, j)
		checkUse(t, j, "1", nil)
	})
}

func TestNonceNotStarted(t *testing.T) {
	store := &faulty{folder: t.TempDir()}
	store.Store = sqlite.New(filepath.Join(store.folder, "journal.db"))
	j := store.journal(t)
	checkUse(t, j, "1", journal.ErrUnavailable)
	if err := j.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkUse(t, j, "1", nil)
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	checkUse(t, j, "1", journal.ErrUnavailable)
}
