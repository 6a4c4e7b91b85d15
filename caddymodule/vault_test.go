package caddymodule_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// vaultPolicy allows to read the account, in engines of both versions.
const vaultPolicy = `
	path "secret/data/nowpay/*" { capabilities = ["read"] }
	path "team/kv/nowpay/*" { capabilities = ["read"] }
`

// quick is a configuration that notices changes at once.
const quick = `
	refresh   200ms
	stale_for 10m
`

// vaulted is a Vault with an account at Nowpay in it.
type vaulted struct {
	*vaulttest.Server
	t       *testing.T
	secrets []string // what must not be seen anywhere
	paid    int
}

// startVault has version 1 of the account in an engine of version 2.
func startVault(t *testing.T, options ...vaulttest.Option) *vaulted {
	t.Helper()
	v := &vaulted{Server: vaulttest.Start(t, options...), t: t}
	v.secrets = []string{v.RootToken}
	v.EnableKV2("secret")
	v.Policy("nowpay", vaultPolicy)
	v.put(1)
	return v
}

// account is what a version of the secret holds. The username tells it, so that
// a mixture shows.
func account(version int) simulator.Credential {
	sum := sha256.Sum256([]byte(strconv.Itoa(version)))
	return simulator.Credential{Username: strconv.Itoa(2000 + version), Key: hex.EncodeToString(sum[:13])}
}

func fieldsOf(c simulator.Credential) map[string]any {
	return map[string]any{"username": c.Username, "key": c.Key}
}

// put writes the account's next version, and fails the test if it is not the
// expected one.
func (v *vaulted) put(version int) {
	v.t.Helper()
	c := account(version)
	v.secrets = append(v.secrets, c.Key)
	if got := v.PutKV2("secret", "nowpay/main", fieldsOf(c)); got != version {
		v.t.Fatalf("written version %d of the secret, want %d", got, version)
	}
}

// tokenAuth logs in with a token that needs no renewal.
func (v *vaulted) tokenAuth() string {
	v.t.Helper()
	token := v.Token([]string{"nowpay"}, 0, false)
	v.secrets = append(v.secrets, token)
	return "auth token " + v.file(token)
}

func (v *vaulted) appRoleAuth() string {
	v.t.Helper()
	role, secretID := v.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	v.secrets = append(v.secrets, secretID)
	return "auth approle " + role + " " + v.file(secretID)
}

func (v *vaulted) file(content string) string {
	v.t.Helper()
	file := filepath.Join(v.t.TempDir(), "login")
	if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
		v.t.Fatal(err)
	}
	return file
}

// secret is the secret block of the Caddyfile.
func (v *vaulted) secret(lines ...string) string {
	block := "secret vault {\naddress " + v.Address + "\n"
	if v.CAFile != "" {
		block += "ca " + v.CAFile + "\n"
	}
	all := strings.Join(lines, "\n")
	if !strings.Contains(all, "path ") {
		block += "path secret/nowpay/main\n"
	}
	return block + all + "\n}"
}

// gateway starts one whose account is known to the provider in version 1. At
// the end its log is searched for every secret.
func (v *vaulted) gateway(secret string) *gatewaytest.Gateway {
	v.t.Helper()
	g := gatewaytest.Start(v.t, gatewaytest.Options{Secret: secret, Simulator: func(c *simulator.Config) {
		c.Username, c.Key = account(1).Username, account(1).Key
	}})
	v.t.Cleanup(func() { v.mustNotLeak("log", g.Log()) })
	return g
}

// mustNotLeak searches a text for all secrets, in every form.
func (v *vaulted) mustNotLeak(what string, text []byte) {
	v.t.Helper()
	for i, s := range v.secrets {
		if integrity.FindLeak([]byte(s), text) {
			v.t.Errorf("secret %d is in the %s", i, what)
		}
	}
}

// pays makes a payment that must succeed, and be signed with that version.
func (v *vaulted) pays(g *gatewaytest.Gateway, version int) {
	v.t.Helper()
	v.paid++
	id := fmt.Sprintf("p%d", v.paid)
	answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
	if answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
		v.t.Fatalf("payment %s: %d %s", id, answer.StatusCode, answer.Body)
	}
	requests := g.Simulator.Requests()
	last := requests[len(requests)-1]
	if last.RequestID != id || signedWith(last) != version || !last.KeyRight {
		v.t.Fatalf("the provider got %s with username %s and key %s (right: %v), want %s of version %d",
			last.RequestID, last.Username, last.KeyHash, last.KeyRight, id, version)
	}
}

