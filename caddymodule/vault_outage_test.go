package caddymodule_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// noPolicy is what is left of vaultPolicy when the permission is revoked.
const noPolicy = `path "secret/data/other" { capabilities = ["read"] }`

// refuses makes a payment that must be refused for want of a credential, in
// words that tell nothing of the reason, and looks at everything that says so.
func (v *vaulted) refuses(g *gatewaytest.Gateway) {
	v.t.Helper()
	reached := len(g.Simulator.Requests())
	answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("refused", "1.00")})
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Problem() != "credential-unavailable" ||
		answer.Outcome() != "unsent" || answer.Header.Get("Retry-After") == "" {
		v.t.Errorf("answer without a credential: %d %v %s", answer.StatusCode, answer.Header, answer.Body)
	}
	if n := len(g.Simulator.Requests()) - reached; n != 0 {
		v.t.Errorf("%d requests reached the provider", n)
	}
	v.mustNotTell("problem", answer)

	health := readiness(g)
	if health.StatusCode != http.StatusServiceUnavailable || !strings.Contains(health.Body, "credential-unavailable: account main") {
		v.t.Errorf("readiness: %d %s", health.StatusCode, health.Body)
	}
	v.mustNotTell("readiness", health)
	live := g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/health/live", Token: "-"})
	if live.StatusCode != http.StatusOK {
		v.t.Errorf("liveness: %d %s", live.StatusCode, live.Body)
	}
	if up := g.Metric(`nowpay_credential_available{account="main"}`); up != 0 {
		v.t.Errorf("nowpay_credential_available is %v", up)
	}
}

// mustNotTell fails the test if an answer says anything of Vault.
func (v *vaulted) mustNotTell(what string, answer gatewaytest.Answer) {
	v.t.Helper()
	text := answer.Body
	for name, values := range answer.Header {
		text += name + strings.Join(values, " ")
	}
	host := strings.TrimPrefix(strings.TrimPrefix(v.Address, "https://"), "http://")
	for _, word := range []string{"vault", host, "secret/", "nowpay/main", "approle", "permission", "sealed", "refused", "logging in"} {
		if strings.Contains(strings.ToLower(text), word) {
			v.t.Errorf("the %s says %q: %s", what, word, text)
		}
	}
	v.mustNotLeak(what, []byte(text))
}

// outage takes Vault away, and gives it back.
type outage struct {
	name       string
	away, back func(*vaulted)
}

var outages = []outage{
	{"stopped and started again", (*vaulted).Stop, (*vaulted).Restart},
	{"sealed", (*vaulted).Seal, (*vaulted).Unseal},
	{
		"permission revoked",
		func(v *vaulted) { v.Policy("nowpay", noPolicy) },
		func(v *vaulted) { v.Policy("nowpay", vaultPolicy) },
	},
}

// TestVaultOutage: payments go on with the credential that is there.
func TestVaultOutage(t *testing.T) {
	v := startVault(t)
	g := v.gateway(v.secret(v.appRoleAuth(), quick))
	const noticed = "continuing with the cached credential"
	version := 1
	for _, o := range outages {
		before := logged(g, noticed)
		o.away(v)
		gatewaytest.Eventually(t, "the outage to be noticed: "+o.name, func() bool { return logged(g, noticed) > before })
		for range 20 {
			v.pays(g, version)
		}
		if !isReady(g)() {
			t.Errorf("%s: not ready: %s", o.name, readiness(g).Body)
		}
		if age := g.Metric(`nowpay_credential_age_seconds{account="main"}`); age <= 0 {
			t.Errorf("%s: nowpay_credential_age_seconds is %v", o.name, age)
		}

		o.back(v)
		version++
		g.Simulator.SetCredentials(account(version-1), account(version))
		v.put(version)
		gatewaytest.Eventually(t, "a new version after the outage: "+o.name, func() bool {
			return g.Metric(`nowpay_credential_version{account="main"}`) == float64(version)
		})
		v.pays(g, version)
	}
	if n := logged(g, "no credential available"); n != 0 {
		t.Errorf("the log says %d times that there was no credential", n)
	}
}

