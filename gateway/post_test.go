package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// Nonces are deleted some time after they have expired, however many there are.
func TestPruneNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournalAt(t, time.Now)
		g := New(Config{
			Journal: j, Now: time.Now, Random: func() float64 { return 0.5 }, Logger: slog.New(slog.DiscardHandler),
		})
		const many, few = 3*pruneAtOnce + 10, 7
		use := func(n int, prefix string, life time.Duration) {
			t.Helper()
			var work sync.WaitGroup
			for i := range n {
				work.Go(func() {
					if err := j.UseNonce(t.Context(), journal.Nonce{Value: fmt.Sprint(prefix, i), Expires: time.Now().Add(life)}); err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
		}
		use(many, "soon ", pruneInterval/2)
		use(few, "later ", pruneInterval/2+keepNonces)

		ctx, stop := context.WithCancel(t.Context())
		var pruning sync.WaitGroup
		pruning.Go(func() { g.prune(ctx) })
		time.Sleep(2*pruneInterval + time.Minute) // it has looked twice
		stop()
		pruning.Wait()
		if n, err := j.PruneNonces(t.Context(), time.Now(), 10*many); err != nil || n != few {
			t.Errorf("%d are left that have expired, %v; want %d", n, err, few)
		}
	})
}
