package caddymodule_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// identified makes a balance request and tells as whom the gateway knows the
// caller: the merchant's name, or the problem.
func identified(t *testing.T, g *gatewaytest.Gateway, client *http.Client, base string, c call) string {
	t.Helper()
	c.Path, c.Body = "/api/common/balance", "{}"
	reached := len(g.Simulator.Requests())
	answer, err := g.Do(client, base, c)
	if err != nil {
		t.Fatal(err)
	}
	if problem := answer.Problem(); problem != "" {
		if n := len(g.Simulator.Requests()) - reached; n != 0 {
			t.Errorf("requests that reached the provider: %d, want none", n)
		}
		return problem
	}
	if answer.Outcome() != "success" {
		t.Fatalf("balance: %d %s", answer.StatusCode, answer.Body)
	}
	merchant, _ := g.LastRecord()["merchant"].(string)
	return merchant
}

func TestTokenRotation(t *testing.T) {
	merchant := func(tokens ...string) gatewaytest.Options {
		lines := ""
		for _, token := range tokens {
			lines += "token " + gatewaytest.TokenHash(token) + "\n"
		}
		return gatewaytest.Options{Nowpay: "merchant rotating {\naccount main\n" + lines + "from 127.0.0.1\nallow common/balance\n}"}
	}
	g := gatewaytest.Start(t, merchant("npg_test_old"))
	for _, step := range []struct {
		name     string
		options  *gatewaytest.Options
		old, new string
	}{
		{"before", nil, "rotating", "unauthenticated"},
		{"both", new(merchant("npg_test_old", "npg_test_new")), "rotating", "rotating"},
		{"after", new(merchant("npg_test_new")), "unauthenticated", "rotating"},
	} {
		if step.options != nil {
			if err := g.Load(*step.options); err != nil {
				t.Fatal(err)
			}
		}
		for token, want := range map[string]string{"npg_test_old": step.old, "npg_test_new": step.new} {
			if got := identified(t, g, g.Client("http/1.1"), g.URL, call{Token: token}); got != want {
				t.Errorf("%s: %s is %s, want %s", step.name, token, got, want)
			}
		}
	}
}

// byCertificate has merchants that are known by a certificate: by its name, and
// by its fingerprint.
func byCertificate(mode, fingerprint string) gatewaytest.Options {
	merchant := func(name, certificate string) string {
		return fmt.Sprintf("merchant %s {\naccount main\nclient_cert %s\nfrom 127.0.0.1\nallow common/balance\n}\n", name, certificate)
	}
	return gatewaytest.Options{
		ClientAuth: mode,
		Nowpay:     merchant("named", "named.internal") + merchant("pinned", fingerprint),
	}
}

