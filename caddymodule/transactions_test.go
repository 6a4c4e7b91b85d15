package caddymodule_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestTransaction reads one of each outcome.
func TestTransaction(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for kind, want := range map[simulator.Kind]transaction{
		simulator.Success:         {State: "success", Final: true, Integrity: "verified"},
		simulator.Failed:          {State: "failed", Final: true, Integrity: "verified"},
		simulator.Refused:         {State: "refused", Final: true, Integrity: "verified"},
		simulator.Pending:         {State: "pending", Integrity: "verified"},
		simulator.CloseAfterDebit: {State: "unknown", Integrity: "unverified"},
	} {
		id := "t" + strings.ReplaceAll(string(kind), "-", "")
		answer := g.Must(paid(id, "12.30", kind))
		tx := look(t, g, id)
		if timeline := "created by exchange, sent by exchange, " + want.State + " by exchange"; tx.timeline() != timeline {
			t.Errorf("%s: timeline %s", kind, tx.timeline())
		}
		if tx.Transaction != answer.Header.Get("Nowpay-Gateway-Transaction") || tx.Operation != "bank/payout" || tx.Amount != "12.30" || tx.RequestID != id {
			t.Errorf("%s: %+v", kind, tx)
		}
		if tx.State != want.State || tx.Outcome != want.State || tx.Final != want.Final || tx.Integrity != want.Integrity || tx.Reversed != "" || tx.NeedsPerson {
			t.Errorf("%s: %+v", kind, tx)
		}
		if kind == simulator.Success && (tx.Reference != entry(t, g, id).RRN || tx.ProviderID != entry(t, g, id).ProviderID) {
			t.Errorf("%s: %+v, at the provider %+v", kind, tx, entry(t, g, id))
		}
	}
}

// TestTransactionRefusals: what is not the merchant's own is not there.
func TestTransactionRefusals(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "mine1")
	before := len(g.Simulator.Requests())
	read := func(path string) gatewaytest.Call { return gatewaytest.Call{Method: http.MethodGet, Path: path} }
	as := func(c gatewaytest.Call, token string) gatewaytest.Call { c.Token = token; return c }
	withBody := func(body string) gatewaytest.Call {
		return gatewaytest.Call{Path: "/transactions/mine1/revalidate", Body: body}
	}
	early := read("/transactions/mine1")
	early.Header = http.Header{"Early-Data": {"1"}}
	for name, test := range map[string]struct {
		call   gatewaytest.Call
		status int
		code   string
	}{
		"no token":            {as(read("/transactions/mine1"), "-"), 401, "unauthenticated"},
		"early data":          {early, 425, "too-early"},
		"another merchant's":  {as(read("/transactions/mine1"), gatewaytest.KioskToken), 404, "not-found"},
		"unknown":             {read("/transactions/nobody"), 404, "not-found"},
		"no id":               {read("/transactions/"), 404, "not-found"},
		"revalidate no id":    {gatewaytest.Call{Path: "/transactions//revalidate"}, 404, "not-found"},
		"two segments":        {read("/transactions/mine1/events"), 404, "not-found"},
		"escaped slash":       {read("/transactions/mine1%2Frevalidate"), 404, "not-found"},
		"query":               {read("/transactions/mine1?x=1"), 404, "not-found"},
		"bad escape":          {read("/transactions/mine1%"), 400, ""},
		"zero byte":           {read("/transactions/mine1%00"), 404, "not-found"},
		"no UTF-8":            {read("/transactions/%ff"), 404, "not-found"},
		"too long":            {read("/transactions/" + strings.Repeat("a", 1000)), 404, "not-found"},
		"post":                {gatewaytest.Call{Path: "/transactions/mine1"}, 405, "method-not-allowed"},
		"delete":              {gatewaytest.Call{Method: http.MethodDelete, Path: "/transactions/mine1"}, 405, "method-not-allowed"},
		"revalidate with get": {read("/transactions/mine1/revalidate"), 405, "method-not-allowed"},
		"not JSON":            {withBody("amount=1"), 400, "malformed-body"},
		"member twice":        {withBody(`{"amount":"1.50","amount":"9.99"}`), 400, "malformed-body"},
		"unknown member":      {withBody(`{"amount":"1.50","outcome":"success"}`), 400, "invalid-field"},
		"no text":             {withBody(`{"amount":{"rupees":1}}`), 400, "invalid-field"},
		"large":               {withBody(`{"amount":"` + strings.Repeat("1", 5000) + `"}`), 413, "body-too-large"},
	} {
		answer := g.Must(test.call)
		if answer.StatusCode != test.status || answer.Problem() != test.code {
			t.Errorf("%s: %d %q, want %d %q: %s", name, answer.StatusCode, answer.Problem(), test.status, test.code, answer.Body)
		}
	}
	if n := len(g.Simulator.Requests()); n != before {
		t.Errorf("%d requests reached the provider", n-before)
	}
	// Nothing but the exchange's own id tells another merchant's from none.
	clean := func(a gatewaytest.Answer) (string, http.Header) {
		header := maps.Clone(a.Header)
		id := header.Get("Nowpay-Gateway-Transaction")
		header.Del("Nowpay-Gateway-Transaction")
		header.Del("Date")
		return strings.ReplaceAll(a.Body, id, ""), header
	}
	other, otherHeader := clean(g.Must(as(read("/transactions/mine1"), gatewaytest.KioskToken)))
	none, noneHeader := clean(g.Must(as(read("/transactions/nobody"), gatewaytest.KioskToken)))
	if other != none || !maps.EqualFunc(otherHeader, noneHeader, slices.Equal) {
		t.Errorf("another merchant's: %v %s\nunknown: %v %s", otherHeader, other, noneHeader, none)
	}
	head := g.Must(gatewaytest.Call{Method: http.MethodHead, Path: "/transactions/mine1"})
	if head.StatusCode != http.StatusOK || head.Body != "" {
		t.Errorf("HEAD: %d %q", head.StatusCode, head.Body)
	}
	if escaped := look(t, g, "m%69ne1"); escaped.RequestID != "mine1" {
		t.Errorf("an escaped letter: %+v", escaped)
	}
}

