package caddymodule_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/binarytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// guided is a gateway, the command itself, on which docs/rotation.md is tried, with
// all that the guide's commands need.
type guided struct {
	*process
	vault *vaulted
}

// startGuided prepares a rotation from version 1 to version 2.
func startGuided(t *testing.T) *guided {
	t.Helper()
	needPart(t, hasCurl(), "curl and bash")
	v := startVault(t)
	v.secrets = append(v.secrets, account(2).Key)
	v.Policy("rotation", `path "secret/data/nowpay/main" { capabilities = ["create", "update", "delete"] }`)
	token := v.Token([]string{"rotation"}, 0, false)
	v.secrets = append(v.secrets, token)
	g := asProcess(t, gatewaytest.Start(t, gatewaytest.Options{
		Secret: v.secret(v.appRoleAuth(), rarely), Upstream: "timeout 3s",
		Simulator: func(c *simulator.Config) { c.Username, c.Key = account(1).Username, account(1).Key },
	}))
	folder := t.TempDir()
	control := httptest.NewServer(g.Simulator.Control())
	t.Cleanup(control.Close)
	for name, value := range map[string]string{
		"CONFIG": write(t, "Caddyfile", g.Caddyfile), "METRICS": g.MetricsURL, "PROVIDER": control.URL,
		"VAULT_ADDR": v.Address, "VAULT_TOKEN": token, "TIMEOUT": "3",
		"PATH": filepath.Dir(binarytest.Path(t)) + ":" + os.Getenv("PATH"), "FILES": folder,
	} {
		t.Setenv(name, value)
	}
	for name, content := range map[string]any{
		"new.json":  map[string]any{"data": fieldsOf(account(2))},
		"both.json": map[string]any{"credentials": []simulator.Credential{account(1), account(2)}},
		"only.json": map[string]any{"credentials": []simulator.Credential{account(2)}},
	} {
		raw, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &guided{process: g, vault: v}
}

// follow runs the commands under a heading of the guide, as one script, and returns
// what they print.
func (g *guided) follow(t *testing.T, heading string, commands int) string {
	t.Helper()
	_, section, found := strings.Cut(read(t, "docs/rotation.md"), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	script := `cd "$FILES"` + "\n"
	for _, block := range fenced(section) {
		if block.language == "sh" {
			script += block.text
			commands--
		}
	}
	if !found || commands != 0 {
		t.Fatalf("under %q there are %d blocks of commands less than expected", heading, commands)
	}
	out := shell(t, script)
	g.vault.mustNotLeak("output of the commands", []byte(out))
	return out
}

// paidOnce checks that all of the payments were executed, each once, with a key that
// was right, and that there was no outcome but those.
func (g *guided) paidOnce(t *testing.T, l *load, took time.Duration, outcomes ...string) {
	t.Helper()
	paid := int(l.paid.Load())
	t.Logf("%d payments in %v: %.0f a second", paid, took.Round(time.Millisecond), float64(paid)/took.Seconds())
	executions := g.Simulator.Ledger().Executions
	if len(executions) != paid || paid < 100 {
		t.Errorf("%d payments were executed, and %d answered as a success", len(executions), paid)
	}
	for id, n := range executions {
		if n != 1 {
			t.Errorf("payment %s was executed %d times", id, n)
		}
	}
	used := make(map[int]bool)
	for _, r := range g.Simulator.Requests() {
		used[signedWith(r)] = true
		if !r.KeyRight {
			t.Errorf("request %s has a key that the provider does not know", r.RequestID)
		}
	}
	if !used[2] || used[0] {
		t.Errorf("requests were signed with the versions %v", slices.Sorted(maps.Keys(used)))
	}
	outcome := regexp.MustCompile(`^nowpay_exchanges_total\{.*outcome="(.*?)"`)
	for series, count := range scrape(t, g.Gateway) {
		if found := outcome.FindStringSubmatch(series); found != nil && !slices.Contains(outcomes, found[1]) {
			t.Errorf("%s is %v", series, count)
		}
	}
	g.vault.mustNotLeak("log", g.Log())
}

// TestRotationGuide rotates the key as docs/rotation.md says, while merchants pay.
func TestRotationGuide(t *testing.T) {
	g := startGuided(t)
	began := time.Now()
	l := startLoad(g.Gateway, 16)
	gatewaytest.Eventually(t, "payments", func() bool { return l.paid.Load() > 100 })
	out := g.follow(t, "Step by step", 7)
	atEnd := l.paid.Load()
	gatewaytest.Eventually(t, "payments with the new key alone", func() bool { return l.paid.Load() > atEnd+100 })
	l.stop(t)
	for _, want := range []string{"main: version 2, before it was 1\n", "  yes     1  ", "  yes     2  ", `nowpay_credential_version{account="main"} 2`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, `outcome="refused"`) {
		t.Errorf("something was refused:\n%s", out)
	}
	g.paidOnce(t, l, time.Since(began), "success")
}

// TestRotationGuideOneKey is the same for a provider that knows one key at a time.
// Merchants repeat what was not sent.
func TestRotationGuideOneKey(t *testing.T) {
	g := startGuided(t)
	began := time.Now()
	l := startPatientLoad(g.Gateway, 8)
	gatewaytest.Eventually(t, "payments", func() bool { return l.paid.Load() > 100 })
	out := g.follow(t, "If Nowpay accepts one key only", 4)
	atEnd := l.paid.Load()
	gatewaytest.Eventually(t, "payments with the new key", func() bool { return l.paid.Load() > atEnd+100 })
	l.stop(t)
	for _, want := range []string{"main: FAILED, version none, before it was 1: ", "as intended", "main: version 2, before it was none\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if l.repeated.Load() == 0 {
		t.Error("no payment was held back: the test has tried nothing")
	}
	g.paidOnce(t, l, time.Since(began), "success", "unsent")
}
