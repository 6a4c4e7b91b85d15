package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// control calls the control API.
type control struct {
	t   *testing.T
	url string
}

func startControl(t *testing.T, b *bench) control {
	server := httptest.NewServer(b.Control())
	t.Cleanup(server.Close)
	return control{t, server.URL}
}

func (c control) do(method, path, text string, header ...[2]string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, h := range header {
		r.Header.Set(h[0], h[1])
	}
	resp, err := client(c.t, "127.0.0.1").Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestControl plays a story over HTTP only.
func TestControl(t *testing.T) {
	b := start(t)
	c := startControl(t, b)
	expect := func(method, path, text string, status int, want ...string) {
		t.Helper()
		got, body := c.do(method, path, text)
		if got != status {
			t.Errorf("%s %s %s: status %d, want %d: %s", method, path, text, got, status, body)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s %s: %s, want %s in it", method, path, body, w)
			}
		}
	}
	expect("GET", "/faults", "", 200, "[]")
	expect("GET", "/requests", "", 200, "[]")
	expect("GET", "/ledger", "", 200, `"entries": []`, `"trade_balance_paise": 10000000`)
	expect("GET", "/kinds", "", 200, `"kind": "keepalive-death"`, simulator.Ambiguous.Doc()[:20])
	expect("POST", "/faults", `{"kind":"pending","operation":"bank/payout","times":1}`, 204)
	expect("GET", "/faults", "", 200, `"kind": "pending"`, `"times": 1`)
	id := b.call("bank/payout", payout("a")).text("ourrequestid")
	expect("GET", "/faults", "", 200, "[]")
	expect("GET", "/ledger", "", 200, `"state": "pending"`, `"amount_paise": 15050`, `"provider_id": "`+id+`"`, `"a": 1`)
	expect("GET", "/requests", "", 200, `"operation": "bank/payout"`, `"remote": "127.0.0.10:`, `"key_right": true`)
	expect("POST", "/transactions/"+id+"/flip", `{"state":"failed"}`, 409, simulator.ErrState.Error())
	expect("POST", "/transactions/"+id+"/settle", `{"state":"success"}`, 204)
	expect("POST", "/transactions/"+id+"/settle", `{"state":"success"}`, 409)
	expect("POST", "/transactions/"+id+"/flip", `{"state":"failed"}`, 204)
	expect("POST", "/transactions/unknown/flip", `{"state":"failed"}`, 404)
	expect("GET", "/ledger", "", 200, `"state": "failed"`)

	expect("POST", "/faults", `{"kind":"refused","probability":1,"delay":"3s"}`, 204)
	expect("GET", "/faults", "", 200, `"delay": "3s"`)
	expect("DELETE", "/faults", "", 204)
	expect("GET", "/faults", "", 200, "[]")

	expect("PUT", "/config", `{"keys":["a new key","an old key"],"allowed_ips":["192.0.2.0/24"],"refuse_duplicates":true}`, 204)
	if a := b.call("bank/payout", payout("b")); a.text("message") != "Invalid Username Or Key" {
		t.Errorf("with the key before: %s", a.body)
	}
	if a := b.call("bank/payout", payout("b").with("key", "an old key")); a.text("message") != "Invalid IP Address 127.0.0.10" {
		t.Errorf("from the address before: %s", a.body)
	}
	expect("PUT", "/config", `{"allowed_ips":["192.0.2.0/24","127.0.0.10"]}`, 204)
	if a := b.call("bank/payout", payout("a").with("key", "a new key")); a.text("message") != "Duplicate Request Id" {
		t.Errorf("a duplicate: %s", a.body)
	}
	expect("PUT", "/config", `{"credentials":[{"username":"7","key":"the key of 7"}],"allowed_ips":[]}`, 204)
	if a := b.call("bank/payout", payout("c").with("username", "7").with("key", "the key of 7")); a.text("success") != "1" {
		t.Errorf("other credentials: %s", a.body)
	}
	expect("POST", "/reset", "", 204)
	expect("GET", "/ledger", "", 200, `"entries": []`)
	if a := b.call("bank/payout", payout("a")); a.text("success") != "1" {
		t.Errorf("after the reset: %s", a.body)
	}
}

