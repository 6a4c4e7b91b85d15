package caddymodule_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// TestReloadWithRequestsInFlight replaces everything while the provider takes
// its time: the exchange ends with the configuration that it began with.
func TestReloadWithRequestsInFlight(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			gatewaytest.VerifyNoLeaks(t)
			door, provider := newDoor(t), new(connections)
			g := gatewaytest.Start(t, gatewaytest.Options{Provider: door.wrap, ProviderServer: provider.count})
			logA, logB := g.Log, filepath.Join(t.TempDir(), "b.log")

			release := door.hold()
			end := begin(t.Context(), t, g, protocol, gatewaytest.Call{Body: gatewaytest.Payout("slow", "1.50")})
			<-door.arrived
			door.pass()
			file := filepath.Join(t.TempDir(), "other.json")
			copyFile(t, file, g.SecretFile)
			mustReload(t, g, gatewaytest.Options{Secret: "secret file " + file}, newToken, withoutKiosk, logTo(logB))

			mustRefuse(t, g, gatewaytest.ShopToken)
			mustPay(t, g, newShopToken, "quick")
			mustRun(t, 2, fileSource) // those of both configurations
			mustRun(t, 2, egressWatcher)
			if n := g.Metric("nowpay_in_flight"); n != 1 {
				t.Errorf("in flight: %v, want 1", n)
			}

			release()
			if answer, err := end(); err != nil || answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
				t.Errorf("the exchange ended with %v %s", err, answer.Body)
			}
			mustRun(t, 1, fileSource)
			mustRun(t, 1, egressWatcher)
			gatewaytest.Eventually(t, "its connection to be closed", func() bool { return provider.open.Load() == 1 })
			if n := g.Metric("nowpay_in_flight"); n != 0 {
				t.Errorf("in flight: %v, want 0", n)
			}
			if n := g.Simulator.Ledger().Executions["slow"]; n != 1 {
				t.Errorf("executed %d times", n)
			}
			if records := strings.Count(string(logA()), `"request_id":"slow"`); records != 1 {
				t.Errorf("decision records in the log of its configuration: %d, want 1", records)
			}
			if content, err := os.ReadFile(logB); err != nil || !strings.Contains(string(content), `"request_id":"quick"`) {
				t.Errorf("the next configuration's log has no record (%v)", err)
			}
		})
	}
}

// payments are what merchants made of a number of request ids, each sent once.
type payments struct {
	mu       sync.Mutex
	answered map[string]gatewaytest.Answer
	cut      map[string]error // no answer: the connection ended
}

// payUntil pays one request after the other.
func (p *payments) payUntil(stop *atomic.Bool, g *gatewaytest.Gateway, client *http.Client, base, prefix string, fresh bool) {
	for n := 0; !stop.Load(); n++ {
		id := fmt.Sprintf("%sn%d", prefix, n)
		answer, err := g.Do(client, base, gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
		p.mu.Lock()
		if err != nil {
			p.cut[id] = err
		} else {
			p.answered[id] = answer
		}
		p.mu.Unlock()
		if fresh {
			client.CloseIdleConnections()
		}
	}
}

func (p *payments) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.answered)
}

// TestReloadUnderLoad: whatever the gateway has taken on it carries to its end,
// once, through any number of reloads.
//
// Merchants may still find a connection closed, and then nothing was taken on.
// Caddy opens its listeners anew at a reload, and Linux resets what waits at the
// old ones (unless net.ipv4.tcp_migrate_req is set). And Go's server, once it
// is told to end, closes HTTP/1.1 connections even if a request is just
// arriving.
func TestReloadUnderLoad(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	paid := &payments{answered: make(map[string]gatewaytest.Answer), cut: make(map[string]error)}
	var stop atomic.Bool
	var merchants sync.WaitGroup
	const perKind = 4
	for kind, k := range []struct {
		protocol, base string
		fresh          bool // a new connection for each request
	}{{"http/1.1", g.URL, false}, {"http/1.1", g.TLSURL, false}, {"http/1.1", g.URL, true}, {"h2", g.TLSURL, false}} {
		for i := range perKind {
			client := g.Client(k.protocol)
			merchants.Go(func() { paid.payUntil(&stop, g, client, k.base, fmt.Sprintf("k%dc%d", kind, i), k.fresh) })
		}
	}
	for range 20 {
		before := paid.count()
		gatewaytest.Eventually(t, "merchants to pay", func() bool { return paid.count() >= before+4*perKind })
		if err := g.Load(gatewaytest.Options{}); err != nil {
			t.Errorf("reload: %v", err)
		}
	}
	stop.Store(true)
	merchants.Wait()

	gatewaytest.Eventually(t, "all exchanges to end", func() bool { return g.Metric("nowpay_in_flight") == 0 })
	executed := g.Simulator.Ledger().Executions
	for id, answer := range paid.answered {
		if answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
			t.Errorf("%s: %d %s", id, answer.StatusCode, answer.Body)
		}
		if executed[id] != 1 {
			t.Errorf("%s: answered, and executed %d times", id, executed[id])
		}
	}
	for id, err := range paid.cut {
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: %v", id, err)
		}
		if executed[id] != 0 {
			t.Errorf("%s: not answered, and executed %d times", id, executed[id])
		}
	}
	recorded := make(map[string]int)
	for _, record := range g.Records() {
		if record["outcome"] == "success" {
			recorded[record["request_id"].(string)]++
		}
	}
	if !maps.Equal(recorded, executed) {
		t.Errorf("%d request ids are recorded as successful, %d were executed", len(recorded), len(executed))
	}
	t.Logf("answered: %d, cut: %d", len(paid.answered), len(paid.cut))
}
