package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestPending: who settles a pending transaction, and when.
func TestPending(t *testing.T) {
	b := start(t)
	later := func(kind simulator.Kind, delay time.Duration) string {
		b.fault(simulator.Fault{Kind: kind, Times: 1, Delay: delay})
		return b.call("bank/payout", payout("a")).text("ourrequestid")
	}
	soon := later(simulator.PendingThenSuccess, time.Minute)
	late := later(simulator.PendingThenFailed, 2*time.Minute)
	never := later(simulator.PendingThenFailed, 0)
	settled := later(simulator.PendingThenFailed, 2*time.Minute)
	states := func(want ...simulator.State) {
		t.Helper()
		for i, e := range b.Ledger().Entries {
			if e.State != want[i] || (e.RRN != "") != (e.State == simulator.StateSuccess) {
				t.Errorf("entry %d is %s with reference %q, want %s", i, e.State, e.RRN, want[i])
			}
		}
	}
	const pending, success, failed = simulator.StatePending, simulator.StateSuccess, simulator.StateFailed
	states(pending, pending, pending, pending)
	b.clock.now = b.clock.now.Add(time.Minute - 1)
	states(pending, pending, pending, pending)
	b.clock.now = b.clock.now.Add(1)
	states(success, pending, pending, pending)
	if err := b.SettlePending(settled, success); err != nil {
		t.Fatal(err)
	}
	b.clock.now = b.clock.now.Add(time.Hour)
	states(success, failed, pending, success)

	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"settling what is final", b.SettlePending(soon, failed), simulator.ErrState},
		{"settling to pending", b.SettlePending(never, pending), simulator.ErrState},
		{"settling to nonsense", b.SettlePending(never, "nonsense"), simulator.ErrState},
		{"settling an unknown one", b.SettlePending("unknown", failed), simulator.ErrNotFound},
		{"flipping what is pending", b.FlipFinal(never, failed), simulator.ErrState},
		{"flipping to the same", b.FlipFinal(late, failed), simulator.ErrState},
		{"flipping to nonsense", b.FlipFinal(late, "nonsense"), simulator.ErrState},
		{"flipping an unknown one", b.FlipFinal("unknown", failed), simulator.ErrNotFound},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	states(success, failed, pending, success)
}

// TestFlipFinal: the money follows the state.
func TestFlipFinal(t *testing.T) {
	b := start(t, func(c *simulator.Config) { c.AEPSBalance, c.Surcharge = 200_00, 1_00 })
	id := b.call("bank/payout", payout("a")).text("ourrequestid")
	for _, tt := range []struct {
		to   simulator.State
		want nowpay.Paise
	}{
		{simulator.StateFailed, 200_00},
		{simulator.StateSuccess, 48_50},
		{simulator.StatePending, 48_50},
	} {
		if err := b.FlipFinal(id, tt.to); err != nil {
			t.Fatal(err)
		}
		if got := b.Ledger().AEPSBalance; got != tt.want {
			t.Errorf("flipped to %s: %v in the wallet, want %v", tt.to, got, tt.want)
		}
	}
	// Money that was credited may be spent by the time an operator takes it back.
	if err := b.SettlePending(id, simulator.StateFailed); err != nil {
		t.Fatal(err)
	}
	b.call("bank/payout", payout("b"))
	if err := b.FlipFinal(id, simulator.StateSuccess); err != nil {
		t.Fatal(err)
	}
	if got := b.Ledger().AEPSBalance; got != -103_00 {
		t.Errorf("%v in the wallet, want -103.00", got)
	}
}

// post calls a handler with a body that does for several operations.
func post(h http.Handler, operation, id, amount, kind string) {
	text := fmt.Sprintf(`{"username":"2000","key":"0123456789abcdef","accountnumber":"1","ifsc":"2","amount":%q,"yourrequestid":%q,"yourreqid":%[2]q,"name":"n","transferMode":"IMPS","number":"1","operatorid":"2","note":%q}`, amount, id, kind)
	offline(h, operation, "application/json", text)
}

// offline calls a handler without a network. A fault that ends the connection
// looks like http.ErrAbortHandler here.
func offline(h http.Handler, operation, contentType, body string) *httptest.ResponseRecorder {
	target := "/api/index.php?route=" + url.QueryEscape("/api/"+operation)
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
		}
	}()
	h.ServeHTTP(w, r)
	return w
}

