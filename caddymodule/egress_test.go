package caddymodule_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// Addresses of RFC 5737, which no machine has.
const (
	absentIP      = "203.0.113.77"
	otherAbsentIP = "203.0.113.78"
)

// TestEgressAddress: the provider sees the configured address, and never the
// one that the system would choose.
func TestEgressAddress(t *testing.T) {
	const secondIP = "127.0.0.6"
	for _, tt := range []struct{ name, locals, want string }{
		{"one", gatewaytest.EgressIP, gatewaytest.EgressIP},
		{"the first of two", gatewaytest.EgressIP + " " + secondIP, gatewaytest.EgressIP},
		{"the other way round", secondIP + " " + gatewaytest.EgressIP, secondIP},
		{"the first that is here", absentIP + " " + secondIP, secondIP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gatewaytest.Start(t, gatewaytest.Options{
				LocalAddress: tt.locals,
				Simulator: func(c *simulator.Config) {
					c.AllowedIPs = []netip.Prefix{netip.MustParsePrefix(tt.want + "/32")}
				},
			})
			for i := range 3 {
				answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprintf("100%d", i), "1.00")})
				if answer.Outcome() != "success" {
					t.Fatalf("payment: %d %s", answer.StatusCode, answer.Body)
				}
				if got := g.LastRecord()["egress_address"]; got != tt.want {
					t.Errorf("egress_address in the record: %v, want %s", got, tt.want)
				}
			}
			for _, r := range g.Simulator.Requests() {
				if r.Remote.Addr().String() != tt.want {
					t.Errorf("the provider saw %s, want %s", r.Remote, tt.want)
				}
			}
			for addr := range strings.FieldsSeq(tt.locals) {
				want := 1.0
				if addr == absentIP {
					want = 0
				}
				if got := g.Metric(`nowpay_egress_address_up{address="` + addr + `"}`); got != want {
					t.Errorf("nowpay_egress_address_up of %s is %v, want %v", addr, got, want)
				}
			}
			if answer := readiness(g); answer.StatusCode != http.StatusOK {
				t.Errorf("readiness: %d %s", answer.StatusCode, answer.Body)
			}
		})
	}
}

// TestDefaultAddressIsAnother: without the binding the provider would see
// another address, and refuse.
func TestDefaultAddressIsAnother(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	body := strings.NewReader(`{"username":"` + gatewaytest.Username + `","key":"` + gatewaytest.Key + `"}`)
	response, err := http.Post("http://"+g.ProviderAddress+"/api/index.php?route=/api/common/balance", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer.String(), "Invalid IP Address 127.0.0.1") {
		t.Errorf("the provider's answer to the system's own address: %s", &answer)
	}
}

func TestEgressAddressesAllMissing(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{LocalAddress: absentIP + " " + otherAbsentIP})
	for _, call := range []gatewaytest.Call{
		{Body: gatewaytest.Payout("1001", "1.00")},
		{Path: "/api/common/balance", Body: "{}"},
	} {
		answer := g.Must(call)
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Problem() != "egress-unavailable" ||
			answer.Outcome() != "unsent" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", call.Path, answer.StatusCode, answer.Header, answer.Body)
		}
		if strings.Contains(answer.Body, absentIP) || strings.Contains(answer.Body, g.ProviderAddress) {
			t.Errorf("the problem tells addresses: %s", answer.Body)
		}
		record := g.LastRecord()
		if record["egress_address"] != "" || record["outcome"] != "unsent" {
			t.Errorf("record: %v", record)
		}
	}
	if requests := g.Simulator.Requests(); len(requests) != 0 {
		t.Errorf("reached the provider: %v", requests)
	}
	ready := readiness(g)
	if ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.Body, "egress-unavailable") || strings.Contains(ready.Body, absentIP) {
		t.Errorf("readiness: %d %s", ready.StatusCode, ready.Body)
	}
	for _, addr := range []string{absentIP, otherAbsentIP} {
		series := `nowpay_egress_address_up{address="` + addr + `"} 0`
		if !strings.Contains(g.Metrics(), series+"\n") {
			t.Errorf("no %s in the metrics", series)
		}
	}
	if logged(g, "the egress address is missing; refusing merchants until it is there") != 1 {
		t.Error("the log does not say once that the address is missing")
	}
}
