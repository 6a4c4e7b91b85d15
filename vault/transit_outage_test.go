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

// TestTransitBatches: callers at the same time share requests, and a lone one has
// its own at once.
func TestTransitBatches(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	var sent, called, failed atomic.Int64
	opts := vault.TransitOptions{
		Sent: func(calls int) { sent.Add(int64(calls)) },
		Called: func(took time.Duration, err error) {
			called.Add(1)
			if err != nil || took <= 0 {
				failed.Add(1)
			}
		},
	}
	g, transit := gated(t, server, ed25519Key, opts)
	before := server.Requests("transit/sign/")
	g.shut()
	const callers = 64
	first := begin(t.Context(), transit, 4)
	for range 4 {
		<-g.arrived
	}
	rest := begin(t.Context(), transit, callers-4)
	eventually(t, "all callers to wait", func() bool { return transit.Waiting() == callers-4 })
	g.let()
	for errs, n := range map[<-chan error]int{first: 4, rest: callers - 4} {
		for err := range errorsOf(errs, n) {
			if err != nil {
				t.Errorf("Sign(): %v", err)
			}
		}
	}
	// Those that were there when the first slot became free went together, save
	// what other slots took away from them.
	if requests := server.Requests("transit/sign/") - before; requests < 5 || requests > 8 {
		t.Errorf("%d callers made %d requests", callers, requests)
	}
	if sent.Load() != callers+1 || called.Load() != callers+1 || failed.Load() != 0 {
		t.Errorf("observed %d calls in requests and %d by themselves (%d wrong), want %d", sent.Load(), called.Load(), failed.Load(), callers+1)
	}

	before = server.Requests("transit/sign/")
	for range 5 {
		sign(t, transit, "alone")
	}
	if requests := server.Requests("transit/sign/") - before; requests != 5 {
		t.Errorf("5 lone calls made %d requests", requests)
	}
}

// TestTransitUnderLoad: without anybody's help, callers share requests, and each
// gets its own signature.
func TestTransitUnderLoad(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*vaulttest.Server{"plain": vaulttest.Start(t), "TLS": vaulttest.Start(t, vaulttest.WithTLS())} {
		fillTransit(t, server)
		t.Run(name, func(t *testing.T) { load(t, server) })
	}
}

func load(t *testing.T, server *vaulttest.Server) {
	t.Helper()
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{})
	public := publicKey(t, server, ed25519Key.Key)
	const callers, each = 64, 20
	var calling sync.WaitGroup
	for c := range callers {
		calling.Go(func() {
			for i := range each {
				base := fmt.Sprintf("caller %d, call %d", c, i)
				signature, err := transit.Sign(t.Context(), []byte(base))
				if err != nil || !verified(public, base, signature) {
					t.Errorf("Sign() = %x, %v", signature, err)
					return
				}
				right := (c+i)%2 == 0
				if !right {
					signature[i] ^= 1
				}
				if ok, err := transit.Verify(t.Context(), []byte(base), signature); ok != right || err != nil {
					t.Errorf("Verify() = %v, %v, want %v", ok, err, right)
				}
			}
		})
	}
	calling.Wait()
	if requests := server.Requests("transit/sign/"); requests > callers*each/4 {
		t.Errorf("%d calls made %d requests", callers*each, requests)
	}
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

