package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// statusOperation lets bank/payout_status be asked by either id.
const statusOperation = `
	operation bank/payout_status {
		moves_money off
		optional yourrequestid alphanumeric 50
		optional ourrequestid text
		optional fdate text
		optional tdate text
	}
`

// byRequestID is the query of a payout's state by the merchant's id, over the
// days about that of the request.
const byRequestID = `
		status bank/payout_status {
			send yourrequestid request_id
			send fdate day_before
			send tdate day_after
			rows data
			match yourrequestid request_id
			match ourrequestid provider_id
			match amount amount
			state status
			success 1
			failed 0
			pending 2
			provider_id ourrequestid
			reference rrn
		}
`

// byProviderID asks by Nowpay's id, and so knows nothing to ask by after a
// time-out.
var byProviderID = strings.NewReplacer("send yourrequestid request_id", "send ourrequestid provider_id").Replace(byRequestID)

// todayOnly is byRequestID without days.
var todayOnly = strings.NewReplacer("send fdate day_before\n", "\n", "send tdate day_after\n", "\n").Replace(byRequestID)

// asks makes payouts be asked about by a query, when a policy says so.
func asks(query, policy string) string {
	return statusOperation + "operation bank/payout {" + query + "revalidate " + policy + "\n}\n"
}

// paid is a payout that meets a fault of the provider's, "" for none.
func paid(id, amount string, kind simulator.Kind) gatewaytest.Call {
	return gatewaytest.Call{Body: faulty(gatewaytest.Payout(id, amount), kind)}
}

// misbehave adds faults.
func misbehave(t *testing.T, g *gatewaytest.Gateway, faults ...simulator.Fault) {
	t.Helper()
	for _, fault := range faults {
		if err := g.Simulator.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
}

// sentTo are the requests for an operation that reached the provider.
func sentTo(g *gatewaytest.Gateway, operation string) []simulator.Request {
	return slices.DeleteFunc(g.Simulator.Requests(), func(r simulator.Request) bool { return r.Operation != operation })
}

// statusCalls counts the status calls that reached the provider.
func statusCalls(g *gatewaytest.Gateway) int { return len(sentTo(g, "bank/payout_status")) }

// executed fails the test unless a request ID was executed so often, and was
// sent no oftener.
func executed(t *testing.T, g *gatewaytest.Gateway, id string, times int) {
	t.Helper()
	sent := slices.DeleteFunc(sentTo(g, "bank/payout"), func(r simulator.Request) bool { return r.RequestID != id })
	if n := g.Simulator.Ledger().Executions[id]; n != times || len(sent) != times {
		t.Errorf("%s was executed %d times and sent %d times, want %d", id, n, len(sent), times)
	}
}

// entry is the provider's only transaction with a request ID.
func entry(t *testing.T, g *gatewaytest.Gateway, id string) simulator.Entry {
	t.Helper()
	entries := g.Simulator.Ledger().Find(id)
	if len(entries) != 1 {
		t.Fatalf("%s: %d transactions at the provider, want 1", id, len(entries))
	}
	return entries[0]
}

// transaction is what a merchant sees of one.
type transaction struct {
	RequestID   string `json:"request_id"`
	Transaction string `json:"transaction"`
	Operation   string `json:"operation"`
	State       string `json:"state"`
	Outcome     string `json:"outcome"`
	Final       bool   `json:"final"`
	Amount      string `json:"amount"`
	ProviderID  string `json:"provider_id"`
	Reference   string `json:"reference"`
	Integrity   string `json:"integrity"`
	Reversed    string `json:"reversed"`
	NeedsPerson bool   `json:"needs_person"`
	Events      []struct {
		Event string `json:"event"`
		Cause string `json:"cause"`
	} `json:"events"`
	Asked  *bool  `json:"asked"`
	Detail string `json:"detail"`
	Match  *bool  `json:"match"`
}

// timeline is its events, as "sent by exchange".
func (tx transaction) timeline() string {
	var events []string
	for _, e := range tx.Events {
		events = append(events, e.Event+" by "+e.Cause)
	}
	return strings.Join(events, ", ")
}

func readTransaction(t *testing.T, answer gatewaytest.Answer) transaction {
	t.Helper()
	var tx transaction
	if err := json.Unmarshal([]byte(answer.Body), &tx); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", answer.StatusCode, answer.Body, err)
	}
	return tx
}

// look reads shop's transaction.
func look(t *testing.T, g *gatewaytest.Gateway, id string) transaction {
	t.Helper()
	return readTransaction(t, g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/" + id}))
}

// revalidate asks the provider about shop's transaction.
func revalidate(t *testing.T, g *gatewaytest.Gateway, id, claim string) transaction {
	t.Helper()
	return readTransaction(t, g.Must(gatewaytest.Call{Path: "/transactions/" + id + "/revalidate", Body: claim}))
}

// replayed reports whether the header says so.
func replayed(a gatewaytest.Answer) bool { return a.Header.Get("Idempotent-Replayed") == "true" }

// askAgain is a bit longer than the time between two status calls about one
// transaction that a merchant can bring about.
const askAgain = 2100 * time.Millisecond

// linesWith counts the lines of the log that hold all texts.
func linesWith(g *gatewaytest.Gateway, texts ...string) int {
	n := 0
	for line := range strings.Lines(string(g.Log())) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}
