package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

var ed25519Key = vault.TransitConfig{Key: "nowpay-ed25519", Algorithm: "ed25519", Timeout: 3 * time.Second}

// quick is well below the time-out of ed25519Key.
const quick = 2 * time.Second

// never is a refresh that does not come during a test.
func never(cfg vault.Config) vault.Config {
	cfg.Refresh, cfg.StaleFor = time.Hour, 3*time.Hour
	return cfg
}

// gate is a proxy in front of Vault that holds what goes to the transit engine
// while it is shut.
type gate struct {
	*httptest.Server
	arrived chan struct{} // one for each request that came to the gate
	conns   atomic.Int64  // that were made

	mu   sync.Mutex
	open chan struct{} // closed while it is open
}

func newGate(t *testing.T, server *vaulttest.Server) *gate {
	t.Helper()
	target, err := url.Parse(server.Address)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{arrived: make(chan struct{}, 10000)}
	g.let()
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/transit/") {
			body, _ := io.ReadAll(r.Body) // else it is not noticed that the client leaves
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			g.arrived <- struct{}{}
			select {
			case <-g.passage():
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	g.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			g.conns.Add(1)
		}
	}
	g.Start()
	t.Cleanup(func() {
		g.CloseClientConnections()
		g.Close()
		transport.CloseIdleConnections()
	})
	return g
}

func (g *gate) passage() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// pass lets those through that wait, and no others.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = make(chan struct{})
}

// let opens the gate, or keeps it open.
func (g *gate) let() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

// gated is a source and a Transit behind a gate. All is known of the key, and
// calls can be held.
func gated(t *testing.T, server *vaulttest.Server, cfg vault.TransitConfig, opts vault.TransitOptions) (*gate, *vault.Transit) {
	t.Helper()
	g := newGate(t, server)
	config := keyless(t, server)
	config.Address = g.URL
	source, _ := startSource(t, never(config), vault.Options{})
	transit := newTransit(t, source, cfg, opts)
	sign(t, transit, "the first")
	for len(g.arrived) > 0 {
		<-g.arrived
	}
	return g, transit
}

// begin signs n bases in the background; each outcome is sent.
func begin(ctx context.Context, transit *vault.Transit, n int) <-chan error {
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := transit.Sign(ctx, fmt.Appendf(nil, "base %d", i))
			errs <- err
		}()
	}
	return errs
}

// TestTransitOutages takes Vault away in every way, and gives it back.
func TestTransitOutages(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	token := keyless(t, server)
	approle := token
	approle.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	for _, tt := range []struct {
		name, want string
		away, back func()
	}{
		{"stopped and started", "connection refused", server.Stop, server.Restart},
		{"sealed", "status 503", server.Seal, server.Unseal},
		{"started again but sealed", "status 503", server.RestartSealed, server.Unseal},
		{
			"denied", "permission denied",
			func() { server.Policy("nowpay", strings.ReplaceAll(transitPolicy, "update", "deny")) },
			func() { server.Policy("nowpay", transitPolicy) },
		},
	} {
		for method, cfg := range map[string]vault.Config{"token": token, "approle": approle} {
			t.Run(tt.name+", "+method, func(t *testing.T) {
				source, _ := startSource(t, cfg, vault.Options{})
				transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
				signature := sign(t, transit, "base")
				tt.away()
				begun := time.Now()
				for err := range errorsOf(begin(t.Context(), transit, 20), 20) {
					mustBeUnavailable(t, err, tt.want, secretID)
				}
				ok, err := transit.Verify(t.Context(), []byte("base"), signature)
				if ok {
					t.Error("Verify() accepts a signature")
				}
				mustBeUnavailable(t, err, tt.want, secretID)
				if took := time.Since(begun); took > quick {
					t.Errorf("failing took %v", took)
				}
				tt.back()
				eventually(t, "signatures", func() bool { _, err := transit.Sign(t.Context(), []byte("base")); return err == nil })
				mustVerify(t, transit, "base", signature, true)
			})
		}
	}
}

func errorsOf(errs <-chan error, n int) func(func(error) bool) {
	return func(yield func(error) bool) {
		for range n {
			if !yield(<-errs) {
				return
			}
		}
	}
}

