package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// callbackWire says of each kind what the receiver gets for a payout a1 that
// became success: the bodies, where ID, OTHER and RRN stand for Nowpay's id, for
// another one and for the bank's reference; and from where.
var callbackWire = map[simulator.Kind]struct {
	bodies []string
	from   string
}{
	simulator.CallbackSent:            {[]string{genuine}, "127.0.0.9"},
	simulator.CallbackLost:            {nil, ""},
	simulator.CallbackRepeated:        {[]string{genuine, genuine, genuine}, "127.0.0.9"},
	simulator.CallbackDelayed:         {[]string{genuine}, "127.0.0.9"},
	simulator.CallbackOvertaken:       {nil, ""}, // there is no other one
	simulator.CallbackBeforeAnswer:    {[]string{genuine}, "127.0.0.9"},
	simulator.CallbackWrongSource:     {[]string{genuine}, "127.0.0.66"},
	simulator.CallbackWrongProviderID: {[]string{strings.Replace(genuine, "ID", "OTHER", 1)}, "127.0.0.9"},
	simulator.CallbackWrongRequestID:  {[]string{strings.Replace(genuine, `"a1"`, `"a10"`, 1)}, "127.0.0.9"},
	simulator.CallbackWrongAmount:     {[]string{strings.Replace(genuine, `}}`, `,"amount":"151.50"}}`, 1)}, "127.0.0.9"},
	simulator.CallbackContradicts:     {[]string{`{"status":"FAILED","statusMessage":"Transaction Failed","result":{"paytmOrderId":"ID","orderId":"a1","rrn":"","beneficiaryName":""}}`}, "127.0.0.9"},
	simulator.CallbackJunk:            {[]string{"<br />\n<b>Fatal error</b>:  Uncaught TypeError in <b>/var/www/html/callback.php</b> on line <b>88</b><br />\n{\"status\":\"SUCC"}, "127.0.0.9"},
	simulator.CallbackUnsigned:        {[]string{genuine}, "127.0.0.9"}, // as all are without signatures
}

const genuine = `{"status":"SUCCESS","statusMessage":"Transaction Successful","result":{"paytmOrderId":"ID","orderId":"a1","rrn":"RRN","beneficiaryName":"Asha Rao"}}`

// nextDigit is an id whose last digit is one more.
func nextDigit(id string) string {
	last := len(id) - 1
	return id[:last] + string('0'+(id[last]-'0'+1)%10)
}

// TestCallbackFaults: each kind at the receiver, added by the API and chosen by
// the request, beside a fault of the answer.
func TestCallbackFaults(t *testing.T) {
	for _, kind := range simulator.CallbackKinds() {
		for _, chosen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chosen %v", kind, chosen), func(t *testing.T) {
				want, ok := callbackWire[kind]
				if !ok {
					t.Fatal("this kind is not in the table")
				}
				r := receive(t)
				b := start(t, r.callsBack)
				members := payout("a1").with("note", "sim:pending-then-success")
				if chosen {
					members = members.with("bank", "sim:"+string(kind)+":20ms")
				} else {
					delay := 20 * time.Millisecond
					b.fault(simulator.Fault{Kind: kind, Operation: "bank/payout", RequestID: "a1", Times: 1, Delay: delay})
				}
				a := b.call("bank/payout", members)
				id := a.text("ourrequestid")
				if a.text("success") != "2" || id == "" {
					t.Fatalf("answer %s, want a pending one", a.body)
				}
				if kind != simulator.CallbackBeforeAnswer {
					b.settle(id, simulator.StateSuccess)
				}
				e := b.only()
				if e.State != simulator.StateSuccess || b.Ledger().AEPSBalance != 100_000_00-150_50 {
					t.Errorf("the books say %+v", e)
				}
				fill := strings.NewReplacer("ID", id, "OTHER", nextDigit(id), "RRN", e.RRN)
				for _, text := range want.bodies {
					if got := r.next(); got.body != fill.Replace(text) || got.from != want.from {
						t.Errorf("got %s from %s, want %s from %s", got.body, got.from, fill.Replace(text), want.from)
					}
				}
				checkRecords(t, r.sent(b), kind, len(want.bodies))
				if !chosen && len(b.Faults()) != 0 {
					t.Errorf("faults left: %+v", b.Faults())
				}
			})
		}
	}
}

