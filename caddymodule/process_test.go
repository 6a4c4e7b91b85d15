package caddymodule_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// process is a gateway of the test kit that runs as the command does.
type process struct {
	*gatewaytest.Gateway
	*running
	socket string // of its admin API
}

// asProcess stops the kit's own Caddy and runs the command on its Caddyfile.
func asProcess(t *testing.T, g *gatewaytest.Gateway) *process {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	p := &process{Gateway: g, socket: filepath.Join(t.TempDir(), "admin.sock")}
	// Caddy's own admin endpoint outlives it and has the port.
	g.Caddyfile = strings.Replace(g.Caddyfile, "admin "+strings.TrimPrefix(g.AdminURL, "http://"), "admin unix/"+p.socket, 1)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(g.Caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	p.running = command{args: []string{"run", "--config", file}}.start(t)
	gatewaytest.Eventually(t, "the process to serve", func() bool {
		answer, err := g.Do(g.Client("http/1.1"), g.URL, gatewaytest.Call{Method: http.MethodGet, Path: "/health/ready", Token: "-"})
		return err == nil && answer.StatusCode == http.StatusOK
	})
	return p
}

// reload gives it the same configuration again.
func (p *process) reload() {
	p.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.socket)
	}
	transport := &http.Transport{DialContext: dial}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://127.0.0.1/load", strings.NewReader(p.Caddyfile))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/caddyfile")
	request.Header.Set("Cache-Control", "must-revalidate") // forces it
	response, err := transport.RoundTrip(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		p.t.Fatalf("reload: %s", response.Status)
	}
}

// lingering is longer than Go's server keeps up an HTTP/2 connection that has no
// stream any more: a second.
const lingering = 2 * time.Second

// terminate tells it to end, and checks that it does not for a while.
func (p *process) terminate(while time.Duration) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	gatewaytest.Eventually(p.t, "the process to begin its end", func() bool {
		return logged(p.Gateway, `"msg":"exiting`) > 0
	})
	ended := make(chan struct{})
	go func() { defer close(ended); p.end() }()
	select {
	case <-ended:
		p.t.Error("the process has ended while an exchange was under way")
	case <-time.After(while): // nothing happens, so there is nothing to wait for
	}
}

// TestShutdown ends the process while the provider takes its time.
func TestShutdown(t *testing.T) {
	for _, test := range []struct {
		name     string
		protocol string
		global   string // options
		hangsUp  bool   // the merchant, before the end begins
		reload   bool   // so that the exchange is of an earlier configuration
	}{
		{name: "merchant waits", protocol: "http/1.1"},
		{name: "merchant waits, HTTP2", protocol: "h2"},
		{name: "merchant hung up", protocol: "http/1.1", hangsUp: true},
		{name: "merchant hung up, HTTP2", protocol: "h2", hangsUp: true},
		{name: "earlier configuration", protocol: "h2", hangsUp: true, reload: true},
		{name: "grace period is over", protocol: "http/1.1", global: "grace_period 100ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			door := newDoor(t)
			g := gatewaytest.Start(t, gatewaytest.Options{Provider: door.wrap, Global: test.global})
			p := asProcess(t, g)
			release := door.hold()

			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			end := begin(ctx, t, g, test.protocol, gatewaytest.Call{Body: gatewaytest.Payout("slow", "1.50")})
			<-door.arrived
			door.pass()
			if test.hangsUp {
				hangUp()
				if _, err := end(); err == nil {
					t.Fatal("the merchant did not hang up")
				}
			}
			if test.reload {
				p.reload()
			}
			while := lingering / 10
			if test.hangsUp {
				while = lingering
			}
			p.terminate(while)

			late, err := g.Do(g.Client("http/1.1"), g.URL, gatewaytest.Call{Body: gatewaytest.Payout("late", "1.50")})
			if err == nil && (late.StatusCode != http.StatusServiceUnavailable || late.Problem() != "not-sent") {
				t.Errorf("a request that came too late: %d %s", late.StatusCode, late.Body)
			}
			release()
			if !test.hangsUp && test.global == "" {
				answer, err := end()
				if err != nil || answer.StatusCode != http.StatusOK || answer.Outcome() != "success" {
					t.Errorf("the merchant got: %v %s", err, answer.Body)
				}
			}
			p.end()
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if executed := g.Simulator.Ledger().Executions; executed["slow"] != 1 || executed["late"] != 0 {
				t.Errorf("executed: %v", executed)
			}
			records := g.RecordsOf(`"request_id":"slow"`)
			if len(records) != 1 || records[0]["outcome"] != "success" {
				t.Errorf("decision records: %v", records)
			}
		})
	}
}
