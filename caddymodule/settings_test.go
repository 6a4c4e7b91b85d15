package caddymodule

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// testHash is the hash of the token "token".
const testHash = "sha256:3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0"

// testConfig is a whole configuration, in which tests replace parts.
const testConfig = `{
	"accounts": {"main": {"secret": {"source": "file", "path": "secret.json"}}},
	"upstream": {"url": "http://127.0.0.9:8490"},
	"merchants": {"shop": {"account": "main", "tokens": ["` + testHash + `"], "from": ["127.0.0.1"], "allow": ["bank/payout"]}}
}`

// newContext gives a context to load modules with.
func newContext(t *testing.T) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// load does what Caddy does with the JSON of the app.
func load(t *testing.T, config string) (*settings, error) {
	t.Helper()
	app := new(App)
	if err := caddy.StrictUnmarshalJSON([]byte(config), app); err != nil {
		return nil, err
	}
	return app.settings(newContext(t))
}

func TestSettings(t *testing.T) {
	t.Setenv("NOWPAY_TEST_NET", "::ffff:10.1.0.0/112")
	t.Setenv("NOWPAY_TEST_LIMIT", "5000.5")
	s, err := load(t, `{
		"accounts": {"main": {"secret": {"source": "file", "path": "secret.json"}, "sign": {"scheme": "credentials"}}},
		"upstream": {
			"url": "https://nowpay.in", "local_addresses": ["::ffff:192.0.2.7", "2001:db8::7"], "addresses": ["203.0.113.0/24"],
			"ca": "testdata/ca.pem", "pins": ["{file.testdata/pin.txt}"], "timeout": "75s", "max_response": 1000
		},
		"merchants": {
			"shop": {
				"account": "main", "tokens": ["`+testHash+`"], "client_certs": ["shop.internal"], "users": ["shop"],
				"from": ["{env.NOWPAY_TEST_NET}"], "allow": ["bank/*"], "deny": ["bank/register"],
				"max_amount": "{env.NOWPAY_TEST_LIMIT}", "daily_amount": "20000", "rate": {"requests": 100, "per": "1m", "burst": 20},
				"max_in_flight": 30, "request_id_prefix": "shop", "strip_credentials": true
			},
			"kiosk": {"account": "main", "users": ["kiosk"], "from": ["anywhere"], "allow": ["common/balance"], "rate": {"requests": 5, "per": "1s"}}
		},
		"journal": {"store": "postgres", "dsn": "postgres://gateway@db.internal/nowpay", "key_file": "/etc/nowpay/journal.key"},
		"reconcile": {"person_after": "2d", "status_rate": {"requests": 1, "per": "2s"}, "status_timeout": "5s", "daily_check": "23:45"},
		"max_body": 2000, "max_in_flight": 101
	}`)
	if err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, m := range s.policy.Merchants() {
		names = append(names, m.Name)
	}
	if want := []string{"kiosk", "shop"}; !slices.Equal(names, want) {
		t.Fatalf("merchants = %v, want %v", names, want)
	}
	pattern := func(p string) whitelist.Pattern {
		parsed, err := whitelist.ParsePattern(p)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	shop := whitelist.Merchant{
		Name: "shop", Account: "main", Tokens: [][32]byte{whitelist.HashToken("token")},
		Certificates: []string{"shop.internal"}, Users: []string{"shop"},
		From:  []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		Allow: []whitelist.Pattern{pattern("bank/*")}, Deny: []whitelist.Pattern{pattern("bank/register")},
		MaxAmount: 500050, DailyAmount: 2000000, Rate: whitelist.Rate{Requests: 100, Per: time.Minute, Burst: 20},
		MaxInFlight: 30, RequestIDPrefix: "shop", StripCredentials: true,
	}
	want, err := whitelist.NewPolicy([]whitelist.Merchant{shop})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.policy.Merchants()[1], want.Merchants()[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("shop = %+v, want %+v", got, want)
	}
	if got := s.policy.Merchants()[0].From; len(got) != 2 || got[0].Bits() != 0 || got[1].Bits() != 0 {
		t.Errorf("anywhere = %v", got)
	}

	if got, want := s.policy.Merchants()[0].Rate, (whitelist.Rate{Requests: 5, Per: time.Second, Burst: 5}); got != want {
		t.Errorf("rate without a burst = %+v, want %+v", got, want)
	}
	wantReconcile := gateway.Reconcile{
		PersonAfter: 48 * time.Hour, StatusRate: whitelist.Rate{Requests: 1, Per: 2 * time.Second, Burst: 1},
		StatusTimeout: 5 * time.Second, DailyCheck: 23*time.Hour + 45*time.Minute,
	}
	if s.reconcile != wantReconcile {
		t.Errorf("reconcile = %+v, want %+v", s.reconcile, wantReconcile)
	}
	if j := s.journal.Settings(); j.Kind != "postgres" || string(j.DSN.Reveal()) != "postgres://gateway@db.internal/nowpay" || j.KeyFile != "/etc/nowpay/journal.key" || j.Path != "" {
		t.Errorf("journal = %+v", j)
	}

	e := s.egress
	if e.URL.String() != "https://nowpay.in" || e.RootCAs == nil || e.InsecureHTTP || e.Timeout != 75*time.Second || e.MaxResponse != 1000 {
		t.Errorf("egress = %+v", e)
	}
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}; !slices.Equal(e.LocalAddresses, want) {
		t.Errorf("local addresses = %v, want %v", e.LocalAddresses, want)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}; !slices.Equal(e.Addresses, want) {
		t.Errorf("addresses = %v, want %v", e.Addresses, want)
	}
	if want := [][32]byte{{}}; !slices.Equal(e.Pins, want) { // the pin of the file is 32 zero bytes
		t.Errorf("pins = %x, want %x", e.Pins, want)
	}
	if s.maxBody != 2000 {
		t.Errorf("max body = %d, want 2000", s.maxBody)
	}
	if kiosk := s.policy.Merchants()[0]; s.inFlight != 101 || kiosk.MaxInFlight != 51 {
		t.Errorf("in flight = %d and %d, want 101 and half of it", s.inFlight, kiosk.MaxInFlight)
	}
	if account := s.accounts["main"]; account.secret == nil || account.sign == nil || len(s.accounts) != 1 {
		t.Errorf("accounts = %v", s.accounts)
	}
}

