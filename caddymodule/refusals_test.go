package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// Merchants of the tests that the default configuration does not have. branch
// calls from another address than all others.
const (
	branchIP    = "127.0.0.6"
	branchToken = "npg_test_branch"
	agentToken  = "npg_test_agent"
	legacyToken = "npg_test_legacy"
)

// merchants is their configuration: agent may call everything and has no
// limit, legacy still has username and key in its bodies.
var merchants = fmt.Sprintf(`
	merchant branch {
		account main
		token %s
		from %s
		allow common/balance
	}
	merchant agent {
		account main
		token %s
		from 127.0.0.1
		allow common/* recharge/* bank/* pan/* aeps/*
	}
	merchant legacy {
		account main
		token %s
		from 127.0.0.1
		allow bank/* aeps/*
		strip_credentials
	}
`, gatewaytest.TokenHash(branchToken), branchIP, gatewaytest.TokenHash(agentToken), gatewaytest.TokenHash(legacyToken))

// call is a shorthand for tables.
type call = gatewaytest.Call

// refusal is a request that the gateway must refuse, and how.
type refusal struct {
	name string
	call call
	code string

	from     string // the caller's address; default 127.0.0.1
	merchant string // in the record; default shop, "-" for nobody
	field    string // that the problem names
	hidden   string // part of the request that the problem must not repeat
	allow    string // header Allow
	protocol string // the only one that can carry the request; default: both
	first    call   // what succeeds on the same connection beforehand; default: a balance
	credited bool   // the credential has been taken: refused only when sending
}

// statuses are the contract: which problem has which status.
var statuses = map[string]int{
	"unauthenticated": 401, "source-not-allowed": 403, "operation-not-allowed": 403, "unknown-operation": 404,
	"method-not-allowed": 405, "malformed-body": 400, "credential-in-request": 400, "invalid-field": 400,
	"amount-not-allowed": 403, "body-too-large": 413, "unsupported-media-type": 415, "not-sent": 503,
	"credential-unavailable": 503, "egress-unavailable": 503, "not-found": 404, "too-early": 425,
}

// balance is a request that costs nothing and succeeds.
var balance = call{Path: "/api/common/balance", Body: `{}`}

// operations is one that succeeds whatever the state of the provider.
var operations = call{Method: http.MethodGet, Path: "/operations"}

// refuse makes all requests of the table: with HTTP/1.1 and HTTP/2, first on a
// connection of its own, and then again after a request that succeeded on it.
func refuse(t *testing.T, g *gatewaytest.Gateway, table []refusal) {
	t.Helper()
	for _, r := range table {
		t.Run(r.name, func(t *testing.T) {
			for _, protocol := range []string{"http/1.1", "h2"} {
				if r.protocol == "" || r.protocol == protocol {
					t.Run(protocol, func(t *testing.T) { r.try(t, g, protocol) })
				}
			}
		})
	}
}

// withID puts another request ID in the place of 1001, of the same length: what
// was recorded once is repeated otherwise.
func withID(c call, id int) call {
	c.Body = strings.Replace(c.Body, `1001"`, fmt.Sprintf(`%04d"`, id%10_000), 1)
	return c
}

// try makes the request twice, and looks at everything that it may change.
func (r refusal) try(t *testing.T, g *gatewaytest.Gateway, protocol string) {
	base, from, first := g.URL, "127.0.0.1", balance
	if protocol == "h2" {
		base = g.TLSURL
	}
	if r.from != "" {
		from = r.from
	}
	if r.first.Path != "" {
		first = r.first
	}
	merchant := r.merchant
	switch merchant {
	case "":
		merchant = "shop"
	case "-":
		merchant = ""
	}
	series := fmt.Sprintf(`nowpay_decisions_total{merchant=%q,reason=%q}`, merchant, r.code)
	counted := g.Metric(series)
	client := g.ClientFrom(protocol, from)
	defer client.CloseIdleConnections()

	for i, kept := range []bool{false, true} {
		if kept {
			answer, err := g.Do(client, base, first)
			if err != nil || answer.StatusCode != http.StatusOK || answer.Problem() != "" {
				t.Fatalf("the request that should succeed: %v %+v", err, answer)
			}
		}
		reached := len(g.Simulator.Requests())
		answer, err := g.Do(client, base, withID(r.call, 3000+int(counted)+i))
		if err != nil {
			t.Fatalf("calling: %v", err)
		}
		if answer.Reused != kept {
			t.Errorf("over a kept connection: %v, want %v", answer.Reused, kept)
		}
		if n := len(g.Simulator.Requests()) - reached; n != 0 {
			t.Errorf("requests that reached the provider: %d", n)
		}
		r.checkAnswer(t, answer)
		r.checkRecord(t, g, answer, merchant)
	}
	if n := g.Metric(series) - counted; n != 2 {
		t.Errorf("%s moved by %v, want 2", series, n)
	}
}

