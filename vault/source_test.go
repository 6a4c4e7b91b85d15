package vault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func TestEnginesAndPaths(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.EnableKV1("kv1")
	server.EnableKV2("secret")
	server.EnableKV2("teams/pay/kv")
	server.PutKV1("kv1", "nowpay", pair(1))
	server.PutKV2("secret", "nowpay", pair(2))
	server.PutKV2("secret", "nowpay", pair(3))
	server.PutKV2("teams/pay/kv", "a/b/c", pair(4))
	server.PutKV2("secret", "named", map[string]any{"user": "1005", "secret": keyOf(5), "username": "x", "key": 1})
	server.PutKV2("secret", "number", map[string]any{"username": 1006, "key": keyOf(6), "note": map[string]any{"a": 1}})

	tests := []struct {
		name, path    string
		username, key string // fields
		pair          int
		version       int64
	}{
		{"version 1", "kv1/nowpay", "", "", 1, 1},
		{"version 2", "secret/nowpay", "", "", 3, 2},
		{"mount of several segments", "teams/pay/kv/a/b/c", "", "", 4, 1},
		{"named fields", "secret/named", "user", "secret", 5, 1},
		{"username is a number", "secret/number", "", "", 6, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t, server)
			cfg.Auth = vault.TokenAuth(writeFile(t, "token", server.RootToken+"\n"))
			cfg.Path, cfg.UsernameField, cfg.KeyField = tt.path, tt.username, tt.key
			s, log := startSource(t, cfg, vault.Options{})
			mustHold(t, s, tt.pair, tt.version)
			if got := log.count(msgAvailable); got != 1 {
				t.Errorf("logged %d times that it is available, want once", got)
			}
		})
	}
}

func TestCannotBeFound(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	root := vault.TokenAuth(writeFile(t, "token", server.RootToken))
	for _, tt := range []struct {
		path string
		step vault.Step
		want string
	}{
		{"secret/nowpay/none", vault.StepRead, "not found"},
		{"none/nowpay/main", vault.StepMount, "403"},
		{"sys/health", vault.StepMount, "not in a KV secrets engine"},
		{"cubbyhole/a", vault.StepMount, "not in a KV secrets engine"},
	} {
		cfg := config(t, server)
		cfg.Path, cfg.Auth = tt.path, root
		s, _ := newSource(t, cfg, vault.Options{})
		err := start(t, s)
		mustFailAt(t, err, tt.step, server.RootToken)
		if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("Start() of %s: %v, want it to say %q", tt.path, err, tt.want)
		}
		if !gone(s)() {
			t.Errorf("%s: there is a credential", tt.path)
		}
	}

	cfg := config(t, server)
	cfg.Auth = vault.AppRoleAuth("role", writeFile(t, "secret-id", "secret-id"))
	s, _ := newSource(t, cfg, vault.Options{}) // without the auth method
	err := start(t, s)
	mustFailAt(t, err, vault.StepLogin)
	if !strings.Contains(err.Error(), "status 403") {
		t.Errorf("Start(): %v", err)
	}
}

func TestVersionsOfKV1(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.EnableKV1("secret")
	server.Policy("nowpay", `path "secret/nowpay/*" { capabilities = ["read"] }`)
	server.PutKV1("secret", "nowpay/main", pair(1))
	s, log := startSource(t, config(t, server), vault.Options{})
	for n := 1; n <= 3; n++ {
		server.PutKV1("secret", "nowpay/main", pair(n))
		eventually(t, "the new key", keyIs(s, n))
		refreshes(t, server, path, 3) // the same again is no new version
		mustHold(t, s, n, int64(n))
	}
	if got := log.count(msgNewVersion); got != 2 {
		t.Errorf("logged %d new versions, want 2", got)
	}
}