// TestTransitRevoked: a token that is worthless is replaced within the call.
func TestTransitRevoked(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	clock := newClock()
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := never(keyless(t, server))
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	source, _ := startSource(t, cfg, vault.Options{Now: clock.now})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
	sign(t, transit, "base")
	logins := func() int { return server.Requests("auth/approle/login") }
	if n := logins(); n != 1 {
		t.Fatalf("%d logins", n)
	}
	server.Write("auth/approle/tidy/secret-id", nil) // answers: the log is complete

	clock.advance(time.Minute)
	revokeAll(t, server)
	for err := range errorsOf(begin(t.Context(), transit, 20), 20) {
		if err != nil {
			t.Errorf("Sign() after the token was revoked: %v", err)
		}
	}
	if n := logins(); n != 2 {
		t.Errorf("%d logins, want one more", n)
	}

	// Whatever is denied, logins stay seldom, and so do looks at the secret.
	reads := server.Requests("secret/data/", "read")
	server.Policy("nowpay", strings.ReplaceAll(transitPolicy, "update", "deny"))
	for range 3 {
		clock.advance(5 * time.Second)
		for err := range errorsOf(begin(t.Context(), transit, 20), 20) {
			mustBeUnavailable(t, err, "permission denied", secretID)
		}
	}
	if n := logins(); n != 2 {
		t.Errorf("%d logins while Vault denies, want none", n-2)
	}
	if n := server.Requests("secret/data/", "read") - reads; n > 3 {
		t.Errorf("the secret was read %d times while Vault denies, want once every 5 seconds", n)
	}

	// A token that is older than its role's policies.
	server.Policy("nowpay", `path "secret/data/nowpay/*" { capabilities = ["read"] }`)
	server.Policy("signing", transitPolicy)
	server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay", "signing"}})
	clock.advance(time.Minute)
	sign(t, transit, "base")
	if n := logins(); n != 3 {
		t.Errorf("%d logins, want one more", n)
	}
}

// revokeAll makes all tokens of the approle method worthless.
func revokeAll(t *testing.T, server *vaulttest.Server) {
	t.Helper()
	if err := server.Client().Sys().RevokePrefixWithContext(t.Context(), "auth/approle/login"); err != nil {
		t.Fatal(err)
	}
}

// TestTransitTokensEnd: tokens come and go, and no call fails.
func TestTransitTokensEnd(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{
		Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 3 * time.Second,
	})
	cfg := keyless(t, server)
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	source, _ := startSource(t, cfg, vault.Options{})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
	eventually(t, "logins", func() bool {
		sign(t, transit, "base")
		return server.Requests("auth/approle/login") >= 3
	})
}

// TestTransitWithoutLogin: there is nothing to wait for.
func TestTransitWithoutLogin(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	cfg := keyless(t, server)
	server.Stop()
	source, _ := newSource(t, cfg, vault.Options{})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
	_, err := transit.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "no login to Vault")
	if err := start(t, source); err == nil {
		t.Fatal("Start() succeeds")
	}
	_, err = transit.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "connection refused")
	server.Restart()
	eventually(t, "signatures", func() bool { _, err := transit.Sign(t.Context(), []byte("base")); return err == nil })
	source.Close()
	_, err = transit.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "no login to Vault")
}

// TestTransitSlow: a slow Vault costs time and no more than that; one too slow
// costs the time-out.
func TestTransitSlow(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	cfg := ed25519Key
	cfg.Timeout = 2 * time.Second
	g, transit := gated(t, server, cfg, vault.TransitOptions{})
	g.shut()
	begun := time.Now()
	errs := begin(t.Context(), transit, 4)
	for range 4 {
		<-g.arrived
	}
	late := begin(t.Context(), transit, 20) // that wait for a slot
	for err := range errorsOf(errs, 4) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sign(): %v", err)
		}
		mustBeUnavailable(t, err, "signing by transit/nowpay-ed25519")
	}
	for err := range errorsOf(late, 20) {
		mustBeUnavailable(t, err, "signing by")
	}
	if took := time.Since(begun); took < cfg.Timeout || took > cfg.Timeout+quick {
		t.Errorf("took %v, want about %v", took, cfg.Timeout)
	}
	g.let()
	sign(t, transit, "base") // at once: nothing is left over

	g.shut()
	errs = begin(t.Context(), transit, 1)
	<-g.arrived
	time.AfterFunc(100*time.Millisecond, g.let)
	if err := <-errs; err != nil {
		t.Errorf("Sign() by a slow Vault: %v", err)
	}
}