// checkAnswer compares the answer with the contract of RFC 9457 and section 6
// of the design.
func (r refusal) checkAnswer(t *testing.T, answer gatewaytest.Answer) {
	want := statuses[r.code]
	if answer.StatusCode != want || answer.Problem() != r.code {
		t.Fatalf("got %d %q, want %d %q; %s", answer.StatusCode, answer.Problem(), want, r.code, answer.Body)
	}
	header := map[string]string{
		"Content-Type":             "application/problem+json",
		"Cache-Control":            "no-store",
		"Allow":                    r.allow,
		"Nowpay-Gateway-Integrity": "",
		"Idempotent-Replayed":      "",
		"Set-Cookie":               "",
	}
	if want == http.StatusServiceUnavailable {
		header["Retry-After"], header["Nowpay-Gateway-Outcome"] = "5", "unsent"
	} else {
		header["Retry-After"], header["Nowpay-Gateway-Outcome"] = "", ""
	}
	if want == http.StatusUnauthorized {
		header["Www-Authenticate"] = "Bearer"
	}
	for name, value := range header {
		if got := answer.Header.Get(name); got != value {
			t.Errorf("header %s: %q, want %q", name, got, value)
		}
	}

	var problem map[string]any
	if err := json.Unmarshal([]byte(answer.Body), &problem); err != nil {
		t.Fatalf("problem %q: %v", answer.Body, err)
	}
	instance := answer.Header.Get("Nowpay-Gateway-Transaction")
	for name, value := range map[string]any{
		"type": "https://nowpay-gateway.dev/problems/" + r.code, "status": float64(want), "instance": instance,
	} {
		if problem[name] != value {
			t.Errorf("problem: %s is %v, want %v", name, problem[name], value)
		}
	}
	for _, name := range []string{"title", "detail", "instance"} {
		if text, _ := problem[name].(string); text == "" {
			t.Errorf("problem without %s: %s", name, answer.Body)
		}
	}
	if field, _ := problem["field"].(string); field != r.field || !strings.Contains(fmt.Sprint(problem["detail"]), r.field) {
		t.Errorf("problem %s does not name the field %q", answer.Body, r.field)
	}
	for _, secret := range []string{r.hidden, gatewaytest.Key, gatewaytest.ShopToken} {
		if secret != "" && strings.Contains(answer.Body, secret) {
			t.Errorf("the problem repeats %q: %s", secret, answer.Body)
		}
	}
}

// checkRecord looks for the one decision record of the exchange.
func (r refusal) checkRecord(t *testing.T, g *gatewaytest.Gateway, answer gatewaytest.Answer, merchant string) {
	records := g.RecordsOf(answer.Header.Get("Nowpay-Gateway-Transaction"))
	if len(records) != 1 {
		t.Fatalf("decision records: %d, want 1", len(records))
	}
	record := records[0]
	if record["merchant"] != merchant || record["problem"] != r.code {
		t.Errorf("record of %v with problem %v, want %q and %q", record["merchant"], record["problem"], merchant, r.code)
	}
	if rule, _ := record["rule"].(string); rule == "" {
		t.Errorf("record without a rule: %v", record)
	}
	// The whitelist's own refusals are its reason; what comes after it is not.
	whitelisted := []string{"unauthenticated", "source-not-allowed", "operation-not-allowed", "amount-not-allowed"}
	if slices.Contains(whitelisted, r.code) && (record["reason"] != r.code || record["allowed"] != false) {
		t.Errorf("record of a whitelist's refusal: allowed %v, reason %v", record["allowed"], record["reason"])
	}
	version, taken := record["credential_version"].(float64)
	if taken = taken && version > 0; taken != r.credited {
		t.Errorf("credential taken: %v, want %v; %v", taken, r.credited, record)
	}
}

