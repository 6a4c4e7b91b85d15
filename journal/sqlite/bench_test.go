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

// BenchmarkInsertInto measures the same in a journal that has rows already.
// With ten million it takes minutes and 15 GB: set JOURNAL_BENCHMARK_LARGE.
func BenchmarkInsertInto(b *testing.B) {
	sizes := []int{1e4, 1e6}
	if os.Getenv("JOURNAL_BENCHMARK_LARGE") != "" {
		sizes = append(sizes, 1e7)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("rows=%.0e", float64(size)), func(b *testing.B) {
			l := ledgerForBenchmark(b)
			for l.rows < size {
				if err := l.add(b.Context(), 1000); err != nil {
					b.Fatal(err)
				}
			}
			measure(b, l, 64)
		})
	}
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