func TestSettingsDefaults(t *testing.T) {
	s, err := load(t, testConfig)
	if err != nil {
		t.Fatal(err)
	}
	if s.maxBody != 64<<10 {
		t.Errorf("max body = %d, want 64 KiB", s.maxBody)
	}
	if s.inFlight != 10_000 || s.policy.Merchants()[0].MaxInFlight != 5_000 {
		t.Errorf("in flight = %d and %d, want 10000 and 5000", s.inFlight, s.policy.Merchants()[0].MaxInFlight)
	}
	if _, ok := s.accounts["main"].sign.(*CredentialsSigner); !ok {
		t.Errorf("signer = %T, want credentials", s.accounts["main"].sign)
	}
	if got, want := len(s.catalogue.Operations()), len(nowpay.Documented()); got != want {
		t.Errorf("%d operations, want the %d documented ones", got, want)
	}
	wantReconcile := gateway.Reconcile{
		PersonAfter: 24 * time.Hour, StatusRate: whitelist.Rate{Requests: 5, Per: time.Second, Burst: 10},
		StatusTimeout: 15 * time.Second, DailyCheck: 6 * time.Hour,
	}
	if s.reconcile != wantReconcile {
		t.Errorf("reconcile = %+v, want %+v", s.reconcile, wantReconcile)
	}
	if m := s.policy.Merchants()[0]; m.LimitsAmount() || m.Rate != (whitelist.Rate{}) || m.RequestIDPrefix != "" {
		t.Errorf("shop = %+v, want no limits and no prefix", m)
	}
	if e := s.egress; e.RootCAs != nil || len(e.Pins)+len(e.Addresses)+len(e.LocalAddresses) > 0 {
		t.Errorf("egress = %+v", e)
	}
}