// TestClaims compares what a browser says with what is so.
func TestClaims(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "won1")
	g.Must(paid("lost1", "1.50", simulator.Failed))
	g.Must(paid("open1", "1.50", simulator.Pending))
	g.Must(paid("dark1", "1.50", simulator.CloseAfterDebit))
	for _, test := range []struct {
		id, claim string
		want      bool
	}{
		{"won1", `{"amount":"1.50","status":"success"}`, true},
		{"won1", `{"amount":1.5,"status":1}`, true},
		{"won1", `{"amount":"1.5"}`, true},
		{"won1", `{"status":"SUCCESS"}`, true},
		{"won1", `{"amount":"1.51","status":"success"}`, false},
		{"won1", `{"amount":"150"}`, false},
		{"won1", `{"amount":"-1.50"}`, false},
		{"won1", `{"amount":"much"}`, false},
		{"won1", `{"amount":"1.50","status":"failed"}`, false},
		{"won1", `{"status":"2"}`, false},
		{"won1", `{"status":"paid"}`, false},
		{"lost1", `{"amount":"1.50","status":0}`, true},
		{"lost1", `{"status":"failed"}`, true},
		{"lost1", `{"status":"success"}`, false},
		{"open1", `{"status":"pending"}`, true},
		{"open1", `{"status":"success"}`, false},
		{"open1", `{"status":"failed"}`, false},
		{"dark1", `{"status":2}`, true},
		{"dark1", `{"status":"unknown"}`, true},
		{"dark1", `{"status":"1"}`, false},
		{"dark1", `{"status":"0"}`, false},
	} {
		tx := revalidate(t, g, test.id, test.claim)
		if tx.Match == nil || *tx.Match != test.want {
			t.Errorf("%s %s: match %v, want %t", test.id, test.claim, tx.Match, test.want)
		}
		if *tx.Asked || !strings.Contains(tx.Detail, "no status call") {
			t.Errorf("%s: asked %t, %q", test.id, *tx.Asked, tx.Detail)
		}
	}
	for _, none := range []string{"", "{}"} {
		if tx := revalidate(t, g, "won1", none); tx.Match != nil {
			t.Errorf("without a claim %q: match %t", none, *tx.Match)
		}
	}
	if n := len(g.Simulator.Requests()); n != 4 {
		t.Errorf("%d requests reached the provider", n)
	}
}
