package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// machine is a network namespace: a machine of its own, as far as the network
// is concerned.
type machine struct {
	t    *testing.T
	name string
	http *http.Client // of a user who sits at it
}

// newMachine skips the test where it cannot have one.
func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	m := &machine{t: t, name: fmt.Sprintf("nowpay-%s-%d", name, os.Getpid())}
	_, err := exec.LookPath("ip")
	needPart(t, err == nil, "the command ip (iproute2)")
	needPart(t, os.Geteuid() == 0, "root")
	out, err := exec.Command("ip", "netns", "add", m.name).CombinedOutput()
	needPart(t, err == nil, fmt.Sprintf("network namespaces: %v %s", err, out))
	t.Cleanup(func() { ipCommand(t, "netns", "del", m.name) })
	transport := &http.Transport{DialContext: m.dial}
	t.Cleanup(transport.CloseIdleConnections)
	m.http = &http.Client{Transport: transport, Timeout: time.Minute}
	m.ip("link set lo up")
	return m
}

func ipCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// ip runs the command of that name on the machine.
func (m *machine) ip(args string) {
	m.t.Helper()
	ipCommand(m.t, append([]string{"-n", m.name}, strings.Fields(args)...)...)
}

// dial connects from the machine.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		net.Conn
		error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends here, its namespace with it
		file, err := os.Open("/run/netns/" + m.name)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		var conn net.Conn
		if err == nil {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
		}
		done <- result{conn, err}
	}()
	r := <-done
	return r.Conn, r.error
}

// get asks for a URL from the machine.
func (m *machine) get(url string) (status int, body string) {
	m.t.Helper()
	response, err := m.http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		m.t.Fatalf("GET %s: %v", url, err)
	}
	return response.StatusCode, string(content)
}

// remoteCaddyfile is a gateway whose provider is one cable away.
const remoteCaddyfile = `{
	admin off
	persist_config off
	nowpay {
		account main {
			secret file %s
		}
		upstream http://10.77.0.1:8490 {
			local_address 10.77.0.2
			insecure_http
			timeout 20s
		}
		merchant shop {
			account main
			token %s
			from 127.0.0.1
			allow bank/payout
		}
	}
}

http://127.0.0.1:8480 {
	nowpay_gateway
}
`

// TestEgressAddressComesAndGoes lets the built binary run on a machine that
// loses the address that the provider has whitelisted, and gets it back.
func TestEgressAddressComesAndGoes(t *testing.T) {
	gateway, provider := newMachine(t, "gateway"), newMachine(t, "provider")
	gateway.ip("link add cable type veth peer name cable netns " + provider.name)
	provider.ip("addr add 10.77.0.1/24 dev cable")
	gateway.ip("addr add 10.77.0.3/24 dev cable") // the machine's own, which is not whitelisted
	for _, m := range []*machine{gateway, provider} {
		m.ip("link set cable up")
	}
	arrive := func() { t.Helper(); gateway.ip("addr add 10.77.0.2/32 dev cable") }
	leave := func() { t.Helper(); gateway.ip("addr del 10.77.0.2/32 dev cable") }
	arrive()

	secretFile := filepath.Join(t.TempDir(), "secret.json")
	command{namespace: provider.name, args: []string{
		"nowpay", "simulate", "--listen", "10.77.0.1:8490", "--control", "127.0.0.1:8491",
		"--allow", "10.77.0.2", "--secret-file", secretFile,
	}}.start(t).prints("simulated Nowpay")
	config := write(t, "Caddyfile", fmt.Sprintf(remoteCaddyfile, secretFile, gatewaytest.TokenHash(gatewaytest.ShopToken)))
	command{namespace: gateway.name, args: []string{"run", "--config", config}}.start(t)

	reached := func() []simulator.Request {
		t.Helper()
		_, body := provider.get("http://127.0.0.1:8491/requests")
		var requests []simulator.Request
		if err := json.Unmarshal([]byte(body), &requests); err != nil {
			t.Fatalf("the simulator's requests: %v: %s", err, body)
		}
		return requests
	}
	ready := func() (bool, string) {
		status, body := gateway.get("http://127.0.0.1:8480/health/ready")
		return status == http.StatusOK, body
	}
	payments := 0
	pay := func() *http.Response {
		t.Helper()
		payments++
		body := gatewaytest.Payout(fmt.Sprintf("p%d", payments), "1.00")
		request, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:8480/api/bank/payout", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+gatewaytest.ShopToken)
		request.Header.Set("Content-Type", "application/json")
		response, err := gateway.http.Do(request)
		if err != nil {
			t.Fatalf("paying: %v", err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return response
	}
	succeeds := func() {
		t.Helper()
		if response := pay(); response.Header.Get("Nowpay-Gateway-Outcome") != "success" { //nolint:bodyclose // pay closes it
			t.Fatalf("payment: %s %v", response.Status, response.Header)
		}
	}

	gatewaytest.Eventually(t, "the gateway to be ready", func() bool { ok, _ := ready(); return ok })
	for range 3 {
		before := len(reached())
		succeeds()
		succeeds() // over the kept connection
		if n := len(reached()) - before; n != 2 {
			t.Errorf("%d of 2 payments reached the provider", n)
		}

		leave()
		left := time.Now()
		gatewaytest.Eventually(t, "the loss to be noticed", func() bool { ok, _ := ready(); return !ok })
		if took := time.Since(left); took > 5*time.Second {
			t.Errorf("the loss was noticed after %v", took)
		}
		before = len(reached())
		for range 3 {
			response := pay() //nolint:bodyclose // pay closes it
			if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Nowpay-Gateway-Error") != "egress-unavailable" {
				t.Errorf("payment without the address: %s %v", response.Status, response.Header)
			}
		}
		if _, body := ready(); !strings.Contains(body, "egress-unavailable") {
			t.Errorf("readiness: %s", body)
		}
		if n := len(reached()) - before; n != 0 {
			t.Errorf("%d payments reached the provider without the address", n)
		}

		arrive()
		succeeds() // at once, whether or not anybody has looked
		gatewaytest.Eventually(t, "the return to be noticed", func() bool { ok, _ := ready(); return ok })
	}
	for _, r := range reached() {
		if r.Remote.Addr().String() != "10.77.0.2" {
			t.Errorf("the provider saw %s", r.Remote)
		}
	}
}
