package caddymodule_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
)

// TestDocumentedSchemes runs each account of docs/signing.md as a user would: with
// `caddy nowpay simulate --scheme …` as the provider, which makes the keys, and with a
// real Vault where the account has one. Only addresses and the names of keys change.
func TestDocumentedSchemes(t *testing.T) {
	server := vaulttest.Start(t, vaulttest.WithTLS())
	server.EnableKV2("secret")
	server.Policy("nowpay", `path "secret/data/nowpay" { capabilities = ["read"] }`)
	role, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	found := map[string]int{}
	for _, b := range fenced(read(t, "docs/signing.md")) {
		if b.language != "caddyfile" || !strings.HasPrefix(b.text, "account main {") {
			continue
		}
		scheme := regexp.MustCompile(`sign (\w+)`).FindStringSubmatch(b.text)[1]
		found[scheme]++
		t.Run(scheme, func(t *testing.T) {
			folder := t.TempDir()
			provider, control, address := "127.0.0.9:"+gatewaytest.FreePort(t), "127.0.0.9:"+gatewaytest.FreePort(t), freeAddress(t)
			args := []string{"nowpay", "simulate", "--scheme", scheme, "--listen", provider, "--control", control, "--callback", ""}
			if strings.Contains(b.text, "algorithm ed25519") {
				args = append(args, "--algorithm", "ed25519")
			}
			command{args: args, dir: folder}.start(t)
			secret := filepath.Join(folder, "nowpay-secret.json")
			gatewaytest.Eventually(t, "the provider", func() bool { status, _ := get("http://" + control + "/ledger"); return status == 200 })
			if strings.Contains(b.text, "secret vault") {
				var made map[string]any
				text, err := os.ReadFile(secret)
				if err == nil {
					err = json.Unmarshal(text, &made)
				}
				if err != nil {
					t.Fatal(err)
				}
				server.PutKV2("secret", "nowpay", made)
			}
			account := strings.NewReplacer(
				"https://vault.internal:8200", server.Address, "/etc/caddy/vault-ca.pem", server.CAFile,
				"/run/secrets/vault-secret-id", write(t, "secret-id", secretID), "{env.VAULT_ROLE_ID}", role,
				"keyid     gateway-1 ", "keyid     2000 ",
				"nowpay-2026 nowpay-2026.pem", "nowpay-simulated nowpay-provider.pem.pub", "nowpay-2027.pem", "nowpay-provider.pem.pub",
				"from 203.0.113.0/24", "from 127.0.0.9",
			).Replace(b.text)
			config := write(t, "Caddyfile", `{
	admin off
	nowpay {
		`+account+`
		upstream http://`+provider+` {
			local_address 127.0.0.5
		}
		merchant shop {
			account main
			token `+gatewaytest.TokenHash("npg_demo_shop")+`
			from 127.0.0.1
			allow bank/payout
		}
		journal sqlite `+filepath.Join(folder, "journal.db")+`
	}
}
http://`+address+` {
	nowpay_gateway
}
`)
			command{args: []string{"run", "--config", config}, dir: folder}.start(t)
			gatewaytest.Eventually(t, "the gateway", func() bool { status, _ := get("http://" + address + "/health/ready"); return status == 200 })
			payAsDemoShop(t, "http://"+address)
			if _, ledger := get("http://" + control + "/ledger"); strings.Count(ledger, `"request_id"`) != 1 {
				t.Errorf("the ledger: %s", ledger)
			}
		})
	}
	if found["httpsig"] < 4 || found["jwe"] < 2 {
		t.Errorf("accounts in docs/signing.md: %v", found)
	}
}
