package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started returns a running journal on a store that fails as told.
func started(tb testing.TB) (*journal.Journal, *faulty) {
	tb.Helper()
	store := &faulty{folder: tb.TempDir()}
	store.Store = sqlite.New(filepath.Join(store.folder, "journal.db"))
	j := store.journal(tb)
	if err := j.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	// A first change, of nothing, opens the chain.
	if _, err := j.Change(tb.Context(), "nothing", journal.Change{}); !errors.Is(err, journal.ErrNotFound) {
		tb.Fatalf("Change() = %v", err)
	}
	return j, store
}

// journal returns a journal that is not started yet.
func (s *faulty) journal(tb testing.TB) *journal.Journal {
	j := journal.New(journal.Options{Store: s, KeyFile: filepath.Join(s.folder, "journal.key"), Gateway: "gateway", Logger: s.log})
	tb.Cleanup(func() { _ = j.Close() })
	return j
}

// restarted returns a journal on the same file, when the one before is closed.
func (s *faulty) restarted(tb testing.TB) *journal.Journal {
	tb.Helper()
	after := &faulty{folder: s.folder, Store: sqlite.New(filepath.Join(s.folder, "journal.db"))}
	j := after.journal(tb)
	if err := j.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return j
}

func intent(requestID string) journal.Intent {
	return journal.Intent{
		ID: ulid.Make().String(), Account: "main", RequestID: requestID, Merchant: "shop", Operation: "bank/payout",
		Amount: 100, Canonical: []byte(requestID), Deadline: time.Now().Add(time.Hour),
		Next: func(t journal.Transaction) time.Time { return t.Deadline },
	}
}

func success(t journal.Transaction) journal.Change {
	return journal.Change{State: journal.Success, Cause: journal.ByExchange, Attempt: t.Attempt}
}

func mustBegin(tb testing.TB, j *journal.Journal, requestID string) journal.Transaction {
	tb.Helper()
	begun, err := j.Begin(tb.Context(), intent(requestID))
	if err != nil || !begun.Fresh {
		tb.Fatalf("Begin(%s) = fresh %t, %v", requestID, begun.Fresh, err)
	}
	return begun.Transaction
}

// refuse begins an intent that cannot be recorded now.
func refuse(t *testing.T, j *journal.Journal, requestID string) {
	t.Helper()
	begun, err := j.Begin(t.Context(), intent(requestID))
	if !errors.Is(err, journal.ErrUnavailable) || begun.Fresh || begun.Transaction.ID != "" {
		t.Errorf("Begin(%s) = %+v, %v; want ErrUnavailable", requestID, begun, err)
	}
}

// eventually waits for something that the journal does by itself.
func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func recovered(t *testing.T, j *journal.Journal) {
	t.Helper()
	eventually(t, "the journal is ready", func() bool { return j.Ready() == nil })
}

// checkEvents compares the events of the transaction with that request ID.
func checkEvents(t *testing.T, j *journal.Journal, requestID, want string) {
	t.Helper()
	row, err := j.Find(t.Context(), journal.RequestKey{Account: "main", RequestID: requestID})
	if err != nil {
		t.Fatalf("Find(%s) = %v", requestID, err)
	}
	events, err := j.Events(t.Context(), row.ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, event := range events {
		kinds = append(kinds, string(event.Kind))
	}
	if got := strings.Join(kinds, " "); got != want || row.Version != len(events)-1 {
		t.Errorf("events of %s: %s, in version %d; want %s", requestID, got, row.Version, want)
	}
}

func checkHonest(t *testing.T, j *journal.Journal) {
	t.Helper()
	report, err := j.Verify(t.Context())
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("Verify() = %q, %v", report.Problems, err)
	}
}

