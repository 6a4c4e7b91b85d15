package gateway

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// TestLongTimeline shows the end of a timeline that repeats made long, and says
// how much is left out.
func TestLongTimeline(t *testing.T) {
	p := newParts(t)
	p.Accounts["main"] = Account{Secret: p, Sign: signerFunc(func(signer.Request, *secret.Credential) (signer.Signed, error) {
		return signer.Signed{}, signer.ErrEncoding
	})}
	for _, test := range []struct{ repeats, shown, leftOut int }{{1, 3, 0}, {48, 99, 0}, {1, 101, 0}, {10, 100, 21}} {
		for range test.repeats {
			if answer := p.Exchange(t.Context(), request("/api/bank/payout", payoutBody)); answer.Header.Get("Nowpay-Gateway-Outcome") != "unsent" {
				t.Fatalf("%d %s", answer.Status, answer.Body)
			}
		}
		get := request("/transactions/1001", "")
		get.Method = http.MethodGet
		var view TransactionView
		if answer := p.Transactions(t.Context(), get); json.Unmarshal(answer.Body, &view) != nil {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		if n := len(view.Events); n != test.shown || view.EventsLeftOut != test.leftOut || view.Events[n-1].Event != journal.Kind(journal.Unsent) {
			t.Errorf("%d events shown, %d left out, want %d, %d: %v", n, view.EventsLeftOut, test.shown, test.leftOut, view.Events)
		}
	}
}
