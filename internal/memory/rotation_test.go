//go:build linux

package memory

import (
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
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
func startWorld(t *testing.T, secret, key string, secured bool, env ...string) *world {
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
	upstream, words := serve(t, w.sim, secured)
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
		upstream %s {
			local_address %s
			%s
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
`, secret, upstream, gatewaytest.EgressIP, words, gatewaytest.TokenHash(shopToken), gatewaytest.TokenHash(stripToken), address), address, env...)
	return w
}

// serve serves the provider until the test ends, and returns the upstream's URL and
// words.
func serve(t *testing.T, sim *simulator.Simulator, secured bool) (url, words string) {
	t.Helper()
	server := httptest.NewUnstartedServer(sim.Handler())
	t.Cleanup(func() {
		sim.Close()
		server.Close()
	})
	if !secured {
		server.Start()
		return server.URL, ""
	}
	server.StartTLS()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.URL, "ca " + ca
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

// rotation is a way to give a gateway its credential, and another one.
type rotation struct {
	secret  string // the words of the account
	put     func(key string)
	secured bool // the provider speaks TLS
}

func byFile(t *testing.T) rotation {
	file := filepath.Join(t.TempDir(), "secret.json")
	return rotation{"secret file " + file, func(key string) {
		write(t, file+".new", secretFile(username, key))
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}, false}
}

func byVault(t *testing.T) rotation {
	v := vaulttest.Start(t, vaulttest.WithTLS())
	v.EnableKV2("secret")
	v.Policy("nowpay", `path "secret/data/nowpay" { capabilities = ["read"] }`)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, v.Token([]string{"nowpay"}, 0, false))
	secret := fmt.Sprintf("secret vault {\naddress %s\nca %s\nauth token %s\npath secret/nowpay\nrefresh 1s\n}", v.Address, v.CAFile, token)
	return rotation{secret, func(key string) {
		v.PutKV2("secret", "nowpay", map[string]any{"username": username, "key": key})
	}, true}
}

// rotate pays with a key, replaces it and pays with the next one, until the first is
// of no use any more. It returns both.
func (r rotation) rotate(t *testing.T, env ...string) (w *world, older, newer string) {
	t.Helper()
	older, newer = newKey(), newKey()
	r.put(older)
	w = startWorld(t, r.secret, older, r.secured, env...)
	w.payMany()
	w.sim.SetCredentials(simulator.Credential{Username: username, Key: newer})
	r.put(newer)
	w.usesNewKey()
	w.payMany()
	return w, older, newer
}

// TestKeyIsGone rotates a key and looks for the old one in a heap dump, and in all of
// the process's memory: once the garbage is collected, and in a process that has never
// given any memory back, where whatever nobody has overwritten is still to be found.
//
// In memory outside of the heap a piece of it may be left by chance: Go saves the
// registers of a goroutine that it interrupts, perhaps while a copy is being made, and
// does not overwrite them. What the gateway forgets to overwrite is there each time.
func TestKeyIsGone(t *testing.T) {
	for name, by := range map[string]func(*testing.T) rotation{"file": byFile, "vault": byVault} {
		for gc, collected := range map[string]bool{"GOGC=50": true, "GOGC=off": false} {
			t.Run(name+" "+gc, func(t *testing.T) {
				t.Parallel()
				for try := 1; ; try++ {
					left := searchAfterRotation(t, by(t), gc, collected)
					if left == nil {
						return
					}
					if try == 3 {
						t.Fatalf("the old key is in the process's memory, each time: %q", left)
					}
					t.Logf("the old key is in the process's memory, this time: %q", left)
				}
			})
		}
	}
}

// searchAfterRotation returns where in the process's memory the old key is still to be
// found. In a heap dump it must not be.
func searchAfterRotation(t *testing.T, r rotation, gc string, collected bool) []string {
	t.Helper()
	w, older, newer := r.rotate(t, gc)
	if collected {
		w.tell("collect")
	}
	heap, memory := w.heap(), w.memory()
	for where, text := range map[string][]byte{"a heap dump": heap, "the process's memory": memory} {
		if find(text, newer) == nil {
			t.Errorf("the new key is not in %s of %d bytes", where, len(text))
		}
	}
	for _, found := range find(heap, older) {
		t.Errorf("the old key is in a heap dump of %d bytes: %s", len(heap), found)
	}
	return find(memory, older)
}

// TestKeyOfOthers looks for keys that came over connections whose buffers are not the
// gateway's to overwrite: one that an app still sends, and one that the provider sends
// back. When the connection is gone and the garbage collected, nothing in use holds
// them. What of them lies in memory that is free is logged.
func TestKeyOfOthers(t *testing.T) {
	t.Parallel()
	r := byFile(t)
	apps, echoed, newer := newKey(), newKey(), newKey()
	r.put(echoed)
	w := startWorld(t, r.secret, echoed, r.secured)
	w.pay(stripToken, fmt.Sprintf(`"username":"2000","key":%q,`, apps))
	if err := w.sim.AddFault(simulator.Fault{Kind: simulator.KeyEcho, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if answer := w.pay(shopToken, ""); strings.Contains(answer, echoed[5:15]) {
		t.Errorf("the merchant got the key: %s", answer)
	}
	w.sim.SetCredentials(simulator.Credential{Username: username, Key: newer})
	r.put(newer)
	w.usesNewKey()
	w.payMany()
	for name, key := range map[string]string{"an app's": apps, "an echoed": echoed} {
		gatewaytest.Eventually(t, name+" key to be in use by nothing", func() bool {
			w.tell("collect")
			return find(w.heap(), key) == nil
		})
		t.Logf("%s key in the process's memory: %q", name, find(w.memory(), key))
	}
}
