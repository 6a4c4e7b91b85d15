package journal_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/postgres"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// BenchmarkExchange records and settles transactions, as many at a time as there
// are goroutines. Where many wait, they share commits: with 64, an exchange
// should take less than 0.2.
func BenchmarkExchange(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmark(b, func(b *testing.B) journal.Store { return sqlite.New(filepath.Join(b.TempDir(), "journal.db")) })
	})
	b.Run("postgres", func(b *testing.B) {
		server := postgrestest.Start(b, postgrestest.With("fsync", "on"))
		benchmark(b, func(b *testing.B) journal.Store {
			store, err := postgres.New(server.NewDatabase(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			return store
		})
	})
}

func benchmark(b *testing.B, newStore func(b *testing.B) journal.Store) {
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
			exchange(b, j, goroutines)
			b.StopTimer()
			_, after := j.Writes()
			b.ReportMetric(float64(after-before)/float64(b.N), "commits/op")
		})
	}
}

// exchange does b.N exchanges.
func exchange(b *testing.B, j *journal.Journal, goroutines int) {
	numbers := make(chan int)
	var work sync.WaitGroup
	for range goroutines {
		work.Go(func() {
			for n := range numbers {
				begun, err := j.Begin(b.Context(), intent(fmt.Sprintf("R%d", n)))
				if err == nil {
					_, err = j.Settle(b.Context(), begun.Transaction.ID, success(begun.Transaction))
				}
				if err != nil {
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