// Nothing is recorded in an outage, what was to be settled is settled after it,
// and no request is needed to notice its end.
func TestOutage(t *testing.T) {
	j, store := started(t)
	row := mustBegin(t, j, "R1")
	store.set(down, -1)
	refuse(t, j, "R2")
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready() = %v", err)
	}
	refuse(t, j, "R2")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := j.Settle(ctx, row.ID, success(row)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Settle() = %v", err)
	}
	if _, err := j.Change(t.Context(), row.ID, success(row)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Change() = %v", err)
	}
	checkEvents(t, j, "R1", "created sent")
	store.set(works, 0)
	recovered(t, j)
	checkEvents(t, j, "R1", "created sent success")
	if _, err := j.Find(t.Context(), journal.RequestKey{Account: "main", RequestID: "R2"}); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Find() = %v, want nothing", err)
	}
	mustBegin(t, j, "R2")
	if _, err := j.Settle(t.Context(), row.ID, success(row)); err != nil {
		t.Errorf("Settle() again = %v", err)
	}
	checkEvents(t, j, "R1", "created sent success")
	checkHonest(t, j)
}

// A database that answers, but cannot write, is not taken to be well.
func TestFull(t *testing.T) { synctest.Test(t, testFull) }

func testFull(t *testing.T) {
	j, store := started(t)
	store.set(full, -1)
	refuse(t, j, "R1")
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
			t.Fatalf("Ready() = %v", err)
		}
	}
	store.set(works, 0)
	recovered(t, j)
	mustBegin(t, j, "R1")
	if spent, err := j.Spent(t.Context(), ""); err != nil || spent.Amount != 0 {
		t.Errorf("Spent() of nobody = %v, %v", spent, err)
	}
	checkHonest(t, j)
}

// A commit whose answer is lost is found in the chain.
func TestCommitLost(t *testing.T) {
	j, store := started(t)
	store.set(lost, 1)
	row := mustBegin(t, j, "R1")
	store.set(lost, 1)
	if after, err := j.Settle(t.Context(), row.ID, success(row)); err != nil || after.State != journal.Success {
		t.Errorf("Settle() = %s, %v", after.State, err)
	}
	if err := j.Ready(); err != nil {
		t.Errorf("Ready() = %v", err)
	}
	checkEvents(t, j, "R1", "created sent success")
	checkHonest(t, j)
}

// An intent that was recorded though its exchange was told otherwise is unsent,
// and a settlement that was recorded so is not recorded again.
func TestCommitInDoubt(t *testing.T) {
	for name, f := range map[string]fault{"committed": lost, "committed later": late, "not committed": down} {
		t.Run(name, func(t *testing.T) {
			j, store := started(t)
			row := mustBegin(t, j, "R1")
			store.blind.Store(f == lost)
			store.set(f, 1)
			refuse(t, j, "R2")
			store.set(f, 1)
			settled := make(chan error, 1)
			go func() {
				_, err := j.Settle(t.Context(), row.ID, success(row))
				settled <- err
			}()
			time.Sleep(50 * time.Millisecond) // so that it is tried; if not, that is no harm
			store.blind.Store(false)
			recovered(t, j)
			if err := <-settled; err != nil {
				t.Errorf("Settle() = %v", err)
			}
			checkEvents(t, j, "R1", "created sent success")
			// Whatever became of it, the same request may be sent now, once.
			eventually(t, "the request ID can be used again", func() bool {
				begun, err := j.Begin(t.Context(), intent("R2"))
				return err == nil && begun.Fresh
			})
			if begun, err := j.Begin(t.Context(), intent("R2")); err != nil || begun.Fresh {
				t.Errorf("Begin() = fresh %t, %v", begun.Fresh, err)
			}
			if f == down {
				checkEvents(t, j, "R2", "created sent")
			} else {
				checkEvents(t, j, "R2", "created sent unsent sent")
			}
			checkHonest(t, j)
		})
	}
}

// What is in doubt at the end is found out before it.
func TestCloseInDoubt(t *testing.T) {
	j, store := started(t)
	store.blind.Store(true)
	store.set(lost, 1)
	refuse(t, j, "R1")
	time.AfterFunc(300*time.Millisecond, func() { store.blind.Store(false) })
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	again := store.restarted(t)
	checkEvents(t, again, "R1", "created sent unsent")
	checkHonest(t, again)
}