// signedWith is the version of username and key; 0 if they are not of one.
func signedWith(r simulator.Request) int {
	n, _ := strconv.Atoi(r.Username)
	version := n - 2000
	if r.KeyHash != simulator.KeyHash(account(version).Key) {
		return 0
	}
	return version
}

// readiness is the answer to a load balancer.
func readiness(g *gatewaytest.Gateway) gatewaytest.Answer {
	return g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/health/ready", Token: "-"})
}

func isReady(g *gatewaytest.Gateway) func() bool {
	return func() bool { return readiness(g).StatusCode == http.StatusOK }
}

// logged counts the log's lines with a text.
func logged(g *gatewaytest.Gateway, text string) int { return strings.Count(string(g.Log()), text) }

func TestVaultEnginesAndLogins(t *testing.T) {
	v := startVault(t, vaulttest.WithTLS())
	v.EnableKV1("team/kv")
	v.PutKV1("team/kv", "nowpay/main", map[string]any{"partner": account(1).Username, "secret": account(1).Key, "note": "not ours"})
	token, appRole := v.tokenAuth(), v.appRoleAuth()
	const kv1 = "path team/kv/nowpay/main\nfields partner secret"
	for _, tt := range []struct {
		name, auth, lines string
	}{
		{"version 2, token", token, ""},
		{"version 2, approle", appRole, ""},
		{"version 1, token", token, kv1},
		{"version 1, approle", appRole, kv1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &vaulted{Server: v.Server, t: t, secrets: v.secrets}
			g := v.gateway(v.secret(tt.auth, tt.lines))
			if !isReady(g)() {
				t.Fatalf("not ready: %s\n%s", readiness(g).Body, g.Log())
			}
			v.pays(g, 1)
			if got := g.LastRecord()["credential_version"]; got != 1.0 {
				t.Errorf("credential version %v in the record, want 1", got)
			}
		})
	}
}

// TestVaultOfUnknownAuthority: a Vault that nobody vouches for gives nothing.
func TestVaultOfUnknownAuthority(t *testing.T) {
	v := startVault(t, vaulttest.WithTLS())
	auth := v.tokenAuth()
	v.CAFile = "" // the system's authorities do not know it
	g := v.gateway(v.secret(auth, quick))
	v.refuses(g)
	if logged(g, "certificate signed by unknown authority") == 0 {
		t.Error("the log does not say why there is no credential")
	}
}

// load is a number of merchants that pay as quickly as they can, one after the
// other, each payment with an id of its own.
type load struct {
	g        *gatewaytest.Gateway
	patient  bool // what was not sent for want of a credential is repeated
	stopped  atomic.Bool
	clients  sync.WaitGroup
	paid     atomic.Int64
	repeated atomic.Int64

	mu       sync.Mutex
	failures []error
}

func startLoad(g *gatewaytest.Gateway, clients int) *load {
	l := &load{g: g}
	l.start(clients)
	return l
}

// startPatientLoad is startLoad with merchants that repeat what was not sent for want
// of a credential.
func startPatientLoad(g *gatewaytest.Gateway, clients int) *load {
	l := &load{g: g, patient: true}
	l.start(clients)
	return l
}

