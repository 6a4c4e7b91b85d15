package journaltest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// limiting are the tests of daily amounts.
var limiting = []journalTest{
	{name: "DailyLimit", run: testDailyLimit},
	{name: "GivenBack", run: testGivenBack},
	{name: "LimitOfRepeats", run: testLimitOfRepeats},
	{name: "Midnight", run: testMidnight},
	{name: "LimitAtOnce", run: testLimitAtOnce},
}

// checkSpending compares what the merchant spends today.
func checkSpending(t tb, g *gateway, want nowpay.Paise) {
	t.Helper()
	got, err := g.Spent(t.Context(), merchant)
	if err != nil || got.Amount != want {
		t.Errorf("Spent() = %v, %v; want %v", got.Amount, err, want)
	}
}

// refused begins an intent that the merchant cannot afford.
func (g *gateway) refused(t tb, in journal.Intent) {
	t.Helper()
	begun, err := g.Begin(t.Context(), in)
	checkError(t, "Begin beyond the limit", err, journal.ErrDailyLimit)
	check(t, "what is told then", []journal.Begun{begun}, []journal.Begun{{}})
}

// The sum is that of the journal: also of what was spent while there was no
// limit, and before a restart.
func testDailyLimit(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	g.begin(t, w.limited("R1", 300, 0))
	checkSpending(t, g, 300)
	g.refused(t, w.limited("R2", 701, 1000))
	g.begin(t, w.limited("R2", 600, 1000))
	other := w.limited("R3", 1000, 1000)
	other.Merchant = "kiosk"
	g.begin(t, other)
	g.end(t)
	g = w.start(t, "gateway")
	checkSpending(t, g, 900)
	g.refused(t, w.limited("R4", 101, 1000))
	g.begin(t, w.limited("R5", 100, 1000)) // to the paisa
	g.refused(t, w.limited("R6", 1, 1000))
	g.begin(t, w.limited("R7", 0, 1000)) // whose price is not known
	g.begin(t, w.limited("R8", 500, 0))  // of a gateway with other settings
	checkSpending(t, g, 1500)
	g.refused(t, w.limited("R9", 1, 1500))
	g.checkHonest(t)
}

// What may have been paid counts, and what was certainly not is given back.
func testGivenBack(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	const limit = 100
	for _, state := range []journal.State{journal.Failed, journal.Refused, journal.Unsent} {
		row := g.begin(t, w.limited("R"+string(state), limit, limit))
		g.refused(t, w.limited("R2", 1, limit))
		g.settle(t, row.ID, w.settlement(row, state))
		checkSpending(t, g, 0)
	}
	row := g.begin(t, w.limited("R1", limit, limit))
	for _, step := range []struct {
		change journal.Change
		spent  nowpay.Paise
	}{
		{w.settlement(row, journal.Unknown), limit},
		{w.settlement(row, journal.Pending), limit},
		{w.says(journal.ByReconciliation, journal.Success), limit},
		{w.says(journal.ByDailyCheck, journal.Failed), limit}, // only said
		{w.says(journal.ByOperator, journal.Failed), 0},
		{w.says(journal.ByOperator, journal.Success), limit},
		{w.says(journal.ByOperator, journal.Refused), 0},
	} {
		g.settle(t, row.ID, step.change)
		checkSpending(t, g, step.spent)
	}
	w.pass(time.Second)
	g.begin(t, w.limited("Rlast", limit, limit))
	w.pass(deadline)
	g.due(t, w, 10)
	g.refused(t, w.limited("R2", 1, limit)) // for the one that is unknown
	g.checkHonest(t)
}

func testLimitOfRepeats(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := g.begin(t, w.limited("R1", 60, 100))
	g.repeat(t, w.limited("R1", 60, 100)) // though twice were too much
	checkSpending(t, g, 60)
	g.settle(t, row.ID, w.settlement(row, journal.Unsent))
	g.begin(t, w.limited("R2", 50, 100))
	g.refused(t, w.limited("R1", 60, 100))
	got, err := g.Get(t.Context(), row.ID)
	if err != nil || got.State != journal.Unsent || got.Attempt != 1 {
		t.Errorf("refused as %+v, %v", got, err)
	}
	begun := g.begin(t, w.limited("R1", 60, 110))
	checkSpending(t, g, 110)
	g.settle(t, row.ID, w.settlement(begun, journal.Refused))
	checkSpending(t, g, 50)
}

// Days are those of India, by the clock that the journal was given.
func testMidnight(t *testing.T, w *world) {
	midnight := time.Date(2026, 11, 26, 18, 30, 0, 0, time.UTC)
	w.clock.Store(midnight.Add(-time.Microsecond).UnixMicro())
	g := w.start(t, "gateway")
	before := g.begin(t, w.limited("R1", 100, 100))
	g.refused(t, w.limited("R2", 1, 100))
	unsent := g.begin(t, w.limited("R3", 100, 200))
	g.settle(t, unsent.ID, w.settlement(unsent, journal.Unsent))
	w.pass(time.Microsecond)
	after := g.begin(t, w.limited("R2", 70, 100))
	if before.Day != 20261126 || after.Day != 20261127 {
		t.Errorf("days %d and %d", before.Day, after.Day)
	}
	checkSpending(t, g, 70)
	g.settle(t, before.ID, w.settlement(before, journal.Failed)) // of yesterday
	checkSpending(t, g, 70)
	again := g.begin(t, w.limited("R3", 100, 170)) // counts for today
	checkSpending(t, g, 170)
	g.settle(t, again.ID, w.settlement(again, journal.Failed))
	checkSpending(t, g, 70)
	g.checkHonest(t)
}

// However many gateways begin and give back at the same time, the limit holds.
func testLimitAtOnce(t *testing.T, w *world) {
	const limit, each = 1000, 100
	gateways := w.two(t)
	var mu sync.Mutex
	var spent, most nowpay.Paise
	count := func(amount nowpay.Paise) {
		mu.Lock()
		defer mu.Unlock()
		spent += amount
		most = max(most, spent)
	}
	var work sync.WaitGroup
	for worker := range 16 {
		g := gateways[worker%2]
		work.Go(func() {
			for i := range 8 {
				begun, err := g.Begin(t.Context(), w.limited(fmt.Sprintf("R%d-%d", worker, i), each, limit))
				if err != nil {
					checkError(t, "Begin", err, journal.ErrDailyLimit)
					continue
				}
				count(each)
				if i%2 == 0 {
					count(-each) // at the latest now
					if _, err := g.Settle(t.Context(), begun.Transaction.ID, w.settlement(begun.Transaction, journal.Failed)); err != nil {
						t.Errorf("Settle() = %v", err)
					}
				}
			}
		})
	}
	work.Wait()
	if most > limit || spent < limit/2 {
		t.Errorf("%d were spent in the end and %d at most, of %d", spent, most, limit)
	}
	checkSpending(t, gateways[0], spent)
	gateways[0].checkHonest(t)
}
