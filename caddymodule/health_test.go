package caddymodule_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// TestHealthHead asks for the status alone.
func TestHealthHead(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		answer := g.Must(gatewaytest.Call{Method: http.MethodHead, Path: "/health/ready", Token: "-"})
		if answer.StatusCode != want || answer.Body != "" || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD: %d %v %q, want %d without a body", answer.StatusCode, answer.Header, answer.Body, want)
		}
		mustReload(t, g, gatewaytest.Options{LocalAddress: "203.0.113.77"})
	}
}

// TestReadinessFollows goes red when the credential is lost, and green when it
// is back, without a reload; the process is alive all the time.
func TestReadinessFollows(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustBeAlive := func() {
		t.Helper()
		if answer := g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/health/live", Token: "-"}); answer.StatusCode != http.StatusOK {
			t.Errorf("live: %d %s", answer.StatusCode, answer.Body)
		}
	}
	for range 2 {
		if answer := readiness(g); answer.StatusCode != http.StatusOK || answer.Body != `{"status":"ok"}` {
			t.Errorf("ready: %d %s", answer.StatusCode, answer.Body)
		}
		mustBeAlive()
		if err := os.Remove(g.SecretFile); err != nil {
			t.Fatal(err)
		}
		gatewaytest.Eventually(t, "readiness to go red", func() bool { return !isReady(g)() })
		mustBeAlive()
		g.WriteSecret(gatewaytest.Username, gatewaytest.Key)
		gatewaytest.Eventually(t, "readiness to go green", isReady(g))
	}
}

// TestReasonsTellNothing that a stranger must not know.
func TestReasonsTellNothing(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	token := g.SecretFile + ".token"
	copyFile(t, token, g.SecretFile)
	mustReload(t, g, gatewaytest.Options{LocalAddress: "203.0.113.77", Secret: `secret vault {
		address http://127.0.0.1:1
		namespace some/namespace
		auth token ` + token + `
		path mount/path
	}`})
	answer := readiness(g)
	const want = `{"reasons":["credential-unavailable: account main","egress-unavailable: none of the egress addresses is on this machine"],"status":"unavailable"}`
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Body != want {
		t.Errorf("%d %s, want %s", answer.StatusCode, answer.Body, want)
	}
	for name, values := range answer.Header {
		if text := strings.Join(values, " "); strings.Contains(text, "127.0.0.1:1") || strings.Contains(text, "203.0.113.77") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
