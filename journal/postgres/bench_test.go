package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// BenchmarkRecord writes intents with their events, as many in one transaction
// as the name says, to a server that waits for the disk.
func BenchmarkRecord(b *testing.B) {
	server := postgrestest.Start(b, postgrestest.With("fsync", "on"))
	for _, group := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(group), func(b *testing.B) {
			s := opened(b, server.NewDatabase(b))
			chain := journaltest.NewChain(1)
			if err := s.Write(b.Context(), func(ctx context.Context, tx journal.Tx) error {
				_, err := tx.AddChain(ctx, chain)
				return err
			}); err != nil {
				b.Fatal(err)
			}
			rows := make([]journal.Transaction, group)
			events := make([]journal.Event, group)
			for b.Loop() {
				before := chain.Number
				for i := range rows {
					chain.Number++
					rows[i] = journaltest.NewTransaction(int(chain.Number))
					events[i] = journaltest.NewEvent(rows[i], 1, chain.Number)
				}
				err := s.Write(b.Context(), func(ctx context.Context, tx journal.Tx) error {
					if _, err := tx.Insert(ctx, rows); err != nil {
						return err
					}
					return tx.Append(ctx, events, before, chain)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*group)/b.Elapsed().Seconds(), "intents/s")
		})
	}
}