func checkRecords(t *testing.T, all []simulator.Callback, kind simulator.Kind, arrived int) {
	t.Helper()
	if len(all) != max(1, arrived) {
		t.Errorf("recorded %+v, want %d", all, max(1, arrived))
	}
	for _, c := range all {
		lost := c.Status == 0 && (c.Error != "") == (kind == simulator.CallbackOvertaken)
		if c.Fault != kind || (arrived == 0) != lost || arrived > 0 && c.Status != http.StatusOK {
			t.Errorf("recorded %+v", c)
		}
	}
}

// TestCallbackJunkGet: there is no body to be junk.
func TestCallbackJunkGet(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.CallbackJunk, Shape: simulator.FlatGet})
	b.settle(b.pending("bank/payout", payout("a1")), simulator.StateSuccess)
	if got := r.next(); !strings.HasPrefix(got.target, "/callback?%zz&%3Cbr") || got.body != "" {
		t.Errorf("got %+v", got)
	}
}

// TestCallbackContradictsFailure: success is told with a reference, which the
// books don't have.
func TestCallbackContradictsFailure(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.CallbackContradicts})
	b.settle(b.pending("bank/payout", payout("a1")), simulator.StateFailed)
	var got struct {
		Status string
		Result struct{ RRN, BeneficiaryName string }
	}
	if err := json.Unmarshal([]byte(r.next().body), &got); err != nil || got.Status != "SUCCESS" || len(got.Result.RRN) != 12 || got.Result.BeneficiaryName != "Asha Rao" {
		t.Errorf("got %+v, %v", got, err)
	}
	if e := b.only(); e.State != simulator.StateFailed || e.RRN != "" || b.Ledger().AEPSBalance != 100_000_00 {
		t.Errorf("the books say %+v", e)
	}
}

// TestCallbackBeforeAnswer: the receiver has replied before the answer comes,
// and the answer still says pending.
func TestCallbackBeforeAnswer(t *testing.T) {
	reply := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, *http.Request) { <-reply })
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.CallbackBeforeAnswer, Times: 2})
	answered := make(chan answer)
	go func() {
		a, err := try(client(t, "127.0.0.10"), b.request("bank/payout", payout("a1").with("name", "sim:pending-then-failed")))
		if err != nil {
			t.Errorf("calling: %v", err)
		}
		answered <- a
	}()
	if got := r.next(); !strings.Contains(got.body, `"FAILED"`) {
		t.Errorf("got %s", got.body)
	}
	select {
	case a := <-answered:
		t.Errorf("answered before the callback ended: %s", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	close(reply)
	if a := <-answered; a.text("success") != "2" {
		t.Errorf("answer %s, want a pending one", a.body)
	}
	// It is only for what settles: these have none, and the fault stays.
	b.call("bank/payout", payout("a2"))
	b.settle(b.pending("bank/payout", payout("a3")), simulator.StateSuccess)
	r.next()
	all := r.sent(b)
	if len(all) != 2 || all[0].Fault != simulator.CallbackBeforeAnswer || all[1].Fault != "" {
		t.Errorf("recorded %+v", all)
	}
	if left := b.Faults(); len(left) != 1 || left[0].Times != 1 {
		t.Errorf("faults left %+v", left)
	}
}

// TestCallbackOvertaken: the first to be due comes second.
func TestCallbackOvertaken(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.CallbackOvertaken, RequestID: "a1"})
	first, second := b.pending("bank/payout", payout("a1")), b.pending("bank/payout", payout("a2"))
	b.settle(first, simulator.StateSuccess)
	b.settle(second, simulator.StateSuccess)
	if got := r.next(); !strings.Contains(got.body, `"a2"`) {
		t.Errorf("first came %s", got.body)
	}
	if got := r.next(); !strings.Contains(got.body, `"a1"`) {
		t.Errorf("second came %s", got.body)
	}
	if all := r.sent(b); len(all) != 2 {
		t.Errorf("recorded %+v", all)
	}
}