// TestLedgerInvariants: whatever happens, no money is made or lost, and the
// books know how often each request ID was executed.
func TestLedgerInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		cfg := simulator.Config{
			Username: username, Key: "0123456789abcdef", Now: c.Now,
			TradeBalance: nowpay.Paise(rapid.IntRange(1, 2000_00).Draw(t, "trade")),
			AEPSBalance:  nowpay.Paise(rapid.IntRange(1, 2000_00).Draw(t, "aeps")),
			Surcharge:    nowpay.Paise(rapid.IntRange(0, 5_00).Draw(t, "surcharge")),
		}
		sim, err := simulator.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		sim.Close() // nothing is to hang here
		h := sim.Handler()
		kinds := make([]string, 0, 3*len(simulator.Kinds()))
		for _, k := range simulator.Kinds() {
			kinds = append(kinds, "sim:"+string(k), "sim:"+string(k)+":1m", "")
		}
		state := rapid.SampledFrom([]simulator.State{simulator.StateSuccess, simulator.StateFailed, simulator.StatePending})
		providerID := func() string {
			entries := sim.Ledger().Entries
			if len(entries) == 0 {
				return "unknown"
			}
			return rapid.SampledFrom(entries).Draw(t, "entry").ProviderID
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkLedger(t, cfg, sim) },
			"request": func(t *rapid.T) {
				operation := rapid.SampledFrom([]string{"bank/payout", "recharge/dorecharge", "common/balance"}).Draw(t, "operation")
				id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")
				amount := rapid.SampledFrom([]string{"1", "99.99", "1500", "1e1", "0", "x"}).Draw(t, "amount")
				before := sim.Ledger()
				post(h, operation, id, amount, rapid.SampledFrom(kinds).Draw(t, "kind"))
				if now := sim.Ledger(); now.Executions[id]-before.Executions[id] != len(now.Entries)-len(before.Entries) {
					t.Fatalf("an entry more, but executions are %v after %v", now.Executions, before.Executions)
				}
			},
			"settle": func(t *rapid.T) { _ = sim.SettlePending(providerID(), state.Draw(t, "state")) },
			"flip":   func(t *rapid.T) { _ = sim.FlipFinal(providerID(), state.Draw(t, "state")) },
			"wait":   func(*rapid.T) { c.now = c.now.Add(40 * time.Second) },
		})
	})
}

func checkLedger(t *rapid.T, cfg simulator.Config, sim *simulator.Simulator) {
	l := sim.Ledger()
	want := map[simulator.Wallet]nowpay.Paise{simulator.Trade: cfg.TradeBalance, simulator.AEPS: cfg.AEPSBalance}
	executions := map[string]int{}
	for i, e := range l.Entries {
		executions[e.RequestID]++
		if e.Number != i+1 || e.Execution != executions[e.RequestID] {
			t.Fatalf("entry %d is number %d, execution %d", i, e.Number, e.Execution)
		}
		if e.State != simulator.StateFailed {
			want[e.Wallet] -= e.Amount + e.Surcharge
		}
		if e.Before-e.After != e.Amount+e.Surcharge || e.After < 0 {
			t.Fatalf("entry %+v: before and after don't agree, or there was too little", e)
		}
	}
	if l.TradeBalance != want[simulator.Trade] || l.AEPSBalance != want[simulator.AEPS] {
		t.Fatalf("wallets hold %v and %v, the entries say %v", l.TradeBalance, l.AEPSBalance, want)
	}
	if len(executions) != len(l.Executions) {
		t.Fatalf("executions %v, the entries say %v", l.Executions, executions)
	}
	for id, n := range executions {
		if l.Executions[id] != n {
			t.Fatalf("executions %v, the entries say %v", l.Executions, executions)
		}
	}
}

// TestConcurrent: many clients at once, while everything else is used too.
func TestConcurrent(t *testing.T) {
	b := start(t)
	b.fault(simulator.Fault{Kind: simulator.Failed, Probability: 0.3})
	const clients, calls = 8, 25
	var wg sync.WaitGroup
	for i := range clients {
		c := client(t, "127.0.0.10")
		wg.Go(func() {
			for j := range calls {
				if _, err := try(c, b.request("bank/payout", payout(fmt.Sprintf("c%dn%d", i, j)).with("amount", "1"))); err != nil {
					t.Errorf("calling: %v", err)
				}
				_, _, _ = b.Ledger(), b.Requests(), b.Faults()
				b.SetKeys(key, "another one")
			}
		})
	}
	wg.Wait()
	l := b.Ledger()
	paid := nowpay.Paise(0)
	ids := map[string]bool{}
	for _, e := range l.Entries {
		ids[e.ProviderID] = true
		if e.State == simulator.StateSuccess {
			paid += e.Amount
		}
	}
	if len(l.Entries) != clients*calls || len(ids) != clients*calls || l.AEPSBalance != 100_000_00-paid {
		t.Errorf("%d entries, %d ids, %v left after paying %v", len(l.Entries), len(ids), l.AEPSBalance, paid)
	}
	if paid == 0 || paid == clients*calls*100 {
		t.Errorf("paid %v, want some to have failed", paid)
	}
}

// TestSnapshot: a ledger that was handed out no longer changes.
func TestSnapshot(t *testing.T) {
	b := start(t)
	id := b.call("bank/payout", payout("a").with("name", "sim:pending")).text("ourrequestid")
	l := b.Ledger()
	if err := b.SettlePending(id, simulator.StateFailed); err != nil {
		t.Fatal(err)
	}
	b.call("bank/payout", payout("a"))
	if len(l.Entries) != 1 || l.Entries[0].State != simulator.StatePending || l.Executions["a"] != 1 {
		t.Errorf("the snapshot changed: %+v", l)
	}
}

// TestRedirect307 shows why a redirect must not be followed.
func TestRedirect307(t *testing.T) {
	b := start(t)
	b.fault(simulator.Fault{Kind: simulator.Redirect307, Times: 1})
	c := client(t, "127.0.0.10")
	c.CheckRedirect = nil
	r := b.request("bank/payout", payout("a"))
	text, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(text)))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(text))), nil }
	if _, err := try(c, r); err != nil {
		t.Fatal(err)
	}
	if n := b.Ledger().Executions["a"]; n != 2 {
		t.Errorf("executed %d times, want 2", n)
	}
}
