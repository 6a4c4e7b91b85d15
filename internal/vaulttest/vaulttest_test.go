package vaulttest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestKV1(t *testing.T) {
	s := Start(t)
	s.EnableKV1("kv1")
	s.PutKV1("kv1", "merchant", map[string]any{"key": "k-1"})
	secret, err := s.Client().KVv1("kv1").Get(t.Context(), "merchant")
	if err != nil {
		t.Fatal(err)
	}
	if secret.Data["key"] != "k-1" || secret.VersionMetadata != nil {
		t.Errorf("read %v (metadata %v), want key k-1 without versions", secret.Data, secret.VersionMetadata)
	}
}

func TestKV2(t *testing.T) {
	s := Start(t)
	s.EnableKV2("secret")
	kv := s.Client().KVv2("secret")
	for want, key := range []string{"k-1", "k-2"} {
		if got := s.PutKV2("secret", "nowpay/merchant", map[string]any{"key": key}); got != want+1 {
			t.Errorf("writing %s made version %d, want %d", key, got, want+1)
		}
	}
	assertKey := func(version int, want string) {
		t.Helper()
		secret, err := kv.GetVersion(t.Context(), "nowpay/merchant", version)
		if err != nil {
			t.Fatal(err)
		}
		if secret.Data["key"] != want {
			t.Errorf("version %d holds %v, want %s", version, secret.Data["key"], want)
		}
	}
	assertKey(1, "k-1")
	assertKey(2, "k-2")

	s.DeleteKV2("secret", "nowpay/merchant")
	secret, err := kv.Get(t.Context(), "nowpay/merchant")
	if err != nil {
		t.Fatal(err)
	}
	if secret.Data != nil || secret.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("deleted secret reads as %v, deleted at %v", secret.Data, secret.VersionMetadata.DeletionTime)
	}
	if err := kv.Undelete(t.Context(), "nowpay/merchant", []int{2}); err != nil {
		t.Fatal(err)
	}
	assertKey(2, "k-2")

	s.DeleteKV2("secret", "nowpay/merchant", 2)
	s.DestroyKV2("secret", "nowpay/merchant", 1)
	versions, err := kv.GetVersionsAsList(t.Context(), "nowpay/merchant")
	if err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || !versions[0].Destroyed || versions[1].Destroyed || versions[1].DeletionTime.IsZero() {
		t.Errorf("versions are %+v, want the first destroyed and the second deleted", versions)
	}
}

func TestAppRole(t *testing.T) {
	s := Start(t)
	s.EnableKV2("secret")
	s.PutKV2("secret", "mine", map[string]any{"key": "k"})
	s.PutKV2("secret", "theirs", map[string]any{"key": "k"})
	s.Policy("mine", `path "secret/data/mine" { capabilities = ["read"] }`)
	opts := AppRoleOptions{
		Policies:        []string{"mine"},
		TokenTTL:        time.Minute,
		TokenMaxTTL:     time.Hour,
		SecretIDNumUses: 1,
	}
	roleID, secretID := s.AppRole("gateway", opts)

	login := func(secretID string) (*api.Secret, error) {
		return s.ClientWithToken("").Logical().WriteWithContext(t.Context(), "auth/approle/login",
			map[string]any{"role_id": roleID, "secret_id": secretID})
	}
	secret, err := login(secretID)
	if err != nil {
		t.Fatal(err)
	}
	if got := secret.Auth.LeaseDuration; got != 60 || !secret.Auth.Renewable {
		t.Errorf("the token lives %d s, renewable %v; want 60 s, true", got, secret.Auth.Renewable)
	}
	kv := s.ClientWithToken(secret.Auth.ClientToken).KVv2("secret")
	if _, err := kv.Get(t.Context(), "mine"); err != nil {
		t.Errorf("reading what the policy allows: %v", err)
	}
	_, err = kv.Get(t.Context(), "theirs")
	assertStatus(t, err, http.StatusForbidden)

	_, err = login(secretID)
	assertStatus(t, err, http.StatusBadRequest) // a single use
	sameID, another := s.AppRole("gateway", opts)
	if sameID != roleID || another == secretID {
		t.Errorf("the second call gave role ID %q and secret ID %q, want the same and a new one", sameID, another)
	}
	if _, err := login(another); err != nil {
		t.Errorf("logging in with a new secret ID: %v", err)
	}
}

