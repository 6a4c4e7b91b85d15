package caddymodule_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestConfirm is the policy `always`: what the provider answers and what its
// own status says must agree before it is passed on. No success and no failure
// is told that the status does not confirm.
func TestConfirm(t *testing.T) {
	const revalidated, unverified, verified = "revalidated", "unverified", "verified"
	for _, test := range []struct {
		name    string
		query   string
		payout  simulator.Kind
		status  simulator.Kind // what the status query meets; "" for nothing
		outcome string
		trust   string
		success string // of the body
	}{
		{"success confirmed", byRequestID, simulator.Success, "", "success", revalidated, "1"},
		{"by Nowpay's id", byProviderID, simulator.Success, "", "success", revalidated, "1"},
		{"today only", todayOnly, simulator.Success, "", "success", revalidated, "1"},
		{"failure confirmed", byRequestID, simulator.Failed, "", "failed", revalidated, "0"},
		{"pending confirmed", byRequestID, simulator.Pending, "", "pending", revalidated, "2"},
		{"refused, and not there", byRequestID, simulator.Refused, "", "refused", verified, "0"},
		{"refused, unreadable status", byRequestID, simulator.Refused, simulator.JunkBeforeJSON, "refused", verified, "0"},
		{"refused, no status", byRequestID, simulator.Refused, simulator.ResetBefore, "refused", verified, "0"},
		{"success contradicted", byRequestID, simulator.Success, simulator.StatusContradicts, "unknown", unverified, "2"},
		{"failure contradicted", byRequestID, simulator.Failed, simulator.StatusContradicts, "unknown", unverified, "2"},
		{"success taken back", byRequestID, simulator.FlippedFinal, "", "unknown", unverified, "2"},
		{"success that is none", byRequestID, simulator.Ambiguous, "", "pending", revalidated, "2"},
		{"success, and not there", byRequestID, simulator.Success, simulator.HistoryEmpty, "pending", unverified, "2"},
		{"failure, and not there", byRequestID, simulator.Failed, simulator.HistoryEmpty, "pending", unverified, "2"},
		{"success among others", byRequestID, simulator.Success, simulator.HistoryPrefix, "success", revalidated, "1"},
		{"other amount", byRequestID, simulator.Success, simulator.OtherAmount, "pending", unverified, "2"},
		{"other id", byRequestID, simulator.Success, simulator.OtherID, "pending", unverified, "2"},
		{"query refused", byRequestID, simulator.Success, simulator.WrongKey, "pending", unverified, "2"},
		{"query fails", byRequestID, simulator.Success, simulator.HTTP500, "pending", unverified, "2"},
		{"failure, query fails", byRequestID, simulator.Failed, simulator.JunkBeforeJSON, "pending", unverified, "2"},
		{"query's connection dies", byRequestID, simulator.Success, simulator.ResetBefore, "pending", unverified, "2"},
		{"lost answer found", byRequestID, simulator.CloseAfterDebit, "", "success", revalidated, "1"},
		{"lost answer not found", byRequestID, simulator.CloseAfterDebit, simulator.HistoryEmpty, "unknown", unverified, "2"},
		{"lost answer, the status is all there is", byRequestID, simulator.CloseAfterDebit, simulator.StatusContradicts, "failed", revalidated, "0"},
		{"lost request", byRequestID, simulator.ResetBefore, "", "unknown", unverified, "2"},
		{"lost answer, nothing to ask by", byProviderID, simulator.CloseAfterDebit, "", "unknown", unverified, "2"},
		{"key in the status", byRequestID, simulator.Success, simulator.KeyEcho, "success", revalidated, "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(test.query, "always"), Reconcile: "daily_check off"})
			// Another one of the day, with an id that begins alike.
			mustPay(t, g, gatewaytest.ShopToken, "conf10")
			before := statusCalls(g)
			if test.status != "" {
				misbehave(t, g, simulator.Fault{Kind: test.status, Operation: "bank/payout_status", Times: 1})
			}
			answer := g.Must(paid("conf1", "12.30", test.payout))
			if answer.StatusCode != http.StatusOK || answer.Outcome() != test.outcome || answer.Header.Get("Nowpay-Gateway-Integrity") != test.trust {
				t.Errorf("%d %s %s, want %s %s: %s", answer.StatusCode, answer.Outcome(), answer.Header.Get("Nowpay-Gateway-Integrity"), test.outcome, test.trust, answer.Body)
			}
			if !strings.Contains(answer.Body, `"success":"`+test.success+`"`) || strings.Contains(answer.Body, gatewaytest.Key) {
				t.Errorf("body %s", answer.Body)
			}
			want := 1
			if strings.HasSuffix(test.name, "nothing to ask by") {
				want = 0
			}
			if n := statusCalls(g) - before; n != want {
				t.Errorf("%d status calls, want %d", n, want)
			}
			tx := look(t, g, "conf1")
			if tx.State != test.outcome || tx.Integrity != test.trust {
				t.Errorf("journal: %+v", tx)
			}
			if n := len(sentFor(g, "conf1")); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

// TestStatusCallsAreRequests like every other: signed, and from the whitelisted
// address.
func TestStatusCallsAreRequests(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "always")})
	mustPay(t, g, gatewaytest.ShopToken, "signed1")
	calls := sentTo(g, "bank/payout_status")
	if len(calls) != 1 {
		t.Fatalf("%d status calls", len(calls))
	}
	call := calls[0]
	if !call.KeyRight || call.Username != gatewaytest.Username || call.Remote.Addr().String() != gatewaytest.EgressIP || call.Method != http.MethodPost {
		t.Errorf("status call %+v", call)
	}
	if n := g.Metric(`nowpay_status_calls_total{cause="exchange",operation="bank/payout",provider_says="success"}`); n < 1 {
		t.Errorf("counted %v times", n)
	}
	if n := linesWith(g, `"msg":"status call"`, `"cause":"exchange"`, `"provider_says":"success"`); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	if linesWith(g, gatewaytest.Key) != 0 {
		t.Error("the key is in the log")
	}
}

