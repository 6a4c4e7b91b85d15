package caddymodule_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// live makes the account of a gateway a live one: its upstream is one of the live
// hosts.
func live(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	if err := g.Load(gatewaytest.Options{Nowpay: "live_hosts " + g.ProviderAddress}); err != nil {
		t.Fatal(err)
	}
}

// TestModeIsTold looks for what the account is wherever it is told.
func TestModeIsTold(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true})
	check := func(mode, other string) {
		t.Helper()
		response, err := g.Client("http/1.1").Get(g.AdminURL + "/nowpay/accounts")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var got []map[string]string
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("HTTP %d, %v", response.StatusCode, err)
		}
		if want := fmt.Sprint([]map[string]string{{"name": "main", "mode": mode, "upstream": g.ProviderAddress}}); fmt.Sprint(got) != want {
			t.Errorf("accounts are %v, want %s", got, want)
		}
		for m, want := range map[string]float64{mode: 1, other: 0} {
			if got := g.Metric(fmt.Sprintf(`nowpay_account_info{account="main",mode=%q}`, m)); got != want {
				t.Errorf("the metric of %s is %v, want %v", m, got, want)
			}
		}
		if !strings.Contains(string(g.Log()), fmt.Sprintf(`"account":"main","mode":%q,"upstream":%q`, mode, g.ProviderAddress)) {
			t.Errorf("the log does not tell that the account is %s", mode)
		}
		runNowpay(t, "check", "--config", write(t, "Caddyfile", g.Caddyfile)).
			mustSay(t, 0, "ok      account main                 "+mode+", at "+g.ProviderAddress)
	}
	check("test", "live")
	live(t, g)
	check("live", "test")
}

// TestLiveBelievesNoSimulator has a live account reach a simulator: what it says
// is not believed, and merchants get what they get of any answer that is not.
func TestLiveBelievesNoSimulator(t *testing.T) {
	says := true // the simulator says what it is
	g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true, Provider: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !says {
				w = silent{w}
			}
			next.ServeHTTP(w, r)
		})
	}})
	balance := gatewaytest.Call{Path: "/api/common/balance", Body: "{}"}
	pays := func(id, outcome string) {
		t.Helper()
		answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
		if answer.StatusCode != http.StatusOK || answer.Outcome() != outcome {
			t.Errorf("payment %s: %d %s %s, want %s", id, answer.StatusCode, answer.Outcome(), answer.Body, outcome)
		}
		if answer.Header.Get("Nowpay-Simulator") != "" {
			t.Errorf("payment %s: the merchant gets the simulator's header", id)
		}
	}
	pays("1", "success")

	live(t, g)
	pays("2", "unknown")
	if got := fmt.Sprint(g.LastRecord()["findings"]); got != "[simulator]" {
		t.Errorf("findings %s", got)
	}
	if answer := g.Must(balance); answer.StatusCode != http.StatusBadGateway {
		t.Errorf("a balance: %d %s", answer.StatusCode, answer.Body)
	}
	if got := g.Metric(`nowpay_integrity_failures_total{kind="simulator",operation="bank/payout"}`); got != 1 {
		t.Errorf("the metric is %v", got)
	}

	says = false
	pays("3", "success")
}

// silent leaves out the header by which the simulator says what it is.
type silent struct{ http.ResponseWriter }

func (s silent) WriteHeader(status int) {
	s.Header().Del("Nowpay-Simulator")
	s.ResponseWriter.WriteHeader(status)
}

func (s silent) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// TestSimulateBesideLive starts a simulator on a machine whose gateway has a live
// account, and then a test account.
func TestSimulateBesideLive(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true})
	admin := strings.TrimPrefix(g.AdminURL, "http://")
	folder := t.TempDir()
	simulate := command{dir: folder, args: []string{
		"nowpay", "simulate", "--address", admin, "--listen", freeAddress(t), "--control", "", "--callback", "",
	}}
	live(t, g)
	simulate.run(t).mustSay(t, 1, "no simulator runs beside a live account", "main")
	if _, err := os.Stat(filepath.Join(folder, "nowpay-secret.json")); err == nil {
		t.Error("it has made an account before it refused")
	}
	if err := g.Load(gatewaytest.Options{}); err != nil {
		t.Fatal(err)
	}
	r := simulate.start(t)
	r.prints("simulated Nowpay")
	r.signal(syscall.SIGTERM)
}

// TestServingLiveAccounts asks whatever may listen at an admin endpoint.
func TestServingLiveAccounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   []string
		known  bool
	}{
		{"live and test", 200, `[{"name":"a","mode":"live"},{"name":"b","mode":"test"}]`, []string{"a"}, true},
		{"test", 200, `[{"name":"b","mode":"test"}]`, nil, true},
		{"a mode of later", 200, `[{"name":"b","mode":"trial"}]`, []string{"b"}, true},
		{"no gateway serves", 503, `{"error":"no Nowpay gateway serves in this Caddy now"}`, nil, true},
		{"Caddy without the gateway", 404, ``, nil, true},
		{"forbidden", 403, `{"error":"origin"}`, nil, false},
		{"something else", 200, `hello`, nil, false},
		{"redirect", 302, ``, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/nowpay/accounts" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer server.Close()
			got, err := caddymodule.ServingLiveAccounts(t.Context(), strings.TrimPrefix(server.URL, "http://"))
			if !slices.Equal(got, tt.want) || (err == nil) != tt.known {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if got, err := caddymodule.ServingLiveAccounts(t.Context(), freeAddress(t)); got != nil || err != nil {
		t.Errorf("where nobody listens: %q, %v", got, err)
	}
	if got, err := caddymodule.ServingLiveAccounts(t.Context(), "unix/"+filepath.Join(t.TempDir(), "absent.sock")); got != nil || err != nil {
		t.Errorf("where there is no socket: %q, %v", got, err)
	}
	if _, err := caddymodule.ServingLiveAccounts(t.Context(), "localhost:1-5"); err == nil {
		t.Error("no address, and no error")
	}
}

// TestServingOutOfReach has a gateway listen where this process may not look, or waits
// in vain: then it is not known whether it is live.
func TestServingOutOfReach(t *testing.T) {
	folder, err := os.MkdirTemp("", "admin") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket, closed := filepath.Join(folder, "admin.sock"), filepath.Join(folder, "closed")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Symlink(closed, closed); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	mustNotKnow := func(ctx context.Context, path string) {
		t.Helper()
		_, err := caddymodule.ServingLiveAccounts(ctx, "unix/"+path)
		if err == nil || !strings.Contains(err.Error(), "as a user who may reach it") {
			t.Errorf("%s: %v", path, err)
		}
	}
	mustNotKnow(over, socket)        // waits in vain
	mustNotKnow(t.Context(), closed) // a link to itself
	mustNotKnow(t.Context(), filepath.Join(closed, "admin.sock"))
	if os.Geteuid() == 0 {
		return // who may reach everything
	}
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := caddymodule.ServingLiveAccounts(t.Context(), "unix/"+socket); !errors.Is(err, os.ErrPermission) {
		t.Errorf("where the socket may not be used: %v", err)
	}
}
