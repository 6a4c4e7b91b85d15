package caddymodule_test

import (
	"fmt"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

func TestPayoutPassesThrough(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for _, via := range []struct{ protocol, base string }{{"http/1.1", g.URL}, {"http/1.1", g.TLSURL}, {"h2", g.TLSURL}} {
		client := g.Client(via.protocol)
		for _, path := range []string{"/api/bank/payout", "/api/index.php?route=/api/bank/payout"} {
			before := len(g.Simulator.Requests())
			id := fmt.Sprintf("10%d", before)
			answer, err := g.Do(client, via.base, gatewaytest.Call{Path: path, Body: gatewaytest.Payout(id, "1.50")})
			if err != nil {
				t.Fatalf("%s %s: %v", via.protocol, path, err)
			}
			if answer.StatusCode != 200 || answer.Outcome() != "success" || answer.Header.Get("Nowpay-Gateway-Integrity") != "verified" {
				t.Errorf("%s %s %s: %d %v %s", id, via.protocol, path, answer.StatusCode, answer.Header, answer.Body)
			}
			if n := len(g.Simulator.Requests()) - before; n != 1 {
				t.Errorf("requests that reached the provider: %d, want 1", n)
			}
		}
	}
	record := g.LastRecord()
	if record["merchant"] != "shop" || record["egress_address"] != gatewaytest.EgressIP || record["allowed"] != true {
		t.Errorf("decision record: %v", record)
	}
}