func fingerprintOf(certificate tls.Certificate) string {
	sum := sha256.Sum256(certificate.Certificate[0])
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestClientCertificates(t *testing.T) {
	unused := "sha256:" + strings.Repeat("00", sha256.Size)
	g := gatewaytest.Start(t, byCertificate("require_and_verify", unused))
	named, other := g.ClientCertificate("named.internal"), g.ClientCertificate("other.internal")
	pinned := g.ClientCertificate("pinned.internal")
	forged := gatewaytest.ForeignCertificate(t, "named.internal")
	foreign := gatewaytest.ForeignCertificate(t, "foreign.internal")

	for _, test := range []struct {
		name, mode  string
		pin         tls.Certificate
		certificate tls.Certificate
		token       string
		want        string // "-" if the handshake must fail
	}{
		{"by name", "require_and_verify", pinned, named, "-", "named"},
		{"by fingerprint", "require_and_verify", pinned, pinned, "-", "pinned"},
		{"of nobody", "require_and_verify", pinned, other, "-", "unauthenticated"},
		{"of another authority", "require_and_verify", pinned, forged, "-", "-"},
		{"pinned, of another authority", "require_and_verify", foreign, foreign, "-", "-"},
		{"none", "require_and_verify", pinned, tls.Certificate{}, "-", "-"},

		{"none but a token", "verify_if_given", pinned, tls.Certificate{}, gatewaytest.KioskToken, "kiosk"},
		{"of nobody and a token", "verify_if_given", pinned, other, gatewaytest.KioskToken, "kiosk"},
		{"another merchant's token", "verify_if_given", pinned, named, gatewaytest.KioskToken, "unauthenticated"},
		{"another merchant's token, pinned", "verify_if_given", pinned, pinned, gatewaytest.KioskToken, "unauthenticated"},
		{"and an unknown token", "verify_if_given", pinned, named, "npg_test_unknown", "named"},
		{"both merchants' certificate", "verify_if_given", named, named, "-", "unauthenticated"},

		{"unverified name", "request", pinned, forged, "-", "unauthenticated"},
		{"unverified name of our authority", "request", pinned, named, "-", "unauthenticated"},
		{"unverified fingerprint", "request", foreign, foreign, "-", "pinned"},
	} {
		t.Run(test.mode+"/"+test.name, func(t *testing.T) {
			if err := g.Load(byCertificate(test.mode, fingerprintOf(test.pin))); err != nil {
				t.Fatal(err)
			}
			var certificates []tls.Certificate
			if test.certificate.Certificate != nil {
				certificates = append(certificates, test.certificate)
			}
			for _, protocol := range []string{"http/1.1", "h2"} {
				client := g.ClientFrom(protocol, "127.0.0.1", certificates...)
				if test.want == "-" {
					if answer, err := g.Do(client, g.TLSURL, call{Token: "-", Method: http.MethodGet, Path: "/health/live"}); err == nil {
						t.Errorf("%s: answered with %d", protocol, answer.StatusCode)
					}
				} else if got := identified(t, g, client, g.TLSURL, call{Token: test.token}); got != test.want {
					t.Errorf("%s: known as %s, want %s", protocol, got, test.want)
				}
				client.CloseIdleConnections()
			}
		})
	}
}

// Passwords of Caddy's basic_auth, hashed with the least effort.
const basicAuth = `basic_auth {
	asha $2a$04$YsHtkOQ.negZgobuPm.GV.8CfoFPcIdIXotJzyv1nCeGrZRe13MP6
	ravi $2a$04$E34yVjoKhzqmVf.UY9IFEOm/6Q8.obtVamaJvLov1QiIORm5bVJcS
}`

func TestUsers(t *testing.T) {
	options := byCertificate("verify_if_given", "sha256:"+strings.Repeat("00", sha256.Size))
	options.Nowpay += "merchant desk {\naccount main\nuser asha\nfrom 127.0.0.1\nallow common/balance\n}"
	options.Site = basicAuth
	g := gatewaytest.Start(t, options)
	login := func(user, password string) call {
		r := http.Request{Header: http.Header{"Remote-User": {"asha"}, "X-Forwarded-User": {"asha"}}}
		r.SetBasicAuth(user, password)
		return call{Token: "-", Header: r.Header}
	}
	for _, test := range []struct {
		name         string
		call         call
		certificates []tls.Certificate
		want         string
	}{
		{"known", login("asha", "asha-password"), nil, "desk"},
		{"known to Caddy alone", login("ravi", "ravi-password"), nil, "unauthenticated"},
		{"with another merchant's certificate", login("asha", "asha-password"), []tls.Certificate{g.ClientCertificate("named.internal")}, "unauthenticated"},
		{"with nobody's certificate", login("asha", "asha-password"), []tls.Certificate{g.ClientCertificate("other.internal")}, "desk"},
	} {
		if got := identified(t, g, g.ClientFrom("h2", "127.0.0.1", test.certificates...), g.TLSURL, test.call); got != test.want {
			t.Errorf("%s: known as %s, want %s", test.name, got, test.want)
		}
	}
	// Caddy itself refuses whom it does not know.
	decided := len(g.Records())
	for name, c := range map[string]call{"wrong password": login("asha", "ravi-password"), "nobody": {Token: "-"}, "token alone": {}} {
		c.Path, c.Body = "/api/common/balance", "{}"
		if answer := g.Must(c); answer.StatusCode != http.StatusUnauthorized || answer.Problem() != "" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.Body)
		}
	}
	if n := len(g.Records()) - decided; n != 0 {
		t.Errorf("decisions on requests that did not reach the gateway: %d", n)
	}

	// Without basic_auth nothing that a caller writes makes it a user.
	options.Site = ""
	if err := g.Load(options); err != nil {
		t.Fatal(err)
	}
	if got := identified(t, g, g.Client("h2"), g.TLSURL, login("asha", "asha-password")); got != "unauthenticated" {
		t.Errorf("without basic_auth: known as %s", got)
	}
}

