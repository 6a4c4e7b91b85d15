package gateway

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
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
	p.Gateway.Policy, p.Places = policy, NewPlaces(policy.Merchants(), 1000, nil)
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

// TestRequestIDsAreFit: whatever format an operation's request ID has, one that
// cannot be looked up is refused, and not repeated in the log.
func TestRequestIDsAreFit(t *testing.T) {
	p := newParts(t)
	operations := nowpay.Documented()
	for i := range operations {
		for j, field := range operations[i].Fields {
			if field.Name == "yourrequestid" {
				operations[i].Fields[j] = nowpay.Field{Name: field.Name, Format: nowpay.FormatText}
			}
		}
	}
	catalogue, err := nowpay.NewCatalogue(operations)
	if err != nil {
		t.Fatal(err)
	}
	p.Catalogue = catalogue
	for id, fit := range map[string]bool{
		strings.Repeat("7", 256): true, strings.Repeat("7", 257): false, "7\u2028": false, "7\ufffd": false, "7\u202e": false, "order 7/é?": true,
	} {
		p.NewID = func() string { return "01" + id[:min(4, len(id))] }
		text, _ := json.Marshal(id) // a string always marshals
		p.records = nil
		answer := p.Exchange(t.Context(), request("/api/bank/payout", strings.Replace(payoutBody, `"1001"`, string(text), 1)))
		if refused := problemOf(answer) == "invalid-field"; refused == fit || answer.Status >= http.StatusInternalServerError {
			t.Errorf("%q: %d %s", id, answer.Status, answer.Body)
		}
		if logged := p.records[0].RequestID; (logged != "") != fit {
			t.Errorf("%q: logged as %q", id, logged)
		}
	}
}