func (l *load) start(clients int) {
	g := l.g
	for i := range clients {
		protocol, base := "http/1.1", g.URL
		if i%2 == 1 {
			protocol, base = "h2", g.TLSURL
		}
		client := g.Client(protocol)
		l.clients.Go(func() {
			for n := 0; !l.stopped.Load(); n++ {
				id := fmt.Sprintf("c%dn%d", i, n)
				answer, err := g.Do(client, base, gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
				for l.patient && err == nil && answer.Header.Get("Nowpay-Gateway-Error") == "credential-unavailable" {
					l.repeated.Add(1)
					time.Sleep(100 * time.Millisecond) // less than Retry-After says
					answer, err = g.Do(client, base, gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
				}
				if err == nil && (answer.StatusCode != http.StatusOK || answer.Outcome() != "success") {
					err = errors.New(answer.Status + " " + answer.Body)
				}
				if err == nil {
					l.paid.Add(1)
					continue
				}
				l.mu.Lock()
				l.failures = append(l.failures, fmt.Errorf("payment %s: %w", id, err))
				l.mu.Unlock()
			}
		})
	}
}

// stop ends the load and fails the test if any payment failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.stopped.Store(true)
	l.clients.Wait()
	for _, failure := range l.failures[:min(len(l.failures), 5)] {
		t.Errorf("of %d failures: %v", len(l.failures), failure)
	}
}

func TestVaultRotationUnderLoad(t *testing.T) {
	const clients, versions = 16, 4
	v := startVault(t)
	g := v.gateway(v.secret(v.appRoleAuth(), "refresh 1s"))

	// The simulator remembers a limited number of requests: they are collected
	// while the load goes on.
	var seen []simulator.Request
	collect := func() int {
		for _, r := range g.Simulator.Requests() {
			if r.Number > len(seen)+1 {
				t.Fatalf("requests %d to %d are forgotten", len(seen)+1, r.Number-1)
			}
			if r.Number == len(seen)+1 {
				seen = append(seen, r)
			}
		}
		if len(seen) == 0 {
			return 0
		}
		return signedWith(seen[len(seen)-1])
	}

	accepted := []simulator.Credential{account(1)}
	l := startLoad(g, clients)
	gatewaytest.Eventually(t, "payments with version 1", func() bool { return collect() == 1 })
	for version := 2; version <= versions; version++ {
		accepted = append(accepted, account(version))
		g.Simulator.SetCredentials(accepted...)
		v.put(version)
		gatewaytest.Eventually(t, fmt.Sprintf("payments with version %d", version), func() bool { return collect() == version })
		if got := g.Metric(`nowpay_credential_version{account="main"}`); got != float64(version) {
			t.Errorf("nowpay_credential_version is %v, want %d", got, version)
		}
	}
	l.stop(t)
	g.Simulator.SetCredentials(account(versions)) // the old ones are locked out
	for range 2 * clients {
		v.pays(g, versions)
	}
	collect()

	checkRotation(t, g, seen, int(l.paid.Load())+2*clients, versions)
}

// checkRotation looks at all requests that reached the provider.
func checkRotation(t *testing.T, g *gatewaytest.Gateway, seen []simulator.Request, paid, versions int) {
	t.Helper()
	t.Logf("%d payments over %d versions", paid, versions)
	newest := make(map[string]int) // by client, each of which does one thing after the other
	used := make(map[int]int)
	versionOf := make(map[string]float64)
	for _, r := range seen {
		version := signedWith(r)
		if version == 0 || !r.KeyRight {
			t.Errorf("request %s was signed with username %s and key %s", r.RequestID, r.Username, r.KeyHash)
			continue
		}
		client, _, _ := strings.Cut(r.RequestID, "n")
		if version < newest[client] {
			t.Errorf("request %s was signed with version %d after one with %d", r.RequestID, version, newest[client])
		}
		newest[client] = version
		used[version]++
		versionOf[r.RequestID] = float64(version)
	}
	if len(seen) != paid || len(used) != versions {
		t.Errorf("%d requests reached the provider, with these versions: %v; want %d with %d versions", len(seen), used, paid, versions)
	}
	executions := g.Simulator.Ledger().Executions
	if len(executions) != paid {
		t.Errorf("%d payments were executed, want %d", len(executions), paid)
	}
	for id, n := range executions {
		if n != 1 {
			t.Errorf("payment %s was executed %d times", id, n)
		}
	}
	recorded := make(map[string]float64)
	for _, record := range g.Records() {
		recorded[record["request_id"].(string)], _ = record["credential_version"].(float64)
	}
	if !maps.Equal(recorded, versionOf) {
		t.Error("the decision records do not tell the versions that were used")
	}
}

// TestVaultIsInNoRequestsPath: what a payment needs is in memory.
func TestVaultIsInNoRequestsPath(t *testing.T) {
	for _, method := range []string{"token", "approle"} {
		t.Run(method, func(t *testing.T) {
			v := startVault(t)
			auth, last := v.tokenAuth(), "secret/data/"
			if method == "approle" {
				// The token of a role is renewed once at the beginning.
				auth, last = v.appRoleAuth(), "auth/token/renew-self"
			}
			g := v.gateway(v.secret(auth, "refresh 1h\nstale_for 2h"))
			gatewaytest.Eventually(t, "the start to be over", func() bool { return v.Requests(last) > 0 })
			before := v.Requests("")
			for range 200 {
				v.pays(g, 1)
			}
			if n := v.Requests("") - before; n != 0 {
				t.Errorf("200 payments made %d requests to Vault", n)
			}
		})
	}
}

// TestVaultSecretLost: a secret that is not one any more is used no longer,
// however long an outage may be bridged.
func TestVaultSecretLost(t *testing.T) {
	v := startVault(t)
	good := fieldsOf(account(1))
	with := func(field string, value any) func() {
		return func() {
			fields := maps.Clone(good)
			fields[field] = value
			v.PutKV2("secret", "nowpay/main", fields)
		}
	}
	without := func(field string) func() {
		return func() {
			fields := maps.Clone(good)
			delete(fields, field)
			v.PutKV2("secret", "nowpay/main", fields)
		}
	}
	current := func() int { return v.PutKV2("secret", "nowpay/main", good) }
	g := v.gateway(v.secret(v.tokenAuth(), quick))
	for _, tt := range []struct {
		name string
		lose func()
	}{
		{"deleted", func() { v.DeleteKV2("secret", "nowpay/main") }},
		{"destroyed", func() { v.DestroyKV2("secret", "nowpay/main", current()) }},
		{"without username", without("username")},
		{"without key", without("key")},
		{"empty key", with("key", "")},
		{"key is not a text", with("key", 12345678)},
		{"newline behind the key", with("key", account(1).Key+"\n")},
		{"header in the username", with("username", "2001\r\nX-Forged: 1")},
		{"zero byte in the key", with("key", "0f1e\x002d3c")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v.t = t
			v.pays(g, 1)
			tt.lose()
			gatewaytest.Eventually(t, "the loss to be noticed", func() bool { return !isReady(g)() })
			v.refuses(g)
			if logged(g, "no usable secret") == 0 {
				t.Error("the log does not say why there is no credential")
			}
			current()
			gatewaytest.Eventually(t, "the secret to be found again", isReady(g))
			v.pays(g, 1)
		})
	}
	v.t = t
	if versions := g.Metric(`nowpay_credential_version{account="main"}`); versions < 10 {
		t.Errorf("nowpay_credential_version is %v after more than ten versions", versions)
	}
	if slices.ContainsFunc(g.Simulator.Requests(), func(r simulator.Request) bool { return signedWith(r) != 1 }) {
		t.Error("a request was signed with something else than the account")
	}
}

