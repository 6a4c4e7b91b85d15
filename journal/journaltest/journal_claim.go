package journaltest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// claiming are the tests of transactions that are due.
var claiming = []journalTest{
	{name: "Claim", run: testClaim},
	{name: "ClaimAtOnce", run: testClaimAtOnce},
	{name: "ClaimStuck", run: testClaimStuck},
	{name: "ClockSteps", run: testClockSteps},
}

const lease = 5 * time.Minute

// due claims transactions of the account, and returns their request IDs.
func (g *gateway) due(t tb, w *world, limit int) (requests []string) {
	t.Helper()
	claimed, err := g.Claim(t.Context(), journal.Claim{Accounts: []string{account}, Limit: limit, Lease: lease, Next: w.next})
	if err != nil {
		t.Fatalf("Claim() = %v", err)
	}
	for _, row := range claimed {
		requests = append(requests, row.RequestID)
		if !row.NextCheck.Equal(w.now().Add(lease)) {
			t.Errorf("claimed until %v", row.NextCheck)
		}
		got, err := g.Get(t.Context(), row.ID)
		checkOne(t, "claimed", row, err, got)
	}
	return requests
}

// Claim hands out what waits longest, once for the time of a lease, and settles
// as unknown what is beyond its deadline.
func testClaim(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	w.settled(t, g, "final", journal.Success)
	w.settled(t, g, "pending", journal.Pending)
	w.pass(time.Second)
	w.settled(t, g, "unknown", journal.Unknown)
	w.pass(time.Second)
	expired := w.settled(t, g, "expired", journal.Sent)
	other := w.intent("other")
	other.Account = "other"
	g.begin(t, other)
	check(t, "due at first", g.due(t, w, 10), nil)
	w.pass(deadline - time.Microsecond)
	check(t, "due before the deadline", g.due(t, w, 10), nil)
	w.pass(time.Microsecond)
	check(t, "due at the deadline", g.due(t, w, 10), []string{"expired"})
	expired, err := g.Get(t.Context(), expired.ID)
	if err != nil {
		t.Fatal(err)
	}
	g.checkState(t, expired, journal.Unknown, "unknown")
	check(t, "due within the lease", g.due(t, w, 10), nil)
	w.pass(lease)
	check(t, "due after the lease", g.due(t, w, 10), []string{"expired"})
	w.pass(again)
	check(t, "two of those that are due", g.due(t, w, 2), []string{"pending", "unknown"})
	check(t, "the other", g.due(t, w, 2), []string{"expired"})
	g.checkHonest(t)
}

func testClaimAtOnce(t *testing.T, w *world) {
	const rows = 60
	gateways := w.two(t)
	for i := range rows {
		w.settled(t, gateways[i%2], fmt.Sprintf("R%02d", i), []journal.State{journal.Pending, journal.Sent}[i%2])
	}
	w.pass(again)
	var mu sync.Mutex
	var all []string
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			for range 3 * rows {
				claimed := gateways[worker%2].due(t, w, 4)
				mu.Lock()
				all = append(all, claimed...)
				enough := len(all) >= rows
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	work.Wait()
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != rows || len(all) != rows {
		t.Errorf("claimed %d times, want each of %d once: %v", len(all), rows, all)
	}
	gateways[0].checkHonest(t)
}

// What cannot be made unknown does not keep others from it.
func testClaimStuck(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for i := range 4 {
		w.settled(t, g, fmt.Sprintf("R%d", i), journal.Sent)
		w.pass(time.Second)
	}
	w.exec(t, `UPDATE transactions SET sealed = fingerprint WHERE request_id IN ('R0', 'R1')`)
	w.pass(deadline)
	if got := append(g.due(t, w, 2), g.due(t, w, 2)...); !slices.Equal(got, []string{"R2", "R3"}) {
		t.Errorf("claimed %v, want those that can be", got)
	}
}

// A clock that steps makes what is under way unknown too early, or too late. It
// lets nothing be sent again, and what an exchange says at its end still counts.
func testClockSteps(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	first := g.begin(t, w.intent("R1"))
	w.pass(-2 * time.Hour)
	second := g.begin(t, w.intent("R2"))
	check(t, "due, the clock being behind", g.due(t, w, 10), nil)
	g.checkState(t, g.repeat(t, w.intent("R1")), journal.Sent)
	w.settled(t, g, "R3", journal.Pending)

	w.pass(26 * time.Hour)
	check(t, "due, the clock being ahead", g.due(t, w, 10), []string{"R2", "R3", "R1"})
	for _, row := range []journal.Transaction{first, second} {
		g.checkState(t, g.repeat(t, w.intent(row.RequestID)), journal.Unknown, "unknown")
		w.pass(-12 * time.Hour)
		late := g.settle(t, row.ID, w.settlement(row, journal.Success))
		g.checkState(t, late, journal.Success, "unknown", "success")
	}
	checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
	g.checkHonest(t)
}
