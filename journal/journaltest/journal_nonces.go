package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// using are the tests of nonces.
var using = []journalTest{
	{name: "Nonce", run: testNonce},
	{name: "NonceExpires", run: testNonceExpires},
	{name: "NonceAtOnce", run: testNonceAtOnce},
	{name: "NonceAmongPayments", run: testNonceAmongPayments},
	{name: "NonceAfterRotation", run: testNonceAfterRotation},
	{name: "NonceStored", run: testNonceStored},
}

const nonceLife = 5 * time.Minute // how long what carries a nonce is accepted

func (w *world) nonce(value string) journal.Nonce {
	return journal.Nonce{Scope: "shop key-1", Value: value, Expires: w.now().Add(nonceLife)}
}

// use uses a nonce that nobody has used; replay uses one that somebody has.
func (g *gateway) use(t tb, n journal.Nonce) {
	t.Helper()
	if err := g.UseNonce(t.Context(), n); err != nil {
		t.Errorf("UseNonce(%q, %q) = %v", n.Scope, n.Value, err)
	}
}

func (g *gateway) replay(t tb, n journal.Nonce) {
	t.Helper()
	checkError(t, fmt.Sprintf("UseNonce(%q, %q) again", n.Scope, n.Value), g.UseNonce(t.Context(), n), journal.ErrReplayed)
}

// What is used is used on all gateways, and after a restart. A nonce is its scope
// and its value, wherever one ends and the other begins.
func testNonce(t *testing.T, w *world) {
	gateways := w.two(t)
	all := []journal.Nonce{
		{Scope: "shop", Value: "1"},
		{Scope: "shop1", Value: ""},
		{Scope: "", Value: "shop1"},
		{Scope: "sho", Value: "p1"},
		{Scope: "shop", Value: "\x00"},
		{Scope: "shop\x00", Value: ""},
		{Scope: "shop", Value: "\xff"},
		{Scope: "shop", Value: "\ufffd"},
		{Scope: "kiosk", Value: "1"},
		{Scope: "4 shop", Value: "1"},
		{Scope: "shop", Value: string(bytes.Repeat([]byte{'n'}, 1<<16))},
	}
	for i, n := range all {
		n.Expires = w.now().Add(nonceLife)
		all[i] = n
		gateways[i%2].use(t, n)
		gateways[0].replay(t, n)
		gateways[1].replay(t, n)
	}
	for _, g := range gateways {
		g.end(t)
	}
	w.pass(nonceLife - time.Microsecond)
	g := w.start(t, "gateway")
	for _, n := range all {
		g.replay(t, n)
		n.Expires = w.now().Add(nonceLife) // signed anew with the same one
		g.replay(t, n)
	}
	g.checkHonest(t)
}

// A nonce is forgotten when it has expired, by the journal's clock, and not used
// from then on by who comes too late.
func testNonceExpires(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	first, second := w.nonce("1"), w.nonce("2")
	g.use(t, first)
	prune := func(want int) {
		t.Helper()
		if n, err := g.PruneNonces(t.Context(), w.now(), 10); err != nil || n != want {
			t.Errorf("PruneNonces() = %d, %v, want %d", n, err, want)
		}
	}
	w.pass(nonceLife - time.Microsecond)
	prune(0)
	g.replay(t, first)
	g.use(t, second)
	w.pass(time.Microsecond)
	g.replay(t, first)
	prune(2)
	g.replay(t, first) // nobody knows any more
	g.replay(t, second)
	g.replay(t, journal.Nonce{Scope: "shop key-1", Value: "3"}) // that never was good
	prune(0)
	g.use(t, w.nonce("1"))
	w.pass(nonceLife)
	g.use(t, w.nonce("1")) // though it is there
	g.replay(t, w.nonce("1"))
}

// Of many who use the same nonces at the same time, over all gateways, one is the
// first.
func testNonceAtOnce(t *testing.T, w *world) {
	gateways := w.two(t)
	const times, values = 40, 10
	for round := range 3 { // the values have expired in the next
		var used [values]int
		var mu sync.Mutex
		var work sync.WaitGroup
		for i := range times {
			work.Go(func() {
				for j := range values {
					n := (j*(2*(i%4)+1) + i) % values // in another order
					switch err := gateways[i%2].UseNonce(t.Context(), w.nonce(fmt.Sprint(n))); {
					case err == nil:
						mu.Lock()
						used[n]++
						mu.Unlock()
					case !errors.Is(err, journal.ErrReplayed):
						t.Errorf("UseNonce() = %v", err)
					}
					if i%10 == 0 {
						if _, err := gateways[i%2].PruneNonces(t.Context(), w.now(), 2); err != nil {
							t.Errorf("PruneNonces() = %v", err)
						}
					}
				}
			})
		}
		work.Wait()
		for n, times := range used {
			if times != 1 {
				t.Errorf("round %d: nonce %d was used %d times", round, n, times)
			}
		}
		w.pass(nonceLife)
	}
}

// Each request with its nonce and its payment, and with a replay.
func testNonceAmongPayments(t *testing.T, w *world) {
	gateways := w.two(t)
	var work sync.WaitGroup
	for i := range 64 {
		g := gateways[i%2]
		work.Go(func() {
			id := fmt.Sprintf("R%d", i)
			g.use(t, w.nonce(id))
			begun, err := g.Begin(t.Context(), w.limited(id, 100, 1_000_000))
			if err != nil || !begun.Fresh {
				t.Errorf("Begin(%s) = fresh %t, %v", id, begun.Fresh, err)
				return
			}
			gateways[(i+1)%2].replay(t, w.nonce(id))
			if _, err := g.Settle(t.Context(), begun.Transaction.ID, w.settlement(begun.Transaction, journal.Success)); err != nil {
				t.Errorf("Settle(%s) = %v", id, err)
			}
		})
	}
	work.Wait()
	if report := gateways[0].checkHonest(t); report.Transactions != 64 {
		t.Errorf("%d transactions, want 64", report.Transactions)
	}
}

// Neither another master key nor another data key makes a nonce a new one.
func testNonceAfterRotation(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	g.use(t, w.nonce("1"))
	old := string(bytes.TrimSpace(readFile(t, w.keyFile)))
	writeKeys(t, w.keyFile, newKey(), old)
	g.rotate(t)
	if n := w.keys(t); n != 2 {
		t.Fatalf("%d data keys, want 2", n)
	}
	g.replay(t, w.nonce("1"))
	g.end(t)
	g = w.start(t, "gateway")
	g.replay(t, w.nonce("1"))
	g.checkHonest(t)
}

// What is stored is small, and tells nothing.
func testNonceStored(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	g.use(t, journal.Nonce{Scope: "Lakshmi", Value: secretField, Expires: w.now().Add(nonceLife)})
	g.use(t, journal.Nonce{Scope: "shop", Value: string(bytes.Repeat([]byte("yourrequestid"), 1000)), Expires: w.now().Add(nonceLife)})
	if n := w.number(t, "SELECT count(*) FROM nonces WHERE length(id) = 16"); n != 2 {
		t.Errorf("%d nonces are stored in 16 bytes, want 2", n)
	}
	if n := w.number(t, "SELECT count(*) FROM chains"); n != 0 {
		t.Errorf("%d chains were opened for them", n)
	}
	g.end(t)
	w.checkRaw(t)
}