// TestVaultOutageTooLong: past stale_for nothing is sent, until Vault is back.
func TestVaultOutageTooLong(t *testing.T) {
	const staleFor = 2 * time.Second
	v := startVault(t)
	g := v.gateway(v.secret(v.tokenAuth(), "refresh 1s", "stale_for "+staleFor.String()))
	client := g.Client("http/1.1")
	for _, o := range outages {
		v.pays(g, 1)
		o.away(v)
		gone := time.Now()
		var begun time.Time
		paid := 0
		gatewaytest.Eventually(t, "payments to be refused: "+o.name, func() bool {
			begun = time.Now()
			answer, err := g.Do(client, g.URL, gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusOK {
				return true
			}
			// Whatever was read of Vault was read before it went away.
			if age := begun.Sub(gone); age > staleFor {
				t.Errorf("%s: a credential was used that was read more than %v ago", o.name, age)
			}
			paid++
			return false
		})
		if paid == 0 {
			t.Errorf("%s: refused at once, after %v", o.name, begun.Sub(gone))
		}
		v.refuses(g)

		o.back(v)
		gatewaytest.Eventually(t, "recovery: "+o.name, isReady(g))
		v.pays(g, 1)
	}
}

// TestVaultDownAtStart: Caddy starts all the same, and soon.
func TestVaultDownAtStart(t *testing.T) {
	for _, o := range []outage{
		{"stopped", (*vaulted).Stop, (*vaulted).Restart},
		{"sealed", (*vaulted).Seal, (*vaulted).Unseal},
	} {
		t.Run(o.name, func(t *testing.T) {
			v := startVault(t)
			secret := v.secret(v.tokenAuth(), quick)
			o.away(v)
			begun := time.Now()
			g := v.gateway(secret)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("starting took %v", took)
			}
			v.refuses(g)
			if logged(g, noCredential) == 0 {
				t.Error("the log does not say that there is no credential")
			}
			o.back(v)
			gatewaytest.Eventually(t, "the credential", isReady(g))
			v.pays(g, 1)
		})
	}
}

const noCredential = "there is no credential; refusing merchants until there is"

// TestVaultHangs: a configuration with a new source does not wait for it for
// ever.
func TestVaultHangs(t *testing.T) {
	v := startVault(t)
	auth := v.tokenAuth()
	g := v.gateway(v.secret(auth, quick))
	back := hang(v)
	begun := time.Now()
	if err := g.Load(gatewaytest.Options{Secret: v.secret(auth, "refresh 300ms")}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the reload took %v", took)
	}
	v.refuses(g)
	if logged(g, noCredential) != 1 {
		t.Error("the log does not say once that there is no credential")
	}
	back()
	gatewaytest.Eventually(t, "the credential", isReady(g))
	v.pays(g, 1)
}

// hang puts something in Vault's place that takes connections and is silent.
func hang(v *vaulted) (back func()) {
	v.t.Helper()
	u, err := url.Parse(v.Address)
	if err != nil {
		v.t.Fatal(err)
	}
	v.Stop()
	silent, err := net.Listen("tcp", u.Host)
	if err != nil {
		v.t.Fatal(err)
	}
	return func() {
		silent.Close() // and with it the connections that it never took
		v.Restart()
	}
}

// TestReloadWhileVaultIsDown: what a reload does not change it keeps.
func TestReloadWhileVaultIsDown(t *testing.T) {
	v := startVault(t)
	secret := v.secret(v.appRoleAuth(), quick)
	g := v.gateway(secret)
	for _, o := range outages {
		o.away(v)
		for i, change := range []gatewaytest.Options{
			{Secret: secret},
			{Secret: secret, Upstream: "timeout 30s", Shop: "strip_credentials"},
		} {
			if err := g.Load(change); err != nil {
				t.Fatalf("%s: reload %d: %v", o.name, i, err)
			}
			if !isReady(g)() {
				t.Errorf("%s: not ready after reload %d: %s", o.name, i, readiness(g).Body)
			}
			v.pays(g, 1)
		}
		o.back(v)
	}
	g.Simulator.SetCredentials(account(1), account(2))
	v.put(2)
	gatewaytest.Eventually(t, "a new version after the reloads", func() bool {
		return g.Metric(`nowpay_credential_version{account="main"}`) == 2
	})
	v.pays(g, 2)
}
