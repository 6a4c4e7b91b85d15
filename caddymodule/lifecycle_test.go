package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

const (
	fileMissing = "there is no credential; refusing merchants until there is" // at a start
	fileLost    = `"msg":"no credential available"`                           // later
)

func TestReloadWithOtherMerchants(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "a1")
	source, watcher := mustRun(t, 1, fileSource), mustRun(t, 1, egressWatcher)

	mustReload(t, g, gatewaytest.Options{}, newToken)
	mustRefuse(t, g, gatewaytest.ShopToken)
	mustPay(t, g, newShopToken, "b1")
	if now := within(fileSource); !slices.Equal(now, source) {
		t.Errorf("sources %v, want %v: it has not changed, so it and its credential are kept", now, source)
	}
	if now := mustRun(t, 1, egressWatcher); slices.Equal(now, watcher) {
		t.Errorf("egress %v is still that of the old configuration", now)
	}
}

func TestReloadWithAnotherSource(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	source := mustRun(t, 1, fileSource)
	file := filepath.Join(t.TempDir(), "other.json")
	copyFile(t, file, g.SecretFile)
	mustReload(t, g, gatewaytest.Options{Secret: "secret file " + file})
	mustPay(t, g, gatewaytest.ShopToken, "b1")
	if now := mustRun(t, 1, fileSource); slices.Equal(now, source) {
		t.Errorf("source %v is still that of the old configuration", now)
	}
}

// copyFile copies a secret file.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// unharmed checks that a configuration which failed to load has changed nothing.
type unharmed struct {
	t       *testing.T
	g       *gatewaytest.Gateway
	source  []string
	watcher []string
	series  []string
	paid    int
}

// watch notes what there is; call it with configuration A running.
func watch(t *testing.T, g *gatewaytest.Gateway) *unharmed {
	t.Helper()
	u := &unharmed{t: t, g: g, source: mustRun(t, 1, fileSource), watcher: mustRun(t, 1, egressWatcher)}
	if answer := g.Must(gatewaytest.Call{Token: gatewaytest.KioskToken, Method: http.MethodGet, Path: "/operations"}); answer.StatusCode != http.StatusOK {
		t.Fatalf("kiosk: %d", answer.StatusCode)
	}
	mustPay(t, g, gatewaytest.ShopToken, "before")
	mustRefuse(t, g, newShopToken)
	u.series = u.ours()
	return u
}

// ours lists the series of the gateway, without their values.
func (u *unharmed) ours() []string {
	u.t.Helper()
	var series []string
	for line := range strings.Lines(u.g.Metrics()) {
		if name, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "nowpay_") {
			series = append(series, name)
		}
	}
	return series
}

func (u *unharmed) check(what string) {
	u.t.Helper()
	u.paid++
	mustPay(u.t, u.g, gatewaytest.ShopToken, fmt.Sprintf("after%d", u.paid))
	mustRefuse(u.t, u.g, newShopToken)
	if now := within(fileSource); !slices.Equal(now, u.source) {
		u.t.Errorf("%s: sources %v, want %v", what, now, u.source)
	}
	if now := within(egressWatcher); !slices.Equal(now, u.watcher) {
		u.t.Errorf("%s: egress %v, want %v", what, now, u.watcher)
	}
	if now := u.ours(); !slices.Equal(now, u.series) {
		u.t.Errorf("%s: series\n%s\nwant\n%s", what, strings.Join(now, "\n"), strings.Join(u.series, "\n"))
	}
	if answer := readiness(u.g); answer.StatusCode != http.StatusOK {
		u.t.Errorf("%s: not ready: %s", what, answer.Body)
	}
}

// second adds an account whose file is missing, and moves a merchant to it.
const second = `
	account second {
		secret file /nonexistent/second.json
	}
	merchant newcomer {
		account second
		user newcomer
		from anywhere
		allow bank/*
	}
`

// withoutKiosk removes a merchant.
func withoutKiosk(config []byte) []byte {
	return editJSON(config, func(root map[string]any) {
		delete(at(root, "apps", "nowpay", "merchants"), "kiosk")
	})
}

func TestFailedProvision(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	u := watch(t, g)

	// After the app of the gateway was provisioned, and without it.
	badSite := func(config []byte) []byte {
		return editJSON(config, func(root map[string]any) {
			for _, server := range at(root, "apps", "http", "servers") {
				server := server.(map[string]any)
				route := map[string]any{"handle": []any{map[string]any{"handler": "no_such_handler"}}}
				server["routes"] = append(server["routes"].([]any), route)
			}
		})
	}
	badAccount := func(config []byte) []byte {
		return []byte(strings.Replace(string(config), `"account":"main"`, `"account":"nobody"`, 1))
	}
	badUpstream := func(config []byte) []byte {
		return []byte(strings.Replace(string(config), `"url":"http://127.0.0.9`, `"url":"http://192.0.2.1`, 1))
	}
	for name, bad := range map[string]func([]byte) []byte{
		"a site": badSite, "an account": badAccount, "the upstream": badUpstream,
	} {
		for range 5 { // the order of apps is random
			err := reload(t, g, gatewaytest.Options{Nowpay: second}, newToken, withoutKiosk, bad)
			if err == nil {
				t.Fatalf("%s: loaded", name)
			}
			u.check(name + " is bad")
		}
	}
	if n := logged(g, fileMissing); n > 0 {
		t.Errorf("a source of a failed configuration was started")
	}
}

