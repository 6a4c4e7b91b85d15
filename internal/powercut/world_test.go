//go:build linux

package powercut

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// world is all that takes part in one test.
type world struct {
	t         *testing.T
	seed      uint64
	provider  *provider
	gateways  []*gateway
	merchants []*merchant
	client    *http.Client
	lastCut   time.Time // so that there is time left to settle
	restarts  int       // of the database
	outages   int       // of the provider

	// truce is held by those who want no gateway to be killed for a while.
	truce sync.RWMutex
}

const merchants = 64

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, seed: seed(), lastCut: time.Now().Add(365 * 24 * time.Hour)}
	if deadline, ok := t.Deadline(); ok {
		w.lastCut = deadline.Add(-2 * settleTime)
	}
	w.provider = startProvider(t, w.seed)
	transport := &http.Transport{MaxIdleConnsPerHost: merchants}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return w
}

// random is one of the world's sources of chance.
func (w *world) random(of uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, of)) }

// run lets the merchants pay while act does to the gateways what the test is
// about, and settles what is open when that is over. disturb, if not nil, is
// called now and then meanwhile.
func (w *world) run(act func(), disturb func(r *rand.Rand)) {
	w.t.Helper()
	w.trade(merchants, (*merchant).work, act, disturb)
	w.settle()
}

// trade lets so many merchants do their work while act does its own. After it the
// provider misbehaves no more.
func (w *world) trade(merchants int, work func(*merchant, context.Context), act func(), disturb func(r *rand.Rand)) {
	w.t.Helper()
	for _, g := range w.gateways {
		g.start() // all at once, on an empty journal
	}
	ctx, end := context.WithCancel(w.t.Context())
	defer end()
	var working sync.WaitGroup
	for range merchants {
		m := w.newMerchant()
		working.Go(func() { work(m, ctx) })
	}
	over := make(chan struct{})
	go func() { defer close(over); act() }()
	w.disturb(over, disturb)
	end()
	working.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
	w.provider.calmDown()
}

func (w *world) newMerchant() *merchant {
	number := len(w.merchants)
	m := &merchant{number: number, random: w.random(uint64(1000 + number)), client: w.client, chance: faults}
	for _, g := range w.gateways {
		m.addresses = append(m.addresses, g.address)
	}
	w.merchants = append(w.merchants, m)
	return m
}

// cutAll kills the gateways, independently of each other and so often all in all.
func (w *world) cutAll(times int) {
	var cutting sync.WaitGroup
	for i, g := range w.gateways {
		cutting.Go(func() { w.cutOften(g, times/len(w.gateways), w.random(uint64(1+i))) })
	}
	cutting.Wait()
}

// cutOften kills a gateway and starts it again. In the end it serves.
func (w *world) cutOften(g *gateway, times int, r *rand.Rand) {
	for range times {
		if w.t.Failed() || time.Now().After(w.lastCut) || !w.cutOnce(g, r) {
			break
		}
	}
	g.serves()
}

// cutOnce kills a gateway in its work, or while it starts, and starts it again. It
// reports false if it does not start.
func (w *world) cutOnce(g *gateway, r *rand.Rand) bool {
	w.truce.RLock()
	defer w.truce.RUnlock()
	if r.IntN(4) == 0 {
		time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
	} else {
		if !g.serves() {
			return false
		}
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
	}
	g.cut()
	g.start()
	return true
}

// disturb shuts the provider's door for moments and disturbs otherwise, until
// the end.
func (w *world) disturb(end <-chan struct{}, otherwise func(r *rand.Rand)) {
	r := w.random(0)
	for turn := 1; ; turn++ {
		select {
		case <-end:
			return
		case <-time.After(time.Duration(300+r.IntN(1200)) * time.Millisecond):
		}
		if turn%5 == 2 && otherwise != nil {
			otherwise(r)
			w.restarts++
			continue
		}
		w.provider.outage(w.t, time.Duration(50+r.IntN(300))*time.Millisecond)
		w.outages++
	}
}

// orders are those of all merchants.
func (w *world) orders() []*order {
	var all []*order
	for _, m := range w.merchants {
		all = append(all, m.orders...)
	}
	return all
}

// settleTime is how long it may take until all is settled that can be: the
// deadline of an exchange, and some status calls with their pauses.
const settleTime = 2 * time.Minute

// settle repeats what is open until it is settled or cannot be, and then
// everything once more: what was answered finally must be answered again.
func (w *world) settle() {
	w.t.Helper()
	open := w.orders()
	for end := time.Now().Add(settleTime); ; time.Sleep(time.Second) {
		ledger := byRequest(w.provider.sim.Ledger())
		open = slices.DeleteFunc(open, func(o *order) bool {
			return o.definite() || o.last().status == http.StatusOK && whyOpen(false, o.operation, ledger[o.id()]) != ""
		})
		if len(open) == 0 {
			break
		}
		if time.Now().After(end) {
			w.t.Errorf("%d orders are still without an answer that they should have", len(open))
			break
		}
		w.sendAll(open)
	}
	w.sendAll(w.orders())
}

