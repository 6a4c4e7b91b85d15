package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// with gives the body of a payout with one more member.
func with(member string) string {
	body := gatewaytest.Payout("1001", "1.50")
	return body[:len(body)-1] + "," + member + "}"
}

// nested is a value of n arrays in each other.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

const formType = "application/x-www-form-urlencoded"

func form(body string) call {
	return call{Token: agentToken, Path: "/api/aeps/be", Header: http.Header{"Content-Type": {formType}}, Body: body}
}

func TestRefusedBodies(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants})
	good := gatewaytest.Payout("1001", "1.50")
	var table []refusal
	for name, body := range map[string]string{
		"empty":                       "",
		"whitespace":                  " \n",
		"array":                       "[" + good + "]",
		"string":                      `"MARK"`,
		"number":                      "1",
		"null":                        "null",
		"not JSON":                    "amount=1.50&yourrequestid=1001",
		"truncated":                   good[:len(good)-1],
		"truncated in a string":       good[:20],
		"trailing object":             good + good,
		"trailing comma":              good[:len(good)-1] + ",}",
		"trailing NUL":                good + "\x00",
		"byte order mark":             "\ufeff" + good,
		"UTF-16":                      "\xff\xfe{\x00}\x00",
		"invalid UTF-8":               with("\"note\":\"MARK\xff\""),
		"invalid UTF-8 in a name":     with("\"MARK\xc0\xaf\":1"),
		"lone surrogate":              with(`"note":"MARK\ud800"`),
		"NUL in a string":             with("\"note\":\"MARK\x00\""),
		"newline in a string":         with("\"note\":\"MARK\n\""),
		"single quotes":               `{'note':'MARK'}`,
		"comment":                     "/* MARK */" + good,
		"NaN":                         with(`"note":NaN`),
		"number with a leading zero":  with(`"note":01`),
		"number with a plus":          with(`"note":+1`),
		"name twice":                  with(`"amount":"1.50"`),
		"name twice, other value":     with(`"amount":"4999"`),
		"name twice, escaped":         with(`"\u0061mount":"4999"`),
		"name twice in an object":     with(`"note":{"MARK":1,"MARK":1}`),
		"name twice deep down":        with(`"note":[[{"a":[{"MARK":1,"b":2,"MARK":3}]}]]`),
		"33 containers in each other": with(`"note":` + nested(32)),
		"10,000 containers":           with(`"note":` + nested(10_000)),
	} {
		table = append(table, refusal{name: name, call: payout(body), code: "malformed-body", hidden: "MARK"})
	}
	for name, body := range map[string]string{
		"form: name twice":        "uid=1&uid=2",
		"form: name in brackets":  "uid[]=1",
		"form: dotted name":       "u.id=1",
		"form: escaped name":      "%75id=1",
		"form: broken escape":     "uid=%zz",
		"form: NUL":               "uid=%00",
		"form: not UTF-8":         "uid=%ff",
		"form: no value":          "uid",
		"form: empty field":       "uid=1&&x=2",
		"form: semicolon":         "uid=1;x=2",
		"form: JSON":              `{"uid":"1"}`,
		"form: 257 fields":        strings.TrimPrefix(manyFields(257), "&"),
		"form: credentials as []": "key[]=1",
	} {
		table = append(table, refusal{name: name, call: form(body), code: "malformed-body", merchant: "agent"})
	}

	// The provider reads names in its own way, so no spelling passes.
	for _, name := range []string{
		"username", "key", "KEY", "Key", "kEy", "UserName", "USERNAME",
		`\u006bey`, `u\u0073ername`, "\u212aey", "u\u017fername", `\u212aey`,
	} {
		table = append(table, refusal{
			name: "credential " + name, call: payout(with(`"` + name + `":"MARK"`)), code: "credential-in-request", hidden: "MARK",
		})
	}
	table = append(
		table,
		refusal{name: "credential null", call: payout(with(`"key":null`)), code: "credential-in-request"},
		refusal{name: "credential alone", call: payout(`{"key":{}}`), code: "credential-in-request"},
		refusal{name: "credential in a form", call: form("uid=1&key=MARK"), merchant: "agent", code: "credential-in-request", hidden: "MARK"},
		refusal{name: "credential in a form, upper case", call: form("USERNAME=MARK"), merchant: "agent", code: "credential-in-request", hidden: "MARK"},
	)

	for name, header := range map[string]http.Header{
		"none":             {"Content-Type": nil},
		"empty":            {"Content-Type": {""}},
		"text":             {"Content-Type": {"text/plain"}},
		"text/json":        {"Content-Type": {"text/json"}},
		"form":             {"Content-Type": {formType}},
		"multipart":        {"Content-Type": {"multipart/form-data; boundary=x"}},
		"longer":           {"Content-Type": {"application/json2"}},
		"problem":          {"Content-Type": {"application/problem+json"}},
		"broken":           {"Content-Type": {"application/json; charset"}},
		"Latin 1":          {"Content-Type": {"application/json; charset=iso-8859-1"}},
		"UTF-16":           {"Content-Type": {"application/json; charset=utf-16"}},
		"other parameter":  {"Content-Type": {"application/json; profile=x"}},
		"two in one":       {"Content-Type": {"application/json, application/json"}},
		"twice":            {"Content-Type": {"application/json", "application/json"}},
		"two":              {"Content-Type": {"application/json", "text/plain"}},
		"compressed":       {"Content-Encoding": {"gzip"}},
		"identity":         {"Content-Encoding": {"identity"}},
		"compressed twice": {"Content-Encoding": {"identity", "br"}},
	} {
		table = append(table, refusal{name: "media type " + name, call: call{Header: header, Body: good}, code: "unsupported-media-type"})
	}
	table = append(table, refusal{
		name: "JSON for a form", code: "unsupported-media-type", merchant: "agent",
		call: call{Token: agentToken, Path: "/api/aeps/be", Body: `{"uid":"1"}`},
	})
	refuse(t, g, table)
}

