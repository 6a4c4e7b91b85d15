//go:build linux

package memory

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	username   = "2000"
	shopToken  = "npg_memory_shop"
	stripToken = "npg_memory_strip"
)

// newKey makes a key that has to be escaped wherever it can be.
func newKey() string { return `k"` + rand.Text() + `+\/` + rand.Text()[:20] }

// world is a gateway in a process of its own, and the provider, which is in this one.
type world struct {
	*process
	sim    *simulator.Simulator
	folder string
	paid   int
}

// startWorld starts a gateway whose provider knows the key.
func startWorld(t *testing.T, secret, key string, env ...string) *world {
	t.Helper()
	w := &world{}
	var err error
	w.sim, err = simulator.New(simulator.Config{
		Username: username, Key: key, AllowedIPs: []netip.Prefix{netip.MustParsePrefix(gatewaytest.EgressIP + "/32")}, Now: time.Now, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	w.process, w.folder = startChild(t, fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system {folder}/storage
	log {
		level DEBUG
	}
	nowpay {
		account main {
			%s
		}
		upstream http://%s {
			local_address %s
		}
		journal sqlite {folder}/journal.db
		merchant shop {
			account main
			token %s
			from 127.0.0.1
			allow bank/* common/balance
		}
		merchant strip {
			account main
			token %s
			from 127.0.0.1
			allow bank/*
			strip_credentials
		}
		core_dumps
	}
}

http://%s {
	nowpay_gateway
}
`, secret, serve(t, w.sim), gatewaytest.EgressIP, gatewaytest.TokenHash(shopToken), gatewaytest.TokenHash(stripToken), address), address, env...)
	return w
}

// serve serves the provider until the test ends, and returns where.
func serve(t *testing.T, sim *simulator.Simulator) string {
	t.Helper()
	listener, err := net.Listen("tcp", gatewaytest.ProviderIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // ends when it is closed
	t.Cleanup(func() {
		sim.Close()
		_ = server.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// pay makes a payment, and returns the outcome.
func (w *world) pay(token, fields string) string {
	w.t.Helper()
	w.paid++
	body := gatewaytest.Payout(fmt.Sprintf("p%d", w.paid), "1.00")
	status, answer, err := w.call(http.MethodPost, "/api/bank/payout", token, "{"+fields+body[1:])
	if err != nil || status != http.StatusOK {
		w.t.Fatalf("payment %d: HTTP %d, %v: %s", w.paid, status, err, answer)
	}
	return answer
}

// payMany makes payments one after the other and side by side, some of which meet
// faults: an answer with the key in it, and none at all.
func (w *world) payMany() {
	w.t.Helper()
	for range 5 {
		if answer := w.pay(shopToken, ""); !strings.Contains(answer, `"success":"1"`) {
			w.t.Fatalf("payment %d: %s", w.paid, answer)
		}
	}
	for _, kind := range []simulator.Kind{simulator.ResetAfterDebit, simulator.Truncated} {
		if err := w.sim.AddFault(simulator.Fault{Kind: kind, Times: 1}); err != nil {
			w.t.Fatal(err)
		}
		w.pay(shopToken, "")
	}
	var side sync.WaitGroup
	for range 8 {
		side.Go(func() { _, _, _ = w.call(http.MethodPost, "/api/common/balance", shopToken, "{}") })
	}
	side.Wait()
}

// usesVersion waits until the gateway signs with the newest credential alone.
func (w *world) usesNewKey() {
	w.t.Helper()
	gatewaytest.Eventually(w.t, "the new key to be in use", func() bool {
		status, _, err := w.call(http.MethodPost, "/api/common/balance", shopToken, "{}")
		if err != nil || status != http.StatusOK {
			w.t.Fatalf("a balance: HTTP %d, %v", status, err)
		}
		all := w.sim.Requests()
		return all[len(all)-1].KeyRight
	})
}

// TestKeyIsGone rotates a key and looks for the old one in a heap dump.
func TestKeyIsGone(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secret.json")
		rotated(t, "secret file "+file, func(key string) {
			write(t, file+".new", secretFile(username, key))
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("vault", func(t *testing.T) {
		v := vaulttest.Start(t, vaulttest.WithTLS())
		v.EnableKV2("secret")
		v.Policy("nowpay", `path "secret/data/nowpay" { capabilities = ["read"] }`)
		token := filepath.Join(t.TempDir(), "token")
		write(t, token, v.Token([]string{"nowpay"}, 0, false))
		secret := fmt.Sprintf("secret vault {\naddress %s\nca %s\nauth token %s\npath secret/nowpay\nrefresh 1s\n}", v.Address, v.CAFile, token)
		rotated(t, secret, func(key string) { v.PutKV2("secret", "nowpay", map[string]any{"username": username, "key": key}) })
	})
}

func rotated(t *testing.T, secret string, put func(key string)) {
	for _, collecting := range []bool{true, false} {
		name, env := "collected", "GOGC=10"
		if !collecting {
			name, env = "uncollected", "GOGC=off"
		}
		t.Run(name, func(t *testing.T) {
			older, newer := newKey(), newKey()
			put(older)
			w := startWorld(t, secret, older, env)
			w.payMany()
			w.sim.SetCredentials(simulator.Credential{Username: username, Key: newer})
			put(newer)
			w.usesNewKey()
			w.payMany()
			if collecting {
				w.tell("collect")
			}
			theirs := newKey()
			w.pay(stripToken, fmt.Sprintf(`"username":"2000","key":%q,`, theirs))
			if collecting {
				w.tell("collect")
			}
			dump := w.heap(w.folder)
			t.Logf("merchants' key: %q", find(dump, theirs))
			if find(dump, newer) == nil {
				t.Error("the new key is not in the dump")
			}
			for _, where := range find(dump, older) {
				t.Errorf("the old key is in a heap dump of %d bytes: %s", len(dump), where)
			}
			all := w.memory()
			t.Logf("in %d bytes of the process's memory the old key is: %q", len(all), find(all, older))
			t.Logf("the new key is: %d", len(find(all, newer)))
		})
	}
}
