package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// prefixed are two merchants of one account whose ids cannot collide.
const prefixedToken = "npg_test_prefixed"

var prefixed = `merchant prefixed {
	account main
	token ` + gatewaytest.TokenHash(prefixedToken) + `
	from 127.0.0.1
	allow bank/*
	request_id_prefix 77
}
`

// TestPrefix: two merchants use one id, of which each sees only its own.
func TestPrefix(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Shop: "request_id_prefix S", Nowpay: prefixed + asks(byRequestID, "pending")})
	for _, own := range []string{"1001", "1e5", "0042", "abc", "99999999999999999999"} {
		for token, prefix := range map[string]string{gatewaytest.ShopToken: "S", prefixedToken: "77"} {
			payout := gatewaytest.Call{Token: token, Body: gatewaytest.Payout(own, "1.50")}
			first := g.Must(payout)
			if first.Outcome() != "success" || !strings.Contains(first.Body, `"yourrequestid":"`+own+`"`) || strings.Contains(first.Body, prefix+own) {
				t.Errorf("%s of %s: %d %s", own, prefix, first.StatusCode, first.Body)
			}
			if again := g.Must(payout); again.Body != first.Body || !replayed(again) {
				t.Errorf("%s of %s again: %s", own, prefix, again.Body)
			}
			executed(t, g, prefix+own, 1)
			answer := g.Must(gatewaytest.Call{Method: http.MethodGet, Token: token, Path: "/transactions/" + own})
			tx := readTransaction(t, answer)
			if tx.RequestID != own || tx.ProviderID != entry(t, g, prefix+own).ProviderID || strings.Contains(answer.Body, prefix+own) {
				t.Errorf("%s of %s: %s", own, prefix, answer.Body)
			}
			if record := g.LastRecord(); record["request_id"] != own {
				t.Errorf("record %v", record)
			}
			if full := g.Must(gatewaytest.Call{Method: http.MethodGet, Token: token, Path: "/transactions/" + prefix + own}); full.Problem() != "not-found" {
				t.Errorf("%s of %s is found by its full id: %s", own, prefix, full.Body)
			}
		}
		executed(t, g, own, 0)
	}
	if n := len(g.Simulator.Ledger().Entries); n != 10 {
		t.Errorf("%d transactions at the provider, want 10", n)
	}
}

// TestPrefixOpen: the answers that the gateway writes itself have no prefix
// either, and the provider is asked with it.
func TestPrefixOpen(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Shop: "request_id_prefix S", Nowpay: prefixed + asks(byRequestID, "pending")})
	payout := paid("9", "1.50", simulator.CloseAfterDebit)
	misbehave(t, g, simulator.Fault{Kind: simulator.HistoryEmpty, Operation: "bank/payout_status"})
	first := g.Must(payout)
	if first.Outcome() != "unknown" {
		t.Fatalf("%d %s", first.StatusCode, first.Body)
	}
	checkOurs(t, first, "2", "yourrequestid", "9")
	g.Simulator.ClearFaults()
	gatewaytest.Eventually(t, "the outcome to be found", func() bool { return look(t, g, "9").Final })
	second := g.Must(payout)
	want := `"rrn":"` + entry(t, g, "S9").RRN + `"`
	if second.Outcome() != "success" || !replayed(second) || !strings.Contains(second.Body, want) || strings.Contains(second.Body, "S9") {
		t.Errorf("%d %s", second.StatusCode, second.Body)
	}
	executed(t, g, "S9", 1)
}

// TestPrefixTooLong: the provider's limit holds for both together.
func TestPrefixTooLong(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Shop: "request_id_prefix ABCDE"})
	for length, want := range map[int]string{45: "", 46: "invalid-field", 50: "invalid-field"} {
		answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(strings.Repeat("1", length), "1.50")})
		if answer.Problem() != want || want != "" && !strings.Contains(answer.Body, `"field":"yourrequestid"`) {
			t.Errorf("%d characters: %d %s", length, answer.StatusCode, answer.Body)
		}
	}
	if n := len(g.Simulator.Requests()); n != 1 {
		t.Errorf("%d requests reached the provider", n)
	}
}