// TestOperations checks that corrections change what they name and nothing else.
func TestOperations(t *testing.T) {
	documented := func(name string) nowpay.Operation {
		all := nowpay.Documented()
		return all[slices.IndexFunc(all, func(o nowpay.Operation) bool { return o.Name == name })]
	}
	field := func(o nowpay.Operation, name string) *nowpay.Field {
		return &o.Fields[slices.IndexFunc(o.Fields, func(f nowpay.Field) bool { return f.Name == name })]
	}
	tests := []struct {
		name, correction string
		want             func() nowpay.Operation
	}{
		{"bank/payout", `{}`, func() nowpay.Operation { return documented("bank/payout") }},
		{"bank/payout", `{"fields": [{"name": "bank", "format": "text", "max": 60}], "personal": ["bank"]}`, func() nowpay.Operation {
			o := documented("bank/payout")
			o.Fields = append(o.Fields, nowpay.Field{Name: "bank", Format: nowpay.FormatText, Max: 60})
			o.Personal = append(o.Personal, "bank")
			return o
		}},
		{"bank/payout", `{"fields": [{"name": "transferMode", "format": "choice", "choices": ["RGTS"]}]}`, func() nowpay.Operation {
			o := documented("bank/payout")
			*field(o, "transferMode") = nowpay.Field{Name: "transferMode", Format: nowpay.FormatChoice, Choices: []string{"RGTS"}}
			return o
		}},
		{"bank/payout", `{"success_needs": ["none"]}`, func() nowpay.Operation {
			o := documented("bank/payout")
			o.SuccessNeeds = nil
			return o
		}},
		{"bank/payout", `{"success_needs": ["utr"], "provider_id": "txnid", "status": {"operation": "common/balance"}, "revalidate": "never"}`, func() nowpay.Operation {
			o := documented("bank/payout")
			o.SuccessNeeds, o.ProviderID = []string{"utr"}, "txnid"
			o.Status, o.Revalidate = nowpay.HistoryQuery("common/balance"), nowpay.RevalidateNever
			return o
		}},
		{"bank/payout", `{"status": {
			"operation": "common/balance", "send": [{"name": "a", "source": "request_id"}, {"name": "b", "source": "field:name"}], "rows": "data",
			"match": [{"name": "c", "source": "request_id"}], "state": "d", "success": ["1", "S"], "failed": ["0"], "pending": ["2"],
			"provider_id": "e", "reference": "f"}, "revalidate": "always"
		}`, func() nowpay.Operation {
			o := documented("bank/payout")
			o.Status = &nowpay.StatusQuery{
				Operation: "common/balance", Rows: "data", State: "d", ProviderID: "e", Reference: "f",
				Send:   []nowpay.StatusField{{Name: "a", Source: nowpay.SourceRequestID}, {Name: "b", Source: nowpay.SourceField + "name"}},
				Match:  []nowpay.StatusField{{Name: "c", Source: nowpay.SourceRequestID}},
				States: map[string]nowpay.Outcome{"1": nowpay.Success, "S": nowpay.Success, "0": nowpay.Failed, "2": nowpay.Pending},
			}
			o.Revalidate = nowpay.RevalidateAlways
			return o
		}},
		{"pan/managecoupon", `{"status": {"operation": "none"}, "revalidate": "never"}`, func() nowpay.Operation {
			o := documented("pan/managecoupon")
			o.Status, o.Revalidate = nil, nowpay.RevalidateNever
			return o
		}},
		{"pan/managecoupon", `{"status": {
			"operation": "pan/coupon_status", "send": [{"name": "ourrequestid", "source": "provider_id"}], "state": "state", "success": ["OK"]
		}}`, func() nowpay.Operation {
			o := documented("pan/managecoupon")
			o.Status = &nowpay.StatusQuery{
				Operation: "pan/coupon_status", State: "state", States: map[string]nowpay.Outcome{"OK": nowpay.Success},
				Send:  []nowpay.StatusField{{Name: "ourrequestid", Source: nowpay.SourceProviderID}},
				Match: []nowpay.StatusField{},
			}
			return o
		}},
		{"bank/payout", `{"moves_money": false, "may_cost": true, "amount": "none", "without": ["amount"], "request_id": "none"}`, func() nowpay.Operation {
			o := documented("bank/payout")
			o.MovesMoney, o.MayCost, o.Amount, o.RequestID = false, true, "", ""
			o.Fields = slices.DeleteFunc(o.Fields, func(f nowpay.Field) bool { return f.Name == "amount" })
			return o
		}},
		{"recharge/dorecharge", `{
			"moves_money": true, "fields": [{"name": "amount", "format": "amount"}, {"name": "yourreqid", "format": "text", "optional": false}],
			"request_id": "yourreqid", "answer_request_id": "yourrequestid", "provider_id": "ourrequestid", "amount": "amount"
		}`, func() nowpay.Operation {
			return nowpay.Operation{
				Name: "recharge/dorecharge", Method: "POST", Encoding: nowpay.JSON, Scale: nowpay.Scale012, MovesMoney: true,
				Fields:    []nowpay.Field{{Name: "amount", Format: nowpay.FormatAmount}, {Name: "yourreqid", Format: nowpay.FormatText}},
				RequestID: "yourreqid", AnswerRequestID: "yourrequestid", ProviderID: "ourrequestid", Amount: "amount",
			}
		}},
		{"aeps/transfer", `{"moves_money": false, "encoding": "form", "scale": "0/1"}`, func() nowpay.Operation {
			return nowpay.Operation{Name: "aeps/transfer", Method: "POST", Encoding: nowpay.Form, Scale: nowpay.Scale01}
		}},
	}
	for _, test := range tests {
		config := strings.Replace(testConfig, `"upstream"`, fmt.Sprintf(`"operations": {%q: %s}, "upstream"`, test.name, test.correction), 1)
		s, err := load(t, config)
		if err != nil {
			t.Errorf("%s %s: %v", test.name, test.correction, err)
			continue
		}
		got, _ := s.catalogue.Lookup(test.name)
		if want := test.want(); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s %s:\n got %+v\nwant %+v", test.name, test.correction, *got, want)
		}
	}
}

