package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestDisputed: the provider says success, and its own status says failed, and
// goes on saying so. Nobody but a person decides that.
func TestDisputed(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "always"), Reconcile: "status_rate 1000/1s"})
	misbehave(t, g, simulator.Fault{Kind: simulator.StatusContradicts, Operation: "bank/payout_status"})
	payout := gatewaytest.Call{Body: gatewaytest.Payout("both1", "1.50")}
	if answer := g.Must(payout); answer.Outcome() != "unknown" {
		t.Fatalf("%s %s", answer.Outcome(), answer.Body)
	}
	time.Sleep(8 * time.Second) // longer than the background takes to look for the first time
	revalidate(t, g, "both1", "")
	answer := g.Must(payout)
	if answer.Outcome() != "unknown" || !strings.Contains(answer.Body, `"success":"2"`) || replayed(answer) {
		t.Errorf("repeated: %s %s", answer.Outcome(), answer.Body)
	}
	tx := look(t, g, "both1")
	if tx.State != "unknown" || tx.Reversed != "success" || !tx.NeedsPerson || tx.timeline() != "created by exchange, sent by exchange, unknown by exchange, reversed by exchange" {
		t.Errorf("%+v", tx)
	}
	if n := linesWith(g, "contradicts itself", tx.Transaction, `"level":"error"`); n != 1 {
		t.Errorf("%d alarms", n)
	}
	executed(t, g, "both1", 1)
}

// TestRefusedButPaid: a bare refusal, while the status knows of payments under
// the request ID, is not passed on as final.
func TestRefusedButPaid(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "always"), Reconcile: "daily_check off"})
	// The account was used past the gateway.
	payElsewhere(t, g, "twice1", "1.50")
	payElsewhere(t, g, "twice1", "1.50")
	answer := g.Must(paid("twice1", "1.50", simulator.Refused))
	if answer.Outcome() != "unknown" || !strings.Contains(answer.Body, `"success":"2"`) {
		t.Errorf("%s %s", answer.Outcome(), answer.Body)
	}
	if tx := look(t, g, "twice1"); tx.State != "unknown" || tx.Reversed != "refused" || !tx.NeedsPerson {
		t.Errorf("%+v", tx)
	}
}

// TestFailureTakenBack: a failure that the provider takes back is not replayed
// as final.
func TestFailureTakenBack(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	payout := paid("back2", "1.50", simulator.Failed)
	if first := g.Must(payout); first.Outcome() != "failed" {
		t.Fatalf("%s %s", first.Outcome(), first.Body)
	}
	if again := g.Must(payout); again.Outcome() != "failed" || !replayed(again) {
		t.Errorf("before: %s %s", again.Outcome(), again.Body)
	}
	if err := g.Simulator.FlipFinal(entry(t, g, "back2").ProviderID, simulator.StateSuccess); err != nil {
		t.Fatal(err)
	}
	if tx := revalidate(t, g, "back2", ""); tx.Reversed != "success" || tx.State != "failed" {
		t.Fatalf("%+v", tx)
	}
	again := g.Must(payout)
	if again.Outcome() != "unknown" || !strings.Contains(again.Body, `"success":"2"`) || replayed(again) {
		t.Errorf("after: %s %s", again.Outcome(), again.Body)
	}
	executed(t, g, "back2", 1)
}

// payElsewhere pays at the provider without the gateway.
func payElsewhere(t *testing.T, g *gatewaytest.Gateway, id, amount string) {
	t.Helper()
	body := strings.Replace(gatewaytest.Payout(id, amount), "{", `{"username":"`+gatewaytest.Username+`","key":"`+gatewaytest.Key+`",`, 1)
	target := "http://" + g.ProviderAddress + "/api/index.php?route=/api/bank/payout"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := g.ClientFrom("http/1.1", gatewaytest.EgressIP).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n := g.Simulator.Ledger().Executions[id]; n == 0 {
		t.Fatalf("%s was not paid: %s", id, response.Status)
	}
}