func payout(body string) call { return call{Body: body} }

func TestRefusals(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants})
	good := gatewaytest.Payout("1001", "1.50")
	authorization := func(values ...string) call {
		return call{Token: "-", Header: http.Header{"Authorization": values}, Body: good}
	}
	refuse(t, g, []refusal{
		// Who calls.
		{name: "no token", call: call{Token: "-", Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "wrong token", call: call{Token: "npg_test_shoq", Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "token in another case", call: call{Token: "NPG_TEST_SHOP", Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "beginning of the token", call: call{Token: "npg_test_sho", Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "hash as token", call: call{Token: gatewaytest.TokenHash(gatewaytest.ShopToken), Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "token twice", call: authorization("Bearer "+gatewaytest.ShopToken, "Bearer "+gatewaytest.ShopToken), code: "unauthenticated", merchant: "-"},
		{name: "two tokens", call: authorization("Bearer "+gatewaytest.ShopToken, "Bearer "+gatewaytest.KioskToken), code: "unauthenticated", merchant: "-"},
		{name: "two tokens in one header", call: authorization("Bearer " + gatewaytest.ShopToken + ", Bearer " + gatewaytest.ShopToken), code: "unauthenticated", merchant: "-"},
		{name: "basic", call: authorization("Basic bnBnX3Rlc3Rfc2hvcDo="), code: "unauthenticated", merchant: "-"},
		{name: "token without scheme", call: authorization(gatewaytest.ShopToken), code: "unauthenticated", merchant: "-"},
		{name: "token after two spaces", call: authorization("Bearer  " + gatewaytest.ShopToken), code: "unauthenticated", merchant: "-"},
		{name: "token in the query", call: call{Token: "-", Path: "/api/bank/payout?access_token=" + gatewaytest.ShopToken, Body: good}, code: "unauthenticated", merchant: "-"},
		{name: "stranger who asks what exists", call: call{Token: "-", Path: "/api/no/such"}, code: "unauthenticated", merchant: "-"},
		{name: "stranger at the root", call: call{Token: "-", Method: http.MethodGet, Path: "/"}, code: "unauthenticated", merchant: "-"},
		{name: "stranger who asks for the list", call: call{Token: "-", Method: http.MethodGet, Path: "/operations"}, code: "unauthenticated", merchant: "-"},

		// When.
		{name: "early data", call: call{Header: http.Header{"Early-Data": {"1"}}, Body: good}, code: "too-early", merchant: "-"},
		{name: "early data of a stranger", call: call{Token: "-", Header: http.Header{"Early-Data": {"1"}}, Body: good}, code: "too-early", merchant: "-"},
		{name: "list in early data", call: call{Method: http.MethodGet, Path: "/operations", Header: http.Header{"Early-Data": {"1"}}}, code: "too-early", merchant: "-"},

		// From where.
		{name: "shop from the branch", call: payout(good), from: branchIP, first: call{Token: branchToken, Path: "/api/common/balance", Body: `{}`}, code: "source-not-allowed"},
		{name: "branch from the shop", call: call{Token: branchToken, Path: "/api/common/balance", Body: `{}`}, code: "source-not-allowed", merchant: "branch"},
		{name: "list from elsewhere", call: call{Token: branchToken, Method: http.MethodGet, Path: "/operations"}, code: "source-not-allowed", merchant: "branch"},
		{
			name: "forwarded address without trusted proxies", code: "source-not-allowed", merchant: "branch",
			call: call{Token: branchToken, Path: "/api/common/balance", Body: `{}`, Header: http.Header{
				"X-Forwarded-For": {branchIP}, "X-Real-Ip": {branchIP}, "Forwarded": {"for=" + branchIP}, "Client-Ip": {branchIP},
			}},
		},

		// What for.
		{name: "default deny", call: call{Path: "/api/recharge/heavyrefresh", Body: `{}`}, code: "operation-not-allowed"},
		{name: "deny wins over a group", call: call{Path: "/api/bank/register", Body: `{}`}, code: "operation-not-allowed"},
		{name: "kiosk pays out", call: call{Token: gatewaytest.KioskToken, Body: good}, code: "operation-not-allowed", merchant: "kiosk"},
		{name: "kiosk pays out the long way", call: call{Token: gatewaytest.KioskToken, Path: "/api/index.php?route=/api/bank/payout", Body: good}, code: "operation-not-allowed", merchant: "kiosk"},

		// How.
		{name: "GET", call: call{Method: http.MethodGet}, code: "method-not-allowed", allow: "POST"},
		{name: "GET the long way", call: call{Method: http.MethodGet, Path: "/api/index.php?route=/api/bank/payout"}, code: "method-not-allowed", allow: "POST"},
		{name: "GET with a body", call: call{Method: http.MethodGet, Body: good}, code: "method-not-allowed", allow: "POST"},
		{name: "PUT", call: call{Method: http.MethodPut, Body: good}, code: "method-not-allowed", allow: "POST"},
		{name: "PATCH", call: call{Method: http.MethodPatch, Body: good}, code: "method-not-allowed", allow: "POST"},
		{name: "DELETE", call: call{Method: http.MethodDelete}, code: "method-not-allowed", allow: "POST"},
		{name: "OPTIONS", call: call{Method: http.MethodOptions}, code: "method-not-allowed", allow: "POST"},
		{name: "post in lower case", call: call{Method: "post", Body: good}, code: "method-not-allowed", allow: "POST"},
		{name: "overridden method", call: call{Method: http.MethodGet, Header: http.Header{"X-Http-Method-Override": {"POST"}}, Body: good}, code: "method-not-allowed", allow: "POST"},
		{name: "POST for the list", call: call{Path: "/operations"}, code: "method-not-allowed", allow: "GET"},

		// How much.
		{name: "one paisa above the limit", call: payout(gatewaytest.Payout("1001", "5000.01")), code: "amount-not-allowed"},
		{name: "far above the limit", call: payout(gatewaytest.Payout("1001", "999999999999.99")), code: "amount-not-allowed"},
		{name: "above the limit as a number", call: payout(strings.Replace(good, `"1.50"`, `5001`, 1)), code: "amount-not-allowed"},
		{name: "coupons of unknown price", call: call{Path: "/api/pan/managecoupon", Body: `{"psaid":"PSA1","type":"1","qty":"1","yourrequestid":"1001"}`}, code: "amount-not-allowed"},
	})
}

func TestRefusedTargets(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	good := gatewaytest.Payout("1001", "1.50")
	var table []refusal
	for code, paths := range map[string][]string{
		"unknown-operation": {
			"/api/no/such", "/api/recharge/dorecharge", "/api/index.php?route=/api/recharge/dorecharge",
			"/api/", "/api/bank", "/api/bank/", "/api/bank/payout/", "/api/bank/payout/x",
			// Escapes, also of what needs none.
			"/api/bank%2fpayout", "/api/bank%2Fpayout", "/api/%62ank/payout", "/api/bank/payout%00",
			"/api/bank/payout%20", "/api/bank/payout%0d%0aX:1", "/api/bank/%70ayout", "/api/bank/%c0%afpayout",
			// What others clean.
			"/api/../api/bank/payout", "/api/./bank/payout", "/api/bank/./payout", "/api/bank/../bank/payout",
			"/api/common/../bank/payout", "/api/bank/%2e%2e/bank/payout", "/api//bank/payout", "/api/bank//payout",
			"/api/bank/payout;x=1", "/api/bank;x/payout", `/api/bank\payout`, "/api/bank/payout.", "/api/bank/pay-out",
			// Letter case.
			"/api/Bank/payout", "/api/bank/PAYOUT", "/api/INDEX.PHP?route=/api/bank/payout", "/api/index.php?route=/api/Bank/Payout",
			// Queries.
			"/api/bank/payout?", "/api/bank/payout?x=1", "/api/bank/payout?route=/api/bank/payout", "/api/bank/payout#x",
			"/api/index.php", "/api/index.php?", "/api/index.php?route", "/api/index.php?route=", "/api/index.php?route=bank/payout",
			"/api/index.php?ROUTE=/api/bank/payout", "/api/index.php?route=%2fapi%2fbank%2fpayout", "/api/index.php?route=%2Fapi%2fbank/payout",
			"/api/index.php?route=/api/bank%2fpayout", "/api/index.php?%72oute=/api/bank/payout", "/api/index.php?route=/api/bank/payout/",
			"/api/index.php?route=/api/bank/payout&", "/api/index.php?route=/api/bank/payout&x=1", "/api/index.php?x=1&route=/api/bank/payout",
			"/api/index.php?route=/api/bank/payout&route=/api/common/balance", "/api/index.php?route=/api/common/balance&route=/api/bank/payout",
			"/api/index.php?route=/api/common/balance;route=/api/bank/payout", "/api/index.php?route[]=/api/bank/payout",
			"/api/index.php?route=/api/bank/payout&method=GET", "/api/index.php?route=/api/bank/payout#x", "/api/index.php?route=/api/bank/payout%00",
			"/api/index.php?route=/api/index.php?route=/api/bank/payout", "/api/index.php?route=//api/bank/payout", "/api/index.php?route=/api/bank/../bank/payout",
			"/api/index.php/?route=/api/bank/payout", "/api/index.php/bank/payout", "/api/./index.php?route=/api/bank/payout",
		},
		"not-found": {
			"/", "/api", "/api%2fbank/payout", `/api\bank/payout`, "/index.php?route=/api/bank/payout", "/API/bank/payout", "//api/bank/payout", "/x/../api/bank/payout", "/%61pi/bank/payout",
			"/./api/bank/payout", "/transactions", "/operations/", "/operations?x=1", "/Operations", "/health", "/health/", "/health/live/", "/metrics",
		},
	} {
		for _, path := range paths {
			table = append(table, refusal{name: path, call: call{Path: path, Body: good}, code: code})
		}
	}
	table = append(table,
		// HTTP/2 has no such form.
		refusal{name: "absolute form", call: call{Path: g.URL + "/api/bank/payout", Body: good}, code: "not-found", protocol: "http/1.1"},
		// A form that the provider is said to take; it would put the key into a URL.
		refusal{name: "method in the query", call: call{Method: http.MethodGet, Path: "/api/index.php?route=/api/common/balance&method=GET"}, code: "unknown-operation"},
	)
	refuse(t, g, table)
}

// TestRefusedForwarding: an address counts only if a trusted proxy vouches for
// it, and then the one that the proxy saw, not what the caller claims.
func TestRefusedForwarding(t *testing.T) {
	from := func(token string, addresses ...string) call {
		return call{Token: token, Path: "/api/common/balance", Body: `{}`, Header: http.Header{"X-Forwarded-For": addresses}}
	}
	t.Run("not strict", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants, Global: "servers {\ntrusted_proxies static 127.0.0.1\n}"})
		refuse(t, g, []refusal{
			{name: "its own address", call: from(branchToken, branchIP), code: "source-not-allowed", merchant: "-"},
			{name: "claimed and seen address", call: from(branchToken, branchIP+", 203.0.113.9"), code: "source-not-allowed", merchant: "-"},
			{name: "stranger", call: from("-", branchIP), code: "source-not-allowed", merchant: "-"},
		})
	})
	t.Run("strict", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants, Global: "servers {\ntrusted_proxies static 127.0.0.1 127.0.0.7\ntrusted_proxies_strict\n}"})
		refuse(t, g, []refusal{
			{name: "another address", call: from(gatewaytest.ShopToken, branchIP), code: "source-not-allowed"},
			{name: "claimed in front", call: from(gatewaytest.ShopToken, "127.0.0.1, "+branchIP), code: "source-not-allowed"},
			{name: "claimed in front, two hops", call: from(gatewaytest.ShopToken, "127.0.0.1, "+branchIP+", 127.0.0.7"), code: "source-not-allowed"},
			{name: "claimed in a header of its own", call: from(branchToken, branchIP, "203.0.113.9"), code: "source-not-allowed", merchant: "branch"},
			{name: "mapped", call: from(gatewaytest.ShopToken, "::ffff:"+branchIP), code: "source-not-allowed"},
			{name: "caller that is no proxy", call: from(gatewaytest.ShopToken, "127.0.0.1"), from: branchIP, first: from(branchToken), code: "source-not-allowed"},
		})
		for _, forwarded := range [][]string{
			{branchIP},
			{"::ffff:" + branchIP},
			{branchIP + ":4711"},
			{"203.0.113.9, " + branchIP},
			{"203.0.113.9", branchIP},
			{"203.0.113.9, " + branchIP + ", 127.0.0.7, 127.0.0.1"},
			{"unknown, " + branchIP + ",127.0.0.7"},
		} {
			pass(t, g, fmt.Sprint(forwarded), from(branchToken, forwarded...))
			if source := g.LastRecord()["source"]; source != branchIP {
				t.Errorf("%v: the record has the source %v, want %s", forwarded, source, branchIP)
			}
		}
	})
}

