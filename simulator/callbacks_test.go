package simulator_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

var callbackSource = netip.MustParseAddr("127.0.0.9")

// arrived is a callback as its receiver sees it.
type arrived struct {
	from, method, target, body string
	header                     http.Header
}

// receiver is a partner on 127.0.0.1 that takes callbacks.
type receiver struct {
	t   *testing.T
	url string
	got chan arrived
}

// receive starts a receiver. It answers as it is told, or else with 200.
func receive(t *testing.T, answer ...http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{t: t, got: make(chan arrived, 1000)}
	server := httptest.NewServer(r.handler(answer...))
	t.Cleanup(server.Close)
	r.url = server.URL + "/callback"
	return r
}

func (r *receiver) handler(answer ...http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			r.t.Errorf("reading callback: %v", err)
		}
		from, _, _ := net.SplitHostPort(req.RemoteAddr)
		r.got <- arrived{from, req.Method, req.RequestURI, string(body), req.Header}
		for _, a := range answer {
			a(w, req)
		}
	})
}

// next waits for a callback.
func (r *receiver) next() arrived {
	r.t.Helper()
	select {
	case a := <-r.got:
		return a
	case <-time.After(10 * time.Second):
		r.t.Fatal("no callback came")
		return arrived{}
	}
}

// callsBack makes a simulator call this receiver.
func (r *receiver) callsBack(c *simulator.Config) {
	c.Callback = simulator.CallbackTarget{URL: r.url, From: callbackSource}
}

// sent closes the simulator and returns all callbacks, of which none came that
// the receiver has not yet been asked for.
func (r *receiver) sent(b *bench) []simulator.Callback {
	r.t.Helper()
	b.Close()
	if n := len(r.got); n > 0 {
		r.t.Errorf("%d callbacks too many, such as %+v", n, <-r.got)
	}
	return b.Callbacks()
}

// pending makes a pending transaction, and returns Nowpay's id.
func (b *bench) pending(operation string, members body) string {
	b.t.Helper()
	id := b.call(operation, members.with("note", "sim:pending")).text("ourrequestid")
	if id == "" {
		b.t.Fatal("no transaction")
	}
	return id
}

func (b *bench) settle(id string, to simulator.State) {
	b.t.Helper()
	if err := b.SettlePending(id, to); err != nil {
		b.t.Fatalf("SettlePending: %v", err)
	}
}