func byRequest(ledger simulator.Ledger) map[string]*simulator.Entry {
	entries := make(map[string]*simulator.Entry, len(ledger.Entries))
	for i := range ledger.Entries {
		entries[ledger.Entries[i].RequestID] = &ledger.Entries[i]
	}
	return entries
}

// sendAll sends each order once more.
func (w *world) sendAll(orders []*order) {
	var sending sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, o := range orders {
		slots <- struct{}{}
		sending.Go(func() {
			defer func() { <-slots }()
			if !o.send(context.Background(), w.client, w.gateways[i%len(w.gateways)].address) {
				w.t.Errorf("%s: nobody listens at the end", o.id())
			}
		})
	}
	sending.Wait()
}

// compare stops the gateways, and compares the books. store is that of the
// journal.
func (w *world) compare(store journal.Store, keyFile string) {
	w.t.Helper()
	for _, g := range w.gateways {
		g.stop()
	}
	j := w.openJournal(store, keyFile)
	defer j.Close()
	b := w.readBooks(j)
	a := b.check(false)
	w.show(a, b)
	w.complain(map[string][]string{"double": a.doubles, "lost": a.lost, "wrong": a.wrong})
}

// openJournal opens the journal of the gateways.
func (w *world) openJournal(store journal.Store, keyFile string) *journal.Journal {
	w.t.Helper()
	j := journal.New(journal.Options{Store: store, KeyFile: keyFile, Gateway: "powercut"})
	if err := j.Start(w.t.Context()); err != nil {
		_ = j.Close()
		w.t.Fatal(err)
	}
	return j
}

// readBooks reads all there is about the transactions, and verifies the journal.
func (w *world) readBooks(j *journal.Journal) books {
	w.t.Helper()
	b := books{orders: w.orders(), entries: w.provider.sim.Ledger().Entries}
	for t, err := range j.List(w.t.Context(), journal.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		b.rows = append(b.rows, t)
	}
	report, err := j.Verify(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, problem := range report.Problems {
		w.t.Errorf("verifying the journal: %s", problem)
	}
	if report.Transactions != len(b.rows) {
		w.t.Errorf("%d transactions were verified, and %d are listed", report.Transactions, len(b.rows))
	}
	w.compareSpending(j, b.rows)
	return b
}

// complain fails with the first of what was found, by its kind.
func (w *world) complain(found map[string][]string) {
	w.t.Helper()
	for kind, lines := range found {
		for _, line := range lines[:min(len(lines), 10)] {
			w.t.Errorf("%s: %s", kind, line)
		}
	}
}

// compareSpending compares what merchants have spent today with their
// transactions.
func (w *world) compareSpending(j *journal.Journal, rows []journal.Transaction) {
	w.t.Helper()
	for _, merchant := range []string{"shop", "kiosk"} {
		spent, err := j.Spent(w.t.Context(), merchant)
		if err != nil {
			w.t.Fatal(err)
		}
		sum := spent
		sum.Amount = 0
		for _, t := range rows {
			if t.Merchant == merchant && t.Day == spent.Day && t.State.Spends() {
				sum.Amount += t.Amount
			}
		}
		if spent != sum {
			w.t.Errorf("spent by the journal: %v; by its transactions: %v", spent, sum)
		}
	}
}

// show prints the figures.
func (w *world) show(a *audit, b books) {
	var requests, repeats, replays, cut, unsent int
	for _, o := range b.orders {
		requests += o.sent
		repeats += max(0, o.sent-1)
		for _, answer := range o.told {
			switch {
			case answer.status == 0:
				cut += answer.times
			case answer.status == http.StatusServiceUnavailable:
				unsent += answer.times
			case answer.replayed:
				replays += answer.times
			}
		}
	}
	states := make(map[journal.State]int)
	for _, t := range b.rows {
		states[t.State]++
	}
	reached, faults := w.provider.counted()
	met := 0
	for _, n := range faults {
		met += n
	}
	w.t.Logf("seed %d: %d kills, %d restarts of the database, %d outages of the provider", w.seed, w.kills(), w.restarts, w.outages)
	w.t.Logf("%d requests of %d orders: %d repeats, %d replayed answers, %d cut connections, %d not sent", requests, len(b.orders), repeats, replays, cut, unsent)
	w.t.Logf("the provider: %d requests, %d executions, %d faults of %d kinds", reached, len(b.entries), met, len(faults))
	w.t.Logf("the journal: %d transactions %v, open for good reasons %v", len(b.rows), states, a.open)
	w.t.Logf("doubles %d, lost %d, wrong %d", len(a.doubles), len(a.lost), len(a.wrong))
	w.mustHaveHappened(map[string]int{
		"replayed answers": replays, "cut connections": cut, "requests that were not sent": unsent, "faults": met,
		"successes": states[journal.Success], "failures": states[journal.Failed], "refusals": states[journal.Refused],
	})
}

// kills is how often gateways were killed.
func (w *world) kills() (n int) {
	for _, g := range w.gateways {
		n += g.kills
	}
	return n
}

// mustHaveHappened makes sure that the test has tried what it is for.
func (w *world) mustHaveHappened(counts map[string]int) {
	for what, n := range counts {
		if n == 0 {
			w.t.Errorf("there were no %s: the test proves nothing", what)
		}
	}
}