// TestFailedStart fails after the app has started: a port of another site is
// taken. Caddy starts apps in random order, so it is tried until both orders
// were seen.
func TestFailedStart(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	u := watch(t, g)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := func(config []byte) []byte {
		return editJSON(config, func(root map[string]any) {
			at(root, "apps", "http", "servers")["busy"] = map[string]any{"listen": []string{taken.Addr().String()}}
		})
	}

	var log string
	started := make(map[bool]int)
	for i := 0; started[true] < 3 || started[false] < 1; i++ {
		if i == 100 {
			t.Fatalf("the app was started before the failure in %d of 100 tries", started[true])
		}
		log = filepath.Join(t.TempDir(), fmt.Sprintf("failed%d.log", i))
		err := reload(t, g, gatewaytest.Options{Nowpay: second}, newToken, withoutKiosk, busy, logTo(log))
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("reload: %v", err)
		}
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		started[strings.Contains(string(content), fileMissing)]++
		u.check("a port is taken")
	}

	// The source that both have logs where it did before.
	if err := os.Remove(g.SecretFile); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the log to say that the credential is gone", func() bool { return logged(g, fileLost) > 0 })
	if content, err := os.ReadFile(log); err != nil || strings.Contains(string(content), fileLost) {
		t.Errorf("the source logs to the configuration that failed (%v)", err)
	}
	if answer := readiness(g); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready without a credential")
	}
}

// TestValidate checks a configuration without reaching anything it names.
func TestValidate(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	caught := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.Close()
		}
		caught <- err
	}()
	g := gatewaytest.Start(t, gatewaytest.Options{})
	requests, records := len(g.Simulator.Requests()), len(g.Records())
	token := filepath.Join(t.TempDir(), "token") // so that it could log in
	copyFile(t, token, g.SecretFile)
	config, err := g.Adapt(gatewaytest.Options{
		Secret: `secret vault {
			address http://` + listener.Addr().String() + `
			auth token ` + token + `
			path secret/nowpay
		}`,
		Nowpay: second,
	})
	if err != nil {
		t.Fatal(err)
	}
	config = []byte(strings.Replace(string(config), "http://"+g.ProviderAddress, "http://"+listener.Addr().String(), 1))
	sources, watchers := mustRun(t, 1, fileSource), mustRun(t, 1, egressWatcher)
	for range 3 {
		var parsed caddy.Config
		if err := json.Unmarshal(config, &parsed); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&parsed); err != nil {
			t.Fatalf("validating: %v", err)
		}
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-caught; err == nil {
		t.Error("somebody was called")
	}
	if n := len(within(vaultSource)); n != 0 {
		t.Errorf("sources that were started: %d", n)
	}
	if !slices.Equal(within(fileSource), sources) || !slices.Equal(within(egressWatcher), watchers) {
		t.Error("what was running was touched, or something was started")
	}
	if len(g.Simulator.Requests()) != requests || len(g.Records()) != records {
		t.Error("a request was made")
	}
	mustPay(t, g, gatewaytest.ShopToken, "after")
}

// TestSitesAndApp tries the combinations of the app and its handler.
func TestSitesAndApp(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{}) // two sites share the app
	for i, base := range []string{g.URL, g.TLSURL} {
		answer, err := g.Do(g.Client("http/1.1"), base, gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprintf("site%d", i), "1.50")})
		if err != nil || answer.Outcome() != "success" {
			t.Errorf("%s: %v", base, err)
		}
	}

	handlerAlone := func(config []byte) []byte {
		return editJSON(config, func(root map[string]any) { delete(at(root, "apps"), "nowpay") })
	}
	err := reload(t, g, gatewaytest.Options{}, handlerAlone)
	if err == nil || !strings.Contains(err.Error(), "nowpay_gateway needs a nowpay block in the global options") {
		t.Errorf("a site without the app: %v", err)
	}
	mustPay(t, g, gatewaytest.ShopToken, "still")

	appAlone := func(config []byte) []byte {
		return editJSON(config, func(root map[string]any) {
			for name, server := range at(root, "apps", "http", "servers") {
				if raw, _ := json.Marshal(server); strings.Contains(string(raw), "nowpay_gateway") {
					delete(at(root, "apps", "http", "servers"), name)
				}
			}
		})
	}
	mustReload(t, g, gatewaytest.Options{}, appAlone)
	if g.Metric(`nowpay_credential_available{account="main"}`) != 1 {
		t.Error("the app does not run without a site")
	}

	neither := func(config []byte) []byte { return handlerAlone(appAlone(config)) }
	mustReload(t, g, gatewaytest.Options{}, neither)
	if strings.Contains(g.Metrics(), "nowpay_credential") {
		t.Error("metrics of an app that is not configured")
	}
	if n := len(within(fileSource)) + len(within(egressWatcher)); n != 0 {
		t.Errorf("%d goroutines are left of the app", n)
	}
	mustReload(t, g, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "again")
}
