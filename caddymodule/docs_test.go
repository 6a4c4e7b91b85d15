package caddymodule_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// block is a fenced block of Markdown.
type block struct{ language, text string }

func fenced(markdown string) []block {
	var blocks []block
	for _, match := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(markdown, -1) {
		blocks = append(blocks, block{match[1], match[2]})
	}
	return blocks
}

// TestCaddyfileExample: the file is what Caddy's own commands want it to be. No
// secret and no provider is there.
func TestCaddyfileExample(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(repository, "Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	command{args: []string{"validate", "--config", file}}.run(t).mustSay(t, 0, "Valid configuration")
	adapted := command{args: []string{"adapt", "--config", file}}.run(t)
	adapted.mustSay(t, 0, `"handler":"nowpay_gateway"`)
	if strings.Contains(adapted.stderr, "warn") {
		t.Errorf("warnings: %s", adapted.stderr)
	}
	formatted := command{args: []string{"fmt", file}}.run(t)
	if formatted.stdout != read(t, "Caddyfile.example") {
		t.Errorf("caddy fmt makes of Caddyfile.example:\n%s", formatted.stdout)
	}
	command{args: []string{"fmt", "--diff", file}}.run(t).mustSay(t, 0)
}

// TestCommentsOfCaddyfileExample: the production parts that stand beside the
// others are good once their comment signs are taken away.
func TestCommentsOfCaddyfileExample(t *testing.T) {
	text := regexp.MustCompile(`(?m)^(\t+)# (\t*(?:servers \{|secret vault \{|addresses |pin |trusted_|address |ca |auth |path |fields |refresh |stale_for |\}).*)$`).
		ReplaceAllString(read(t, "Caddyfile.example"), "$1$2")
	text = regexp.MustCompile(`(?m)^\t*secret file .*$`).ReplaceAllString(text, "")
	text = strings.Replace(text, "http://127.0.0.9:8490", "https://nowpay.in", 1)
	text = strings.Replace(text, "\n\t\t\ttest\n", "\n\t\t\tlive\n", 1)
	if strings.Count(text, "#\t") != 0 || !strings.Contains(text, "\n\t\t\tsecret vault {") || !strings.Contains(text, "\n\t\ttrusted_proxies_strict") {
		t.Fatalf("not all comments were found:\n%s", text)
	}
	validate(t, fill(t, text))
}

// validate loads a configuration as `caddy validate` does.
func validate(t *testing.T, caddyfile string) {
	t.Helper()
	r := command{args: []string{"validate", "--config", write(t, "Caddyfile", caddyfile)}, env: []string{
		"VAULT_ROLE_ID=role", "CREDENTIALS_DIRECTORY=/run/credentials/caddy.service",
	}}.run(t)
	if r.code != 0 {
		t.Errorf("%s\nfrom\n%s", r.stderr, caddyfile)
	}
}

// fill puts values where documentation leaves them out, and files where it
// names some that are not here.
func fill(t *testing.T, text string) string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	content, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, content, 0o600); err != nil {
		t.Fatal(err)
	}
	hashes, pins := 0, 0
	text = regexp.MustCompile(`sha256:…`).ReplaceAllStringFunc(text, func(string) string {
		hashes++
		return fmt.Sprintf("sha256:%064x", hashes)
	})
	text = regexp.MustCompile(`sha256/…=`).ReplaceAllStringFunc(text, func(string) string {
		pins++
		return "sha256/" + strings.Repeat("A", 41) + string(rune('A'+pins)) + "A="
	})
	public, err := filepath.Abs("testdata/keys/ed25519.pem")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(nowpay|payroll)-\d+\.pem|nowpay-provider\.pem\.pub`).ReplaceAllString(text, public)
	return strings.ReplaceAll(text, "/etc/caddy/vault-ca.pem", ca)
}

// documents are the repository's pages.
func documents(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	for _, page := range pages {
		names = append(names, "docs/"+filepath.Base(page))
	}
	return names
}

// TestDocumentedLinks: pages and headings that the documentation refers to are
// there.
func TestDocumentedLinks(t *testing.T) {
	for _, name := range documents(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(read(t, name), -1) {
			target, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			page := name
			if target != "" {
				page = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(repository, page)); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			} else if heading != "" && !hasHeading(read(t, page), heading) {
				t.Errorf("%s links to %s: there is no such heading", name, link[1])
			}
		}
	}
}

// hasHeading knows how a heading becomes the name that links use.
func hasHeading(markdown, name string) bool {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		words := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(words, " ", "-") == name {
			return true
		}
	}
	return false
}

// without is the example without the parts of its nowpay block that a fragment
// says in its own way.
func without(example, fragment string) string {
	parts := regexp.MustCompile(`(?ms)^\t\t((?:account [a-z]+|upstream|callbacks|journal|reconcile|operation [a-z_/]+|max_in_flight) )(?:[^\n{]*\n|.*?^\t\t}\n)`)
	return parts.ReplaceAllStringFunc(example, func(part string) string {
		head := parts.FindStringSubmatch(part)[1]
		if regexp.MustCompile(`(?m)^\s*` + head).MatchString(fragment) {
			return ""
		}
		return part
	})
}

// TestDocumentedCaddyfiles: what the documentation shows can be loaded.
func TestDocumentedCaddyfiles(t *testing.T) {
	example := read(t, "Caddyfile.example")
	found := 0
	for _, name := range documents(t) {
		for _, block := range fenced(read(t, name)) {
			if block.language != "caddyfile" {
				continue
			}
			found++
			text := fill(t, block.text)
			if inner, ok := strings.CutPrefix(text, "nowpay {"); ok {
				text = strings.TrimSuffix(strings.TrimSpace(inner), "}")
			}
			if !strings.HasPrefix(text, "{") { // a part of the nowpay block
				text = strings.Replace(without(example, text), "\tnowpay {", "\tnowpay {\n"+text, 1)
			}
			validate(t, text)
		}
	}
	if found < 5 {
		t.Errorf("%d Caddyfiles in the documentation", found)
	}
}

// TestProductionCaddyfile runs README.md's with a real Vault and a provider that
// speaks TLS, each outside of its process. Only addresses, and what depends on
// the parties, are changed.
func TestProductionCaddyfile(t *testing.T) {
	var text string
	for _, block := range fenced(read(t, "README.md")) {
		if block.language == "caddyfile" {
			text = block.text
			break
		}
	}
	v := startVault(t, vaulttest.WithTLS())
	v.PutKV2("secret", "nowpay", fieldsOf(account(1)))
	v.Policy("nowpay", `path "secret/data/nowpay" { capabilities = ["read"] }`)
	role, secretID := v.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	v.secrets = append(v.secrets, secretID)
	// The provider is the test kit's, for its certificate.
	kit := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true, Simulator: func(c *simulator.Config) {
		c.Username, c.Key = account(1).Username, account(1).Key
	}})
	gateway, metrics, folder := freeAddress(t), freeAddress(t), t.TempDir()
	change := strings.NewReplacer(
		"unix//run/caddy/admin.sock", "unix/"+filepath.Join(folder, "admin.sock"),
		"https://vault.internal:8200", v.Address,
		"/etc/caddy/vault-ca.pem", v.CAFile,
		"/run/secrets/vault-secret-id", v.file(secretID),
		"https://nowpay.in", "https://"+kit.ProviderAddress,
		"\t\t\tlive ", "\t\t\ttest ", // the kit's is no live host
		"198.51.100.7 ", gatewaytest.EgressIP+" ",
		"203.0.113.0/24", "127.0.0.9/32",
		"sha256/…= sha256/…=", pinOf(t, filepath.Join(filepath.Dir(kit.CAFile()), "server.pem")),
		"sha256:…", gatewaytest.TokenHash("npg_demo_shop"),
		"10.1.0.0/24", "127.0.0.1",
		"https://gateway.internal", "http://"+gateway,
		"http://10.9.0.5:9180", "http://"+metrics,
	)
	config := write(t, "Caddyfile", change.Replace(text))
	env := []string{"VAULT_ROLE_ID=" + role, "SSL_CERT_FILE=" + kit.CAFile()}
	command{args: []string{"validate", "--config", config}, env: env}.run(t).mustSay(t, 0)
	command{args: []string{"nowpay", "check", "--config", config}, env: env}.run(t).
		mustSay(t, 0, "ok      credential main", "ok      egress address 127.0.0.5", "ok      upstream")
	command{args: []string{"nowpay", "explain", "--config", config, "--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/bank/payout"}, env: env}.
		run(t).mustSay(t, 0, "ALLOWED")

	caddy := command{args: []string{"run", "--config", config}, env: env}.start(t)
	gatewaytest.Eventually(t, "the gateway to be ready", func() bool {
		status, _ := get("http://" + gateway + "/health/ready")
		return status == 200
	})
	payAsDemoShop(t, "http://"+gateway)
	if requests := kit.Simulator.Requests(); len(requests) != 1 || signedWith(requests[0]) != 1 || requests[0].Remote.Addr().String() != gatewaytest.EgressIP {
		t.Errorf("the provider got %+v", requests)
	}
	if _, body := get("http://" + metrics + "/metrics"); !strings.Contains(body, `nowpay_credential_version{account="main"} 1`) {
		t.Errorf("metrics: %s", body)
	}
	v.mustNotLeak("log", []byte(caddy.logs.String()))
	if code := caddy.signal(os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