func TestRefusedAsUnavailable(t *testing.T) {
	good := payout(gatewaytest.Payout("1001", "1.50"))
	t.Run("credential", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{Secret: "secret file " + filepath.Join(t.TempDir(), "absent.json")})
		refuse(t, g, []refusal{
			{name: "payout", call: good, code: "credential-unavailable", first: operations},
			{name: "balance", call: balance, code: "credential-unavailable", first: operations},
			{name: "wrong before unavailable", call: payout("{}"), code: "invalid-field", field: "accountnumber", first: operations},
		})
	})
	t.Run("egress", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{LocalAddress: "203.0.113.77"})
		refuse(t, g, []refusal{
			{name: "payout", call: good, code: "egress-unavailable", credited: true, first: operations},
			{name: "balance", call: balance, code: "egress-unavailable", credited: true, first: operations},
		})
	})
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("provider, tls %v", tls), func(t *testing.T) {
			g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: tls})
			pass(t, g, "before", good) // connections are kept, and gone
			g.StopProvider()
			refuse(t, g, []refusal{
				{name: "payout", call: good, code: "not-sent", credited: true, first: operations},
				{name: "balance", call: balance, code: "not-sent", credited: true, first: operations},
			})
		})
	}
	t.Run("handshake", func(t *testing.T) {
		g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true, Upstream: "pin sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
		refuse(t, g, []refusal{{name: "payout", call: good, code: "not-sent", credited: true, first: operations}})
	})
}