// TestCallbackChoice: which callback meets which fault; faults of answers are in
// the same list and count apart.
func TestCallbackChoice(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.Pending})
	b.fault(simulator.Fault{Kind: simulator.CallbackSent, RequestID: "spared"})
	b.fault(simulator.Fault{Kind: simulator.CallbackLost, RequestID: "a", Times: 1})
	b.fault(simulator.Fault{Kind: simulator.CallbackRepeated, Operation: "recharge/dorecharge", Copies: 2, Shape: simulator.FlatForm})
	b.fault(simulator.Fault{Kind: simulator.CallbackWrongSource, From: netip.MustParseAddr("127.0.0.67"), Operation: "bank/payout"})
	var want []string
	for _, tt := range []struct {
		operation string
		members   body
		want      []string
	}{
		{"bank/payout", payout("spared"), []string{"callback-sent envelope 127.0.0.9"}},
		{"bank/payout", payout("a"), []string{"callback-lost envelope 127.0.0.9"}},
		{"bank/payout", payout("a"), []string{"callback-wrong-source envelope 127.0.0.67"}},
		{"recharge/dorecharge", recharge("a"), []string{"callback-repeated flat-form 127.0.0.9", "callback-repeated flat-form 127.0.0.9"}},
		{"bank/upi_verify", body{"beneficiaryVPA": "a@upi", "yourrequestid": "a"}, []string{" envelope 127.0.0.9"}},
	} {
		id := b.call(tt.operation, tt.members).text("ourrequestid")
		b.settle(id, simulator.StateSuccess)
		want = append(want, tt.want...)
		for _, w := range tt.want {
			if !strings.HasPrefix(w, "callback-lost") {
				if got := r.next(); !strings.HasSuffix(w, got.from) {
					t.Errorf("came from %s, want %s", got.from, w)
				}
			}
		}
	}
	if n := len(b.Faults()); n != 4 {
		t.Errorf("%d faults left, want 4", n)
	}
	var got []string
	for _, c := range r.sent(b) {
		got = append(got, fmt.Sprintf("%s %s %s", c.Fault, c.Shape, c.From))
	}
	slices.Sort(got) // the ends of quick ones may change places
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// TestCallbackProbability: a share of them, by the seed.
func TestCallbackProbability(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	b.fault(simulator.Fault{Kind: simulator.CallbackLost, Probability: 0.4})
	const many = 40
	for i := range many {
		b.settle(b.pending("bank/payout", payout(fmt.Sprint(i))), simulator.StateSuccess)
	}
	b.Close()
	if n := len(r.got); n == 0 || n == many || len(b.Callbacks()) != many {
		t.Errorf("%d of %d came, %d are recorded, want some lost", n, many, len(b.Callbacks()))
	}
}

