package journaltest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// beginning are the tests of intents.
var beginning = []journalTest{
	{name: "Fresh", run: testFresh},
	{name: "Repeat", run: testRepeat},
	{name: "Reused", run: testReused},
	{name: "BeginAtOnce", run: testBeginAtOnce},
	{name: "BeginMany", run: testBeginMany},
	{name: "Again", run: testAgain},
	{name: "AgainAtOnce", run: testAgainAtOnce},
	{name: "AgainReversed", run: testAgainReversed},
	{name: "Expired", run: testExpired},
}

func testFresh(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	in := w.intent("R1")
	row := g.begin(t, in)
	want := journal.Transaction{
		ID: in.ID, Account: account, RequestID: "R1", Merchant: merchant, Operation: "bank/payout", Amount: 100,
		Day: today, State: journal.Sent, Attempt: 1, Created: w.now(), Updated: w.now(), Deadline: in.Deadline,
		Version: 1, NextCheck: in.Deadline, KeyID: 1, Fingerprint: row.Fingerprint, Sealed: row.Sealed,
	}
	checkOne(t, "row", row, nil, want)
	if len(row.Fingerprint) != 32 || len(row.Sealed) == 0 {
		t.Errorf("fingerprint %x, sealed %x", row.Fingerprint, row.Sealed)
	}
	g.checkState(t, row, journal.Sent)
	found, err := g.Find(t.Context(), journal.RequestKey{Account: account, RequestID: "R1"})
	checkOne(t, "Find", found, err, row)
	_, err = g.Find(t.Context(), journal.RequestKey{Account: "other", RequestID: "R1"})
	checkError(t, "Find", err, journal.ErrNotFound)
	stats, err := g.Stats(t.Context())
	if err != nil || stats.Open[journal.Sent] != 1 {
		t.Errorf("Stats() = %v, %v", stats, err)
	}
}

func testRepeat(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for _, state := range []journal.State{
		journal.Sent, journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown,
	} {
		row := w.settled(t, g, "R"+string(state), state)
		w.pass(time.Second)
		checkOne(t, "repeat", g.repeat(t, w.intent("R"+string(state))), nil, row)
		g.end(t)
		g = w.start(t, "gateway")
		checkOne(t, "repeat after a restart", g.repeat(t, w.intent("R"+string(state))), nil, row)
	}
	g.checkHonest(t)
}

// A request ID stands for one request of one merchant, in any state.
func testReused(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for _, state := range []journal.State{journal.Sent, journal.Success, journal.Unsent} {
		row := w.settled(t, g, "R"+string(state), state)
		for name, change := range map[string]func(*journal.Intent){
			"body":      func(in *journal.Intent) { in.Canonical = []byte(`{"amount":"2"}`) },
			"operation": func(in *journal.Intent) { in.Operation = "bank/account_transfer" },
			"merchant":  func(in *journal.Intent) { in.Merchant = "kiosk" },
			"limit":     func(in *journal.Intent) { in.Merchant, in.DailyLimit = "kiosk", 1 },
		} {
			in := w.intent(row.RequestID)
			change(&in)
			begun, err := g.Begin(t.Context(), in)
			checkError(t, "Begin with another "+name, err, journal.ErrReused)
			check(t, "what is told then", []journal.Begun{begun}, []journal.Begun{{}})
		}
		in := w.intent(row.RequestID)
		in.Account = "other"
		g.begin(t, in)
		got, err := g.Get(t.Context(), row.ID)
		checkOne(t, "the first one", got, err, row)
	}
	g.checkHonest(t)
}

// atOnce begins an intent many times at the same time, over all gateways, and
// returns how often it was fresh and what all were given.
func atOnce(t *testing.T, w *world, gateways [2]*gateway, requestID string) (fresh int, id string) {
	t.Helper()
	const times = 50
	var begins sync.WaitGroup
	results := make([]journal.Begun, times)
	for i := range times {
		in := w.intent(requestID)
		begins.Go(func() {
			var err error
			if results[i], err = gateways[i%2].Begin(t.Context(), in); err != nil {
				t.Errorf("Begin() = %v", err)
			}
		})
	}
	begins.Wait()
	for _, result := range results {
		if result.Fresh {
			fresh++
		}
		if result.Transaction.ID != results[0].Transaction.ID {
			t.Errorf("there are transactions %s and %s", result.Transaction.ID, results[0].Transaction.ID)
		}
	}
	return fresh, results[0].Transaction.ID
}

func testBeginAtOnce(t *testing.T, w *world) {
	gateways := w.two(t)
	for i := range 5 {
		if fresh, _ := atOnce(t, w, gateways, fmt.Sprintf("R%d", i)); fresh != 1 {
			t.Errorf("%d of 50 are fresh, want 1", fresh)
		}
	}
	if report := gateways[1].checkHonest(t); report.Transactions != 5 {
		t.Errorf("%d transactions, want 5", report.Transactions)
	}
}