// A database that takes too long counts as gone: what must be written is kept.
func TestHangs(t *testing.T) { synctest.Test(t, testHangs) }

func testHangs(t *testing.T) {
	j, store := started(t)
	row, other := mustBegin(t, j, "R1"), mustBegin(t, j, "R2")
	store.set(hangs, 1)
	var work sync.WaitGroup
	for _, t1 := range []journal.Transaction{row, other} {
		work.Go(func() {
			if _, err := j.Settle(t.Context(), t1.ID, success(t1)); err != nil && !errors.Is(err, journal.ErrUnavailable) {
				t.Errorf("Settle() = %v", err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	time.Sleep(10 * time.Millisecond) // so that it waits behind them
	if _, err := j.Begin(ctx, intent("R3")); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Begin() = %v", err)
	}
	work.Wait()
	eventually(t, "both are settled", func() bool {
		operations, _ := j.Writes()
		return operations >= 5
	})
	recovered(t, j)
	checkEvents(t, j, "R1", "created sent success")
	checkEvents(t, j, "R2", "created sent success")
	checkHonest(t, j)
}

// What the database asks to try again is tried again, but not for ever.
func TestRetry(t *testing.T) {
	j, store := started(t)
	store.set(retry, 3)
	row := mustBegin(t, j, "R1")
	if n := store.tries.Load(); n < 4 {
		t.Errorf("written after %d tries", n)
	}
	store.set(retry, -1)
	refuse(t, j, "R2")
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready() = %v", err)
	}
	store.set(works, 0)
	recovered(t, j)
	if _, err := j.Settle(t.Context(), row.ID, success(row)); err != nil {
		t.Errorf("Settle() = %v", err)
	}
	mustBegin(t, j, "R2")
	checkHonest(t, j)
}

// An operation that the database does not take fails alone.
func TestPoison(t *testing.T) { synctest.Test(t, testPoison) }

func testPoison(t *testing.T) {
	j, store := started(t)
	store.poison = "poison"
	rows := make([]journal.Transaction, 10)
	for i := range rows {
		rows[i] = mustBegin(t, j, fmt.Sprintf("R%d", i))
	}
	store.set(hangs, 1) // so that all come into one batch
	blocked, unblock := context.WithCancel(t.Context())
	defer unblock()
	go func() { _, _ = j.Begin(blocked, intent("first")) }()
	eventually(t, "the writer is busy", func() bool { return store.times.Load() == 0 })

	store.set(works, 0)
	var work sync.WaitGroup
	for i, row := range rows {
		work.Go(func() {
			if _, err := j.Settle(t.Context(), row.ID, success(row)); err != nil && !errors.Is(err, journal.ErrUnavailable) {
				t.Errorf("Settle() = %v", err)
			}
		})
		work.Go(func() { _, _ = j.Begin(t.Context(), intent(fmt.Sprintf("S%d", i))) })
	}
	begun, err := j.Begin(t.Context(), intent("poison"))
	if err == nil || begun.Fresh || begun.Transaction.ID != "" {
		t.Errorf("Begin() = %+v, %v", begun, err)
	}
	work.Wait()
	recovered(t, j)
	for i := range rows {
		eventually(t, "all are settled", func() bool {
			row, err := j.Get(t.Context(), rows[i].ID)
			return err == nil && row.State == journal.Success
		})
	}
	checkHonest(t, j)
}

// A journal that is closed ends soon, and says what it could not write.
func TestCloseInOutage(t *testing.T) {
	for name, f := range map[string]fault{"down": down, "hangs": hangs} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testCloseInOutage(t, f) })
		})
	}
}

