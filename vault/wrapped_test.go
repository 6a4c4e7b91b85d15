package vault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

const stolen = "somebody else may have the"

func TestWrappedSecretID(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	role := vaulttest.AppRoleOptions{Policies: []string{"nowpay"}}
	roleID, secretID := server.AppRole("gateway", role)
	server.AppRole("gateway", vaulttest.AppRoleOptions{Mount: "other", Policies: []string{"nowpay"}})
	wrap := func() string { return server.WrappedSecretID("", "gateway", time.Minute) }
	used := wrap()
	server.Unwrap(used)
	expired := server.WrappedSecretID("", "gateway", time.Second)
	time.Sleep(1100 * time.Millisecond) // in Vault there is no other clock
	planted := server.Wrapped("sys/wrapping/wrap", map[string]any{"secret_id": secretID}, time.Minute).Token
	roleInfo := server.Wrapped("auth/approle/role/gateway/secret-id/lookup", map[string]any{"secret_id": secretID}, time.Minute).Token
	elsewhere := server.WrappedSecretID("other", "gateway", time.Minute)
	auth := func(token string) vault.Auth {
		return vault.WrappedAppRoleAuth(roleID, writeFile(t, "wrapped", token))
	}
	mustBeRefused(t, config(t, server), []refused{
		{"used before", auth(used), stolen + " secret ID"},
		{"expired", auth(expired), stolen + " secret ID"},
		{"no such token", auth("hvs.CAESIJ-n0thing"), stolen + " secret ID"},
		{"planted", auth(planted), `it is from "sys/wrapping/wrap" and stands for no secret ID`},
		{"something else", auth(roleInfo), "stands for no secret ID"},
		{"of another mount", auth(elsewhere), `it is from "auth/other/role/gateway/secret-id"`},
		{"a bare secret ID", auth(secretID), stolen + " secret ID"},
		{"empty", auth(""), "is empty"},
		{"no file", vault.WrappedAppRoleAuth(roleID, t.TempDir()+"/none"), "no such file"},
		{"wrong role ID", vault.WrappedAppRoleAuth("other", writeFile(t, "wrapped", wrap())), "put a new wrapping token into"},
	}, used, expired, planted, roleInfo, elsewhere, secretID)
	// What is of another origin stays wrapped, for whoever looks into it.
	if got := server.Unwrap(planted).Data["secret_id"]; got != secretID {
		t.Errorf("the planted token held %v", got)
	}
}

// TestWrappedOnce: the secret ID serves later logins, too, also without the file.
func TestWrappedOnce(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, _ := server.AppRole("gateway", vaulttest.AppRoleOptions{
		Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 2 * time.Second,
	})
	file := writeFile(t, "wrapped", server.WrappedSecretID("", "gateway", time.Minute))
	cfg := config(t, server)
	cfg.Auth = vault.WrappedAppRoleAuth(roleID, file)
	s, log := startSource(t, cfg, vault.Options{})
	eventually(t, "two logins", func() bool { return server.Requests(logins) >= 2 })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "four logins", func() bool { return server.Requests(logins) >= 4 })
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
	if got := server.Requests("sys/wrapping/unwrap"); got != 1 {
		t.Errorf("%d unwrappings, want 1", got)
	}

	// Another source with the same Auth shares what it has unwrapped.
	second, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, second, 1, 1)
}

// TestWrappedReplaced: a new token is unwrapped as soon as it is there, and one
// that is not good does no harm to what there is, but is told of.
func TestWrappedReplaced(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, _ := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	wrap := func() string { return server.WrappedSecretID("", "gateway", time.Minute) }
	file := writeFile(t, "wrapped", wrap())
	cfg := config(t, server)
	cfg.Auth = vault.WrappedAppRoleAuth(roleID, file)
	s, log := startSource(t, cfg, vault.Options{})

	rewriteFile(t, file, wrap())
	eventually(t, "a second login", func() bool { return server.Requests(logins) == 2 })
	refreshes(t, server, "secret/data/", 2)
	if got := server.Requests("sys/wrapping/unwrap"); got != 2 {
		t.Errorf("%d unwrappings, want 2", got)
	}
	mustStayWell(t, log)

	used := wrap()
	server.Unwrap(used)
	rewriteFile(t, file, used)
	eventually(t, "the used token to be noticed", failing(s))
	mustFailAt(t, s.Status().Err, vault.StepLogin, used)
	if err := s.Status().Err; !strings.Contains(err.Error(), stolen) {
		t.Errorf("Status().Err = %v", err)
	}
	server.PutKV2("secret", "nowpay/main", pair(2)) // the session goes on
	eventually(t, "the new key", keyIs(s, 2))
	if got := server.Requests(logins); got != 2 || log.count(msgFailing) == 0 {
		t.Errorf("%d logins, and %s", got, log)
	}
	// So does the secret ID.
	if err := server.Client().Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a third login", func() bool { return server.Requests(logins) == 3 })
	server.PutKV2("secret", "nowpay/main", pair(3))
	eventually(t, "the new key", keyIs(s, 3))
	if log.count(msgRecovered) != 0 { // not even for the login
		t.Errorf("recovered too early: %s", log)
	}

	rewriteFile(t, file, wrap())
	eventually(t, "recovery", available(s))
	mustNotHold(t, log.String(), used)
}