func TestToken(t *testing.T) {
	s := Start(t)
	token := s.Token(nil, time.Minute, false)
	self := s.ClientWithToken(token).Auth().Token()
	secret, err := self.LookupSelfWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := secret.TokenTTL()
	if err != nil {
		t.Fatal(err)
	}
	if renewable, _ := secret.TokenIsRenewable(); renewable || ttl <= 0 || ttl > time.Minute {
		t.Errorf("renewable %v, lives %v; want false, up to a minute", renewable, ttl)
	}
	if policies, _ := secret.TokenPolicies(); len(policies) != 1 || policies[0] != "default" {
		t.Errorf("the policies are %v, want only default", policies)
	}
	s.RevokeToken(token)
	_, err = self.LookupSelfWithContext(t.Context())
	assertStatus(t, err, http.StatusForbidden)
}

func TestRestart(t *testing.T) {
	s := Start(t)
	s.EnableKV2("secret")
	s.PutKV2("secret", "merchant", map[string]any{"key": "k"})
	token := s.Token(nil, time.Hour, true)
	address := s.Address

	s.Restart()
	if s.Address != address || s.proc.address != address {
		t.Errorf("came back on %s and %s, want %s", s.Address, s.proc.address, address)
	}
	secret, err := s.Client().KVv2("secret").Get(t.Context(), "merchant")
	if err != nil {
		t.Fatal(err)
	}
	if secret.Data["key"] != "k" {
		t.Errorf("the restarted server holds %v", secret.Data)
	}
	if _, err := s.ClientWithToken(token).Auth().Token().LookupSelfWithContext(t.Context()); err != nil {
		t.Errorf("the restarted server does not know a token of before: %v", err)
	}

	s.Stop()
	s.Stop() // does nothing
	_, err = s.Client().Sys().HealthWithContext(t.Context())
	if response := (*api.ResponseError)(nil); err == nil || errors.As(err, &response) {
		t.Errorf("a stopped server answers: %v", err)
	}
	s.RestartSealed()
	_, err = s.Client().KVv2("secret").Get(t.Context(), "merchant")
	assertStatus(t, err, http.StatusServiceUnavailable)
	s.Unseal()
	if got := s.PutKV2("secret", "merchant", map[string]any{"key": "k"}); got != 2 {
		t.Errorf("made version %d, want 2", got)
	}
}

func TestSeal(t *testing.T) {
	s := Start(t)
	s.EnableKV1("kv1")
	s.PutKV1("kv1", "merchant", map[string]any{"key": "k"})
	s.Seal()
	_, err := s.Client().KVv1("kv1").Get(t.Context(), "merchant")
	assertStatus(t, err, http.StatusServiceUnavailable)
	s.Unseal()
	if _, err := s.Client().KVv1("kv1").Get(t.Context(), "merchant"); err != nil {
		t.Errorf("reading from the unsealed server: %v", err)
	}
}

