package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	username = "2000"
	key      = `5f4dcc3b/aa+765"d61d8327deb`
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand. It stands at a time that is another day in UTC.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2021, 10, 27, 20, 45, 7, 0, time.UTC)} }

func (c *clock) Now() time.Time { return c.now }

// bench is a simulator that listens, and a client that calls it.
type bench struct {
	*simulator.Simulator
	t      testing.TB
	host   string // of the listener
	server *http.Server
	clock  *clock
}

// start makes a simulator listen on 127.0.0.9. Its clock stands still.
func start(t testing.TB, edit ...func(*simulator.Config)) *bench {
	t.Helper()
	c := newClock()
	cfg := simulator.Config{Username: username, Key: key, Now: c.Now, Seed: 7}
	for _, e := range edit {
		e(&cfg)
	}
	sim, err := simulator.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	b := &bench{Simulator: sim, t: t, host: l.Addr().String(), clock: c}
	b.server = &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	b.server.Protocols.SetHTTP1(true)
	b.server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = b.server.Serve(l) }()
	t.Cleanup(func() {
		sim.Close()
		if err := b.server.Shutdown(context.Background()); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		<-done
	})
	return b
}

// client makes a client whose connections come from an address and end with
// the test. It follows no redirect and decompresses nothing.
func client(t testing.TB, from string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{DialContext: d.DialContext, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// body is a request's members; username and key are added unless they are there.
type body map[string]any

func (b body) with(name string, value any) body {
	c := body{name: value}
	for n, v := range b {
		if n != name {
			c[n] = v
		}
	}
	return c
}

func (b body) signed() body {
	c := body{"username": username, "key": key}
	maps.Copy(c, b)
	return c
}

func payout(id string) body {
	return body{
		"accountnumber": "001122334455", "ifsc": "ABCD0001234", "amount": "150.50",
		"yourrequestid": id, "name": "Asha Rao", "transferMode": "IMPS",
	}
}

func recharge(id string) body {
	return body{"number": "9876543210", "operatorid": "1", "amount": "10", "yourreqid": id}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any // nil if the body is no JSON object
}

// text is a member of the answer; "" if it is not there, or no string.
func (a answer) text(name string) string { s, _ := a.json[name].(string); return s }

// request makes a JSON request for an operation.
func (b *bench) request(operation string, members body) *http.Request {
	b.t.Helper()
	text, err := json.Marshal(members.signed())
	if err != nil {
		b.t.Fatalf("encoding: %v", err)
	}
	return b.raw(operation, "application/json", text)
}

func (b *bench) raw(operation, contentType string, text []byte) *http.Request {
	b.t.Helper()
	target := "http://" + b.host + "/api/index.php?route=/api/" + operation
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, target, bytes.NewReader(text))
	if err != nil {
		b.t.Fatalf("making request: %v", err)
	}
	r.GetBody = nil // no hidden replay: what is tested is one request
	r.Header.Set("Content-Type", contentType)
	return r
}

func form(members body) []byte {
	v := url.Values{}
	for n, m := range members.signed() {
		s, _ := m.(string)
		v.Set(n, s)
	}
	return []byte(v.Encode())
}

// try sends a request and reads all of the answer.
func try(c *http.Client, r *http.Request) (answer, error) {
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(text)}
	_ = json.Unmarshal(text, &a.json)
	return a, nil
}

// call sends a request that must be answered.
func (b *bench) call(operation string, members body) answer {
	b.t.Helper()
	a, err := try(client(b.t, "127.0.0.10"), b.request(operation, members))
	if err != nil {
		b.t.Fatalf("calling %s: %v", operation, err)
	}
	return a
}

// fault adds a fault.
func (b *bench) fault(f simulator.Fault) {
	b.t.Helper()
	if err := b.AddFault(f); err != nil {
		b.t.Fatalf("AddFault(%+v): %v", f, err)
	}
}

// only returns the one entry of the ledger.
func (b *bench) only() simulator.Entry {
	b.t.Helper()
	l := b.Ledger()
	if len(l.Entries) != 1 {
		b.t.Fatalf("ledger has %d entries, want 1", len(l.Entries))
	}
	return l.Entries[0]
}

func TestNew(t *testing.T) {
	tests := []struct {
		name   string
		config simulator.Config
		want   string
	}{
		{"no username", simulator.Config{Key: key}, "required"},
		{"no key", simulator.Config{Username: username}, "required"},
		{"negative wallet", simulator.Config{Username: username, Key: key, AEPSBalance: -1}, "negative"},
		{"negative surcharge", simulator.Config{Username: username, Key: key, Surcharge: -1}, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := simulator.New(tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// TestDefaults: the real clock, and 100000.00 in each wallet.
func TestDefaults(t *testing.T) {
	sim, err := simulator.New(simulator.Config{Username: username, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	l := sim.Ledger()
	if l.TradeBalance != 100_000_00 || l.AEPSBalance != 100_000_00 {
		t.Errorf("wallets = %v and %v, want 100000.00 each", l.TradeBalance, l.AEPSBalance)
	}
	if len(l.Entries) != 0 || len(sim.Requests()) != 0 || len(sim.Faults()) != 0 {
		t.Error("something happened already")
	}
}

// TestRepeatable: the same seed and order give the same bytes, another seed
// others.
func TestRepeatable(t *testing.T) {
	story := func(seed uint64) string {
		b := start(t, func(c *simulator.Config) { c.Seed = seed })
		b.fault(simulator.Fault{Kind: simulator.Failed, Probability: 0.4})
		var all strings.Builder
		for id := range strings.SplitSeq("abcdefghijkl", "") {
			all.WriteString(b.call("bank/payout", payout(id)).body)
			all.WriteString(b.call("bank/register", body{"snumber": "9", "sname": "x", "spincode": "1", "semail": "y"}).body)
		}
		return all.String()
	}
	first, second, other := story(1), story(1), story(2)
	if first != second {
		t.Errorf("the same seed gives\n%s\nand\n%s", first, second)
	}
	if first == other {
		t.Error("another seed gives the same")
	}
	if n := strings.Count(first, `"success":"0","message":"Transaction Failed"`); n == 0 || n == 12 {
		t.Errorf("%d of 12 failed, want some at a probability of 0.4", n)
	}
}

// TestReset: afterwards all is as it was at the start, also the seed's order.
func TestReset(t *testing.T) {
	b := start(t, func(c *simulator.Config) {
		c.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.10/32")}
	})
	before := b.call("bank/payout", payout("a1")).body
	b.fault(simulator.Fault{Kind: simulator.Refused})
	b.SetKeys("another key")
	b.SetAllowedIPs(netip.MustParsePrefix("192.0.2.1/32"))
	b.SetRefuseDuplicates(true)
	b.Reset()
	if n := len(b.Requests()); n != 0 {
		t.Errorf("%d requests are remembered", n)
	}
	if after := b.call("bank/payout", payout("a1")).body; after != before {
		t.Errorf("after Reset: %s\nbefore: %s", after, before)
	}
	if n := b.only().Execution; n != 1 {
		t.Errorf("execution %d, want 1", n)
	}
	if a := b.call("bank/payout", payout("a1")); a.text("success") != "1" {
		t.Errorf("a duplicate after Reset: %s", a.body)
	}
}
