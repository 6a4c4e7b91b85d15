package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// newShopToken is what newToken puts in the place of shop's.
const newShopToken = "npg_test_shop_new"

// newToken gives shop another token.
func newToken(config []byte) []byte {
	return []byte(strings.ReplaceAll(string(config), gatewaytest.TokenHash(gatewaytest.ShopToken), gatewaytest.TokenHash(newShopToken)))
}

// logTo gives a configuration another log file.
func logTo(file string) func([]byte) []byte {
	return func(config []byte) []byte {
		return editJSON(config, func(root map[string]any) {
			at(root, "logging", "logs", "default", "writer")["filename"] = file
		})
	}
}

// editJSON changes a configuration.
func editJSON(config []byte, change func(root map[string]any)) []byte {
	var root map[string]any
	if err := json.Unmarshal(config, &root); err != nil {
		panic(err)
	}
	change(root)
	config, err := json.Marshal(root)
	if err != nil {
		panic(err)
	}
	return config
}

// at walks down objects.
func at(object map[string]any, path ...string) map[string]any {
	for _, name := range path {
		object = object[name].(map[string]any)
	}
	return object
}

// reload loads a configuration with edits that a Caddyfile of the test kit does
// not have.
func reload(t *testing.T, g *gatewaytest.Gateway, o gatewaytest.Options, edits ...func([]byte) []byte) error {
	t.Helper()
	config, err := g.Adapt(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		config = edit(config)
	}
	return g.LoadJSON(config)
}

// mustReload is reload of what is right.
func mustReload(t *testing.T, g *gatewaytest.Gateway, o gatewaytest.Options, edits ...func([]byte) []byte) {
	t.Helper()
	if err := reload(t, g, o, edits...); err != nil {
		t.Fatalf("reload: %v", err)
	}
}

// Functions whose goroutines tell what is open.
const (
	fileSource    = "vault.(*File).run("
	vaultSource   = "vault.(*Source).run("
	egressWatcher = "egress.(*Client).watch("
)

// within lists the goroutines that are in a function.
func within(function string) []string { return gatewaytest.Goroutines(function) }

// mustRun waits until a number of goroutines is in a function: one that has just
// been started may not be there yet.
func mustRun(t *testing.T, n int, function string) (found []string) {
	t.Helper()
	gatewaytest.Eventually(t, fmt.Sprintf("%d goroutines in %s", n, function), func() bool {
		found = within(function)
		return len(found) == n
	})
	return found
}

// door stands in front of the provider.
type door struct {
	t       *testing.T
	arrived chan struct{} // one for each request that waits

	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func newDoor(t *testing.T) *door {
	return &door{t: t, arrived: make(chan struct{}, 1000)}
}

// hold makes requests wait from now on, until release is called.
func (d *door) hold() (release func()) {
	shut := make(chan struct{})
	release = sync.OnceFunc(func() { close(shut) })
	d.t.Cleanup(release) // or a failed test hangs
	d.set(shut)
	return release
}

// pass makes requests wait no more; those that wait still do.
func (d *door) pass() { d.set(nil) }

func (d *door) set(shut chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
}

func (d *door) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		shut := d.shut
		d.mu.Unlock()
		if shut != nil {
			d.arrived <- struct{}{}
			<-shut
		}
		next.ServeHTTP(w, r)
	})
}

// connections counts the open ones of a server.
type connections struct{ open atomic.Int32 }

func (c *connections) count(server *http.Server) {
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			c.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			c.open.Add(-1)
		}
	}
}

// begin sends a call on a connection of its own and returns at once. The
// function that it returns waits for the answer.
func begin(ctx context.Context, t *testing.T, g *gatewaytest.Gateway, protocol string, c gatewaytest.Call) (end func() (gatewaytest.Answer, error)) {
	t.Helper()
	base := g.URL
	if protocol == "h2" {
		base = g.TLSURL
	}
	client := g.Client(protocol)
	var answer gatewaytest.Answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err = g.DoContext(ctx, client, base, c)
		client.CloseIdleConnections()
	}()
	return func() (gatewaytest.Answer, error) {
		<-done
		return answer, err
	}
}

// mustPay makes a payment that succeeds.
func mustPay(t *testing.T, g *gatewaytest.Gateway, token, id string) {
	t.Helper()
	answer := g.Must(gatewaytest.Call{Token: token, Body: gatewaytest.Payout(id, "1.50")})
	if answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
		t.Errorf("payment %s: %d %s", id, answer.StatusCode, answer.Body)
	}
}

// mustRefuse checks that a token is not known (any more).
func mustRefuse(t *testing.T, g *gatewaytest.Gateway, token string) {
	t.Helper()
	answer := g.Must(gatewaytest.Call{Token: token, Body: gatewaytest.Payout("refused", "1.50")})
	if answer.Problem() != "unauthenticated" {
		t.Errorf("token %s: %d %q", token, answer.StatusCode, answer.Problem())
	}
}