// Gateways that record and settle many request IDs in different orders neither
// block each other nor mix them up.
func testBeginMany(t *testing.T, w *world) {
	const requests = 40
	gateways := w.two(t)
	var fresh, work sync.WaitGroup
	var count [requests]int
	var mu sync.Mutex
	for worker := range 8 {
		g := gateways[worker%2]
		work.Go(func() {
			for i := range requests {
				n := (i*(2*worker+1) + worker) % requests
				in := w.limited(fmt.Sprintf("R%d", n), 100, 1_000_000)
				begun, err := g.Begin(t.Context(), in)
				if err != nil {
					t.Errorf("Begin() = %v", err)
					continue
				}
				if !begun.Fresh {
					continue
				}
				mu.Lock()
				count[n]++
				mu.Unlock()
				fresh.Go(func() {
					if _, err := g.Settle(t.Context(), in.ID, w.settlement(begun.Transaction, journal.Success)); err != nil {
						t.Errorf("Settle() = %v", err)
					}
				})
			}
		})
	}
	work.Wait()
	fresh.Wait()
	for n, times := range count {
		if times != 1 {
			t.Errorf("R%d was fresh %d times", n, times)
		}
	}
	checkSpending(t, gateways[0], requests*100)
	gateways[0].checkHonest(t)
}

// What is unsent may be begun again, and what is left of the attempt before is
// not listened to any more.
func testAgain(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	first := w.settled(t, g, "R1", journal.Unsent)
	g.checkState(t, first, journal.Unsent, "unsent")
	w.pass(24 * time.Hour)
	second := g.begin(t, w.intent("R1"))
	if second.ID != first.ID || second.Attempt != 2 || second.Day != today+1 || !second.Deadline.Equal(w.now().Add(deadline)) {
		t.Errorf("begun again as %+v", second)
	}
	g.checkState(t, second, journal.Sent, "unsent", "sent")
	checkAnswer(t, g, second, "")
	for _, late := range []journal.State{journal.Unsent, journal.Failed, journal.Success} {
		_, err := g.Settle(t.Context(), first.ID, w.settlement(first, late))
		checkError(t, "Settle of the first attempt", err, journal.ErrTransition)
	}
	g.checkState(t, second, journal.Sent, "unsent", "sent")
	g.repeat(t, w.intent("R1"))
	done := g.settle(t, second.ID, w.settlement(second, journal.Success))
	g.checkState(t, done, journal.Success, "unsent", "sent", "success")
	g.repeat(t, w.intent("R1"))
	g.checkHonest(t)
}

func testAgainAtOnce(t *testing.T, w *world) {
	gateways := w.two(t)
	row := w.settled(t, gateways[0], "R1", journal.Unsent)
	for attempt := 2; attempt < 5; attempt++ {
		fresh, id := atOnce(t, w, gateways, "R1")
		if fresh != 1 || id != row.ID {
			t.Fatalf("%d of 50 are fresh, want 1", fresh)
		}
		row.Attempt = attempt
		row = gateways[1].settle(t, id, w.settlement(row, journal.Unsent))
	}
	gateways[0].checkHonest(t)
}

// If the provider knows a transaction that was not sent, it is not sent again.
func testAgainReversed(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Unsent)
	row = g.settle(t, row.ID, w.says(journal.ByRevalidation, journal.Success))
	g.checkState(t, row, journal.Unsent, "unsent", "reversed")
	g.repeat(t, w.intent("R1"))
}

// At its deadline a transaction without an outcome is unknown. What comes later
// still counts.
func testExpired(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := g.begin(t, w.intent("R1"))
	w.pass(deadline - time.Microsecond)
	g.checkState(t, g.repeat(t, w.intent("R1")), journal.Sent)
	w.pass(time.Microsecond)
	seen, err := g.Get(t.Context(), row.ID)
	if err != nil || seen.State != journal.Unknown || seen.Version != 1 {
		t.Errorf("Get() = %+v, %v; want it shown as unknown", seen, err)
	}
	row = g.repeat(t, w.intent("R1"))
	g.checkState(t, row, journal.Unknown, "unknown")
	events, err := g.Events(t.Context(), row.ID)
	if err != nil || events[2].Cause != journal.ByDeadline {
		t.Errorf("Events() = %+v, %v", events, err)
	}
	row = g.settle(t, row.ID, w.settlement(row, journal.Success))
	g.checkState(t, row, journal.Success, "unknown", "success")
	g.checkHonest(t)
}
