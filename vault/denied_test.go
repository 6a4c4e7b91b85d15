package vault_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// TestDeniedSecret: however often somebody asks for the credential, there are no more
// logins than the source would make by itself while Vault denies the secret.
func TestDeniedSecret(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := seldom(config(t, server))
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	s, _ := startSource(t, cfg, vault.Options{Rand: func() float64 { return 1 }})
	server.Policy("nowpay", strings.ReplaceAll(policy, "read", "deny"))
	mustFailAt(t, s.Refresh(t.Context()), vault.StepMount, secretID)
	before := server.Requests(logins)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // one, and two seconds later another
	defer cancel()
	for ctx.Err() == nil {
		if s.Refresh(ctx) == nil {
			t.Error("Refresh() of what is denied succeeds")
		}
	}
	if n := server.Requests(logins) - before; n < 1 || n > 2 {
		t.Errorf("%d logins in 6 seconds, want 1 or 2", n)
	}
	server.Policy("nowpay", policy)
	mustRefresh(t, s)
}

// TestGoneSecret costs no login, so whoever has written it again need not wait.
func TestGoneSecret(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, _ := startSource(t, seldom(config(t, server)), vault.Options{Rand: func() float64 { return 1 }})
	server.DeleteKV2("secret", "nowpay/main")
	for range 4 {
		mustFailAt(t, s.Refresh(t.Context()), vault.StepRead)
	}
	server.PutKV2("secret", "nowpay/main", pair(2))
	begun := time.Now()
	mustRefresh(t, s)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("Refresh() took %v", took)
	}
}

// TestTransitReplacedToken: whoever brings a new wrapped token may revoke the old one
// at once. Until the source has used the new one, the old one signs.
func TestTransitReplacedToken(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	clock := newClock()
	first := server.Token([]string{"nowpay"}, time.Hour, true)
	second := server.Token([]string{"nowpay"}, time.Hour, true)
	file := writeFile(t, "sink", sink(t, server, first))
	cfg := never(keyless(t, server))
	cfg.Auth = vault.TokenAuth(file)
	source, _ := startSource(t, cfg, vault.Options{Now: clock.now})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
	sign(t, transit, "base")
	rewriteFile(t, file, sink(t, server, second))
	clock.advance(2 * time.Second)
	mustRefresh(t, source)
	sign(t, transit, "base")
	server.RevokeToken(first)
	clock.advance(2 * time.Second)
	for err := range errorsOf(begin(t.Context(), transit, 20), 20) {
		if err != nil {
			t.Errorf("Sign() after the old token was revoked: %v", err)
		}
	}

	// While there is nothing to log in with, calls are no reason to try.
	server.RevokeToken(second)
	clock.advance(2 * time.Second)
	_, err := transit.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "permission denied", first, second)
	lookups := server.Requests("auth/token/lookup-self")
	for range 20 {
		clock.advance(2 * time.Second)
		_, err := transit.Sign(t.Context(), []byte("base"))
		mustBeUnavailable(t, err, "permission denied", first, second)
	}
	if n := server.Requests("auth/token/lookup-self") - lookups; n > 2 {
		t.Errorf("20 calls were the reason for %d logins", n)
	}
}

// TestTransitRestoredVault has an index that no server reaches any more.
func TestTransitRestoredVault(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"all tries": 5 * time.Second, "no time for them": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var restored atomic.Bool
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case !restored.Load():
					w.Header().Set("X-Vault-Index", index)
				case r.Header.Get("X-Vault-Index") == index:
					w.WriteHeader(http.StatusPreconditionFailed)
					return true
				}
				switch {
				case strings.HasPrefix(r.URL.Path, "/v1/transit/keys/"):
					fmt.Fprint(w, `{"data":{"type":"ed25519","latest_version":1,"min_decryption_version":1}}`)
				case strings.HasPrefix(r.URL.Path, "/v1/transit/"):
					fmt.Fprintf(w, `{"data":{"batch_results":[{"signature":"vault:v1:%s"}]}}`, strings.Repeat("A", 86)+"==")
				default:
					return false
				}
				return true
			})
			source, _ := startSource(t, never(f.config(t)), vault.Options{})
			cfg := vault.TransitConfig{Key: "nowpay", Algorithm: "ed25519", Timeout: timeout}
			transit := newTransit(t, source, cfg, vault.TransitOptions{})
			sign(t, transit, "base")
			restored.Store(true)
			_, err := transit.Sign(t.Context(), []byte("base"))
			mustBeUnavailable(t, err, "")
			// The request may end a moment after its caller.
			eventually(t, "the index to be given up", func() bool {
				_, err := transit.Sign(t.Context(), []byte("base"))
				return err == nil
			})
			if n := len(f.seen()); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
