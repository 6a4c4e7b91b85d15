//go:build linux

package powercut

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// Addresses on loopback that tell the parts apart, and that no other test uses.
const (
	providerIP = "127.0.0.29"
	egressIP   = "127.0.0.25"
)

// The account at the simulated Nowpay.
const (
	username = "2000"
	key      = "0f1e2d3c4b5a69788796a5b4c3"
)

// provider is the simulated Nowpay, whose door may be shut for a while.
type provider struct {
	sim     *simulator.Simulator
	server  *http.Server
	address string
	calm    atomic.Bool // requests do not choose their faults any more
	losing  int         // one in so many answers that a payment is pending is lost; 0: none

	mu       sync.Mutex
	listener net.Listener
	served   chan struct{} // closed when nobody listens at the door any more
	faults   map[string]int
	requests int
}

func startProvider(t *testing.T, seed uint64) *provider {
	t.Helper()
	const plenty nowpay.Paise = 1 << 50
	sim, err := simulator.New(simulator.Config{
		Username: username, Key: key, Seed: seed, TradeBalance: plenty, AEPSBalance: plenty,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix(egressIP + "/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{sim: sim, address: freeAddresses(t, providerIP, 1)[0], faults: make(map[string]int)}
	p.server = &http.Server{Handler: p.count(sim.Handler()), ReadHeaderTimeout: time.Minute}
	p.open(t)
	t.Cleanup(func() {
		sim.Close()
		_ = p.server.Close()
		<-p.served
	})
	for _, fault := range statusFaults {
		if err := sim.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// open lets connections in.
func (p *provider) open(t *testing.T) {
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Errorf("opening the provider's door: %v", err)
		return
	}
	served := make(chan struct{})
	p.listener, p.served = listener, served
	go func() {
		defer close(served)
		_ = p.server.Serve(listener) // ends when the door is shut
	}()
}

// outage refuses new connections for a while.
func (p *provider) outage(t *testing.T, while time.Duration) {
	_ = p.listener.Close()
	<-p.served
	time.Sleep(while)
	p.open(t)
}

var chosen = regexp.MustCompile(`"sim:([a-z0-9-]+)`)

// count counts requests and the faults that they choose, unless it is calm.
func (p *provider) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		p.mu.Lock()
		p.requests++
		loses := false
		if fault := chosen.FindSubmatch(body); fault != nil {
			if p.calm.Load() {
				r.Body = io.NopCloser(bytes.NewReader(chosen.ReplaceAll(body, []byte(`"calm:$1`))))
			} else if kind := string(fault[1]); kind != string(simulator.Success) {
				p.faults[kind]++
				loses = p.losing > 0 && strings.HasPrefix(kind, "pending-then-") && p.faults[kind]%p.losing == 0
			}
		}
		p.mu.Unlock()
		if loses {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// counted tells how many requests came, and which faults they met.
func (p *provider) counted() (requests int, faults map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests, maps.Clone(p.faults)
}

// calmDown ends all misbehaviour.
func (p *provider) calmDown() {
	p.calm.Store(true)
	p.sim.ClearFaults()
}

// failing ends a body as it had ended.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// statusFaults are met by some of the gateway's own questions. That an answer
// lies is not among them: nobody could tell.
var statusFaults = []simulator.Fault{
	{Operation: statusOperation, Kind: simulator.HistoryEmpty, Probability: 0.05},
	{Operation: statusOperation, Kind: simulator.HistoryPrefix, Probability: 0.05},
	{Operation: statusOperation, Kind: simulator.HTTP500, Probability: 0.05},
	{Operation: statusOperation, Kind: simulator.ResetBefore, Probability: 0.05},
	{Operation: statusOperation, Kind: simulator.TimeoutBeforeDebit, Probability: 0.02},
	{Operation: statusOperation, Kind: simulator.Truncated, Probability: 0.05},
	{Operation: statusOperation, Kind: simulator.JunkBeforeJSON, Probability: 0.05},
}

// freeAddresses are different ones that were free a moment ago.
func freeAddresses(t *testing.T, ip string, count int) []string {
	t.Helper()
	addresses := make([]string, count)
	for i := range addresses {
		listener, err := net.Listen("tcp", ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() // not before all have one
		addresses[i] = listener.Addr().String()
	}
	return addresses
}