// listed is the answer of GET /operations.
type listed struct {
	Merchant   string `json:"merchant"`
	MaxAmount  string `json:"max_amount"`
	Operations []struct {
		Operation   string `json:"operation"`
		Method      string `json:"method"`
		Path        string `json:"path"`
		ContentType string `json:"content_type"`
		MovesMoney  bool   `json:"moves_money"`
		MayCost     bool   `json:"may_cost"`
		RequestID   string `json:"request_id"`
		Fields      []struct {
			Name     string   `json:"name"`
			Format   string   `json:"format"`
			Max      int      `json:"max"`
			Choices  []string `json:"choices"`
			Optional bool     `json:"optional"`
		} `json:"fields"`
	} `json:"operations"`
}

func (l listed) names() []string {
	names := []string{}
	for _, operation := range l.Operations {
		names = append(names, operation.Operation)
	}
	return names
}

func list(t *testing.T, g *gatewaytest.Gateway, token string) listed {
	t.Helper()
	answer := g.Must(call{Method: http.MethodGet, Path: "/operations", Token: token})
	var view listed
	if err := json.Unmarshal([]byte(answer.Body), &view); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", answer.StatusCode, answer.Body, err)
	}
	if answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Nowpay-Gateway-Transaction") == "" {
		t.Errorf("header %v", answer.Header)
	}
	return view
}

func TestOperationsList(t *testing.T) {
	const deniedToken = "npg_test_denied"
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants + rechargeBlock + fmt.Sprintf(`
		merchant denied {
			account main
			token %s
			from 127.0.0.1
			allow bank/payout common/balance
			deny bank/* common/balance
		}
	`, gatewaytest.TokenHash(deniedToken))})
	for _, test := range []struct {
		token, merchant, maxAmount string
		want                       []string
	}{
		{gatewaytest.ShopToken, "shop", "5000.00", []string{
			"bank/account_transfer", "bank/payout", "bank/upi_verify", "bank/wallet_transfer", "bank/wallet_verify",
			"common/balance", "pan/coupon_status", "pan/managepsa", // no managecoupon: its price is not known, and there is a limit
		}},
		{gatewaytest.KioskToken, "kiosk", "", []string{"bank/upi_verify", "common/balance"}},
		{deniedToken, "denied", "", []string{}},
		{agentToken, "agent", "", func() []string {
			all := []string{"recharge/dorecharge"}
			for _, operation := range nowpay.Documented() {
				all = append(all, operation.Name)
			}
			slices.Sort(all)
			return all
		}()},
	} {
		view := list(t, g, test.token)
		if view.Merchant != test.merchant || view.MaxAmount != test.maxAmount || !slices.Equal(view.names(), test.want) {
			t.Errorf("%s: %s up to %q: %v, want %q: %v", test.merchant, view.Merchant, view.MaxAmount, view.names(), test.maxAmount, test.want)
		}
		// What is listed is what is allowed: an empty body is refused later.
		for _, operation := range list(t, g, agentToken).Operations {
			answer := g.Must(call{Token: test.token, Path: operation.Path, Body: "{}"})
			if allowed := answer.Problem() != "operation-not-allowed"; !allowed && slices.Contains(test.want, operation.Operation) {
				t.Errorf("%s: %s is listed and not allowed", test.merchant, operation.Operation)
			} else if allowed && !slices.Contains(test.want, operation.Operation) && operation.Operation != "pan/managecoupon" {
				t.Errorf("%s: %s is allowed and not listed", test.merchant, operation.Operation)
			}
		}
	}

	view := list(t, g, agentToken)
	payout := view.Operations[slices.Index(view.names(), "bank/payout")]
	if payout.Method != "POST" || payout.Path != "/api/bank/payout" || payout.ContentType != "application/json" || !payout.MovesMoney || payout.MayCost ||
		payout.RequestID != "yourrequestid" || len(payout.Fields) != 6 {
		t.Errorf("bank/payout: %+v", payout)
	}
	if field := payout.Fields[3]; field.Name != "yourrequestid" || field.Format != "alphanumeric" || field.Max != 50 || field.Optional {
		t.Errorf("bank/payout: field %+v", field)
	}
	if field := payout.Fields[5]; field.Name != "transferMode" || !slices.Equal(field.Choices, []string{"IMPS", "NEFT"}) {
		t.Errorf("bank/payout: field %+v", field)
	}
	if form := view.Operations[slices.Index(view.names(), "aeps/be")]; form.ContentType != formType {
		t.Errorf("aeps/be: %+v", form)
	}
}

