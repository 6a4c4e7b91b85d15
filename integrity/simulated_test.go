package integrity_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestSimulated has a simulator answer a live account, and a test account.
func TestSimulated(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{false, true} {
		for _, value := range []string{"1", "0", ""} {
			answer := jsonAnswer(`{"success":"1","message":"m","ourrequestid":"o1","yourrequestid":"a1","rrn":"1"}`)
			answer.Header.Set(simulator.Header, value)
			sent := integrity.Sent{Operation: operations()["bank/payout"], RequestID: "a1", Live: live}
			got := integrity.Check(sent, answer, canaryKey())
			if live != (got.Outcome == nowpay.Unknown && got.Body == nil && slices.Equal(got.Findings, []integrity.Finding{integrity.Simulated})) {
				t.Errorf("live %t, %s: %q: %s %q, passed on: %t", live, simulator.Header, value, got.Outcome, got.Findings, got.Body != nil)
			}
			if got.Header.Get(simulator.Header) != "" {
				t.Error("the header is passed on")
			}
		}
	}
	if got := integrity.Check(integrity.Sent{Operation: operations()["bank/payout"], Live: true},
		integrity.Answer{
			Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: []byte(`{"success":"1","message":"m","ourrequestid":"o1","rrn":"1"}`),
		}, canaryKey()); got.Outcome != nowpay.Success {
		t.Errorf("a live account's genuine answer: %s %q", got.Outcome, got.Findings)
	}
}

// TestSimulatedStatus asks a simulator what became of a live account's payment.
func TestSimulatedStatus(t *testing.T) {
	t.Parallel()
	const fields = `"accountnumber":"1","ifsc":"2","amount":"1.50","yourrequestid":"1001","name":"n","transferMode":"IMPS"`
	sim := newSimulator(t)
	if w, ok := call(t, sim, "bank/payout", fields); !ok || w.Header().Get(simulator.Header) == "" {
		t.Fatalf("the simulator does not say what it is: %v", w.Header())
	}
	a := asked("bank/payout")
	a.Known.ProviderID = sim.Ledger().Entries[0].ProviderID
	if got, ok := ask(t, sim, a); !ok || got.Outcome != nowpay.Success {
		t.Errorf("of a test account: %s %q", got.Outcome, got.Findings)
	}
	a.Live = true
	got, ok := ask(t, sim, a)
	if !ok || got.Outcome != nowpay.Unknown || got.Found || !slices.Equal(got.Findings, []integrity.Finding{integrity.Simulated}) {
		t.Errorf("of a live account: %s, found: %t, %q", got.Outcome, got.Found, got.Findings)
	}
}