// TestMerchantHeadersStayHere: what reaches the provider is ours alone.
func TestMerchantHeadersStayHere(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	good := gatewaytest.Payout("1001", "1.50")
	sent := http.Header{
		"Accept": {"text/html"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"hi"}, "User-Agent": {"shop/1.0"},
		"Content-Type": {"application/json; charset=utf-8"}, "Cookie": {"a=b"}, "Origin": {"https://shop.example"}, "Referer": {"https://shop.example/"},
		"Idempotency-Key": {"1001"}, "X-Idempotency-Key": {"1001"}, "Idempotent-Replayed": {"true"},
		"Nowpay-Gateway-Transaction": {"forged"}, "Nowpay-Gateway-Outcome": {"failed"}, "Nowpay-Gateway-Integrity": {"verified"}, "Nowpay-Gateway-Error": {"forged"},
		"X-Forwarded-For": {"127.0.0.9"}, "X-Forwarded-Host": {"nowpay.in"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=127.0.0.9"}, "Via": {"1.1 proxy"},
		"X-Custom": {"custom"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Cache-Control": {"no-cache"}, "Expect": {"100-continue"},
	}
	want := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "User-Agent": {"nowpay-gateway"}, "Content-Type": {"application/json"},
	}
	for protocol, base := range map[string]string{"http/1.1": g.URL, "h2": g.TLSURL} {
		client := g.Client(protocol)
		for _, header := range []http.Header{nil, sent} {
			answer, err := g.Do(client, base, call{Header: header, Body: good})
			if err != nil || answer.Outcome() != "success" {
				t.Fatalf("%s: %v %+v", protocol, err, answer)
			}
			if id := answer.Header.Get("Nowpay-Gateway-Transaction"); id == "" || id == "forged" {
				t.Errorf("%s: exchange id %q", protocol, id)
			}
			requests := g.Simulator.Requests()
			last := requests[len(requests)-1]
			got := last.Header.Clone()
			if length, err := strconv.Atoi(got.Get("Content-Length")); err != nil || length <= len(good) {
				t.Errorf("%s: Content-Length %q", protocol, got.Get("Content-Length"))
			}
			got.Del("Content-Length")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the provider saw the header\n%v\nwant\n%v", protocol, got, want)
			}
			if last.Host != g.ProviderAddress || last.Method != "POST" || last.Target != "/api/index.php?route=/api/bank/payout" || last.Remote.Addr().String() != gatewaytest.EgressIP {
				t.Errorf("%s: the provider saw %s %s of host %s from %s", protocol, last.Method, last.Target, last.Host, last.Remote)
			}
		}
	}
}
