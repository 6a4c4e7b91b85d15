package vault_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

const (
	lookups  = "auth/token/lookup-self"
	renewals = "auth/token/renew-self"
	logins   = "auth/approle/login"
)

// mustStayWell fails the test if the log tells of any trouble.
func mustStayWell(t *testing.T, log *logBuffer) {
	t.Helper()
	for _, message := range []string{msgFailing, msgUnavailable, msgRecovered} {
		if log.count(message) != 0 {
			t.Errorf("logged %q: %s", message, log)
		}
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	token := server.Token([]string{"nowpay"}, 3*time.Second, true)
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(writeFile(t, "token", token))
	begun := time.Now()
	s, log := startSource(t, cfg, vault.Options{})

	eventually(t, "four renewals", func() bool { return server.Requests(renewals) >= 4 })
	if lived := time.Since(begun); lived < 4*time.Second {
		t.Errorf("four renewals took only %v: not spread over the token's life", lived)
	}
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	if got := server.Requests(lookups); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
	mustStayWell(t, log)
	mustNotHold(t, log.String(), token)
}

// TestExpiry has tokens that live two seconds and cannot be renewed further.
func TestExpiry(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{
		Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 2 * time.Second,
	})
	cfg := config(t, server)
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	s, log := startSource(t, cfg, vault.Options{})

	eventually(t, "four logins", func() bool { return server.Requests(logins) >= 4 })
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	// New logins ahead of expiry: the old tokens were never refused.
	mustStayWell(t, log)
	// The mount is found out again after each login.
	if mounts, logins := server.Requests("sys/internal/ui/mounts/"), server.Requests(logins); mounts < logins-1 {
		t.Errorf("the mount was looked for %d times in %d logins", mounts, logins)
	}
}

// TestTokenFileReplaced puts a new token into the file before the old one ends.
func TestTokenFileReplaced(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	file := writeFile(t, "token", server.Token([]string{"nowpay"}, 3*time.Second, false))
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(file)
	s, log := startSource(t, cfg, vault.Options{})
	rewriteFile(t, file, server.Token([]string{"nowpay"}, time.Hour, false)+"\n")

	eventually(t, "a new login", func() bool { return server.Requests(lookups) == 2 })
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
}

// TestTokenFileExpires leaves a token that ends in the file, and replaces it too
// late.
func TestTokenFileExpires(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	file := writeFile(t, "token", server.Token([]string{"nowpay"}, 2*time.Second, false))
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(file)
	s, log := startSource(t, cfg, vault.Options{})

	eventually(t, "the token to be refused", failing(s))
	mustFailAt(t, s.Status().Err, vault.StepLogin)
	mustHold(t, s, 1, 1)
	// The end of a token must not be a flood of requests.
	if got := server.Requests(lookups); got > 15 {
		t.Errorf("%d logins in the life of one token", got)
	}
	rewriteFile(t, file, server.Token([]string{"nowpay"}, time.Hour, false))
	eventually(t, "recovery", available(s))
	if log.count(msgFailing) != 1 || log.count(msgRecovered) != 1 {
		t.Errorf("want one record of the failure and one of recovery: %s", log)
	}
}

func TestTokenWithoutLookup(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	noLookup := `path "auth/token/lookup-self" { capabilities = ["deny"] }`
	server.Policy("blind", noLookup)
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(writeFile(t, "token", server.Token([]string{"nowpay", "blind"}, 0, true)))
	s, _ := newSource(t, cfg, vault.Options{})
	err := start(t, s)
	mustFailAt(t, err, vault.StepLogin)
	if !strings.Contains(err.Error(), "looking the token up") {
		t.Errorf("Start(): %v", err)
	}
}

// TestTokenMayNotRenew has one that could be renewed, were it allowed to ask.
func TestTokenMayNotRenew(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	server.Policy("stuck", `path "auth/token/renew-self" { capabilities = ["deny"] }`)
	file := writeFile(t, "token", server.Token([]string{"nowpay", "stuck"}, 3*time.Second, true))
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(file)
	s, log := startSource(t, cfg, vault.Options{})
	rewriteFile(t, file, server.Token([]string{"nowpay"}, time.Hour, true))
	eventually(t, "a new login", func() bool { return server.Requests(lookups) == 2 })
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
}

func TestRootToken(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(writeFile(t, "token", server.RootToken)) // it never ends
	s, log := startSource(t, cfg, vault.Options{})
	refreshes(t, server, "secret/data/", 5)
	mustHold(t, s, 1, 1)
	if got := server.Requests(lookups); got != 1 || server.Requests(renewals) != 0 {
		t.Errorf("%d logins and %d renewals, want 1 and 0", got, server.Requests(renewals))
	}
	mustStayWell(t, log)
}

// TestRevoked takes the token away: a new login must come at once.
func TestRevoked(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := config(t, server)
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	s, log := startSource(t, cfg, vault.Options{})

	for n := 2; n <= 4; n++ {
		if err := server.Client().Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"); err != nil {
			t.Fatal(err)
		}
		server.PutKV2("secret", "nowpay/main", pair(n))
		eventually(t, "the new key", keyIs(s, n))
		if got := server.Requests(logins); got != n {
			t.Errorf("%d logins, want %d", got, n)
		}
	}
	mustStayWell(t, log)
}

// TestSecretIDUsedUp: the next login needs a new secret ID in the file.
func TestSecretIDUsedUp(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	role := vaulttest.AppRoleOptions{Policies: []string{"nowpay"}, SecretIDNumUses: 1}
	roleID, secretID := server.AppRole("gateway", role)
	file := writeFile(t, "secret-id", secretID)
	cfg := config(t, server)
	cfg.Auth = vault.AppRoleAuth(roleID, file)
	s, log := startSource(t, cfg, vault.Options{})

	if err := server.Client().Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the login to fail", failing(s))
	mustFailAt(t, s.Status().Err, vault.StepLogin, secretID)
	mustHold(t, s, 1, 1)
	_, secretID = server.AppRole("gateway", role)
	rewriteFile(t, file, secretID)
	eventually(t, "recovery", available(s))
	if err := os.Remove(file); err != nil { // not needed any more
		t.Fatal(err)
	}
	refreshes(t, server, "secret/data/", 3)
	if !available(s)() || log.count(msgFailing) != 1 {
		t.Errorf("after recovery: %+v, %s", s.Status(), log)
	}
	mustNotHold(t, log.String(), secretID)
}

// TestTokenFileGone at a new login keeps the cached credential.
func TestTokenFileGone(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	token := server.Token([]string{"nowpay"}, time.Hour, true)
	file := writeFile(t, "token", token)
	cfg := config(t, server)
	cfg.Auth = vault.TokenAuth(file)
	s, _ := startSource(t, cfg, vault.Options{})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	server.RevokeToken(token)
	eventually(t, "the login to fail", failing(s))
	if err := s.Status().Err; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Status().Err = %v", err)
	}
	mustHold(t, s, 1, 1)
}