// TestWrappedWhileVaultIsAway: a failure to ask is not the sign of a theft, and
// the token is unwrapped when Vault is back.
func TestWrappedWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, _ := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := config(t, server)
	cfg.Auth = vault.WrappedAppRoleAuth(roleID, writeFile(t, "wrapped", server.WrappedSecretID("", "gateway", time.Minute)))
	server.Seal()
	s, _ := newSource(t, cfg, vault.Options{})
	err := start(t, s)
	mustFailAt(t, err, vault.StepLogin)
	if !strings.Contains(err.Error(), "503") || strings.Contains(err.Error(), stolen) {
		t.Errorf("Start(): %v", err)
	}
	server.Unseal()
	eventually(t, "the credential", available(s))
}

// TestWrappedOfANamespace: Vault may put the namespace before the path.
func TestWrappedOfANamespace(t *testing.T) {
	t.Parallel()
	var outside atomic.Int64
	path := "teams/pay/auth/approle/role/gateway/secret-id"
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Vault-Namespace") != "teams/pay" {
			outside.Add(1)
		}
		switch r.URL.Path {
		case "/v1/sys/wrapping/lookup":
			fmt.Fprintf(w, `{"data":{"creation_path":%q}}`, path)
		case "/v1/sys/wrapping/unwrap":
			if r.Header.Get("X-Vault-Token") != "hvs.wr4pping" {
				w.WriteHeader(http.StatusBadRequest)
			}
			fmt.Fprint(w, `{"data":{"secret_id":"s3cret-1d"}}`)
		case "/v1/auth/approle/login":
			fmt.Fprint(w, `{"auth":{"client_token":"hvs.t0ken","lease_duration":0}}`)
		default:
			return false
		}
		return true
	})
	cfg := f.config(t)
	cfg.Namespace = "teams/pay"
	cfg.Auth = vault.WrappedAppRoleAuth("role", writeFile(t, "wrapped", "hvs.wr4pping"))
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)
	if got := outside.Load(); got != 0 {
		t.Errorf("%d requests were outside of the namespace", got)
	}
	path = "teams/other/auth/approle/role/gateway/secret-id"
	cfg.Auth = vault.WrappedAppRoleAuth("role", writeFile(t, "wrapped", "hvs.wr4pping"))
	other, _ := newSource(t, cfg, vault.Options{})
	mustFailAt(t, start(t, other), vault.StepLogin, "hvs.wr4pping", "s3cret-1d")
}

// sink is what Vault Agent writes for a token that it wraps.
func sink(t *testing.T, server *vaulttest.Server, token string) string {
	t.Helper()
	info := server.Wrapped("sys/wrapping/wrap", map[string]any{"token": token}, time.Minute)
	text, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func TestWrappedSink(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	first := server.Token([]string{"nowpay"}, 3*time.Second, false)
	second := server.Token([]string{"nowpay"}, time.Hour, true)
	file := writeFile(t, "sink", sink(t, server, first))
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(file)
	s, log := startSource(t, cfg, vault.Options{})
	refreshes(t, server, "secret/data/", 3)
	if got := server.Requests("sys/wrapping/unwrap"); got != 1 {
		t.Errorf("%d unwrappings, want 1", got)
	}
	rewriteFile(t, file, sink(t, server, second))
	eventually(t, "the new token to be unwrapped", func() bool { return server.Requests("sys/wrapping/unwrap") == 2 })
	server.RevokeToken(first)
	refreshes(t, server, "secret/data/", 5)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
	mustNotHold(t, log.String(), first, second)

	// An agent that wraps its login, rather than the token, tells another origin.
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	login, err := json.Marshal(server.Wrapped("auth/approle/login", map[string]any{"role_id": roleID, "secret_id": secretID}, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Auth = vault.TokenAuth(writeFile(t, "sink", string(login)))
	byLogin, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, byLogin, 1, 1)

	used := sink(t, server, second)
	var info struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(used), &info); err != nil {
		t.Fatal(err)
	}
	server.Unwrap(info.Token)
	other, err := json.Marshal(server.Wrapped("auth/approle/role/gateway/secret-id", nil, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	auth := func(content string) vault.Auth { return vault.TokenAuth(writeFile(t, "sink", content)) }
	mustBeRefused(t, cfg, []refused{
		{"used before", auth(used), stolen + " token"},
		{"no token in it", auth(string(other)), "not of Vault's form"},
		{"not wrapped", auth(`{"token":"` + second + `"}`), "not that of a response-wrapped token"},
		{"encrypted", auth(`{"curve25519_public_key":"k","nonce":"n","encrypted_payload":"p"}`), "not that of a response-wrapped token"},
		{"numbers", auth(`{"token":1,"creation_path":2}`), "not that of a response-wrapped token"},
		{"cut off", auth(used[:40]), "not that of a response-wrapped token"},
	}, info.Token, second)
}