func manyFields(n int) string {
	var fields strings.Builder
	for i := range n {
		fmt.Fprintf(&fields, "&f%d=1", i)
	}
	return fields.String()
}

func TestRefusedFields(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants})
	wallet := `{"beneficiaryPhoneNo":"9876543210","amount":"1.50","yourrequestid":"1001","transferMode":"PAYTM"}`
	routes := map[string]call{
		"/api/bank/payout":          payout(gatewaytest.Payout("1001", "1.50")),
		"/api/bank/wallet_transfer": {Body: wallet},
	}
	var table []refusal
	for _, rule := range []struct {
		path, field, format string
		values              []string // JSON
	}{
		{"/api/bank/payout", "name", "text", []string{"null", `""`, `5`, `true`, `["Asha"]`, `{"a":1}`, `"a\u0000b"`, `"a\nb"`, `"a\u0085b"`, `"` + strings.Repeat("a", 1025) + `"`}},
		{"/api/bank/payout", "yourrequestid", "alphanumeric", []string{"null", `""`, `1001`, `"10-01"`, `"10 01"`, `"१००१"`, `"` + strings.Repeat("1", 51) + `"`}},
		{"/api/bank/payout", "transferMode", "choice", []string{"null", `""`, `"RTGS"`, `"RGTS"`, `"imps"`, `"IMPS "`, `["IMPS"]`}},
		{"/api/bank/wallet_transfer", "transferMode", "choice", []string{`"PYTM_WALLET"`, `"paytm"`}},
		{"/api/bank/wallet_transfer", "beneficiaryPhoneNo", "digits", []string{"null", `""`, `"+9876543210"`, `"98765 43210"`, `"٩٨٧٦"`, `-5`, `98.5`, `1e9`, `9876543210123456`, `true`}},
		{"/api/bank/payout", "amount", "amount", []string{
			"null", `""`, `"0"`, `"0.00"`, `0`, `"-1"`, `-1`, `"+1"`, `"1e2"`, `1e2`, `"1.505"`, `1.505`, `".5"`, `"1."`, `"01"`, `"00.50"`,
			`"1,50"`, `"1,000"`, `"1 000"`, `" 1"`, `"1 "`, `"1.50 "`, `"१"`, `"1٫5"`, `"0x10"`, `"Infinity"`, `"₹1"`, `"1000000000000"`, `true`, `["1"]`, `{"a":1}`,
		}},
	} {
		for _, value := range rule.values {
			c := routes[rule.path]
			c.Path, c.Body = rule.path, edit(t, c.Body, rule.field, value)
			hidden := strings.Trim(value, `"`)
			if len(hidden) < 3 || slices.Contains([]string{"null", "true", "0.00"}, hidden) {
				hidden = "" // a text that the problem may hold by chance
			}
			table = append(table, refusal{
				name: fmt.Sprintf("%s %s %.24s", rule.format, rule.field, value), call: c, code: "invalid-field", field: rule.field, hidden: hidden,
			})
		}
		c := routes[rule.path]
		c.Path, c.Body = rule.path, edit(t, c.Body, rule.field, "")
		table = append(table, refusal{name: "without " + rule.field, call: c, code: "invalid-field", field: rule.field})
	}
	table = append(table, refusal{
		name: "field in another letter case", code: "invalid-field", field: "amount",
		call: payout(strings.Replace(gatewaytest.Payout("1001", "1.50"), `"amount"`, `"Amount"`, 1)),
	}, refusal{
		name: "field and its double in another letter case", code: "invalid-field", field: "amount",
		call: payout(strings.Replace(gatewaytest.Payout("1001", "1.50"), `{`, `{"AMOUNT":"99999",`, 1)),
	}, refusal{
		name: "route in the body", code: "invalid-field", field: "route",
		call: payout(strings.Replace(gatewaytest.Payout("1001", "1.50"), `{`, `{"Route":"/api/bank/register",`, 1)),
	}, refusal{
		name: "route in a form", code: "invalid-field", field: "route", merchant: "agent", call: form("uid=1&route=/api/bank/payout"),
	}, refusal{
		name: "method in the body", code: "invalid-field", field: "method",
		call: payout(strings.Replace(gatewaytest.Payout("1001", "1.50"), `{`, `{"method":"GET",`, 1)),
	}, refusal{
		name: "request ID of a form", code: "invalid-field", field: "yourrequestid", merchant: "agent", call: form("uid=1&yourrequestid="),
	})
	refuse(t, g, table)
}