// TestSendCallback: on demand, whatever the state.
func TestSendCallback(t *testing.T) {
	r := receive(t)
	b := start(t, r.callsBack)
	id := b.pending("bank/payout", payout("a1"))
	before := b.Ledger()
	send := func(state simulator.State, f simulator.Fault) []simulator.Callback {
		t.Helper()
		got, err := b.SendCallback(t.Context(), id, state, f)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := send(simulator.StateFailed, simulator.Fault{}); len(got) != 1 || got[0].Status != 200 || !strings.Contains(r.next().body, `"FAILED"`) {
		t.Errorf("recorded %+v", got)
	}
	repeated := simulator.Fault{Kind: simulator.CallbackRepeated, Copies: 2, Shape: simulator.Flat}
	if got := send(simulator.StateSuccess, repeated); len(got) != 2 || got[1].Shape != simulator.Flat || !strings.Contains(r.next().body+r.next().body, `"status":"1"`) {
		t.Errorf("recorded %+v", got)
	}
	if got := send(simulator.StateSuccess, simulator.Fault{Kind: simulator.CallbackLost}); len(got) != 1 || got[0].Status != 0 {
		t.Errorf("recorded %+v", got)
	}
	if now := b.Ledger(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the books changed: %+v", now)
	}
	b.settle(id, simulator.StateFailed)
	r.next()
	if got := send("", simulator.Fault{}); got[0].State != simulator.StateFailed || !strings.Contains(r.next().body, `"FAILED"`) {
		t.Errorf("recorded %+v", got)
	}
	if all := r.sent(b); len(all) != 6 {
		t.Errorf("recorded %d, want 6", len(all))
	}
	if got := send("", simulator.Fault{}); got[0].Error == "" || len(r.got) != 0 {
		t.Errorf("after Close: %+v", got)
	}
}

func TestSendCallbackRefuses(t *testing.T) {
	b := start(t)
	id := b.pending("bank/payout", payout("a1"))
	target := simulator.CallbackTarget{URL: "http://127.0.0.1:1/"}
	tests := []struct {
		name   string
		target simulator.CallbackTarget
		id     string
		state  simulator.State
		fault  simulator.Fault
		want   error // nil: any
	}{
		{"no target", simulator.CallbackTarget{}, id, simulator.StateFailed, simulator.Fault{}, simulator.ErrNoTarget},
		{"unknown", target, "unknown", simulator.StateFailed, simulator.Fault{}, simulator.ErrNotFound},
		{"pending", target, id, "", simulator.Fault{}, simulator.ErrState},
		{"no state", target, id, "done", simulator.Fault{}, simulator.ErrState},
		{"fault of answers", target, id, simulator.StateFailed, simulator.Fault{Kind: simulator.HTTP500}, nil},
		{"overtaken", target, id, simulator.StateFailed, simulator.Fault{Kind: simulator.CallbackOvertaken}, nil},
		{"before the answer", target, id, simulator.StateFailed, simulator.Fault{Kind: simulator.CallbackBeforeAnswer}, nil},
		{"shape", target, id, simulator.StateFailed, simulator.Fault{Shape: "xml"}, nil},
	}
	for _, tt := range tests {
		if err := b.SetCallback(tt.target); err != nil {
			t.Fatal(err)
		}
		_, err := b.SendCallback(t.Context(), tt.id, tt.state, tt.fault)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.SendCallback(over, id, simulator.StateFailed, simulator.Fault{Kind: simulator.CallbackDelayed, Delay: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
	if _, err := b.SendRaw(t.Context(), simulator.RawCallback{URL: "nonsense"}); err == nil {
		t.Error("SendRaw to nonsense = nil")
	}
}

// TestSendRaw: anything, from anywhere.
func TestSendRaw(t *testing.T) {
	r := receive(t)
	b := start(t)
	if _, err := b.SendRaw(t.Context(), simulator.RawCallback{Body: "x"}); !errors.Is(err, simulator.ErrNoTarget) {
		t.Errorf("without a target: %v", err)
	}
	raw := simulator.RawCallback{URL: r.url + "?a=%zz", From: netip.MustParseAddr("127.0.0.67"), Method: "PUT", ContentType: "text/x", Body: "\x00{\n"}
	got, err := b.SendRaw(t.Context(), raw)
	if err != nil || got.Status != 200 || got.Body != raw.Body || got.From != raw.From {
		t.Errorf("SendRaw = %+v, %v", got, err)
	}
	if a := r.next(); a.from != "127.0.0.67" || a.method != "PUT" || a.target != "/callback?a=%zz" || a.body != raw.Body || a.header.Get("Content-Type") != "text/x" {
		t.Errorf("received %+v", a)
	}
	raw.From = netip.MustParseAddr("192.0.2.1") // not an address of this machine
	if got, err := b.SendRaw(t.Context(), raw); err != nil || got.Status != 0 || got.Error == "" {
		t.Errorf("from an address of another machine: %+v, %v", got, err)
	}
	if all := r.sent(b); len(all) != 2 {
		t.Errorf("recorded %+v, want 2", all)
	}
}