// TestCallbackShapes: byte for byte, by the operation, the target or a fault.
func TestCallbackShapes(t *testing.T) {
	const envelope, flat, form, get = simulator.Envelope, simulator.Flat, simulator.FlatForm, simulator.FlatGet
	const success, failed = simulator.StateSuccess, simulator.StateFailed
	slash := payout("a/1").with("name", `Ä "Rao"`)
	tests := []struct {
		name      string
		operation string
		members   body
		target    simulator.Shape
		fault     simulator.Shape
		to        simulator.State
		want      arrived // ID and RRN stand for what the books say
		mediaType string
	}{
		{"payout", "bank/payout", payout("a1"), "", "", success, arrived{method: "POST", target: "/callback", body: `{"status":"SUCCESS","statusMessage":"Transaction Successful","result":{"paytmOrderId":"ID","orderId":"a1","rrn":"RRN","beneficiaryName":"Asha Rao"}}`}, "application/json"},
		{"payout failed", "bank/payout", payout("a1"), "", "", failed, arrived{method: "POST", target: "/callback", body: `{"status":"FAILED","statusMessage":"Transaction Failed","result":{"paytmOrderId":"ID","orderId":"a1","rrn":"","beneficiaryName":""}}`}, "application/json"},
		{"escaped", "bank/payout", slash, "", "", success, arrived{method: "POST", target: "/callback", body: `{"status":"SUCCESS","statusMessage":"Transaction Successful","result":{"paytmOrderId":"ID","orderId":"a\/1","rrn":"RRN","beneficiaryName":"\u00c4 \"Rao\""}}`}, "application/json"},
		{"recharge", "recharge/dorecharge", recharge("a1"), "", "", success, arrived{method: "POST", target: "/callback", body: `{"status":"1","message":"Recharge Success","ourrequestid":"ID","yourrequestid":"a1","op_ref_id":"RRN"}`}, "application/json"},
		{"recharge failed", "recharge/dorecharge", recharge("a1"), "", "", failed, arrived{method: "POST", target: "/callback", body: `{"status":"0","message":"Recharge Failed","ourrequestid":"ID","yourrequestid":"a1","op_ref_id":""}`}, "application/json"},
		{"by the target", "bank/payout", slash, form, "", success, arrived{method: "POST", target: "/callback", body: `status=1&message=Transaction+Successful&ourrequestid=ID&yourrequestid=a%2F1&op_ref_id=RRN`}, "application/x-www-form-urlencoded"},
		{"by the fault", "bank/payout", slash, form, get, failed, arrived{method: "GET", target: "/callback?status=0&message=Transaction+Failed&ourrequestid=ID&yourrequestid=a%2F1&op_ref_id="}, ""},
		{"flat by the fault", "bank/payout", payout("a1"), "", flat, success, arrived{method: "POST", target: "/callback", body: `{"status":"1","message":"Transaction Successful","ourrequestid":"ID","yourrequestid":"a1","op_ref_id":"RRN"}`}, "application/json"},
		{"envelope by the target", "recharge/dorecharge", recharge("a1"), envelope, "", success, arrived{method: "POST", target: "/callback", body: `{"status":"SUCCESS","statusMessage":"Recharge Success","result":{"paytmOrderId":"ID","orderId":"a1","rrn":"RRN","beneficiaryName":"SIMULATED CUSTOMER"}}`}, "application/json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := receive(t)
			b := start(t, r.callsBack, func(c *simulator.Config) { c.Callback.Shape = tt.target })
			if tt.fault != "" {
				b.fault(simulator.Fault{Kind: simulator.CallbackSent, Shape: tt.fault})
			}
			id := b.pending(tt.operation, tt.members)
			b.settle(id, tt.to)
			got := r.next()
			fill := strings.NewReplacer("ID", id, "RRN", b.only().RRN)
			if want := fill.Replace(tt.want.body); got.body != want {
				t.Errorf("body\n%s\nwant\n%s", got.body, want)
			}
			if want := fill.Replace(tt.want.target); got.method != tt.want.method || got.target != want || got.from != "127.0.0.9" {
				t.Errorf("%s %s from %s, want %s %s from 127.0.0.9", got.method, got.target, got.from, tt.want.method, want)
			}
			want := http.Header{"Accept": {"*/*"}, "Connection": {"close"}}
			if tt.mediaType != "" {
				want["Content-Type"], want["Content-Length"] = []string{tt.mediaType}, []string{fmt.Sprint(len(got.body))}
			}
			if fmt.Sprint(got.header) != fmt.Sprint(want) {
				t.Errorf("header %v, want %v", got.header, want)
			}
			if all := r.sent(b); len(all) != 1 || all[0].Status != 200 || all[0].Body != got.body || !strings.HasSuffix(all[0].URL, got.target) {
				t.Errorf("recorded %+v", all)
			}
		})
	}
}

// TestCallbackOnce: one for each passage from pending to a final state, and
// none for anything else.
func TestCallbackOnce(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	id := b.pending("bank/payout", payout("a1"))
	b.settle(id, simulator.StateFailed)
	if got := r.next(); !strings.Contains(got.body, `"FAILED"`) {
		t.Errorf("got %s", got.body)
	}
	if err := b.SettlePending(id, simulator.StateSuccess); !errors.Is(err, simulator.ErrState) {
		t.Errorf("settled twice: %v", err)
	}
	for _, kind := range []simulator.Kind{simulator.Success, simulator.Failed, simulator.FlippedFinal, simulator.Pending, simulator.Ambiguous, simulator.Refused} {
		b.call("bank/payout", payout("b").with("name", "sim:"+string(kind)))
	}
	for _, to := range []simulator.State{simulator.StateSuccess, simulator.StateFailed, simulator.StatePending} {
		if err := b.FlipFinal(id, to); err != nil {
			t.Fatal(err)
		}
	}
	// What an operator made pending again is final only once more.
	b.settle(id, simulator.StateSuccess)
	if got := r.next(); !strings.Contains(got.body, `"SUCCESS"`) {
		t.Errorf("got %s", got.body)
	}
	b.call("pan/managecoupon", body{"psaid": "P", "type": "0", "qty": "1", "yourrequestid": "p", "note": "sim:pending"})
	pan := b.Ledger().Find("p")[0].ProviderID
	b.settle(pan, simulator.StateSuccess)
	if all := r.sent(b); len(all) != 2 {
		t.Errorf("recorded %+v, want two", all)
	}
}

// TestCallbackByItself: after the delay, although nobody looks at the books.
func TestCallbackByItself(t *testing.T) {
	for kind, want := range map[simulator.Kind]string{
		simulator.PendingThenSuccess: `"SUCCESS"`, simulator.PendingThenFailed: `"FAILED"`,
	} {
		r := receive(t)
		b := start(t, r.callsBack, func(c *simulator.Config) { c.Now = time.Now })
		b.call("bank/payout", payout("a1").with("name", "sim:"+string(kind)+":20ms"))
		if got := r.next(); !strings.Contains(got.body, want) {
			t.Errorf("%s: %s", kind, got.body)
		}
		if all := r.sent(b); len(all) != 1 {
			t.Errorf("%s: recorded %+v", kind, all)
		}
	}
}

