package vault_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

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
