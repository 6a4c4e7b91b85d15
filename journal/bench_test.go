package journal_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/postgres"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// BenchmarkExchange records and settles transactions, as many at a time as there
// are goroutines. Where many wait, they share commits: with 64, an exchange
// should take less than 0.2.
func BenchmarkExchange(b *testing.B) {
	onStores(b, func(b *testing.B, newStore func(*testing.B) journal.Store) { benchmark(b, newStore, exchange) })
}

// BenchmarkNonce compares nonces alone, and exchanges without and with one.
func BenchmarkNonce(b *testing.B) {
	onStores(b, func(b *testing.B, newStore func(*testing.B) journal.Store) {
		b.Run("alone", func(b *testing.B) { benchmark(b, newStore, use) })
		b.Run("without", func(b *testing.B) { benchmark(b, newStore, exchange) })
		b.Run("with", func(b *testing.B) {
			benchmark(b, newStore, func(ctx context.Context, j *journal.Journal, n int) error {
				if err := use(ctx, j, n); err != nil {
					return err
				}
				return exchange(ctx, j, n)
			})
		})
	})
}

func onStores(b *testing.B, run func(b *testing.B, newStore func(*testing.B) journal.Store)) {
	b.Run("sqlite", func(b *testing.B) {
		run(b, func(b *testing.B) journal.Store { return sqlite.New(filepath.Join(b.TempDir(), "journal.db")) })
	})
	b.Run("postgres", func(b *testing.B) {
		server := postgrestest.Start(b, postgrestest.With("fsync", "on"))
		run(b, func(b *testing.B) journal.Store {
			store, err := postgres.New(server.NewDatabase(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			return store
		})
	})
}

// benchmark does b.N times the same, by different numbers of goroutines.
func benchmark(b *testing.B, newStore func(b *testing.B) journal.Store, each func(context.Context, *journal.Journal, int) error) {
	for _, goroutines := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			j := journal.New(journal.Options{
				Store: newStore(b), KeyFile: filepath.Join(b.TempDir(), "journal.key"), Gateway: "gateway",
			})
			if err := j.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			_, before := j.Writes()
			b.ResetTimer()
			spread(b, goroutines, func(n int) error { return each(b.Context(), j, n) })
			b.StopTimer()
			_, after := j.Writes()
			b.ReportMetric(float64(after-before)/float64(b.N), "commits/op")
		})
	}
}

func use(ctx context.Context, j *journal.Journal, n int) error {
	return j.UseNonce(ctx, journal.Nonce{Scope: "shop key-1", Value: fmt.Sprint(n), Expires: time.Now().Add(5 * time.Minute)})
}

func exchange(ctx context.Context, j *journal.Journal, n int) error {
	begun, err := j.Begin(ctx, intent(fmt.Sprintf("R%d", n)))
	if err != nil {
		return err
	}
	_, err = j.Settle(ctx, begun.Transaction.ID, success(begun.Transaction))
	return err
}

// spread does b.N times the same.
func spread(b *testing.B, goroutines int, each func(n int) error) {
	numbers := make(chan int)
	var work sync.WaitGroup
	for range goroutines {
		work.Go(func() {
			for n := range numbers {
				if err := each(n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := range b.N {
		numbers <- n
	}
	close(numbers)
	work.Wait()
}