// TestVault_Notify signs notifications with a secret out of Vault, and with two
// while it is changed over.
func TestVault_Notify(t *testing.T) {
	v := startVault(t)
	v.Policy("hooks", `path "secret/data/hooks/*" { capabilities = ["read"] }`)
	const next = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	v.secrets = append(v.secrets, webhookSecret, next)
	put := func(before, newest string) {
		v.PutKV2("secret", "hooks/shop", map[string]any{"username": before, "key": newest})
	}
	put("shop", webhookSecret)
	app := newMerchantApp(t, nil)
	token := v.Token([]string{"hooks"}, 0, false)
	v.secrets = append(v.secrets, token)
	source := v.secret("auth token "+v.file(token), "path secret/hooks/shop", quick)
	g := startCallbacks(t, gatewaytest.Options{
		Shop:   "notify " + app.server.URL + " {\n" + source + "\nprivate\n}",
		Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 100/1s",
	})
	t.Cleanup(func() { v.mustNotLeak("log", g.Log()) })
	for i, stage := range []struct{ before, newest, known string }{
		{"shop", webhookSecret, webhookSecret},
		{webhookSecret, next, webhookSecret},
		{webhookSecret, next, next},
		{"shop", next, next},
	} {
		put(stage.before, stage.newest)
		time.Sleep(time.Second) // it is noticed within 200 ms
		app.know(t, stage.known)
		id := fmt.Sprintf("N%d", i)
		if err := g.Simulator.SettlePending(pend(t, g, id).ProviderID, simulator.StateSuccess); err != nil {
			t.Fatal(err)
		}
		gatewaytest.Eventually(t, "the notification of "+id, func() bool { return len(app.told(id)) > 0 })
	}
}
