//go:build linux

package powercut

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/postgres"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestCallbacksSQLite cuts the power of a single gateway while the provider calls
// back, and merchants are notified.
func TestCallbacksSQLite(t *testing.T) {
	skipIfShort(t)
	for _, noStatus := range []bool{true, false} {
		t.Run(nameOf(noStatus), func(t *testing.T) {
			w := newCallbackWorld(t, noStatus)
			folder := t.TempDir()
			file := filepath.Join(folder, "journal.db")
			w.keyFile = filepath.Join(folder, "journal.key")
			w.store = func() journal.Store { return sqlite.New(file) }
			w.addGateway("127.0.0.21", "sqlite "+file)
			w.run(nil)
			checkFile(t, file)
		})
	}
}

// TestCallbacksPostgres does it to two gateways that share a database.
func TestCallbacksPostgres(t *testing.T) {
	skipIfShort(t)
	server := postgrestest.Start(t, postgrestest.With("fsync", "on"), postgrestest.With("synchronous_commit", "on"))
	for _, noStatus := range []bool{true, false} {
		t.Run(nameOf(noStatus), func(t *testing.T) {
			w := newCallbackWorld(t, noStatus)
			dsn := server.NewDatabase(t)
			w.keyFile = filepath.Join(t.TempDir(), "journal.key")
			w.store = func() journal.Store {
				store, err := postgres.New(dsn, nil)
				if err != nil {
					t.Fatal(err)
				}
				return store
			}
			for _, ip := range []string{"127.0.0.22", "127.0.0.23"} {
				w.addGateway(ip, "postgres "+dsn)
			}
			shortly := disturbDatabase(server)
			w.run(func(r *rand.Rand) {
				if w.restarts%longHalts == 0 {
					w.haltDatabase(server)
				} else {
					shortly(r)
				}
			})
			w.mustHaveHappened(map[string]int{"restarts of the database": w.restarts})
		})
	}
}

func nameOf(noStatus bool) string {
	if noStatus {
		return "settle"
	}
	return "ask"
}

// callbackWorld is one in which callbacks come in, and notifications go out.
type callbackWorld struct {
	*world
	noStatus bool
	receiver *receiver
	store    func() journal.Store
	keyFile  string

	sent    []simulator.Callback       // of the goroutine that directs them, then of the test
	revised map[string]simulator.State // of the one that does it, then of the test
}