func TestRequests(t *testing.T) {
	s := Start(t)
	s.EnableKV2("secret")
	s.PutKV2("secret", "a/one", map[string]any{"key": "k"})
	kv := s.Client().KVv2("secret")
	assert := func(want int, prefix string, operations ...string) {
		t.Helper()
		if got := s.Requests(prefix, operations...); got != want {
			t.Errorf("%d requests for %q %v, want %d", got, prefix, operations, want)
		}
	}
	assert(1, "secret/data/")
	assert(0, "secret/data/", "read")
	for range 3 {
		if _, err := kv.Get(t.Context(), "a/one"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kv.GetMetadata(t.Context(), "a/one"); err != nil {
		t.Fatal(err)
	}
	assert(3, "secret/data/a/one", "read")
	assert(4, "secret/data/a/one", "read", "update", "create")
	assert(4, "secret/data/a/")
	assert(0, "secret/data/b")
	assert(1, "secret/metadata/")

	// A refused request has reached the server too.
	_, err := s.ClientWithToken(s.Token(nil, time.Minute, false)).KVv2("secret").Get(t.Context(), "b/two")
	assertStatus(t, err, http.StatusForbidden)
	assert(1, "secret/data/b")

	s.Restart()
	if _, err := s.Client().KVv2("secret").Get(t.Context(), "a/one"); err != nil {
		t.Fatal(err)
	}
	assert(4, "secret/data/a/one", "read")
}

func TestTLS(t *testing.T) {
	s := Start(t, WithTLS())
	if !strings.HasPrefix(s.Address, "https://127.0.0.1:") {
		t.Errorf("the address is %s", s.Address)
	}
	s.Restart()

	config := api.DefaultConfig()
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: s.CAFile}); err != nil {
		t.Fatal(err)
	}
	config.Address = s.Address
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer config.HttpClient.CloseIdleConnections()
	if health, err := client.Sys().HealthWithContext(t.Context()); err != nil || health.Sealed {
		t.Errorf("asking over TLS: %+v, %v", health, err)
	}

	if response, err := http.Get(s.Address + "/v1/sys/health"); err == nil {
		response.Body.Close()
		t.Error("a client without the authority's certificate trusts the server")
	}
}

func TestOtherBackends(t *testing.T) {
	s := Start(t)
	sys := s.Client().Sys()
	for _, auth := range []string{"cert", "jwt", "kubernetes", "userpass"} {
		if err := sys.EnableAuthWithOptionsWithContext(t.Context(), auth, &api.MountInput{Type: auth}); err != nil {
			t.Errorf("enabling %s: %v", auth, err)
		}
	}
	if err := sys.MountWithContext(t.Context(), "transit", &api.MountInput{Type: "transit"}); err != nil {
		t.Fatal(err)
	}
	logical := s.Client().Logical()
	if _, err := logical.WriteWithContext(t.Context(), "transit/keys/sign", map[string]any{"type": "ed25519"}); err != nil {
		t.Fatal(err)
	}
	signed, err := logical.WriteWithContext(t.Context(), "transit/sign/sign", map[string]any{"input": "aGVsbG8="})
	if err != nil {
		t.Fatal(err)
	}
	if signature, _ := signed.Data["signature"].(string); !strings.HasPrefix(signature, "vault:v1:") {
		t.Errorf("signed as %v", signed.Data)
	}
}

