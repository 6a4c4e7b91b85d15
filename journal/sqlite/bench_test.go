package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// ledger writes what the journal writes for new transactions.
type ledger struct {
	store *sqlite.Store
	chain journal.Chain
	rows  int
}

func newLedger(ctx context.Context, store *sqlite.Store) (*ledger, error) {
	l := &ledger{store: store, chain: journaltest.NewChain(1)}
	return l, store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.AddChain(ctx, l.chain)
		return err
	})
}

// add writes n transactions and their first events in one batch.
func (l *ledger) add(ctx context.Context, n int) error {
	rows := make([]journal.Transaction, n)
	events := make([]journal.Event, n)
	for i := range rows {
		rows[i] = journaltest.NewTransaction(l.rows + i)
		// Request IDs in no order, as those of many merchants.
		rows[i].RequestID = fmt.Sprintf("%016x", uint64(l.rows+i)*0x9e3779b97f4a7c15)
		rows[i].Sealed = make([]byte, 200)
		events[i] = journaltest.NewEvent(rows[i], 1, l.chain.Number+int64(i)+1)
	}
	next := l.chain
	next.Number += int64(n)
	err := l.store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.Insert(ctx, rows); err != nil {
			return err
		}
		return tx.Append(ctx, events, l.chain.Number, next)
	})
	if err == nil {
		l.rows, l.chain = l.rows+n, next
	}
	return err
}

// BenchmarkInsert measures transactions a second, each with an event, by how
// many are committed together.
func BenchmarkInsert(b *testing.B) {
	for _, group := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			l := ledgerForBenchmark(b)
			measure(b, l, group)
		})
	}
}

// BenchmarkInsertInto compares, in one run and by turns, a journal of ten thousand
// transactions with one of a million, or with JOURNAL_BENCHMARK_LARGE of ten
// million, which takes a quarter of an hour and 15 GB.
//
//	JOURNAL_BENCHMARK_LARGE=1 go test -run '^$' -bench InsertInto -benchtime 1000x -timeout 1h ./journal/sqlite
func BenchmarkInsertInto(b *testing.B) {
	const group = 64
	size := int(1e6)
	if os.Getenv("JOURNAL_BENCHMARK_LARGE") != "" {
		size = 1e7
	}
	small, large := withRows(b, 1e4), withRows(b, size)
	took := make(map[*ledger]time.Duration)
	for b.Loop() {
		for _, l := range []*ledger{small, large} {
			start := time.Now()
			if err := l.add(b.Context(), group); err != nil {
				b.Fatal(err)
			}
			took[l] += time.Since(start)
		}
	}
	b.ReportMetric(took[large].Seconds()/took[small].Seconds(), "large/small")
	b.ReportMetric(float64(took[large].Microseconds())/float64(b.N*group), "µs/insert")
}

// withRows is a journal that has rows already.
func withRows(b *testing.B, size int) *ledger {
	l := ledgerForBenchmark(b)
	for l.rows < size {
		if err := l.add(b.Context(), 1000); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

func ledgerForBenchmark(b *testing.B) *ledger {
	store := open(b, filepath.Join(b.TempDir(), "journal.db"))
	b.Cleanup(func() { store.Close() })
	l, err := newLedger(b.Context(), store)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func measure(b *testing.B, l *ledger, group int) {
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := l.add(b.Context(), group); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(group*len(took))/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