// edit gives a field of an object another JSON value; "" cuts the field out.
func edit(t *testing.T, body, field, value string) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	if members[field] = json.RawMessage(value); value == "" {
		delete(members, field)
	}
	edited, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(edited)
}

func TestBodySize(t *testing.T) {
	sized := func(size int) string {
		body := with(`"note":""`)
		return strings.Replace(body, `"note":"`, `"note":"`+strings.Repeat("x", size-len(body)), 1)
	}
	for _, limit := range []struct {
		name    string
		options gatewaytest.Options
		bytes   int
	}{
		{"default", gatewaytest.Options{}, 64 << 10},
		{"smaller", gatewaytest.Options{Nowpay: "max_body 1KiB"}, 1 << 10},
		{"larger", gatewaytest.Options{Nowpay: "max_body 100KiB"}, 100 << 10},
	} {
		t.Run(limit.name, func(t *testing.T) {
			g := gatewaytest.Start(t, limit.options)
			refuse(t, g, []refusal{
				{name: "one byte more", call: payout(sized(limit.bytes + 1)), code: "body-too-large", hidden: "xxx"},
				{name: "one byte more, chunked", call: call{Body: sized(limit.bytes + 1), Chunked: true}, code: "body-too-large"},
				{name: "twice as much", call: call{Body: sized(2 * limit.bytes), Chunked: true}, code: "body-too-large"},
				{name: "a space more", call: payout(sized(limit.bytes) + " "), code: "body-too-large"},
			})
			pass(t, g, "as much as may be", payout(sized(limit.bytes)))
			pass(t, g, "as much as may be, chunked", call{Body: sized(limit.bytes), Chunked: true})
		})
	}
	t.Run("of Caddy", func(t *testing.T) { // which refuses by itself what announces its length
		g := gatewaytest.Start(t, gatewaytest.Options{Site: "request_body {\nmax_size 800\n}"})
		refuse(t, g, []refusal{{name: "one byte more, chunked", call: call{Body: sized(801), Chunked: true}, code: "body-too-large"}})
		pass(t, g, "as much as may be", payout(sized(800)))
	})
}

// pass makes a request that must reach the provider once, with both protocols
// and another request ID in the place of 1001.
func pass(t *testing.T, g *gatewaytest.Gateway, name string, c call) {
	t.Helper()
	for protocol, base := range map[string]string{"http/1.1": g.URL, "h2": g.TLSURL} {
		reached := len(g.Simulator.Requests())
		client := g.Client(protocol)
		answer, err := g.Do(client, base, withID(c, 2000+reached))
		client.CloseIdleConnections()
		if err != nil || answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
			t.Errorf("%s with %s: %v %d %s", name, protocol, err, answer.StatusCode, answer.Body)
		}
		if n := len(g.Simulator.Requests()) - reached; n != 1 {
			t.Errorf("%s with %s: requests that reached the provider: %d, want 1", name, protocol, n)
		}
	}
}