// TestNothingRemains checks that no goroutine and no process outlives a test.
func TestNothingRemains(t *testing.T) {
	executable(t)
	before := runtime.NumGoroutine()
	var s *Server
	var exited chan struct{}
	t.Run("server", func(t *testing.T) {
		s = Start(t, WithTLS())
		s.Restart()
		s.EnableKV2("secret")
		exited = s.proc.exited
	})
	select {
	case <-exited:
	default:
		t.Error("the process is still there")
	}
	if _, err := os.Stat(filepath.Dir(s.CAFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	after := 0
	for range 100 { // the closed connections' goroutines end in their own time
		if after = runtime.NumGoroutine(); after <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
}

// TestServerEndsWithUs checks that a server does not outlive a test that
// crashed: then only the pipe tells it.
func TestServerEndsWithUs(t *testing.T) {
	s := Start(t)
	s.proc.stdin.Close()
	select {
	case <-s.proc.exited:
	case <-time.After(10 * time.Second):
		t.Error("the server runs on after the end of its input")
	}
}

func TestFindRoot(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	for path, content := range map[string]string{
		filepath.Join(root, toolDir, "go.mod"): "module tool",
		filepath.Join(deep, "go.mod"):          "module nested",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{root, deep, filepath.Join(root, toolDir)} {
		if got, err := findRoot(dir); got != root || err != nil {
			t.Errorf("from %s: %q, %v; want %q", dir, got, err, root)
		}
	}
	if got, err := findRoot(t.TempDir()); err == nil {
		t.Errorf("outside of the repository: %q, want an error", got)
	}
}

func TestCacheKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		t.Helper()
		k, err := cacheKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write("go.mod", "module tool")
	write("main.go", "package main")
	last := key()
	for _, tc := range []struct {
		name, content string
		changes       bool
	}{
		{"README.md", "text", false},
		{"main.go", "package main // changed", true},
		{"go.mod", "module other", true},
		{"go.sum", "sums", true},
		{"stubs/stub/stub.go", "package stub", true},
		{"stubs/stub/go.mod", "module stub", true},
		{"stubs/stub/go.mod", "module stub", false},
	} {
		write(tc.name, tc.content)
		if next := key(); (next != last) != tc.changes {
			t.Errorf("writing %s changed the key: %v, want %v", tc.name, next != last, tc.changes)
		} else {
			last = next
		}
	}
}

// TestBuildFailures tells sources that are wrong from a machine that cannot
// build: only the latter may skip a test.
func TestBuildFailures(t *testing.T) {
	newRoot := func(t *testing.T, mod, source string) string {
		t.Helper()
		root := t.TempDir()
		tool := filepath.Join(root, toolDir)
		if err := os.MkdirAll(tool, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"go.mod": mod, "main.go": source} {
			if err := os.WriteFile(filepath.Join(tool, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	const (
		mod    = "module example.com/tool\n\ngo 1.26.0\n"
		source = "package main\n\nfunc main() {}\n"
	)
	assertNoProgram := func(t *testing.T, root string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(root, ".cache", "vaultserver", "*", "*"))
		if err != nil || len(found) != 0 {
			t.Errorf("a failed build left %v (%v)", found, err)
		}
	}
	t.Run("good", func(t *testing.T) {
		root := newRoot(t, mod, source)
		first, err := build(t.Context(), root, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", "") // a second build would fail
		if second, err := build(t.Context(), root, t.Logf); second != first || err != nil {
			t.Errorf("the second time: %q, %v; want %q", second, err, first)
		}
	})
	t.Run("wrong source", func(t *testing.T) {
		root := newRoot(t, mod, "package main\n\nfunc main() { undefined() }\n")
		_, err := build(t.Context(), root, t.Logf)
		if err == nil || errors.Is(err, errUnbuildable) || !strings.Contains(err.Error(), "undefined: undefined") {
			t.Errorf("got %v, want a compiler's error that does not skip", err)
		}
		assertNoProgram(t, root)
	})
	t.Run("no go command", func(t *testing.T) {
		root := newRoot(t, mod, source)
		t.Setenv("PATH", "")
		if _, err := build(t.Context(), root, t.Logf); !errors.Is(err, errUnbuildable) {
			t.Errorf("got %v, want %v", err, errUnbuildable)
		}
		assertNoProgram(t, root)
	})
	t.Run("no network", func(t *testing.T) {
		root := newRoot(t, mod+"\nrequire example.com/missing v1.0.0\n", "package main\n\nimport _ \"example.com/missing\"\n\nfunc main() {}\n")
		t.Setenv("GOPROXY", "http://127.0.0.1:1")
		t.Setenv("GONOSUMDB", "*")
		if err := os.WriteFile(filepath.Join(root, toolDir, "go.sum"), []byte(
			"example.com/missing v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"+
				"example.com/missing v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := build(t.Context(), root, t.Logf); !errors.Is(err, errUnbuildable) {
			t.Errorf("got %v, want %v", err, errUnbuildable)
		}
	})
	t.Run("old toolchain", func(t *testing.T) {
		root := newRoot(t, "module example.com/tool\n\ngo 1.999.0\n", source)
		t.Setenv("GOTOOLCHAIN", "local")
		if _, err := build(t.Context(), root, t.Logf); !errors.Is(err, errUnbuildable) {
			t.Errorf("got %v, want %v", err, errUnbuildable)
		}
	})
}

// TestLock checks that the lock excludes, within a process and between them
// alike, and that waiting for it can be ended.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v, want %v", err, context.DeadlineExceeded)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func assertStatus(t *testing.T, err error, want int) {
	t.Helper()
	var response *api.ResponseError
	if !errors.As(err, &response) || response.StatusCode != want {
		t.Errorf("got %v, want the status %d", err, want)
	}
}
