//go:build linux

package powercut

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	reviseEvery = 250 * time.Millisecond
	// reviseAfter is how old a transaction is: its merchant has been notified, or
	// waits for it.
	reviseAfter = 3 * time.Second
)

// revise has the provider change its mind about what was called back as a success,
// and call back again, so that merchants are told twice of one transaction.
func (w *callbackWorld) revise(end <-chan struct{}) {
	r := w.random(600)
	for {
		select {
		case <-end:
			return
		case <-time.After(reviseEvery):
		}
		e, ok := w.revisable(r)
		if !ok {
			continue
		}
		if err := w.provider.sim.FlipFinal(e.ProviderID, simulator.StateFailed); err != nil {
			w.t.Errorf("revising %s: %v", e.RequestID, err)
			return
		}
		w.revised[e.RequestID] = simulator.StateFailed
		if _, err := w.provider.sim.SendCallback(w.t.Context(), e.ProviderID, "", simulator.Fault{}); err != nil {
			w.t.Errorf("calling back about %s: %v", e.RequestID, err)
			return
		}
	}
}

// revisable chooses a payout whose success was called back, and acknowledged.
func (w *callbackWorld) revisable(r *rand.Rand) (simulator.Entry, bool) {
	ledger := w.provider.sim.Ledger()
	sharing := make(map[string]int)
	for _, e := range ledger.Entries {
		sharing[e.ProviderID]++
	}
	told := make(map[string]bool)
	for _, c := range w.provider.sim.Callbacks() {
		told[c.RequestID] = told[c.RequestID] || c.Status == http.StatusOK && c.State == simulator.StateSuccess
	}
	candidates := slices.DeleteFunc(ledger.Entries, func(e simulator.Entry) bool {
		return e.Operation != payout || e.State != simulator.StateSuccess || sharing[e.ProviderID] > 1 ||
			!told[e.RequestID] || time.Since(e.Created) < reviseAfter
	})
	if len(candidates) == 0 {
		return simulator.Entry{}, false
	}
	return candidates[r.IntN(len(candidates))], true
}

// before are the books as they were before the provider changed its mind, where
// the journal has seen that.
func (w *callbackWorld) before(b books) books {
	b.rows, b.entries = slices.Clone(b.rows), slices.Clone(b.entries)
	unaware := make(map[string]bool)
	for i := range b.rows {
		t := &b.rows[i]
		to, ok := w.revised[t.RequestID]
		if !ok || t.State != journal.Success || t.Reversed != "" && t.Reversed != journal.State(to) {
			continue
		}
		t.Reversed = ""
		unaware[t.RequestID] = true
	}
	for i := range b.entries {
		if e := &b.entries[i]; unaware[e.RequestID] {
			e.State = simulator.StateSuccess
		}
	}
	return b
}