func testCloseInOutage(t *testing.T, f fault) {
	var log lockedBuffer
	j, store := logged(t, &log)
	row := mustBegin(t, j, "R1")
	store.set(f, -1)
	settled := make(chan error, 1)
	go func() {
		_, err := j.Settle(t.Context(), row.ID, success(row))
		settled <- err
	}()
	time.Sleep(time.Second)
	begun := time.Now()
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("Close() took %v", took)
	}
	if err := <-settled; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Settle() = %v", err)
	}
	if !strings.Contains(log.String(), row.ID) {
		t.Errorf("it does not say what was not written:\n%s", log.String())
	}
	if _, err := j.Settle(t.Context(), row.ID, success(row)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Settle() after Close = %v", err)
	}
	refuse(t, j, "R2")
	checkEvents(t, store.restarted(t), "R1", "created sent")
}

// logged is started with a log.
func logged(t *testing.T, log *lockedBuffer) (*journal.Journal, *faulty) {
	j, store := started(t)
	j.SetLogger(slog.New(slog.NewTextHandler(log, nil)))
	return j, store
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// All that waits when the journal is closed is written before it ends.
func TestCloseWritesAll(t *testing.T) {
	j, store := started(t)
	const many = 700 // more than fit into a batch
	rows := make([]journal.Transaction, many)
	var work sync.WaitGroup
	for i := range rows {
		work.Go(func() { rows[i] = mustBegin(t, j, fmt.Sprintf("R%d", i)) })
	}
	work.Wait()
	for i := range rows {
		work.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // it does not wait: what it says is written all the same
			if _, err := j.Settle(ctx, rows[i].ID, success(rows[i])); err != nil && !errors.Is(err, journal.ErrUnavailable) {
				t.Errorf("Settle() = %v", err)
			}
		})
	}
	work.Wait()
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	again := store.restarted(t)
	for i := range rows {
		row, err := again.Get(t.Context(), rows[i].ID)
		if err != nil || row.State != journal.Success {
			t.Fatalf("Get(R%d) = %s, %v", i, row.State, err)
		}
	}
	checkHonest(t, again)
}

// A journal whose database is not there at first opens as soon as it is.
func TestStartInOutage(t *testing.T) {
	store := &faulty{folder: t.TempDir()}
	store.Store = sqlite.New(filepath.Join(store.folder, "journal.db"))
	store.set(down, 2) // its tables are there, its keys cannot be written
	j := store.journal(t)
	if err := j.Start(t.Context()); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Start() = %v", err)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready() = %v", err)
	}
	refuse(t, j, "R1")
	recovered(t, j)
	mustBegin(t, j, "R1")
	checkHonest(t, j)
}

// Close waits for nothing that hangs while it is opened, or looks after keys.
func TestCloseWhileStuck(t *testing.T) {
	store := &faulty{folder: t.TempDir()}
	store.Store = sqlite.New(filepath.Join(store.folder, "journal.db"))
	store.set(down, 1)
	j := store.journal(t)
	if err := j.Start(t.Context()); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Start() = %v", err)
	}
	store.stuck.Store(true)
	time.Sleep(300 * time.Millisecond) // so that it tries again; if not, that is no harm
	begun := time.Now()
	if err := j.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("Close() took %v", took)
	}
}

func TestNotStarted(t *testing.T) {
	store := &faulty{folder: t.TempDir()}
	store.Store = sqlite.New(filepath.Join(store.folder, "journal.db"))
	j := store.journal(t)
	refuse(t, j, "R1")
	for range 2 {
		if err := j.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	refuse(t, j, "R1")
}

// Nobody else may move the chain of a gateway: whoever does stops it.
func TestChainOfAnother(t *testing.T) {
	j, store := started(t)
	mustBegin(t, j, "R1")
	err := store.Store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		chain, err := store.Store.Chain(ctx, 1)
		if err != nil {
			return err
		}
		before := chain.Number
		chain.Number, chain.MAC = before+1, []byte("another")
		event := journal.Event{Chain: 1, Number: chain.Number, Transaction: "none", Seq: 1, Evidence: "{}", MAC: chain.MAC}
		return tx.Append(ctx, []journal.Event{event}, before, chain)
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		refuse(t, j, "R2")
	}
	time.Sleep(300 * time.Millisecond) // within which it looks again
	if err := j.Ready(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Ready() = %v", err)
	}
}