// TestCallbackByTheClock: the provider's own clock decides what is due.
func TestCallbackByTheClock(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.call("bank/payout", payout("a1").with("name", "sim:pending-then-failed:1h"))
	b.Ledger()
	if n := len(b.Callbacks()) + len(r.got); n != 0 {
		t.Error("called back before the time")
	}
	b.clock.now = b.clock.now.Add(time.Hour)
	b.Ledger()
	if got := r.next(); !strings.Contains(got.body, `"FAILED"`) {
		t.Errorf("got %s", got.body)
	}
	if all := r.sent(b); len(all) != 1 || !all[0].Time.Equal(b.clock.now) {
		t.Errorf("recorded %+v", all)
	}
}

// TestCallbackTarget: none by default, and changed while it runs.
func TestCallbackTarget(t *testing.T) {
	r := receive(t)
	b := start(t)
	b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
	if err := b.SetCallback(simulator.CallbackTarget{URL: r.url + "?token=x", Shape: simulator.FlatGet}); err != nil {
		t.Fatal(err)
	}
	b.settle(b.pending("bank/payout", payout("a2")), simulator.StateSuccess)
	got := r.next()
	if !strings.HasPrefix(got.target, "/callback?token=x&status=1&") || got.from != "127.0.0.1" {
		t.Errorf("got %+v, want the system's choice of address", got)
	}
	if err := b.SetCallback(simulator.CallbackTarget{}); err != nil {
		t.Fatal(err)
	}
	b.settle(b.pending("bank/payout", payout("a3")), simulator.StateSuccess)
	if all := r.sent(b); len(all) != 1 || all[0].RequestID != "a2" {
		t.Errorf("recorded %+v, want only a2", all)
	}
	for _, bad := range []simulator.CallbackTarget{
		{URL: "127.0.0.1/x"}, {URL: "ftp://a/"}, {URL: "http:///x"}, {URL: "http://u:p@a/"}, {URL: "http://a/#x"}, {URL: "http://a/ \n"}, {Shape: "xml"},
	} {
		if err := b.SetCallback(bad); err == nil {
			t.Errorf("SetCallback(%+v) = nil", bad)
		}
		if _, err := simulator.New(simulator.Config{Username: username, Key: key, Callback: bad}); err == nil {
			t.Errorf("New with %+v = nil", bad)
		}
	}
}

