package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestRepeat sends the same request again after each outcome: it is never sent
// to the provider again, and answered out of the journal.
func TestRepeat(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: statusOperation + "operation bank/payout {\nrevalidate never\n}\n"})
	for _, test := range []struct {
		kind     simulator.Kind
		outcome  string
		final    bool
		executed int
	}{
		{simulator.Success, "success", true, 1},
		{simulator.Failed, "failed", true, 1},
		{simulator.Refused, "refused", true, 0},
		{simulator.Pending, "pending", false, 1},
		{simulator.Ambiguous, "pending", false, 1},
		{simulator.CloseAfterDebit, "unknown", false, 1},
		{simulator.HTMLWarning, "unknown", false, 1},
		{simulator.ResetBefore, "unknown", false, 0},
		{simulator.KeyEcho, "success", true, 1},
	} {
		t.Run(test.outcome+" "+string(test.kind), func(t *testing.T) {
			id := "r" + strings.ReplaceAll(string(test.kind), "-", "")
			payout := paid(id, "12.30", test.kind)
			sentBefore := len(sentTo(g, "bank/payout"))
			first := g.Must(payout)
			if first.StatusCode != http.StatusOK || first.Outcome() != test.outcome || replayed(first) {
				t.Fatalf("first: %d %s %s", first.StatusCode, first.Outcome(), first.Body)
			}
			counted := g.Metric(`nowpay_repeats_total{merchant="shop",operation="bank/payout",outcome="` + test.outcome + `"}`)
			second := g.Must(payout)
			if second.StatusCode != http.StatusOK || second.Body != first.Body || replayed(second) != test.final {
				t.Errorf("again: %d, replayed %t: %s\nfirst: %s", second.StatusCode, replayed(second), second.Body, first.Body)
			}
			for _, name := range []string{"Content-Type", "Nowpay-Gateway-Outcome", "Nowpay-Gateway-Integrity", "Nowpay-Gateway-Transaction"} {
				if second.Header.Get(name) != first.Header.Get(name) {
					t.Errorf("%s: %q, at first %q", name, second.Header.Get(name), first.Header.Get(name))
				}
			}
			if n := g.Simulator.Ledger().Executions[id]; n != test.executed {
				t.Errorf("executed %d times, want %d", n, test.executed)
			}
			if n := len(sentTo(g, "bank/payout")) - sentBefore; n != 1 {
				t.Errorf("sent %d times", n)
			}
			record := g.LastRecord()
			if record["repeat"] != true || record["transaction"] != first.Header.Get("Nowpay-Gateway-Transaction") || record["outcome"] != test.outcome {
				t.Errorf("record %v", record)
			}
			if n := g.Metric(`nowpay_repeats_total{merchant="shop",operation="bank/payout",outcome="` + test.outcome + `"}`); n != counted+1 {
				t.Errorf("repeats are counted from %v to %v", counted, n)
			}
		})
	}
}

// TestRepeatOtherwise: the same JSON value is the same request, however it is
// written. Any other is refused, and tells nothing of the first.
func TestRepeatOtherwise(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{
		Shop: "strip_credentials",
		Nowpay: `merchant other {
			account main
			token ` + gatewaytest.TokenHash("npg_test_other") + `
			from 127.0.0.1
			allow bank/*
		}`,
	})
	const body = `{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"same1","name":"Asha Rao","transferMode":"IMPS","qty":10}`
	first := g.Must(gatewaytest.Call{Body: body})
	if first.Outcome() != "success" {
		t.Fatalf("first: %d %s", first.StatusCode, first.Body)
	}
	providerID := entry(t, g, "same1").ProviderID
	replace := strings.NewReplacer
	for name, same := range map[string]gatewaytest.Call{
		"order":        {Body: `{"qty":10,"yourrequestid":"same1",` + replace(`"yourrequestid":"same1",`, "", `,"qty":10`, "").Replace(body)[1:]},
		"whitespace":   {Body: replace(`,`, " ,\n\t", `:`, " : ").Replace(body)},
		"escapes":      {Body: replace("Asha", `\u0041s\u0068a`, `"ifsc"`, `"\u0069fsc"`).Replace(body)},
		"the long way": {Path: "/api/index.php?route=/api/bank/payout", Body: body},
		"stripped":     {Body: `{"username":"9","KEY":"x",` + body[1:]},
		"header":       {Body: body, Header: http.Header{"Idempotency-Key": {"another"}}},
	} {
		if answer := g.Must(same); answer.Body != first.Body || !replayed(answer) {
			t.Errorf("%s: %d, replayed %t: %s", name, answer.StatusCode, replayed(answer), answer.Body)
		}
	}
	transfer := `{"beneficiaryPhoneNo":"9000000000","amount":"1.50","yourrequestid":"same1","transferMode":"PAYTM"}`
	for name, other := range map[string]gatewaytest.Call{
		"amount":          {Body: replace("1.50", "1.51").Replace(body)},
		"amount's text":   {Body: replace("1.50", "1.5").Replace(body)},
		"number's text":   {Body: replace(`"qty":10`, `"qty":1e1`).Replace(body)},
		"number's kind":   {Body: replace(`"qty":10`, `"qty":"10"`).Replace(body)},
		"account":         {Body: replace("5678", "5679").Replace(body)},
		"one member less": {Body: replace(`,"qty":10`, "").Replace(body)},
		"one member more": {Body: replace(`"qty":10`, `"qty":10,"note":""`).Replace(body)},
		"operation":       {Path: "/api/bank/wallet_transfer", Body: transfer},
		"merchant":        {Token: "npg_test_other", Body: body},
	} {
		answer := g.Must(other)
		if answer.StatusCode != http.StatusUnprocessableEntity || answer.Problem() != "request-id-reused" || answer.Header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.Body)
		}
		for _, told := range []string{providerID, "success", first.Header.Get("Nowpay-Gateway-Transaction")} {
			if strings.Contains(answer.Body+fmt.Sprint(answer.Header), told) {
				t.Errorf("%s: the refusal tells %q: %v %s", name, told, answer.Header, answer.Body)
			}
		}
		if record := g.LastRecord(); record["problem"] != "request-id-reused" || record["outcome"] != nil {
			t.Errorf("%s: record %v", name, record)
		}
	}
	executed(t, g, "same1", 1)
	if n := len(g.Simulator.Requests()); n != 1 {
		t.Errorf("%d requests reached the provider", n)
	}
}