// TestTransitStandby: the index of the login goes along, and a standby that is
// behind gets time to catch up.
func TestTransitStandby(t *testing.T) {
	t.Parallel()
	var behind atomic.Int64
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/auth/token/lookup-self" {
			w.Header().Set("X-Vault-Index", "index-1")
			return false
		}
		if !strings.HasPrefix(r.URL.Path, "/v1/transit/") {
			return false
		}
		switch {
		case r.Header.Get("X-Vault-Index") != "index-1":
			w.WriteHeader(http.StatusForbidden)
		case behind.Add(-1) >= 0:
			w.WriteHeader(http.StatusPreconditionFailed)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"data":{"type":"ed25519","latest_version":1,"min_decryption_version":1}}`)
		default:
			fmt.Fprintf(w, `{"data":{"batch_results":[{"signature":"vault:v1:%s"}]}}`, strings.Repeat("A", 86)+"==")
		}
		return true
	})
	source, _ := startSource(t, never(f.config(t)), vault.Options{})
	transit := newTransit(t, source, vault.TransitConfig{Key: "nowpay", Algorithm: "ed25519"}, vault.TransitOptions{})
	sign(t, transit, "base")
	behind.Store(2)
	sign(t, transit, "base")
	behind.Store(1000)
	begun := time.Now()
	_, err := transit.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "not caught up")
	if took := time.Since(begun); took < time.Second || took > 4*time.Second {
		t.Errorf("failing took %v", took)
	}
}

// TestTransitAnswers has something else answer in Vault's place.
func TestTransitAnswers(t *testing.T) {
	t.Parallel()
	const good = `{"data":{"type":"ed25519","latest_version":1,"min_decryption_version":1}}`
	const base = "what is s1gned"
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":["you sent %s: %s"]}`, r.Header.Get("X-Vault-Token"), strings.ReplaceAll(string(body), `"`, ""))
		}
	}
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	results := func(text string) http.HandlerFunc { return say(`{"data":{"batch_results":[` + text + `]}}`) }
	for _, tt := range []struct {
		name       string
		key, other http.HandlerFunc
		want       string
	}{
		{"echo", say(good), echo(400), "status 400"},
		{"echo, denied", say(good), echo(403), "permission denied"},
		{"echo, key", echo(500), nil, "status 500"},
		{"redirect", say(good), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "redirect"},
		{"somebody's page", say(good), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "<html>") }, "status 502"},
		{"no content", say(good), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		{"no JSON", say(good), say("<html>"), "not of Vault's form"},
		{"key without a type", say(`{"data":{"latest_version":1}}`), nil, "not of Vault's form"},
		{"key without a version", say(`{"data":{"type":"ed25519"}}`), nil, "not of Vault's form"},
		{"no results", say(good), say(`{"data":{}}`), "not of Vault's form"},
		{"too few", say(good), results(``), "not of Vault's form"},
		{"too many", say(good), results(`{},{}`), "not of Vault's form"},
		{"no signature", say(good), results(`{}`), "not of Vault's form"},
		{"no prefix", say(good), results(`{"signature":"AAAA"}`), "not of Vault's form"},
		{"too short", say(good), results(`{"signature":"vault:v1:AAAA"}`), "not of Vault's form"},
		{"refused", say(good), results(`{"error":"not ` + "d2hhdCBpcyBzMWduZWQ=" + `"}`), "refused by Vault"},
		{"too large", say(good), say(strings.Repeat(" ", 2<<20)), "longer than"},
		{"hangs up", say(good), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasPrefix(r.URL.Path, "/v1/transit/keys/"):
					tt.key(w, r)
				case strings.HasPrefix(r.URL.Path, "/v1/transit/"):
					tt.other(w, r)
				default:
					return false
				}
				return true
			})
			source, _ := startSource(t, never(f.config(t)), vault.Options{})
			transit := newTransit(t, source, vault.TransitConfig{Key: "nowpay", Algorithm: "ed25519"}, vault.TransitOptions{})
			_, err := transit.Sign(t.Context(), []byte(base))
			mustBeUnavailable(t, err, tt.want, "hvs.t0ken", base, "d2hhdCBpcyBzMWduZWQ")
			for _, r := range f.seen() {
				if r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Token") != "hvs.t0ken" || slices.Contains(r.Header.Values("Idempotency-Key"), "") {
					t.Errorf("%s %s has the header %v", r.Method, r.URL, r.Header)
				}
			}
		})
	}
}
