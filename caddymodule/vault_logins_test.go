package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
)

// TestVaultWrappedOverReloads: what was unwrapped cannot be had again, so it
// goes on to the next configuration, and to other accounts that log in the same
// way.
func TestVaultWrappedOverReloads(t *testing.T) {
	v := startVault(t)
	role, _ := v.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	token := v.WrappedSecretID("", "gateway", time.Minute)
	v.secrets = append(v.secrets, token)
	login := "auth approle " + role + " " + v.file(token) + " wrapped"
	g := v.gateway(v.secret(login))
	v.pays(g, 1)

	for _, o := range []gatewaytest.Options{
		{Secret: v.secret(login, quick)},
		{Secret: v.secret(login), Nowpay: "account second {\n" + v.secret(login, "refresh 1s") + "\n}"},
		{Secret: v.secret(login, "refresh 2s")},
	} {
		if err := g.Load(o); err != nil {
			t.Fatal(err)
		}
		if !isReady(g)() {
			t.Fatalf("not ready: %s\n%s", readiness(g).Body, g.Log())
		}
		v.pays(g, 1)
	}
	if got := v.Requests("sys/wrapping/unwrap"); got != 1 {
		t.Errorf("%d unwrappings, want 1", got)
	}

	// Without anybody who needs it the secret ID is forgotten.
	if err := g.Load(gatewaytest.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Load(gatewaytest.Options{Secret: v.secret(login)}); err != nil {
		t.Fatal(err)
	}
	if readiness(g).StatusCode != http.StatusServiceUnavailable || logged(g, "somebody else may have the secret ID") == 0 {
		t.Errorf("a used token is good for a login: %s", readiness(g).Body)
	}
}

// TestEnvironmentSecretWarns in production, too.
func TestEnvironmentSecretWarns(t *testing.T) {
	t.Setenv("NOWPAY_TEST_USERNAME", gatewaytest.Username)
	t.Setenv("NOWPAY_TEST_KEY", gatewaytest.Key)
	g := gatewaytest.Start(t, gatewaytest.Options{Secret: "secret env NOWPAY_TEST_USERNAME NOWPAY_TEST_KEY"})
	if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("e1", "1.00")}); answer.Outcome() != "success" {
		t.Errorf("%d %s", answer.StatusCode, answer.Body)
	}
	if logged(g, "for development only") != 1 || strings.Contains(string(g.Log()), gatewaytest.Key) {
		t.Errorf("log: %s", g.Log())
	}
}