// TestCallbackReplyIsIgnored: no redirect is followed, nothing is repeated.
func TestCallbackReplyIsIgnored(t *testing.T) {
	replies := map[string]http.HandlerFunc{
		"status=500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"status=307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"EOF": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for want, reply := range replies {
		t.Run(want, func(t *testing.T) {
			r := receive(t, reply)
			b := start(t, r.callsBack, func(c *simulator.Config) { c.Callback.Shape = simulator.FlatGet })
			id := b.pending("bank/payout", payout("a1"))
			b.settle(id, simulator.StateSuccess)
			r.next()
			all := r.sent(b)
			if len(all) != 1 || !strings.Contains(fmt.Sprintf("status=%d %s", all[0].Status, all[0].Error), want) {
				t.Errorf("recorded %+v, want %s", all, want)
			}
			if e := b.only(); e.State != simulator.StateSuccess {
				t.Errorf("the books say %s", e.State)
			}
		})
	}
}

// TestCallbackUsesNoProxy: not even the environment's, which is read once in a
// process, so that this needs one of its own.
func TestCallbackUsesNoProxy(t *testing.T) {
	if os.Getenv("HTTP_PROXY") == "" {
		proxy := receive(t)
		child := exec.Command(os.Args[0], "-test.run=^TestCallbackUsesNoProxy$")
		child.Env = append(os.Environ(), "HTTP_PROXY="+proxy.url)
		if out, err := child.CombinedOutput(); err != nil || len(proxy.got) > 0 {
			t.Errorf("%d requests came to the proxy; %v\n%s", len(proxy.got), err, out)
		}
		return
	}
	b := start(t, func(c *simulator.Config) { c.Callback.URL = "http://callback.invalid/" })
	b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
	b.Close()
	if all := b.Callbacks(); len(all) != 1 || all[0].Error == "" {
		t.Errorf("recorded %+v, want that no such host is known", all)
	}
}

// TestCallbackTLS: the receiver's certificate is checked.
func TestCallbackTLS(t *testing.T) {
	r := &receiver{t: t, got: make(chan arrived, 10)}
	server := httptest.NewTLSServer(r.handler())
	defer server.Close()
	server.Config.ErrorLog = nil
	r.url = server.URL
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, trusted := range []*x509.CertPool{roots, x509.NewCertPool()} {
		b := start(t, r.callsBack, func(c *simulator.Config) { c.CallbackRoots = trusted })
		b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
		if trusted == roots {
			r.next()
		}
		if all := r.sent(b); len(all) != 1 || (all[0].Error == "") != (trusted == roots) {
			t.Errorf("recorded %+v", all)
		}
	}
}

// TestCloseAndCallbacks: Close waits for what is under way, sends nothing that
// waits, and afterwards there is none.
func TestCloseAndCallbacks(t *testing.T) {
	replied := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, *http.Request) { <-replied })
	b := start(t, r.callsBack)
	for _, kind := range []simulator.Kind{simulator.CallbackDelayed, simulator.CallbackOvertaken, ""} {
		if kind != "" {
			b.fault(simulator.Fault{Kind: kind, Delay: time.Hour, Times: 1})
		}
		b.settle(b.pending("bank/payout", payout("a"+string(kind))), simulator.StateSuccess)
	}
	b.call("bank/payout", payout("later").with("name", "sim:pending-then-success:1h"))
	last := b.pending("bank/payout", payout("last"))
	r.next()
	closed := make(chan struct{})
	go func() { defer close(closed); b.Close() }()
	select {
	case <-closed:
		t.Error("Close did not wait for the reply")
	case <-time.After(50 * time.Millisecond):
	}
	close(replied)
	<-closed
	b.settle(last, simulator.StateSuccess)
	ends := map[string]int{}
	for _, c := range r.sent(b) {
		ends[fmt.Sprintf("%s %d %v", c.RequestID, c.Status, c.Error != "")]++
	}
	want := map[string]int{"a 200 false": 1, "acallback-delayed 0 true": 1, "acallback-overtaken 0 true": 1, "last 0 true": 1}
	if fmt.Sprint(ends) != fmt.Sprint(want) {
		t.Errorf("recorded %v, want %v", ends, want)
	}
}

// TestCallbackTimeout: a receiver that never answers is left after five seconds.
func TestCallbackTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	r := receive(t, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	b := start(t, r.callsBack)
	b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
	r.next()
	began := time.Now()
	if all := r.sent(b); len(all) != 1 || !strings.Contains(all[0].Error, context.DeadlineExceeded.Error()) {
		t.Errorf("recorded %+v", all)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestResetAndCallbacks: what waited belongs to books that are no more.
func TestResetAndCallbacks(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	for _, kind := range []simulator.Kind{simulator.CallbackDelayed, simulator.CallbackOvertaken} {
		b.fault(simulator.Fault{Kind: kind, Delay: 30 * time.Millisecond, Times: 1})
		b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
	}
	if err := b.SetCallback(simulator.CallbackTarget{}); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	b.settle(b.pending("bank/payout", payout("a2")), simulator.StateSuccess)
	r.next()
	if all := r.sent(b); len(all) != 1 || all[0].RequestID != "a2" {
		t.Errorf("recorded %+v, want only a2", all)
	}
}

// TestCallbacksHoldNoKey: not where a partner put it into a field either.
func TestCallbacksHoldNoKey(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	for _, shape := range []string{"envelope", "flat-form", "flat-get"} {
		id := b.pending("bank/payout", payout(key[:26]).with("name", key).with("a", "sim:callback-sent:"+shape))
		b.settle(id, simulator.StateSuccess)
		r.next()
	}
	for _, c := range r.sent(b) {
		findKey(t, string(c.Shape), c.URL+" "+c.Body+" "+c.RequestID, key)
	}
}

// TestCallbackBurst: all arrive, once each, while the books are used.
func TestCallbackBurst(t *testing.T) {
	const many = 250
	r := receive(t)
	b := start(t, r.callsBack)
	ids := make([]string, many)
	for i := range ids {
		ids[i] = b.pending("bank/payout", payout(fmt.Sprint("n", i)).with("amount", "1"))
	}
	for _, id := range ids {
		b.settle(id, simulator.StateFailed)
	}
	seen := map[string]bool{}
	for range many {
		seen[r.next().body] = true
	}
	if all := r.sent(b); len(seen) != many || len(all) != many || all[many-1].Number != many {
		t.Errorf("%d callbacks came, %d are recorded, want %d", len(seen), len(all), many)
	}
	if l := b.Ledger(); l.AEPSBalance != 100_000_00 {
		t.Errorf("%v in the wallet", l.AEPSBalance)
	}
}