// TestTransitCallerLeaves: the others' request goes on.
func TestTransitCallerLeaves(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	var mu sync.Mutex
	var sizes []int
	g, transit := gated(t, server, ed25519Key, vault.TransitOptions{Sent: func(calls int) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, calls)
	}})
	g.shut()
	leaving, leave := context.WithCancel(t.Context())
	first := begin(leaving, transit, 4)
	for range 4 {
		<-g.arrived
	}
	left, stay := begin(leaving, transit, 10), begin(t.Context(), transit, 10)
	eventually(t, "all callers to wait", func() bool { return transit.Waiting() == 20 })
	begun := time.Now()
	leave()
	for _, errs := range []<-chan error{first, left} {
		for err := range errorsOf(errs, cap(errs)) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Sign() of a caller that left: %v", err)
			}
		}
	}
	if took := time.Since(begun); took > quick {
		t.Errorf("leaving took %v", took)
	}
	g.let()
	for err := range errorsOf(stay, 10) {
		if err != nil {
			t.Errorf("Sign() of a caller that stayed: %v", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	sum := 0
	for _, n := range sizes[5:] { // the first of all, and the four
		sum += n
	}
	if sum != 10 {
		t.Errorf("requests had %v calls: those who left were asked for", sizes)
	}
}

// TestTransitDeadlines: those who share a request may wait for it as long as each has
// time.
func TestTransitDeadlines(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	g, transit := gated(t, server, ed25519Key, vault.TransitOptions{})
	g.shut()
	first := begin(t.Context(), transit, 4)
	for range 4 {
		<-g.arrived
	}
	hurried, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	hurry := begin(hurried, transit, 1)
	eventually(t, "the hurried caller to wait", func() bool { return transit.Waiting() == 1 })
	patient := begin(t.Context(), transit, 1)
	eventually(t, "both callers to wait", func() bool { return transit.Waiting() == 2 })
	g.pass()
	for err := range errorsOf(first, 4) {
		if err != nil {
			t.Errorf("Sign(): %v", err)
		}
	}
	<-g.arrived // with both
	if err := <-hurry; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Sign() of the hurried caller: %v", err)
	}
	g.let()
	if err := <-patient; err != nil {
		t.Errorf("Sign() of the patient caller: %v", err)
	}
}

// TestTransitConnections are kept, and replaced where they are dead.
func TestTransitConnections(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	g, transit := gated(t, server, ed25519Key, vault.TransitOptions{})
	before := g.conns.Load()
	for range 10 {
		sign(t, transit, "base")
	}
	if n := g.conns.Load() - before; n > 0 {
		t.Errorf("10 calls made %d connections, beside the one that was there", n)
	}
	for range 10 {
		g.CloseClientConnections()
		sign(t, transit, "base")
	}
}

// TestTransitCrowded: the queue is bounded.
func TestTransitCrowded(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	g, transit := gated(t, server, ed25519Key, vault.TransitOptions{})
	g.shut()
	first := begin(t.Context(), transit, 4)
	for range 4 {
		<-g.arrived
	}
	waiting := begin(t.Context(), transit, 1024)
	eventually(t, "the queue to be full", func() bool { return transit.Waiting() == 1024 })
	begun := time.Now()
	_, err := transit.Sign(t.Context(), []byte("one too many"))
	mustBeUnavailable(t, err, "1024 calls are waiting already")
	if took := time.Since(begun); took > quick/4 {
		t.Errorf("refusing took %v", took)
	}
	g.let()
	for _, errs := range []<-chan error{first, waiting} {
		for err := range errorsOf(errs, cap(errs)) {
			if err != nil {
				t.Fatalf("Sign(): %v", err)
			}
		}
	}
}

// TestTransitClose ends what is under way, and what waits.
func TestTransitClose(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	g, transit := gated(t, server, ed25519Key, vault.TransitOptions{})
	g.shut()
	errs := begin(t.Context(), transit, 20)
	eventually(t, "all callers to wait", func() bool { return len(g.arrived) == 4 })
	begun := time.Now()
	transit.Close()
	for err := range errorsOf(errs, 20) {
		mustBeUnavailable(t, err, "")
	}
	if took := time.Since(begun); took > quick {
		t.Errorf("closing took %v", took)
	}
	for range 20 {
		_, err := transit.Sign(t.Context(), []byte("base"))
		mustBeUnavailable(t, err, "it is closed")
	}
	transit.Close()
}

// TestTransitCloseWaits for what works for it.
func TestTransitCloseWaits(t *testing.T) {
	t.Parallel()
	working, goOn := make(chan struct{}), make(chan struct{})
	server := newTransitVault(t)
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	transit := newTransit(t, source, ed25519Key, vault.TransitOptions{Sent: func(int) { close(working); <-goOn }})
	errs := begin(t.Context(), transit, 1)
	<-working
	closed := make(chan struct{})
	go func() { transit.Close(); close(closed) }()
	mustBeUnavailable(t, <-errs, "it is closed")
	select {
	case <-closed:
		t.Error("Close() does not wait")
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	<-closed
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