// TestControlCallbacks plays a story of callbacks over HTTP only.
func TestControlCallbacks(t *testing.T) {
	r := receive(t)
	b := start(t)
	c := startControl(t, b)
	expect := func(method, path, text string, status int, want ...string) {
		t.Helper()
		got, body := c.do(method, path, text)
		if got != status {
			t.Errorf("%s %s %s: status %d, want %d: %s", method, path, text, got, status, body)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s %s: %s, want %s in it", method, path, body, w)
			}
		}
	}
	expect("GET", "/callbacks", "", 200, "[]")
	expect("GET", "/kinds", "", 200, `"kind": "callback-overtaken"`, simulator.CallbackOvertaken.Doc()[:20])
	id := b.pending("bank/payout", payout("a"))
	send := "/transactions/" + id + "/callback"
	expect("POST", send, `{"state":"success"}`, 409, simulator.ErrNoTarget.Error())
	expect("POST", "/callbacks", `{"body":"x"}`, 409, simulator.ErrNoTarget.Error())
	expect("PUT", "/config", `{"callback":{"url":"`+r.url+`","from":"127.0.0.9","shape":"flat"}}`, 204)
	expect("POST", "/faults", `{"kind":"callback-repeated","copies":2,"request_id":"a","times":1}`, 204)
	expect("GET", "/faults", "", 200, `"copies": 2`)
	expect("POST", "/transactions/"+id+"/settle", `{"state":"failed"}`, 204)
	for range 2 {
		if got := r.next(); got.from != "127.0.0.9" || !strings.HasPrefix(got.body, `{"status":"0"`) {
			t.Errorf("got %+v", got)
		}
	}
	expect("POST", send, `{}`, 200, `"status": 200`, `"state": "failed"`, `"request_id": "a"`, `"fault": "callback-sent"`, `"provider_id": "`+id+`"`, `"time": "2021-10-27T20:45:07Z"`, `"url": "`+r.url+`"`)
	r.next()
	expect("POST", send, `{"state":"success","fault":{"kind":"callback-wrong-source","from":"127.0.0.67","shape":"envelope"}}`, 200, `"from": "127.0.0.67"`, `"shape": "envelope"`)
	if got := r.next(); got.from != "127.0.0.67" || !strings.HasPrefix(got.body, `{"status":"SUCCESS"`) {
		t.Errorf("got %+v", got)
	}
	expect("POST", "/callbacks", `{"from":"127.0.0.68","content_type":"text/plain","body":"nothing"}`, 200, `"status": 200`)
	if got := r.next(); got.from != "127.0.0.68" || got.body != "nothing" {
		t.Errorf("got %+v", got)
	}
	expect("POST", "/transactions/unknown/callback", `{}`, 404)
	expect("POST", send, `{"state":"pending"}`, 409)
	expect("POST", send, `{"fault":{"kind":"refused"}}`, 400)
	expect("POST", send, `{"kind":"callback-lost"}`, 400)
	expect("POST", "/callbacks", `{"from":"nobody"}`, 400)
	expect("PUT", "/config", `{"callback":{"url":"nonsense"},"keys":["a new key"]}`, 400)
	if a := b.call("bank/payout", payout("b")); a.text("success") != "1" {
		t.Errorf("with the key that stayed valid: %s", a.body)
	}
	expect("POST", "/reset", "", 204)
	expect("GET", "/callbacks", "", 200, "[]")
	expect("POST", "/callbacks", `{"body":"x"}`, 409)
}

// TestControlRefuses: nothing changes on a wrong request.
func TestControlRefuses(t *testing.T) {
	b := start(t)
	c := startControl(t, b)
	tests := []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/faults", `{"kind":"nonsense"}`, 400},
		{"POST", "/faults", `{"kind":"failed","tims":1}`, 400},
		{"POST", "/faults", `{"kind":"failed"}{}`, 400},
		{"POST", "/faults", ``, 400},
		{"POST", "/faults", `{"kind":"slow","delay":"soon"}`, 400},
		{"PUT", "/config", `{"keys":["a"],"credentials":[]}`, 400},
		{"PUT", "/config", `{"keys":["a new key"],"allowed_ips":["127.0.0.1/33"]}`, 400},
		{"PUT", "/config", `{"keys":["a new key"],"port":1}`, 400},
		{"POST", "/ledger", ``, 405},
		{"GET", "/reset", ``, 405},
		{"GET", "/nothing", ``, 404},
	}
	for _, tt := range tests {
		if status, body := c.do(tt.method, tt.path, tt.body); status != tt.status {
			t.Errorf("%s %s %s: status %d, want %d: %s", tt.method, tt.path, tt.body, status, tt.status, body)
		}
	}
	if status, _ := c.do("POST", "/reset", "", [2]string{"Origin", "https://elsewhere.example"}); status != http.StatusForbidden {
		t.Errorf("a page of another origin: status %d, want 403", status)
	}
	if a := b.call("bank/payout", payout("a")); a.text("success") != "1" || len(b.Faults()) != 0 {
		t.Errorf("something changed: %s", a.body)
	}
}

// TestControlShowsNoKey: whatever key was sent or valid, in whatever way.
func TestControlShowsNoKey(t *testing.T) {
	const old, young = "old/key+0123456789", "young \"key\" 9876543210"
	b := start(t)
	c := startControl(t, b)
	for _, k := range []string{old, young} {
		b.SetKeys(k)
		for _, kind := range simulator.Kinds() {
			if kind == simulator.TimeoutAfterDebit || kind == simulator.TimeoutBeforeDebit {
				continue
			}
			b.fault(simulator.Fault{Kind: kind, Times: 1, Delay: time.Millisecond})
			r := b.request("bank/payout", payout("a").with("key", k).with("bank", k))
			r.Header.Set("Authorization", "Bearer "+k)
			_, _ = try(client(t, "127.0.0.10"), r)
		}
		b.ClearFaults()
	}
	b.call("bank/payout", payout("a").with("key", old))
	b.SetKeys("yet another key")
	b.call("bank/payout", payout("a").with("note", old+young))
	for _, path := range []string{"/ledger", "/requests", "/faults", "/kinds", "/callbacks"} {
		status, text := c.do("GET", path, "")
		if status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		findKey(t, path, text, old, young, key)
	}
	if status, text := c.do("PUT", "/config", `{"keys":["`+old+`"],"x":1}`); status != 400 {
		t.Errorf("status %d", status)
	} else {
		findKey(t, "the error", text, old)
	}
}