func newCallbackWorld(t *testing.T, noStatus bool) *callbackWorld {
	t.Helper()
	w := &callbackWorld{world: newWorld(t), noStatus: noStatus, revised: make(map[string]simulator.State)}
	w.receiver = startReceiver(t, w.random(500))
	w.provider.losing = 15
	for _, fault := range callbackFaults(noStatus) {
		if err := w.provider.sim.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *callbackWorld) addGateway(ip, journal string) {
	w.t.Helper()
	w.gateways = append(w.gateways, settings{
		ip: ip, journal: journal, keyFile: w.keyFile, provider: w.provider.address,
		callbacks: true, noStatus: w.noStatus, notify: w.receiver.lines(w.t),
	}.gateway(w.t))
}

// callbackFaults are what becomes of callbacks. That one lies is among them only
// where the provider can be asked: else nobody could tell.
func callbackFaults(noStatus bool) []simulator.Fault {
	faults := []simulator.Fault{
		{Kind: simulator.CallbackWrongSource, Probability: 0.08},
		{Kind: simulator.CallbackBeforeAnswer, Probability: 0.15},
		{Kind: simulator.CallbackRepeated, Probability: 0.1},
		{Kind: simulator.CallbackRepeated, Copies: 5, Shape: simulator.Flat, Probability: 0.05},
		{Kind: simulator.CallbackDelayed, Delay: 700 * time.Millisecond, Probability: 0.1},
		{Kind: simulator.CallbackOvertaken, Probability: 0.1},
		{Kind: simulator.CallbackLost, Probability: 0.03},
		{Kind: simulator.CallbackSent, Shape: simulator.FlatForm, Probability: 0.1},
		{Kind: simulator.CallbackSent, Shape: simulator.FlatGet, Probability: 0.1},
		{Kind: simulator.CallbackWrongProviderID, Probability: 0.02},
		{Kind: simulator.CallbackWrongRequestID, Probability: 0.02},
		{Kind: simulator.CallbackJunk, Probability: 0.02},
	}
	if !noStatus {
		faults = append(faults, simulator.Fault{Kind: simulator.CallbackContradicts, Operation: payout, Probability: 0.05})
	}
	return faults
}

// pendingFaults are what the provider does to orders, most of which it settles
// later and calls back.
var pendingFaults = chances{
	{simulator.PendingThenSuccess, 30, 3 * time.Second},
	{simulator.PendingThenFailed, 20, 3 * time.Second},
	{simulator.Pending, 3, 0},
	{simulator.Ambiguous, 3, 0},
	{simulator.Success, 15, 0},
	{simulator.Failed, 3, 0},
	{simulator.Refused, 2, 0},
	{simulator.TimeoutAfterDebit, 2, 0},
	{simulator.ResetBefore, 1, 0},
	{simulator.ResetAfterDebit, 2, 0},
	{simulator.CloseAfterDebit, 2, 0},
	{simulator.Slow, 4, 1500 * time.Millisecond},
	{simulator.Truncated, 1, 0},
	{simulator.HTTP500, 1, 0},
	{simulator.IDCollision, 1, 0},
	{simulator.OtherID, 1, 0},
	{simulator.NoProviderID, 1, 0},
}

const (
	// notified is how many merchants there are that wait to be notified.
	notified = 24
	// callbackRounds is into how many parts the kills are split, so that two of them
	// take as long as the other tests.
	callbackRounds = 3
	// longHalts is how many troubles of the database there are to one that is long.
	longHalts = 6
	// longHalt is longer than an exchange waits for the journal.
	longHalt = 12 * time.Second
	// underWay is how many exchanges are then under way on purpose.
	underWay = 12
)

// run lets all happen until it has come to rest, and compares the books.
func (w *callbackWorld) run(disturb func(*rand.Rand)) {
	w.t.Helper()
	end := make(chan struct{})
	var directing sync.WaitGroup
	stop := sync.OnceFunc(func() { close(end); directing.Wait() })
	defer stop() // also of a test that gives up
	directing.Go(func() { w.direct(end) })
	if !w.noStatus {
		directing.Go(func() { w.revise(end) })
	}
	w.trade(notified, (*merchant).waitForNotice, func() { w.cutAll(*killsFlag / callbackRounds) }, disturb)
	w.receiver.calm.Store(true)
	stop()
	w.settleLate()
	w.rest()
	w.audit()
}

// waitForNotice sends orders until the context ends, none after it was answered:
// what becomes of it then, the merchant is told.
func (m *merchant) waitForNotice(ctx context.Context) {
	m.chance = pendingFaults
	for ctx.Err() == nil {
		o := m.order()
		for end := time.Now().Add(patience); ctx.Err() == nil && time.Now().Before(end); {
			if m.send(ctx, o); o.last().status == http.StatusOK {
				break
			}
			m.pause(ctx, unsettled)
		}
		m.pause(ctx, 6*betweenTimes)
	}
}

// direct has the provider call one gateway and then another, as a load balancer
// would, and keeps what it says of its callbacks.
func (w *callbackWorld) direct(end <-chan struct{}) {
	for turn := 0; ; turn++ {
		target := simulator.CallbackTarget{
			URL: "http://" + w.gateways[turn%len(w.gateways)].hook + "/nowpay", From: netip.MustParseAddr(providerIP),
		}
		if err := w.provider.sim.SetCallback(target); err != nil {
			w.t.Errorf("directing callbacks: %v", err)
		}
		if turn%10 == 0 {
			w.collect()
		}
		select {
		case <-end:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// collect keeps the callbacks that are new: the simulator forgets old ones.
func (w *callbackWorld) collect() {
	for _, c := range w.provider.sim.Callbacks() {
		switch next := len(w.sent) + 1; {
		case c.Number == next:
			w.sent = append(w.sent, c)
		case c.Number > next:
			w.t.Errorf("callback %d was forgotten before it was kept", next)
			return
		}
	}
}

// haltDatabase stops the database for longer than exchanges wait that are under
// way, so that merchants are told that an outcome is not known which then is. The
// gateways live until it is written, or nothing would come of it.
func (w *callbackWorld) haltDatabase(server *postgrestest.Server) {
	w.truce.Lock()
	defer w.truce.Unlock()
	for _, g := range w.gateways {
		g.ready()
	}
	m := w.newMerchant()
	var exchanges sync.WaitGroup
	for range underWay {
		o := m.order()
		o.operation, o.kind = payout, "slow:900ms"
		address := m.address()
		exchanges.Go(func() { o.send(context.WithoutCancel(w.t.Context()), w.client, address) })
	}
	time.Sleep(400 * time.Millisecond) // until they have arrived at the provider
	server.Pause()
	time.Sleep(longHalt)
	server.Resume()
	exchanges.Wait()
	for _, g := range w.gateways {
		g.ready()
	}
}

// settleLate has the bank decide on most of what is still pending, and waits until
// nothing settles by itself any more and no callback is under way.
func (w *callbackWorld) settleLate() {
	w.t.Helper()
	kinds := make(map[string]string)
	for _, o := range w.orders() {
		kinds[o.id()] = o.kind
	}
	for i, e := range w.provider.sim.Ledger().Entries {
		kind := simulator.Kind(kinds[e.RequestID])
		if e.State == simulator.StatePending && (kind == simulator.Pending || kind == simulator.Ambiguous) && i%3 > 0 {
			to := []simulator.State{simulator.StateSuccess, simulator.StateFailed}[i%2]
			if err := w.provider.sim.SettlePending(e.ProviderID, to); err != nil && !errors.Is(err, simulator.ErrState) {
				w.t.Errorf("settling %s: %v", e.RequestID, err)
			}
		}
	}
	settles := func(e simulator.Entry) bool {
		kind, _, _ := strings.Cut(kinds[e.RequestID], ":")
		return e.State == simulator.StatePending && strings.HasPrefix(kind, "pending-then-")
	}
	for end := time.Now().Add(settleTime); slices.ContainsFunc(w.provider.sim.Ledger().Entries, settles); time.Sleep(betweenTimes) {
		if time.Now().After(end) {
			w.t.Fatal("the provider does not settle what it was to settle")
		}
	}
	w.provider.sim.Close() // when no callback is under way any more
	w.collect()
}
