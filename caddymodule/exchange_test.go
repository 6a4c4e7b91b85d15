package caddymodule_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

func TestPayoutPassesThrough(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for _, via := range []struct{ protocol, base string }{{"http/1.1", g.URL}, {"http/1.1", g.TLSURL}, {"h2", g.TLSURL}} {
		client := g.Client(via.protocol)
		for i, path := range []string{"/api/bank/payout", "/api/index.php?route=/api/bank/payout"} {
			before := len(g.Simulator.Requests())
			id := "10" + via.protocol[:1] + string(rune('0'+i)) + via.base[4:5]
			answer, err := g.Do(client, via.base, gatewaytest.Call{Path: path, Body: gatewaytest.Payout("1001", "1.50")})
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