// TestJustAllowed has the neighbours of what is refused.
func TestJustAllowed(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants})
	good := gatewaytest.Payout("1001", "1.50")
	contentType := func(value string) call { return call{Header: http.Header{"Content-Type": {value}}, Body: good} }
	for name, c := range map[string]call{
		"the limit itself":            payout(gatewaytest.Payout("1001", "5000")),
		"the limit with paise":        payout(gatewaytest.Payout("1001", "5000.00")),
		"one paisa":                   payout(gatewaytest.Payout("1001", "0.01")),
		"a bare number":               payout(strings.Replace(good, `"1.50"`, "1.5", 1)),
		"32 containers in each other": payout(with(`"note":` + nested(31))),
		"whitespace around":           payout(" \r\n\t" + good + "\n"),
		"credentials deeper down":     payout(with(`"note":{"username":"x","key":"y"}`)),
		"a name that looks like it":   payout(with(`"keys":"x"`)),
		"charset":                     contentType("application/json; charset=utf-8"),
		"charset in quotes":           contentType(`application/json;charset="UTF-8"`),
		"media type in upper case":    contentType("Application/JSON"),
		"scheme in lower case":        {Token: "-", Header: http.Header{"Authorization": {"bearer " + gatewaytest.ShopToken}}, Body: good},
		"coupons without a limit":     {Token: agentToken, Path: "/api/pan/managecoupon", Body: `{"psaid":"PSA1","type":"1","qty":"1","yourrequestid":"1001"}`},
		"more than a limit of others": {Token: agentToken, Body: gatewaytest.Payout("1001", "5000.01")},
		"a form of 256 fields":        form(strings.TrimPrefix(manyFields(256), "&")),
		"a form without fields":       form(""),
		"a request ID of 50 letters":  payout(gatewaytest.Payout(strings.Repeat("z", 46)+"1001", "1")),
		"digits as a number":          {Path: "/api/bank/wallet_transfer", Body: `{"beneficiaryPhoneNo":9876543210,"amount":"1.50","yourrequestid":"1001","transferMode":"PAYTM"}`},
		"optional field that is null": {Path: "/api/bank/wallet_verify", Body: `{"beneficiaryPhoneNo":"9876543210","yourrequestid":"1001","transferMode":"PAYTM","limitCheckAmount":null}`},
	} {
		pass(t, g, name, c)
	}
}

// TestStripCredentials: what a merchant still sends is cut out, and nothing
// else of its body changes.
func TestStripCredentials(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants})
	const head, formHead = `{"username":"2000","key":"[redacted]",`, "username=2000&key=[redacted]&"
	legacy := func(body string) call { return call{Token: legacyToken, Body: body} }
	rest := `"accountnumber":"50100012345678",  "ifsc" : "HDFC0000001","amount":1.50,"name":"Asha \u0052ao","yourrequestid":"1001","transferMode":"IMPS"`
	legacyForm := func(body string) call {
		c := form(body)
		c.Token = legacyToken
		return c
	}
	for _, test := range []struct {
		name string
		call call
		want string // at the provider
	}{
		{"nothing to strip", legacy("{" + rest + "}"), head + rest + "}"},
		{"in front", legacy(`{"username":"9","key":"stolen",` + rest + "}"), head + rest + "}"},
		{"at the end", legacy("{" + rest + `,"username":"9","key":"stolen"}`), head + rest + "}"},
		{"in between", legacy(`{"note":"a","Key":["stolen"],` + rest + "}"), head + `"note":"a",` + rest + "}"},
		{"any letter case", legacy(`{"USERNAME":"9","KeY":null,` + rest + "}"), head + rest + "}"},
		{"letters that fold", legacy("{\"u\u017fername\":\"9\",\"\u212aey\":\"stolen\"," + rest + "}"), head + rest + "}"},
		{"escaped names", legacy(`{"\u0075sername":"9","ke\u0079":"stolen",` + rest + "}"), head + rest + "}"},
		{"deeper ones stay", legacy(`{"note":{"x":{"userName":"9"}},` + rest + "}"), head + `"note":{"x":{"userName":"9"}},` + rest + "}"},
		{"form", legacyForm("uid=1%2B&key=stolen&Username=9&name=A+B"), formHead + "uid=1%2B&name=A+B"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pass(t, g, test.name, test.call)
			requests := g.Simulator.Requests()
			last := requests[len(requests)-1]
			got := last.Body
			if last.RequestID != "" {
				got = strings.Replace(got, last.RequestID, "1001", 1)
			}
			if got != test.want || !last.KeyRight {
				t.Errorf("the provider saw (key right: %v)\n%s\nwant\n%s", last.KeyRight, got, test.want)
			}
		})
	}
}