// health asks without authentication, from an address that no merchant has.
func health(t *testing.T, g *gatewaytest.Gateway, path string) (status int, reasons []string) {
	t.Helper()
	for protocol, base := range map[string]string{"http/1.1": g.URL, "h2": g.TLSURL} {
		client := g.ClientFrom(protocol, "127.0.0.8")
		answer, err := g.Do(client, base, call{Method: http.MethodGet, Path: path, Token: "-"})
		client.CloseIdleConnections()
		if err != nil {
			t.Fatalf("%s %s: %v", protocol, path, err)
		}
		var view struct {
			Status  string   `json:"status"`
			Reasons []string `json:"reasons"`
		}
		if err := json.Unmarshal([]byte(answer.Body), &view); err != nil || view.Status == "" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %v %s: %v", protocol, path, answer.Header, answer.Body, err)
		}
		status, reasons = answer.StatusCode, view.Reasons
	}
	return status, reasons
}

func TestHealth(t *testing.T) {
	const (
		noCredential = "credential-unavailable: account main"
		noEgress     = "egress-unavailable: none of the egress addresses is on this machine"
	)
	absent := filepath.Join(t.TempDir(), "absent.json")
	for _, test := range []struct {
		name    string
		options gatewaytest.Options
		want    []string
	}{
		{"all is well", gatewaytest.Options{}, nil},
		{"no credential", gatewaytest.Options{Secret: "secret file " + absent}, []string{noCredential}},
		{"no egress", gatewaytest.Options{LocalAddress: "203.0.113.77"}, []string{noEgress}},
		{"one egress of two", gatewaytest.Options{LocalAddress: "203.0.113.77 " + gatewaytest.EgressIP}, nil},
		{"neither", gatewaytest.Options{Secret: "secret file " + absent, LocalAddress: "203.0.113.77"}, []string{noCredential, noEgress}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := gatewaytest.Start(t, test.options)
			if status, _ := health(t, g, "/health/live"); status != http.StatusOK {
				t.Errorf("live: %d", status)
			}
			want := http.StatusOK
			if test.want != nil {
				want = http.StatusServiceUnavailable
			}
			if status, reasons := health(t, g, "/health/ready"); status != want || !slices.Equal(reasons, test.want) {
				t.Errorf("ready: %d %q, want %d %q", status, reasons, want, test.want)
			}
			for _, method := range []string{http.MethodPost, http.MethodDelete} {
				if answer := g.Must(call{Method: method, Path: "/health/ready"}); answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
					t.Errorf("%s: %d, Allow %q", method, answer.StatusCode, answer.Header.Get("Allow"))
				}
			}
			if n := len(g.Records()); n != 0 {
				t.Errorf("decision records: %d, want none", n)
			}
		})
	}
}

// TestRecovers: what was missing appears, and no reload is needed.
func TestRecovers(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	file := filepath.Join(t.TempDir(), "late.json")
	if err := g.Load(gatewaytest.Options{Secret: "secret file " + file}); err != nil {
		t.Fatal(err)
	}
	if status, _ := health(t, g, "/health/ready"); status != http.StatusServiceUnavailable {
		t.Fatalf("ready: %d", status)
	}
	g.SecretFile = file
	g.WriteSecret(gatewaytest.Username, gatewaytest.Key)
	gatewaytest.Eventually(t, "the gateway is ready", func() bool {
		status, _ := health(t, g, "/health/ready")
		return status == http.StatusOK
	})
	pass(t, g, "balance", balance)
}
