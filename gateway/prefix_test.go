package gateway

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// TestReservedPrefix: a merchant without a prefix cannot take the ids of one that
// has one, and its refusal leaves them free.
func TestReservedPrefix(t *testing.T) {
	p := newParts(t)
	shop := *p.Policy.Merchants()[0]
	kiosk := shop
	kiosk.Name, kiosk.Tokens, kiosk.RequestIDPrefix = "kiosk", [][32]byte{whitelist.HashToken("npg_test_kiosk")}, "K"
	policy, err := whitelist.NewPolicy([]whitelist.Merchant{shop, kiosk})
	if err != nil {
		t.Fatal(err)
	}
	p.Gateway.Policy = policy
	for _, id := range []string{"K1001", "k1001"} {
		answer := p.Exchange(t.Context(), request("/api/bank/payout", strings.Replace(payoutBody, "1001", id, 1)))
		if problemOf(answer) != "invalid-field" || !strings.Contains(string(answer.Body), `"field":"yourrequestid"`) {
			t.Errorf("%s: %d %s", id, answer.Status, answer.Body)
		}
	}
	if n := p.received.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	own := request("/api/bank/payout", payoutBody)
	own.Caller = whitelist.Caller{Token: "npg_test_kiosk", Source: netip.MustParseAddr("192.0.2.7")}
	if answer := p.Exchange(t.Context(), own); answer.Status != 200 || p.received.Load() != 1 {
		t.Errorf("the owner's: %d %s", answer.Status, answer.Body)
	}
}