// TestJSONRefused has what a Caddyfile cannot say.
func TestJSONRefused(t *testing.T) {
	merchant := func(s string) string {
		return strings.Replace(testConfig, `{"account": "main"`, `{`+s+`, "account": "main"`, 1)
	}
	upstream := func(s string) string {
		return strings.Replace(testConfig, `"upstream": {`, `"upstream": {`+s+`, `, 1)
	}
	operations := func(s string) string {
		return strings.Replace(testConfig, `"upstream": {`, `"operations": {`+s+`}, "upstream": {`, 1)
	}
	account := func(s string) string {
		return strings.Replace(testConfig, `{"secret": {"source": "file", "path": "secret.json"}}`, s, 1)
	}
	app := func(s string) string { return strings.Replace(testConfig, `{`, `{`+s+`, `, 1) }
	status := func(s string) string { return operations(`"bank/payout": {"status": ` + s + `}`) }
	vault := func(auth string) string {
		return account(`{"secret": {"source": "vault", "address": "https://vault.internal", "path": "secret/nowpay", ` + auth + `}}`)
	}
	tests := []struct{ name, config, want string }{
		{"unknown field", app(`"callback": {}`), `unknown field "callback"`},
		{"unknown field of callbacks", app(`"callbacks": {"to": "a"}`), `unknown field "to"`},
		{"unknown field of a shape", app(`"callback_shapes": {"a": {"id": "a"}}`), `unknown field "id"`},
		{"callbacks from nobody", app(`"callbacks": {}`), "no from"},
		{"negative overlap", account(`{"secret": {"source": "file", "path": "a"}, "overlap": -1}`), "overlap: must not be negative"},
		{"unknown field of an account", account(`{"check": {}}`), `unknown field "check"`},
		{"unknown field of a secret", account(`{"secret": {"source": "file", "path": "a", "mode": 1}}`), `unknown field "mode"`},
		{"unknown field of a vault", vault(`"token": "abc"`), `unknown field "token"`},
		{"unknown field of a login", vault(`"auth": {"method": "token", "file": "a"}`), `unknown field "file"`},
		{"unknown field of a signer", account(`{"secret": {"source": "file", "path": "a"}, "sign": {"scheme": "credentials", "key": "a"}}`), `unknown field "key"`},
		{"unknown field of the upstream", upstream(`"proxy": "a"`), `unknown field "proxy"`},
		{"unknown field of an operation", operations(`"a/b": {"method": "GET"}`), `unknown field "method"`},
		{"unknown field of a field", operations(`"a/b": {"fields": [{"regexp": "a"}]}`), `unknown field "regexp"`},
		{"unknown field of a merchant", merchant(`"notice": "a"`), `unknown field "notice"`},
		{"unknown field of notify", merchant(`"notify": {"secret_text": "a"}`), `unknown field "secret_text"`},
		{"unknown field of a rate", merchant(`"rate": {"n": 1}`), `unknown field "n"`},
		{"unknown field of a status", status(`{"fields": []}`), `unknown field "fields"`},
		{"unknown field of a status field", status(`{"send": [{"field": "a"}]}`), `unknown field "field"`},
		{"unknown field of a journal", app(`"journal": {"store": "sqlite", "dsn": "a"}`), `unknown field "dsn"`},
		{"unknown field of reconcile", app(`"reconcile": {"retry": 1}`), `unknown field "retry"`},
		{"runtime field", strings.Replace(testConfig, `{`, `{"rt": {}, `, 1), `unknown field "rt"`},

		{"no account object", account(`null`), `account "main": no secret: write`},
		{"secret without source", account(`{"secret": {"path": "a"}}`), `account "main": secret: `},
		{"unknown source", account(`{"secret": {"source": "aws"}}`), `account "main": secret: `},
		{"empty secret file", account(`{"secret": {"source": "file"}}`), "no path: write `secret file <path>`"},
		{"unknown scheme", account(`{"secret": {"source": "file", "path": "a"}, "sign": {"scheme": "aws4"}}`), `account "main": sign: `},
		{"unknown scheme of answers", account(`{"secret": {"source": "file", "path": "a"}, "verify": {"scheme": "aws4"}}`), `account "main": verify: `},
		{"scheme of requests for answers", account(`{"secret": {"source": "file", "path": "a"}, "verify": {"scheme": "credentials"}}`), `account "main": verify: `},
		{"unknown field of jwe", account(`{"secret": {"source": "file", "path": "a"}, "sign": {"scheme": "jwe", "key": "a"}}`), `unknown field "key"`},
		{"unknown algorithm of jwe", account(`{"secret": {"source": "file", "path": "a"}, "sign": {"scheme": "jwe", "algorithm": "none"}}`), `sign: `},
		{"unknown key encoding of jwe", account(`{"secret": {"source": "file", "path": "a"}, "sign": {"scheme": "jwe", "key_encoding": "base32"}}`), `unknown key encoding "base32"`},
		{"unknown algorithm of answers", account(`{"secret": {"source": "file", "path": "a"}, "verify": {"scheme": "jwe", "algorithms": ["dir", "RSA-OAEP"]}}`), `unknown algorithm "RSA-OAEP"`},
		{"algorithm of answers twice", account(`{"secret": {"source": "file", "path": "a"}, "verify": {"scheme": "jwe", "algorithms": ["dir", "dir"]}}`), `algorithm: dir is given twice`},
		{"empty account name", strings.Replace(testConfig, `{"main":`, `{"":`, 1), `account "": a name is`},
		{"vault without login method", vault(`"auth": {}`), "no login method given"},
		{"unknown login method", vault(`"auth": {"method": "userpass"}`), `auth: unknown auth method "userpass"; there is: approle, cert, jwt, kubernetes, token`},
		{"jwt without file", vault(`"auth": {"method": "jwt", "role": "a"}`), "no JWT file given"},
		{"kubernetes without role", vault(`"auth": {"method": "kubernetes", "jwt_file": "a"}`), "no role given"},
		{"jwt with the options of cert", vault(`"auth": {"method": "jwt", "role": "a", "jwt_file": "b", "key_file": "c"}`), "auth: jwt takes role, jwt_file and nothing else"},
		{"cert without key", vault(`"auth": {"method": "cert", "role": "a", "cert_file": "b"}`), "no key file given"},
		{"jwt, wrapped", vault(`"auth": {"method": "jwt", "role": "a", "jwt_file": "b", "wrapped": true}`), "wrapped is for approle only"},
		{"client key alone", vault(`"client_key_file": "a", "auth": {"method": "token", "token_file": "a"}`), "checking client_cert: no certificate file given"},
		{"systemd without credential", account(`{"secret": {"source": "systemd"}}`), "write `secret systemd <credential>`"},
		{"systemd without username", account(`{"secret": {"source": "systemd", "key_credential": "a"}}`), "write `secret systemd <credential>`"},
		{"systemd in both forms", account(`{"secret": {"source": "systemd", "credential": "a", "key_credential": "b"}}`), "either one credential with both"},
		{"env without key", account(`{"secret": {"source": "env", "username_variable": "a"}}`), "write `secret env"},
		{"vault_agent without file", account(`{"secret": {"source": "vault_agent"}}`), "no path: write `secret vault_agent <path>`"},
		{"token with the options of approle", vault(`"auth": {"method": "token", "token_file": "a", "role_id": "b"}`), "auth: token takes token_file and nothing else"},
		{"approle with the option of token", vault(`"auth": {"method": "approle", "token_file": "a", "role_id": "b", "secret_id_file": "c"}`), "auth: approle takes"},
		{"approle without role", vault(`"auth": {"method": "approle", "secret_id_file": "c"}`), "no role ID given"},
		{"negative refresh", vault(`"refresh": -1, "auth": {"method": "token", "token_file": "a"}`), "negative"},
		{"negative staleness", vault(`"stale_for": -1, "auth": {"method": "token", "token_file": "a"}`), "stale_for"},

		{"no upstream object", strings.Replace(testConfig, `{"url": "http://127.0.0.9:8490"}`, `null`, 1), "upstream: not given"},
		{"no url", strings.Replace(testConfig, `"url"`, `"ca"`, 1), "upstream: ca: "},
		{"empty upstream", strings.Replace(testConfig, `{"url": "http://127.0.0.9:8490"}`, `{}`, 1), "upstream: no url: write `upstream <url>`"},
		{"negative timeout", upstream(`"timeout": -1`), "upstream: timeout: must not be negative"},
		{"negative response", upstream(`"max_response": -1`), "upstream: max_response: must not be negative"},
		{"empty local address", upstream(`"local_addresses": [""]`), "upstream: local_address: has an empty value"},
		{"empty network", upstream(`"addresses": [""]`), "upstream: addresses: has an empty value"},

		{"no merchant object", strings.Replace(testConfig, `{"account": "main"`, `null, "x": {"account": "main"`, 1), `merchant "shop": no account: write`},
		{"empty merchant name", strings.Replace(testConfig, `{"shop":`, `{"":`, 1), `merchant "": a name is`},
		{"empty user", merchant(`"users": [""]`), `merchant "shop": user: has an empty value`},
		{"empty allow", merchant(`"deny": [""]`), `merchant "shop": deny: has an empty value`},

		{"rate of nothing", merchant(`"rate": {}`), `merchant "shop": rate: takes at least 1 request`},
		{"negative rate", merchant(`"rate": {"requests": -1, "per": "1s"}`), `merchant "shop": rate: takes at least 1 request`},
		{"rate in no time", merchant(`"rate": {"requests": 1}`), `merchant "shop": rate: takes a duration above zero`},
		{"negative burst", merchant(`"rate": {"requests": 1, "per": "1s", "burst": -1}`), `merchant "shop": rate: takes a burst of at least 1`},

		{"journal without store", app(`"journal": {}`), "journal: "},
		{"unknown store", app(`"journal": {"store": "mysql"}`), "journal: "},
		{"no dsn", app(`"journal": {"store": "postgres"}`), "dsn: write `journal postgres <dsn>`"},
		{"NUL in a path", app(`"journal": {"store": "sqlite", "path": "a\u0000b"}`), "path: takes the path of a file"},

		{"negative time", app(`"reconcile": {"person_after": -1}`), "reconcile: person_after: must not be negative"},
		{"negative status timeout", app(`"reconcile": {"status_timeout": -1}`), "reconcile: status_timeout: must not be negative"},
		{"status rate of nothing", app(`"reconcile": {"status_rate": {}}`), "reconcile: status_rate: takes at least 1 request"},
		{"unset time of day", app(`"reconcile": {"daily_check": "{env.NOWPAY_TEST_UNSET}"}`), "reconcile: daily_check: "},

		{"no status operation", status(`{}`), "operation \"bank/payout\": status: no operation: write `status <operation>` or `status none`"},
		{"status fields without operation", status(`{"rows": "data"}`), `operation "bank/payout": status: no operation`},
		{"none with a field", status(`{"operation": "none", "state": "a"}`), `operation "bank/payout": status: `},
		{"empty state", status(`{"operation": "common/balance", "success": [""]}`), `operation "bank/payout": status: success: has an empty value`},
		{"state of two meanings", status(`{"operation": "common/balance", "success": ["1"], "failed": ["1"]}`), `operation "bank/payout": status: failed: the state "1" is given twice`},

		{"no operation object", operations(`"bank/payout": null`), `operation "bank/payout": it is null`},
		{"no field object", operations(`"bank/payout": {"fields": [null]}`), `operation "bank/payout": fields: one is null`},
		{"field twice", operations(`"bank/payout": {"fields": [{"name": "a", "format": "text"}, {"name": "a", "format": "text"}]}`), `operation "bank/payout": field "a": it is given twice`},
		{"negative length", operations(`"bank/payout": {"fields": [{"name": "a", "format": "text", "max": -1}]}`), `field "a"`},
		{"text with choices", operations(`"bank/payout": {"fields": [{"name": "a", "format": "text", "choices": ["b"]}]}`), `field "a"`},
		{"answer's id without an id", operations(`"a/b": {"moves_money": false, "answer_request_id": "c"}`), `operation "a/b"`},

		{"negative in flight", strings.Replace(testConfig, `{`, `{"max_in_flight": -1, `, 1), "max_in_flight: must be"},
		{"negative in flight of a merchant", strings.Replace(testConfig, `"account": "main",`, `"account": "main", "max_in_flight": -1,`, 1), "negative `max_in_flight`"},
		{"negative body", strings.Replace(testConfig, `{`, `{"max_body": -1, `, 1), "max_body: must be"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestVaultKey checks that sources are shared exactly if all options agree, and
// that the key shows none of them that need not be known.
func TestVaultKey(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	pem, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOWPAY_TEST_ROLE", "the-role-id")
	key := func(change func(*VaultSecret)) string {
		t.Helper()
		v := &VaultSecret{
			Address: "https://vault.internal:8200", CA: ca, Path: "secret/nowpay",
			Auth: &VaultAuth{Method: "approle", RoleID: "{env.NOWPAY_TEST_ROLE}", SecretIDFile: "id"},
		}
		change(v)
		if err := v.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return v.Key()
	}
	same := func(*VaultSecret) {}
	first := key(same)
	if again := key(same); again != first {
		t.Errorf("the same options give %q and %q", first, again)
	}
	if resolved := key(func(v *VaultSecret) { v.Auth.RoleID = "the-role-id" }); resolved != first {
		t.Errorf("a placeholder gives %q, its value %q", first, resolved)
	}
	if strings.Contains(first, "role") {
		t.Errorf("Key() = %q shows the login", first)
	}
	seen := map[string]string{first: "no change"}
	check := func(name, key string) {
		if other, ok := seen[key]; ok {
			t.Errorf("%s gives the same key as %s", name, other)
		}
		seen[key] = name
	}
	for name, change := range map[string]func(*VaultSecret){
		"address":        func(v *VaultSecret) { v.Address = "https://vault.internal:8201" },
		"namespace":      func(v *VaultSecret) { v.Namespace = "ns" },
		"ca":             func(v *VaultSecret) { v.CA = "testdata/ca.pem" },
		"no ca":          func(v *VaultSecret) { v.CA = "" },
		"auth method":    func(v *VaultSecret) { v.Auth = &VaultAuth{Method: "token", TokenFile: "id"} },
		"role_id":        func(v *VaultSecret) { v.Auth.RoleID = "other" },
		"secret_id_file": func(v *VaultSecret) { v.Auth.SecretIDFile = "other" },
		"wrapped":        func(v *VaultSecret) { v.Auth.Wrapped = true },
		"jwt": func(v *VaultSecret) {
			v.Auth = &VaultAuth{Method: "jwt", Role: "role", JWTFile: "id"}
		},
		"kubernetes": func(v *VaultSecret) {
			v.Auth = &VaultAuth{Method: "kubernetes", Role: "role", JWTFile: "id"}
		},
		"cert": func(v *VaultSecret) {
			v.Auth = &VaultAuth{Method: "cert", Role: "role", CertFile: "id", KeyFile: "id"}
		},
		"auth_mount":      func(v *VaultSecret) { v.AuthMount = "other" },
		"tls_server_name": func(v *VaultSecret) { v.TLSServerName = "other" },
		"client_cert":     func(v *VaultSecret) { v.ClientCertFile, v.ClientKeyFile = "a", "b" },
		"client_key":      func(v *VaultSecret) { v.ClientCertFile, v.ClientKeyFile = "a", "c" },
		"path":            func(v *VaultSecret) { v.Path = "secret/other" },
		"username_field":  func(v *VaultSecret) { v.UsernameField = "user" },
		"key_field":       func(v *VaultSecret) { v.KeyField = "user" },
		"refresh":         func(v *VaultSecret) { v.Refresh = caddy.Duration(time.Second) },
		"stale_for":       func(v *VaultSecret) { v.StaleFor = caddy.Duration(time.Hour) },
	} {
		check(name, key(change))
	}
	if err := os.WriteFile(ca, append(pem, pem...), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a new CA in the same file", key(same))
}

// TestSecretFileKey checks that one file is one source however it is written.
func TestSecretFileKey(t *testing.T) {
	abs, err := filepath.Abs("secret.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOWPAY_TEST_FILE", "secret.json")
	for _, path := range []string{"secret.json", "./testdata/../secret.json", abs, "{env.NOWPAY_TEST_FILE}"} {
		f := &FileSecret{Path: path}
		if err := f.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		if want := "file " + abs; f.Key() != want {
			t.Errorf("%s: Key() = %q, want %q", path, f.Key(), want)
		}
	}
}

// TestSystemdSecret is about the folder that systemd names.
func TestSystemdSecret(t *testing.T) {
	object := &SystemdSecret{Credential: "nowpay.json"}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if err := object.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY is not set") {
		t.Errorf("outside of a unit: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/caddy.service")
	pair := &SystemdSecret{UsernameCredential: "nowpay.json", KeyCredential: "key"}
	seen := map[string]bool{(&FileSecret{path: "/run/credentials/caddy.service/nowpay.json"}).Key(): true}
	for _, s := range []*SystemdSecret{object, pair} {
		if err := s.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		if seen[s.Key()] || !strings.Contains(s.Key(), `"/run/credentials/caddy.service/nowpay.json"`) {
			t.Errorf("Key() = %s", s.Key())
		}
		seen[s.Key()] = true
	}
}

// TestProvisionReachesNothing loads a configuration whose Vault and provider
// count their visitors, and whose files with secrets are not there.
func TestProvisionReachesNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	visited := make(chan bool, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Close()
		}
		visited <- err == nil
	}()
	config := strings.ReplaceAll(`{
		"accounts": {
			"main": {"secret": {"source": "vault", "address": "http://ADDR", "path": "secret/nowpay", "auth": {"method": "token", "token_file": "no-such-file"}}},
			"file": {"secret": {"source": "file", "path": "no-such-file"}}
		},
		"upstream": {"url": "http://ADDR", "local_addresses": ["192.0.2.7"]},
		"merchants": {"shop": {"account": "main", "tokens": ["`+testHash+`"], "from": ["127.0.0.1"], "allow": ["bank/payout"]}},
		"journal": {"store": "postgres", "dsn": "postgres://gateway@ADDR/nowpay", "key_file": "no-such-file"}
	}`, "ADDR", listener.Addr().String())
	if err := caddy.Validate(&caddy.Config{AppsRaw: caddy.ModuleMap{"nowpay": json.RawMessage(config)}}); err != nil {
		t.Error(err)
	}
	listener.Close()
	if <-visited {
		t.Error("validating the configuration reached the network")
	}
}

func TestTestHash(t *testing.T) {
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("token"))); testHash != want {
		t.Errorf("testHash = %q, want %q", testHash, want)
	}
}

// TestRequestIDCorrection checks that a new request ID takes the old one's name
// in answers with it.
func TestRequestIDCorrection(t *testing.T) {
	for correction, want := range map[*Operation][2]string{
		{}:                                     {"a", "b"},
		{RequestID: "c"}:                       {"c", ""},
		{AnswerRequestID: "d"}:                 {"a", "d"},
		{RequestID: "c", AnswerRequestID: "d"}: {"c", "d"},
		{RequestID: "none"}:                    {"", ""},
	} {
		o := nowpay.Operation{RequestID: "a", AnswerRequestID: "b"}
		if err := correction.apply(&o); err != nil {
			t.Error(err)
		}
		if got := [2]string{o.RequestID, o.AnswerRequestID}; got != want {
			t.Errorf("%+v gives %q, want %q", *correction, got, want)
		}
	}
}
