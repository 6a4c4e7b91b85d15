package caddymodule_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// balancePath is an operation of both merchants that moves no money.
const balancePath = "/api/common/balance"

// slow is a gateway whose provider does not answer before it is told to, with
// exchanges under way.
type slow struct {
	*gatewaytest.Gateway
	t    *testing.T
	door *door
	ends []func() (gatewaytest.Answer, error)
}

func startSlow(t *testing.T, o gatewaytest.Options) *slow {
	t.Helper()
	s := &slow{t: t, door: newDoor(t)}
	o.Provider = s.door.wrap
	s.Gateway = gatewaytest.Start(t, o)
	return s
}

// begin begins exchanges and waits until they are at the provider.
func (s *slow) begin(calls ...gatewaytest.Call) {
	s.t.Helper()
	for _, c := range calls {
		s.ends = append(s.ends, begin(s.t.Context(), s.t, s.Gateway, "http/1.1", c))
		<-s.door.arrived
	}
}

// mustSucceed waits for all exchanges that were begun.
func (s *slow) mustSucceed() {
	s.t.Helper()
	for i, end := range s.ends {
		if answer, err := end(); err != nil || answer.Outcome() != "success" {
			s.t.Errorf("exchange %d: %v %s", i, err, answer.Body)
		}
	}
	s.ends = nil
}

// mustRefuse makes calls, for which there is no place.
func (s *slow) mustRefuse(calls ...gatewaytest.Call) {
	s.t.Helper()
	for _, c := range calls {
		answer := s.Must(c)
		if answer.StatusCode != http.StatusTooManyRequests || answer.Problem() != "limit-exceeded" || answer.Header.Get("Retry-After") != "1" {
			s.t.Errorf("%+v: %d %v %s", c, answer.StatusCode, answer.Header, answer.Body)
		}
		if record := s.LastRecord(); record["reason"] != "limit-exceeded" || record["allowed"] != false || record["transaction"] != nil {
			s.t.Errorf("%+v: record %v", c, record)
		}
	}
}

// mustCount checks the gauge of a merchant.
func (s *slow) mustCount(merchant string, want float64) {
	s.t.Helper()
	gatewaytest.Eventually(s.t, fmt.Sprintf("%v exchanges of %s in flight", want, merchant), func() bool {
		return s.Metric(fmt.Sprintf("nowpay_exchanges_in_flight{merchant=%q}", merchant)) == want
	})
}

func slowPayout(id string) gatewaytest.Call {
	return gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")}
}

var (
	revalidation = gatewaytest.Call{Path: "/transactions/before/revalidate"}
	kiosks       = gatewaytest.Call{Token: gatewaytest.KioskToken, Path: balancePath, Body: "{}"}
)

// TestMaxInFlight: beyond what may be under way a merchant is told to come again,
// nothing is recorded or sent, and afterwards all goes on. Others are let in.
func TestMaxInFlight(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	s := startSlow(t, gatewaytest.Options{Nowpay: "max_in_flight 3", Shop: "max_in_flight 2"})
	mustPay(t, s.Gateway, gatewaytest.ShopToken, "before")
	release := s.door.hold()
	s.begin(slowPayout("f0"), slowPayout("f1"))
	s.mustCount("shop", 2)
	s.mustRefuse(slowPayout("f2"), slowPayout("f0"), revalidation, gatewaytest.Call{Path: balancePath, Body: "{}"})
	for _, path := range []string{"/operations", "/transactions/f0"} { // which ask nobody
		if answer := s.Must(gatewaytest.Call{Method: http.MethodGet, Path: path}); answer.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, answer.StatusCode, answer.Body)
		}
	}
	mustRefuse(t, s.Gateway, "npg_guessed") // unauthenticated, as ever
	s.begin(kiosks)
	s.mustRefuse(kiosks)
	if n := s.Metric(`nowpay_decisions_total{merchant="shop",reason="limit-exceeded"}`); n != 4 {
		t.Errorf("%v refusals are counted, want 4", n)
	}

	release()
	s.mustSucceed()
	s.mustCount("shop", 0)
	s.mustCount("kiosk", 0)
	if answer := s.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/f2"}); answer.Problem() != "not-found" {
		t.Errorf("what was refused is recorded: %s", answer.Body)
	}
	if n := s.Simulator.Ledger().Executions["f2"]; n != 0 {
		t.Errorf("what was refused was executed %d times", n)
	}
	mustPay(t, s.Gateway, gatewaytest.ShopToken, "f2")
	if answer := s.Must(slowPayout("f0")); !replayed(answer) {
		t.Errorf("a repeat: %d %s", answer.StatusCode, answer.Body)
	}
}

// TestMaxInFlightHangingMerchant: with the defaults a merchant whose operations
// hang leaves half of the places to the others.
func TestMaxInFlightHangingMerchant(t *testing.T) {
	s := startSlow(t, gatewaytest.Options{Nowpay: "max_in_flight 6"})
	release := s.door.hold()
	s.begin(slowPayout("h0"), slowPayout("h1"), slowPayout("h2"))
	s.mustRefuse(slowPayout("h3"))
	s.begin(kiosks, kiosks, kiosks)
	s.mustRefuse(kiosks)
	release()
	s.mustSucceed()
}

// TestMaxInFlightReload: exchanges of an earlier configuration count in the later
// one, also those of a merchant who was gone in between.
func TestMaxInFlightReload(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	options := gatewaytest.Options{Nowpay: "max_in_flight 4", Shop: "max_in_flight 4"}
	s := startSlow(t, options)
	release := s.door.hold()
	s.begin(slowPayout("a0"), kiosks)
	mustReload(t, s.Gateway, options, withoutKiosk)
	s.mustCount("kiosk", 1)
	s.begin(slowPayout("a1"), slowPayout("a2"))
	s.mustRefuse(slowPayout("a3"))
	mustReload(t, s.Gateway, options)
	s.mustCount("shop", 3)
	s.mustCount("kiosk", 1)
	s.mustRefuse(slowPayout("a3"), kiosks)

	options.Nowpay, options.Shop = "max_in_flight 100", "max_in_flight 3" // lowered
	mustReload(t, s.Gateway, options)
	s.mustRefuse(slowPayout("a3"))
	release()
	s.mustSucceed()
	s.mustCount("shop", 0)
	s.mustCount("kiosk", 0)
	mustPay(t, s.Gateway, gatewaytest.ShopToken, "a3")
	mustReload(t, s.Gateway, options, withoutKiosk)
	if _, ok := scrape(t, s.Gateway)[`nowpay_exchanges_in_flight{merchant="kiosk"}`]; ok {
		t.Error("a merchant who is gone and has nothing under way is still counted")
	}
}
