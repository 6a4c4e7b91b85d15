package caddymodule_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestRate: beyond its rate a merchant is told to wait, and nothing is recorded.
func TestRate(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Shop: "rate 1/1h 3"})
	for i := range 5 {
		answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprintf("r%d", i), "1.50")})
		if i < 3 {
			if answer.Outcome() != "success" {
				t.Errorf("%d: %d %s", i, answer.StatusCode, answer.Body)
			}
			continue
		}
		if answer.StatusCode != http.StatusTooManyRequests || answer.Problem() != "limit-exceeded" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%d: %d %v %s", i, answer.StatusCode, answer.Header, answer.Body)
		}
		if record := g.LastRecord(); record["transaction"] != nil || record["problem"] != "limit-exceeded" {
			t.Errorf("record %v", record)
		}
		mustReload(t, g, gatewaytest.Options{Shop: "rate 1/1h 3"}) // which gives no new bucket
	}
	for _, c := range []gatewaytest.Call{{Method: http.MethodGet, Path: "/operations"}, {Method: http.MethodGet, Path: "/transactions/r0"}, {Path: "/transactions/r0/revalidate"}} {
		if answer := g.Must(c); answer.Problem() != "limit-exceeded" {
			t.Errorf("%s: %d %s", c.Path, answer.StatusCode, answer.Body)
		}
	}
	if answer := g.Must(gatewaytest.Call{Token: gatewaytest.KioskToken, Path: "/api/common/balance", Body: "{}"}); answer.Outcome() != "success" {
		t.Errorf("another merchant: %d %s", answer.StatusCode, answer.Body)
	}
	mustReload(t, g, gatewaytest.Options{})
	for _, id := range []string{"r3", "r4"} {
		if answer := g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/" + id}); answer.Problem() != "not-found" {
			t.Errorf("%s was recorded: %s", id, answer.Body)
		}
	}
}

// TestDailyAmount: what is or may have been paid counts, also after a reload
// and a restart; what failed is given back.
func TestDailyAmount(t *testing.T) {
	options := gatewaytest.Options{Shop: "daily_amount 100"}
	g := gatewaytest.Start(t, options)
	pay := func(id, amount string, kind simulator.Kind, want string) {
		t.Helper()
		answer := g.Must(paid(id, amount, kind))
		got := answer.Outcome()
		if got == "" {
			got = answer.Problem()
		}
		if got != want {
			t.Errorf("%s: %s, want %s: %s", id, got, want, answer.Body)
		}
		if want == "limit-exceeded" && (answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "") {
			t.Errorf("%s: %d %v", id, answer.StatusCode, answer.Header)
		}
	}
	pay("d1", "40.00", simulator.Success, "success")
	pay("d2", "60.01", simulator.Success, "limit-exceeded")
	pay("d3", "60.00", simulator.Failed, "failed")
	pay("d4", "60.00", simulator.Refused, "refused")
	pay("d5", "20.00", simulator.Pending, "pending")
	pay("d6", "20.00", simulator.CloseAfterDebit, "unknown")
	pay("d7", "20.01", simulator.Success, "limit-exceeded")
	mustReload(t, g, options)
	pay("d7", "20.01", simulator.Success, "limit-exceeded")
	other := options
	other.Journal = "sqlite " + g.JournalFile + ".other {\nkey_file " + g.JournalKeyFile + "\n}"
	mustReload(t, g, other) // lets go of the file
	mustReload(t, g, options)
	pay("d7", "20.01", simulator.Success, "limit-exceeded")
	pay("d8", "20.00", simulator.Success, "success")
	pay("d9", "0.01", simulator.Success, "limit-exceeded")
	pay("d8", "20.00", simulator.Success, "success") // a repeat costs nothing
	if err := g.Simulator.SettlePending(entry(t, g, "d5").ProviderID, simulator.StateFailed); err != nil {
		t.Fatal(err)
	}
	options.Nowpay = asks(byRequestID, "pending")
	mustReload(t, g, options)
	if tx := revalidate(t, g, "d5", ""); tx.State != "failed" {
		t.Errorf("d5: %+v", tx)
	}
	pay("d10", "20.00", simulator.Success, "success")
	sum := 0
	for _, e := range g.Simulator.Ledger().Entries {
		if e.State != simulator.StateFailed {
			sum += int(e.Amount)
		}
	}
	if sum != 100_00 {
		t.Errorf("%d paise were spent, want %d", sum, 100_00)
	}
	refused := slices.DeleteFunc(g.Simulator.Requests(), func(r simulator.Request) bool {
		return !slices.Contains([]string{"d2", "d7", "d9"}, r.RequestID)
	})
	if len(refused) > 0 {
		t.Errorf("%d refused payouts reached the provider", len(refused))
	}
}
