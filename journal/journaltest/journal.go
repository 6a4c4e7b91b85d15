package journaltest

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Database is an empty database of one test.
type Database struct {
	// NewStore returns a store on it that is not open; a journal closes it.
	NewStore func() journal.Store
	// Shared is set if several stores can have it open at the same time.
	Shared bool
	// SQL reaches its tables past the stores.
	SQL *sql.DB
	// Files returns the paths of what holds it; nil if they cannot be read.
	Files func() []string
}

// Run holds a [journal.Journal] on a store to all that it promises: what callers
// are told, what is stored, and that tampering is found. Each test calls open
// once.
func Run(t *testing.T, open func(t *testing.T) Database) {
	t.Helper()
	for _, group := range [][]journalTest{beginning, settling, claiming, limiting, keeping, rotating, verifying, living, told, using} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				w := &world{Database: open(t), keyFile: filepath.Join(t.TempDir(), "keys", "journal.key")}
				w.clock.Store(start.UnixMicro())
				if test.shared && !w.Shared {
					t.Skip("this store is of one gateway alone")
				}
				test.run(t, w)
			})
		}
	}
}

// journalTest is one of the suite.
type journalTest struct {
	name   string
	run    func(t *testing.T, w *world)
	shared bool // it takes two gateways on one database
}

// world is what the gateways of a test have in common.
type world struct {
	Database
	keyFile string
	clock   atomic.Int64 // in microseconds
	ids     atomic.Int64
}

// now is the clock of all gateways.
func (w *world) now() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }

func (w *world) pass(d time.Duration) { w.clock.Add(d.Microseconds()) }

// gateway is a journal that was started.
type gateway struct {
	*journal.Journal
	closing sync.Once
}

// start starts a gateway's journal. It is closed at the end of the test.
func (w *world) start(t *testing.T, name string) *gateway {
	t.Helper()
	g, err := w.try(t.Context(), name, w.keyFile)
	if err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() { g.end(t) })
	return g
}

// try is start for a journal that may not start.
func (w *world) try(ctx context.Context, name, keyFile string) (*gateway, error) {
	g := &gateway{Journal: journal.New(journal.Options{Store: w.NewStore(), KeyFile: keyFile, Gateway: name, Now: w.now})}
	if err := g.Start(ctx); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// end closes the journal, once.
func (g *gateway) end(t tb) {
	t.Helper()
	g.closing.Do(func() {
		if err := g.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
}

// two starts two gateways on a shared database; else they are one.
func (w *world) two(t *testing.T) [2]*gateway {
	t.Helper()
	first := w.start(t, "first")
	if !w.Shared {
		return [2]*gateway{first, first}
	}
	return [2]*gateway{first, w.start(t, "second")}
}

const (
	deadline = 2 * time.Minute
	again    = 10 * time.Minute // until a transaction is looked at again
)

// intent is a payout of one rupee.
func (w *world) intent(requestID string) journal.Intent {
	return journal.Intent{
		ID: newID(w.now(), int(w.ids.Add(1))), Account: account, RequestID: requestID,
		Merchant: merchant, Operation: "bank/payout", Amount: 100,
		Canonical: fmt.Appendf(nil, `{"amount":"1","yourrequestid":%q}`, requestID),
		Fields:    map[string]string{"accountnumber": secretField},
		Deadline:  w.now().Add(deadline),
		Next:      w.next,
	}
}

// limited is an intent of a merchant who may spend so much.
func (w *world) limited(requestID string, amount, limit nowpay.Paise) journal.Intent {
	in := w.intent(requestID)
	in.Amount, in.DailyLimit = amount, limit
	return in
}

// next looks at what is under way at its deadline, and at what is open later.
func (w *world) next(t journal.Transaction) time.Time {
	switch {
	case t.State == journal.Sent:
		return t.Deadline
	case t.State.Final():
		return time.Time{}
	}
	return w.now().Add(again)
}

// settlement is what an exchange says of a transaction.
func (w *world) settlement(t journal.Transaction, state journal.State) journal.Change {
	return journal.Change{
		State: state, Cause: journal.ByExchange, Attempt: t.Attempt, ProviderID: "P" + t.RequestID,
		Integrity: "verified", Evidence: `{"provider_status":200}`,
		Answer: &journal.Answer{ContentType: "application/json", Body: []byte(secretAnswer)},
		Next:   w.next,
	}
}

// says is a change of a cause other than the exchange.
func (w *world) says(cause journal.Cause, state journal.State) journal.Change {
	c := journal.Change{State: state, Cause: cause, Next: w.next}
	if cause == journal.ByOperator {
		c.Actor, c.Reason = "asha", "the bank's statement says so"
	}
	return c
}

// begin begins an intent that must be recorded.
func (g *gateway) begin(t tb, in journal.Intent) journal.Transaction {
	t.Helper()
	begun, err := g.Begin(t.Context(), in)
	if err != nil || !begun.Fresh {
		t.Fatalf("Begin(%s) = fresh %t, %v; want a fresh one", in.RequestID, begun.Fresh, err)
	}
	return begun.Transaction
}

// repeat begins an intent whose transaction is there.
func (g *gateway) repeat(t tb, in journal.Intent) journal.Transaction {
	t.Helper()
	begun, err := g.Begin(t.Context(), in)
	if err != nil || begun.Fresh {
		t.Fatalf("Begin(%s) = fresh %t, %v; want the one that is there", in.RequestID, begun.Fresh, err)
	}
	return begun.Transaction
}

// settle makes a change that must be possible.
func (g *gateway) settle(t tb, id string, c journal.Change) journal.Transaction {
	t.Helper()
	after, err := g.Settle(t.Context(), id, c)
	if err != nil {
		t.Fatalf("Settle(%s by %s) = %v", c.State, c.Cause, err)
	}
	return after
}

// settled begins a transaction and brings it into a state.
func (w *world) settled(t tb, g *gateway, requestID string, state journal.State) journal.Transaction {
	t.Helper()
	row := g.begin(t, w.intent(requestID))
	if state == journal.Sent {
		return row
	}
	return g.settle(t, row.ID, w.settlement(row, state))
}

// checkState compares a row with the journal, and its state with what is wanted.
func (g *gateway) checkState(t tb, row journal.Transaction, want journal.State, kinds ...journal.Kind) {
	t.Helper()
	if row.State != want {
		t.Errorf("transaction %s is %s, want %s", row.RequestID, row.State, want)
	}
	got, err := g.Get(t.Context(), row.ID)
	checkOne(t, "Get", got, err, row)
	events, err := g.Events(t.Context(), row.ID)
	if err != nil {
		t.Fatalf("Events() = %v", err)
	}
	if len(events) != row.Version+1 {
		t.Errorf("transaction %s has version %d and %d events", row.RequestID, row.Version, len(events))
	}
	var told []journal.Kind
	for i, event := range events {
		told = append(told, event.Kind)
		if event.Seq != i {
			t.Errorf("event %d of transaction %s has the number %d", i, row.RequestID, event.Seq)
		}
	}
	check(t, "events of "+row.RequestID, told, append([]journal.Kind{"created", "sent"}, kinds...))
}

// checkHonest fails if Verify finds anything.
func (g *gateway) checkHonest(t tb) journal.Report {
	t.Helper()
	report, err := g.Verify(t.Context())
	if err != nil {
		t.Fatalf("Verify() = %v", err)
	}
	check(t, "problems", report.Problems, nil)
	return report
}