// TestRepeatUnderWay: the first is not answered yet.
func TestRepeatUnderWay(t *testing.T) {
	door := newDoor(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Provider: door.wrap})
	release := door.hold()
	payout := gatewaytest.Call{Body: gatewaytest.Payout("slow1", "1.50")}
	end := begin(t.Context(), t, g, "http/1.1", payout)
	<-door.arrived
	answer := g.Must(payout)
	if answer.StatusCode != http.StatusConflict || answer.Problem() != "in-flight" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("while under way: %d %v %s", answer.StatusCode, answer.Header, answer.Body)
	}
	if tx := look(t, g, "slow1"); tx.State != "sent" || tx.Outcome != "" || tx.Final {
		t.Errorf("while under way: %+v", tx)
	}
	if tx := revalidate(t, g, "slow1", ""); *tx.Asked || tx.State != "sent" {
		t.Errorf("revalidated while under way: %+v", tx)
	}
	if reused := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("slow1", "2.50")}); reused.Problem() != "request-id-reused" {
		t.Errorf("another body while under way: %d %s", reused.StatusCode, reused.Body)
	}
	release()
	first, err := end()
	if err != nil || first.Outcome() != "success" {
		t.Fatalf("first: %v %s", err, first.Body)
	}
	if again := g.Must(payout); again.Body != first.Body || !replayed(again) {
		t.Errorf("afterwards: %d %s", again.StatusCode, again.Body)
	}
	executed(t, g, "slow1", 1)
}

// TestRepeatUnsent: of what certainly has not left the same request may be sent
// again, and is then carried out.
func TestRepeatUnsent(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	payout := gatewaytest.Call{Body: gatewaytest.Payout("again1", "1.50")}
	mustReload(t, g, gatewaytest.Options{LocalAddress: "203.0.113.77"})
	var transactions []string
	for range 2 {
		answer := g.Must(payout)
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Problem() != "egress-unavailable" || answer.Header.Get("Retry-After") == "" || answer.Outcome() != "unsent" {
			t.Fatalf("unsent: %d %v %s", answer.StatusCode, answer.Header, answer.Body)
		}
		transactions = append(transactions, answer.Header.Get("Nowpay-Gateway-Transaction"))
	}
	mustReload(t, g, gatewaytest.Options{})
	answer := g.Must(payout)
	if answer.Outcome() != "success" || replayed(answer) {
		t.Errorf("sent again: %d %s", answer.StatusCode, answer.Body)
	}
	for _, id := range transactions {
		if id != answer.Header.Get("Nowpay-Gateway-Transaction") {
			t.Errorf("the attempts are different transactions: %v and %s", transactions, answer.Header.Get("Nowpay-Gateway-Transaction"))
		}
	}
	const want = "created by exchange, sent by exchange, unsent by exchange, sent by exchange, unsent by exchange, sent by exchange, success by exchange"
	if tx := look(t, g, "again1"); tx.timeline() != want {
		t.Errorf("timeline %s", tx.timeline())
	}
	if again := g.Must(payout); !replayed(again) {
		t.Errorf("a repeat: %d %s", again.StatusCode, again.Body)
	}
	executed(t, g, "again1", 1)
}

// TestRepeatAtOnce: of many that come at once one is carried out, and the
// answers are all true.
func TestRepeatAtOnce(t *testing.T) {
	const callers = 50
	g := gatewaytest.Start(t, gatewaytest.Options{})
	misbehave(t, g, simulator.Fault{Kind: simulator.Slow, Delay: 300_000_000})
	client := g.Client("h2")
	answers := make([]gatewaytest.Answer, callers)
	var calling sync.WaitGroup
	for i := range answers {
		calling.Go(func() {
			var err error
			if answers[i], err = g.Do(client, g.TLSURL, gatewaytest.Call{Body: gatewaytest.Payout("crowd1", "1.50")}); err != nil {
				t.Error(err)
			}
		})
	}
	calling.Wait()
	executed(t, g, "crowd1", 1)
	fresh, bodies := 0, map[string]bool{}
	for _, a := range answers {
		switch {
		case a.Response == nil:
		case a.StatusCode == http.StatusOK && a.Outcome() == "success":
			bodies[a.Body] = true
			if !replayed(a) {
				fresh++
			}
		case a.StatusCode == http.StatusConflict && a.Problem() == "in-flight":
		default:
			t.Errorf("%d %s", a.StatusCode, a.Body)
		}
	}
	if fresh != 1 || len(bodies) != 1 {
		t.Errorf("%d fresh answers, %d different ones", fresh, len(bodies))
	}
}
