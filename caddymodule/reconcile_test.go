package caddymodule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// settled waits until shop's transaction is in a state.
func settled(t *testing.T, g *gatewaytest.Gateway, id, state string) {
	t.Helper()
	gatewaytest.Eventually(t, id+" to be "+state, func() bool { return look(t, g, id).State == state })
}

// TestReconcile settles what is open, without anybody asking.
func TestReconcile(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	misbehave(t, g,
		simulator.Fault{Kind: simulator.PendingThenSuccess, RequestID: "later1", Operation: "bank/payout", Delay: time.Second},
		simulator.Fault{Kind: simulator.PendingThenFailed, RequestID: "later2", Operation: "bank/payout", Delay: time.Second},
		simulator.Fault{Kind: simulator.CloseAfterDebit, RequestID: "lost1", Operation: "bank/payout"},
		simulator.Fault{Kind: simulator.ResetBefore, RequestID: "gone1", Operation: "bank/payout"},
	)
	for id, outcome := range map[string]string{"later1": "pending", "later2": "pending", "lost1": "unknown", "gone1": "unknown"} {
		if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")}); answer.Outcome() != outcome {
			t.Errorf("%s: %s", id, answer.Body)
		}
	}
	if n := g.Metric(`nowpay_transactions_open{state="unknown"}`); n != 2 {
		t.Errorf("%v are unknown", n)
	}
	settled(t, g, "later1", "success")
	settled(t, g, "later2", "failed")
	settled(t, g, "lost1", "success")
	for _, id := range []string{"later1", "later2", "lost1"} {
		tx := look(t, g, id)
		if last := tx.Events[len(tx.Events)-1]; last.Cause != "reconciliation" || tx.Integrity != "revalidated" {
			t.Errorf("%s: %s, %s", id, tx.timeline(), tx.Integrity)
		}
		executed(t, g, id, 1)
	}
	// What the provider does not know is no failure: it may come yet.
	if tx := look(t, g, "gone1"); tx.State != "unknown" {
		t.Errorf("gone1: %+v", tx)
	}
	if n := g.Metric(`nowpay_status_calls_total{cause="reconciliation",operation="bank/payout",provider_says="success"}`); n < 2 {
		t.Errorf("%v calls are counted", n)
	}
}

// TestReconcileIsNoBurst: a hundred open ones are asked about one after another,
// each once at a time.
func TestReconcileIsNoBurst(t *testing.T) {
	const many = 60
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 10/1s 2"})
	client := g.Client("h2")
	for i := range many {
		if _, err := g.Do(client, g.TLSURL, paid(fmt.Sprintf("b%d", i), "1.50", simulator.CloseAfterDebit)); err != nil {
			t.Fatal(err)
		}
	}
	gatewaytest.Eventually(t, "all to be settled", func() bool { return g.Metric(`nowpay_transactions_open{state="unknown"}`) == 0 })
	calls := sentTo(g, "bank/payout_status")
	bodies := make(map[string]int)
	for i, call := range calls {
		bodies[call.Body]++
		if j := i + 2 + 10; j < len(calls) && calls[j].Time.Sub(call.Time) < 900*time.Millisecond {
			t.Errorf("13 calls within %v", calls[j].Time.Sub(call.Time))
		}
	}
	if len(bodies) != many || len(calls) != many {
		t.Errorf("%d calls about %d transactions, want %d", len(calls), len(bodies), many)
	}
}

// TestNeedsPerson: what is open for too long is shown, once.
func TestNeedsPerson(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Reconcile: "person_after 1s"})
	g.Must(paid("stuck1", "1.50", simulator.Pending))
	gatewaytest.Eventually(t, "a person to be called", func() bool { return g.Metric("nowpay_transactions_need_person") == 1 })
	tx := look(t, g, "stuck1")
	if !tx.NeedsPerson || tx.State != "pending" || tx.timeline() != "created by exchange, sent by exchange, pending by exchange, attention by reconciliation" {
		t.Errorf("%+v", tx)
	}
	if n := linesWith(g, "needs a person", tx.Transaction, `"level":"error"`); n != 1 {
		t.Errorf("%d alarms", n)
	}
}

// TestReversed: the provider takes back what it said was final. That is found
// when somebody asks; it is an alarm, and changes nothing.
func TestReversed(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	payout := gatewaytest.Call{Body: gatewaytest.Payout("back1", "1.50")}
	first := g.Must(payout)
	if tx := revalidate(t, g, "back1", `{"status":"success"}`); !*tx.Match || tx.Reversed != "" || tx.State != "success" {
		t.Errorf("before: %+v", tx)
	}
	if err := g.Simulator.FlipFinal(entry(t, g, "back1").ProviderID, simulator.StateFailed); err != nil {
		t.Fatal(err)
	}
	time.Sleep(askAgain)
	tx := revalidate(t, g, "back1", `{"status":"success"}`)
	if *tx.Match || tx.Reversed != "failed" || tx.State != "success" || !tx.NeedsPerson {
		t.Errorf("after: %+v", tx)
	}
	if last := tx.Events[len(tx.Events)-1]; last.Event != "reversed" || last.Cause != "revalidation" {
		t.Errorf("timeline %s", tx.timeline())
	}
	if again := g.Must(payout); again.Body != first.Body || !replayed(again) {
		t.Errorf("repeated: %s", again.Body)
	}
	if n := g.Metric("nowpay_transactions_need_person"); n != 1 {
		t.Errorf("%v need a person", n)
	}
	if n := linesWith(g, "contradicts itself", tx.Transaction, `"level":"error"`); n != 1 {
		t.Errorf("%d alarms", n)
	}
	executed(t, g, "back1", 1)
}

// TestReconcileWhileReloading: what one configuration is asking about, the next
// one does not ask about as well.
func TestReconcileWhileReloading(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	options := gatewaytest.Options{Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 1000/1s"}
	g := gatewaytest.Start(t, options)
	misbehave(t, g, simulator.Fault{Kind: simulator.TimeoutBeforeDebit, Operation: "bank/payout_status"})
	g.Must(paid("while1", "1.50", simulator.CloseAfterDebit))
	gatewaytest.Eventually(t, "the status call", func() bool { return statusCalls(g) == 1 })
	for range 5 {
		mustReload(t, g, options)
		time.Sleep(500 * time.Millisecond) // the next one has looked for what is due
	}
	if n := statusCalls(g); n != 1 {
		t.Errorf("%d status calls, want 1", n)
	}
}

// TestReloadDoesNotWaitForTheProvider that hangs in a status call.
func TestReloadDoesNotWaitForTheProvider(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending"), Reconcile: "status_timeout 60s"})
	misbehave(t, g, simulator.Fault{Kind: simulator.TimeoutBeforeDebit, Operation: "bank/payout_status", Times: 1})
	g.Must(paid("hold1", "1.50", simulator.CloseAfterDebit))
	gatewaytest.Eventually(t, "the status call", func() bool { return statusCalls(g) == 1 })
	begun := time.Now()
	mustReload(t, g, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the reload took %v", took)
	}
}