// TestUpgradeOfKV upgrades the engine in place, as `vault kv enable-versioning`
// does.
func TestUpgradeOfKV(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.EnableKV1("secret")
	server.PutKV1("secret", "nowpay/main", pair(1))
	server.Policy("nowpay", policy+`path "secret/nowpay/*" { capabilities = ["read"] }`)
	s, log := startSource(t, config(t, server), vault.Options{})

	options := map[string]string{"version": "2"}
	if err := server.Client().Sys().TuneMountAllowNilWithContext(t.Context(), "secret", api.TuneMountConfigInput{
		Options: &options,
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a read as of version 2", func() bool { return server.Requests("secret/data/nowpay/main", "read") > 2 })
	eventually(t, "the credential to be confirmed", available(s))
	mustHold(t, s, 1, 1)
	if log.count(msgUnavailable) != 0 {
		t.Errorf("the credential was gone during the upgrade")
	}
	server.PutKV2("secret", "nowpay/main", pair(2))
	eventually(t, "the new key", keyIs(s, 2))
	mustHold(t, s, 2, 2)
}

func TestTLS(t *testing.T) {
	server := newVault(t, vaulttest.WithTLS())
	cfg := config(t, server)
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)

	t.Run("unknown authority", func(t *testing.T) {
		// What the environment says does not count.
		t.Setenv("VAULT_SKIP_VERIFY", "true")
		t.Setenv("VAULT_CACERT", server.CAFile)
		cfg := cfg
		cfg.CAFile = ""
		s, _ := newSource(t, cfg, vault.Options{})
		err := start(t, s)
		mustFailAt(t, err, vault.StepLogin)
		if !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Start(): %v, want it to speak of the certificate", err)
		}
	})
	t.Run("plain http to it", func(t *testing.T) {
		cfg := cfg
		cfg.Address = strings.Replace(cfg.Address, "https:", "http:", 1)
		s, _ := newSource(t, cfg, vault.Options{})
		mustFailAt(t, start(t, s), vault.StepLogin)
	})
	t.Run("https to plain http", func(t *testing.T) {
		cfg := cfg
		cfg.Address = strings.Replace(newFake(t, nil).URL, "http:", "https:", 1)
		s, _ := newSource(t, cfg, vault.Options{})
		err := start(t, s)
		mustFailAt(t, err, vault.StepLogin)
		if !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
			t.Errorf("Start(): %v", err)
		}
	})
}

func TestAppRole(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	for name, content := range map[string]string{
		"as it is": secretID, "line end": secretID + "\n", "Windows line end": secretID + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, server)
			cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", content))
			s, log := startSource(t, cfg, vault.Options{})
			mustHold(t, s, 1, 1)
			mustNotHold(t, log.String(), secretID)
		})
	}
	for _, tt := range []struct{ name, roleID, content, want string }{
		{"wrong secret ID", roleID, "11111111-2222-3333-4444-555555555555", "status 400"},
		{"wrong role", "11111111-2222-3333-4444-555555555555", secretID, "status 400"},
		{"empty file", roleID, " \n", "is empty"},
		{"two lines", roleID, secretID + "\nmore", "more than one word"},
		{"too long", roleID, strings.Repeat("x", 17<<10), "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t, server)
			cfg.Auth = vault.AppRoleAuth(tt.roleID, writeFile(t, "secret-id", tt.content))
			s, log := newSource(t, cfg, vault.Options{})
			err := start(t, s)
			mustFailAt(t, err, vault.StepLogin, secretID, strings.TrimSpace(tt.content)+"$")
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "approle") {
				t.Errorf("Start(): %v, want it to say %q", err, tt.want)
			}
			mustNotHold(t, log.String(), secretID)
		})
	}
	t.Run("no file", func(t *testing.T) {
		cfg := config(t, server)
		cfg.Auth = vault.AppRoleAuth(roleID, filepath.Join(t.TempDir(), "none"))
		s, _ := newSource(t, cfg, vault.Options{})
		if err := start(t, s); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Start(): %v", err)
		}
	})
}

// TestRotationUnderLoad changes the secret while many use it.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const versions = 25
	server := newVault(t)
	cfg := config(t, server)
	cfg.Refresh = 10 * time.Millisecond
	s, log := startSource(t, cfg, vault.Options{})

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			var last int64
			for {
				select {
				case <-stop:
					return
				default:
				}
				u, k, v, err := held(s)
				if err != nil {
					t.Errorf("Acquire(): %v", err)
					return
				}
				if u != fmt.Sprint(1000+v) || k != keyOf(int(v)) || v < last {
					t.Errorf("version %d after %d: %q, %q", v, last, u, k)
				}
				last = v
				time.Sleep(100 * time.Microsecond) // leave the processor to Vault
			}
		})
	}
	for n := 2; n <= versions; n++ {
		server.PutKV2("secret", "nowpay/main", pair(n))
		eventually(t, "the new key", keyIs(s, n))
	}
	close(stop)
	wg.Wait()
	if got := log.count(msgNewVersion); got != versions-1 {
		t.Errorf("logged %d new versions, want %d", got, versions-1)
	}
}

func TestReplacedIsWiped(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, _ := startSource(t, config(t, server), vault.Options{})
	old, err := s.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	key := old.Key().Reveal()
	server.PutKV2("secret", "nowpay/main", pair(2))
	eventually(t, "the new key", keyIs(s, 2))
	if string(key) != keyOf(1) {
		t.Errorf("the key of an exchange under way has become %q", key)
	}
	old.Release()
	if strings.Trim(string(key), "\x00") != "" {
		t.Errorf("the replaced key is still in memory: %q", key)
	}
}