// TestNeverAsks: the policy `never` asks neither in the background nor for a
// merchant.
func TestNeverAsks(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "never")})
	payout := paid("never1", "1.50", simulator.CloseAfterDebit)
	g.Must(payout)
	if again := g.Must(payout); again.Outcome() != "unknown" {
		t.Errorf("%s", again.Body)
	}
	if tx := revalidate(t, g, "never1", ""); *tx.Asked || tx.State != "unknown" || tx.Detail == "" {
		t.Errorf("%+v", tx)
	}
	if n := statusCalls(g); n != 0 {
		t.Errorf("%d status calls", n)
	}
}

// TestMerchantRevalidates settles what is open, by asking and by repeating.
func TestMerchantRevalidates(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   simulator.Kind
		settle simulator.State
		status simulator.Kind
		want   string
	}{
		{"pending, then paid", simulator.Pending, simulator.StateSuccess, "", "success"},
		{"pending, then failed", simulator.Pending, simulator.StateFailed, "", "failed"},
		{"still pending", simulator.Pending, "", "", "pending"},
		{"lost, paid", simulator.CloseAfterDebit, "", "", "success"},
		{"lost, never arrived", simulator.ResetBefore, "", "", "unknown"},
		{"lost, not found", simulator.CloseAfterDebit, "", simulator.HistoryEmpty, "unknown"},
		{"lost, among others", simulator.CloseAfterDebit, "", simulator.HistoryPrefix, "success"},
		{"lost, another amount", simulator.CloseAfterDebit, "", simulator.OtherAmount, "unknown"},
	} {
		for _, by := range []string{"asking", "repeating"} {
			t.Run(test.name+"/"+by, func(t *testing.T) {
				g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
				mustPay(t, g, gatewaytest.ShopToken, "open10")
				payout := paid("open1", "12.30", test.kind)
				first := g.Must(payout)
				if test.settle != "" {
					if err := g.Simulator.SettlePending(entry(t, g, "open1").ProviderID, test.settle); err != nil {
						t.Fatal(err)
					}
				}
				if test.status != "" {
					misbehave(t, g, simulator.Fault{Kind: test.status, Operation: "bank/payout_status"})
				}
				if by == "asking" {
					if tx := revalidate(t, g, "open1", `{"amount":"12.30","status":"`+test.want+`"}`); !*tx.Asked || !*tx.Match || tx.State != test.want {
						t.Errorf("%+v", tx)
					}
				}
				second := g.Must(payout)
				if second.Outcome() != test.want || replayed(second) != (test.want == "success" || test.want == "failed") {
					t.Errorf("repeated: %s, replayed %t: %s", second.Outcome(), replayed(second), second.Body)
				}
				if test.want == first.Outcome() && second.Body != first.Body {
					t.Errorf("repeated: %s\nfirst: %s", second.Body, first.Body)
				}
				if test.want == "success" {
					e := entry(t, g, "open1")
					if !strings.Contains(second.Body, `"rrn":"`+e.RRN+`"`) || !strings.Contains(second.Body, e.ProviderID) || second.Header.Get("Nowpay-Gateway-Integrity") != "revalidated" {
						t.Errorf("%v %s", second.Header, second.Body)
					}
				}
				if n := len(sentTo(g, "bank/payout")); n != 2 {
					t.Errorf("%d payouts were sent", n)
				}
			})
		}
	}
}

// TestRevalidationsCoalesce: whoever asks at the same time shares one call, and
// whoever asks right afterwards is told to wait.
func TestRevalidationsCoalesce(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	g.Must(paid("many1", "1.50", simulator.Pending))
	misbehave(t, g, simulator.Fault{Kind: simulator.Slow, Operation: "bank/payout_status", Delay: time.Second})
	client := g.Client("h2")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			answer, err := g.Do(client, g.TLSURL, gatewaytest.Call{Path: "/transactions/many1/revalidate"})
			if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(answer.Body, `"asked":true`) {
				t.Errorf("%v %s", err, answer.Body)
			}
		})
	}
	asking.Wait()
	if n := statusCalls(g); n != 1 {
		t.Errorf("%d status calls, want 1", n)
	}
	if tx := revalidate(t, g, "many1", ""); *tx.Asked || !strings.Contains(tx.Detail, "often enough") {
		t.Errorf("%+v", tx)
	}
}

// TestStatusRate bounds what merchants can bring about.
func TestStatusRate(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 1/1h 3"})
	calls := 0
	for _, id := range []string{"rate1", "rate2", "rate3", "rate4", "rate5"} {
		mustPay(t, g, gatewaytest.ShopToken, id)
		if *revalidate(t, g, id, "").Asked {
			calls++
		}
	}
	if n := statusCalls(g); calls != 3 || n != 3 {
		t.Errorf("%d of 5 were asked about, with %d status calls, want 3", calls, n)
	}
}

// TestStatusTimeout: a provider that does not answer holds nobody up longer.
func TestStatusTimeout(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "always"), Reconcile: "status_timeout 300ms"})
	misbehave(t, g, simulator.Fault{Kind: simulator.TimeoutBeforeDebit, Operation: "bank/payout_status"})
	begun := time.Now()
	answer := g.Must(paid("hang1", "1.50", simulator.Success))
	if took := time.Since(begun); answer.Outcome() != "pending" || took > 10*time.Second {
		t.Errorf("%s after %v: %s", answer.Outcome(), took, answer.Body)
	}
}