// TestNoRequestOnUse counts requests in Vault's audit log.
func TestNoRequestOnUse(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	cfg := config(t, server)
	cfg.Refresh, cfg.StaleFor = time.Hour, 2*time.Hour
	s, _ := startSource(t, cfg, vault.Options{})
	// The first renewal is the last request for a long time.
	eventually(t, "the renewal", func() bool { return server.Requests("auth/token/renew-self") == 1 })
	before := server.Requests("")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 1000 {
				if _, _, _, err := held(s); err != nil {
					t.Errorf("Acquire(): %v", err)
					return
				}
				_ = s.Status()
			}
		})
	}
	wg.Wait()
	if got := server.Requests(""); got != before {
		t.Errorf("Vault saw %d requests while the credential was used", got-before)
	}
	if got := server.Requests("secret/data/"); got != 2 { // one of them wrote it
		t.Errorf("Vault saw %d requests of the secret, want 2", got)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	cfg := config(t, server)

	t.Run("close twice, no start afterwards", func(t *testing.T) {
		s, _ := startSource(t, cfg, vault.Options{})
		if err := start(t, s); err == nil {
			t.Error("a second Start() succeeded")
		}
		c, err := s.Acquire()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		s.Close()
		if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
			t.Errorf("Acquire() after Close: %v", err)
		}
		if string(c.Key().Reveal()) != keyOf(1) {
			t.Error("the credential in use was lost with Close")
		}
		c.Release()
		if err := start(t, s); err == nil {
			t.Error("Start() after Close succeeded")
		}
	})
	t.Run("close before start", func(t *testing.T) {
		s, _ := newSource(t, cfg, vault.Options{})
		s.Close()
		if err := start(t, s); err == nil {
			t.Error("Start() after Close succeeded")
		}
	})
	t.Run("not started", func(t *testing.T) {
		before := server.Requests("")
		s, _ := newSource(t, cfg, vault.Options{})
		if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
			t.Errorf("Acquire() before Start: %v", err)
		}
		if got := server.Requests(""); got != before {
			t.Errorf("New made %d requests", got-before)
		}
	})
	t.Run("two at once", func(t *testing.T) {
		s, _ := newSource(t, cfg, vault.Options{})
		var wg sync.WaitGroup
		results := make(chan error, 2)
		for range 2 {
			wg.Go(func() { results <- start(t, s) })
		}
		wg.Wait()
		if a, b := <-results, <-results; (a == nil) == (b == nil) {
			t.Errorf("Start() twice at once: %v and %v, want one to succeed", a, b)
		}
	})
}

func TestSetLogger(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, old := startSource(t, config(t, server), vault.Options{})
	before := old.String()
	next := &logBuffer{}
	s.SetLogger(next.logger())
	server.PutKV2("secret", "nowpay/main", pair(2))
	eventually(t, "a record", func() bool { return next.count(msgNewVersion) == 1 })
	for _, want := range []string{`"source":"vault"`, `"path":"` + path + `"`, `"auth":"token"`, `"version":2`} {
		if !strings.Contains(next.String(), want) {
			t.Errorf("%s is not in the record: %s", want, next)
		}
	}
	s.SetLogger(nil)
	server.PutKV2("secret", "nowpay/main", pair(3))
	eventually(t, "the new key", keyIs(s, 3))
	s.Close()
	if old.String() != before || next.count(msgNewVersion) != 1 {
		t.Errorf("a replaced logger was used: %s%s", old, next)
	}
	mustNotHold(t, next.String())
}

// TestCloseWhileVaultHangs must not wait for an answer that never comes.
func TestCloseWhileVaultHangs(t *testing.T) {
	t.Parallel()
	hang := newHang(t)
	cfg := vault.Config{Address: hang.address, Path: path, Auth: vault.TokenAuth(writeFile(t, "token", "hvs.t0ken"))}

	t.Run("start is bounded", func(t *testing.T) {
		s, _ := newSource(t, cfg, vault.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		err := s.Start(ctx)
		mustFailAt(t, err, vault.StepLogin)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
			t.Errorf("Start() after %v: %v", time.Since(begun), err)
		}
	})
	t.Run("close during start", func(t *testing.T) {
		s, _ := newSource(t, cfg, vault.Options{})
		result := make(chan error, 1)
		before := hang.count()
		go func() { result <- s.Start(t.Context()) }()
		eventually(t, "a connection", func() bool { return hang.count() > before })
		begun := time.Now()
		s.Close()
		if err := <-result; err == nil || time.Since(begun) > 5*time.Second {
			t.Errorf("Start() after %v: %v", time.Since(begun), err)
		}
	})
	t.Run("close during refresh", func(t *testing.T) {
		s, log := newSource(t, cfg, vault.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.Start(ctx); err == nil {
			t.Fatal("Start() succeeded")
		}
		before := hang.count()
		eventually(t, "a connection", func() bool { return hang.count() > before })
		begun := time.Now()
		s.Close()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("Close() took %v", took)
		}
		if log.String() != "" {
			t.Errorf("logged: %s", log)
		}
	})
}
