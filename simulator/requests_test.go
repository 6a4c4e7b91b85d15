package simulator_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestRequestsKeepBytes: what reached the provider is kept as it came, but for
// the key.
func TestRequestsKeepBytes(t *testing.T) {
	quoted, _ := json.Marshal(key)
	escaped := strings.ReplaceAll(strings.Trim(string(quoted), `"`), "/", `\/`)
	tests := []struct {
		name, operation, contentType, body, want string
		right                                    bool
	}{
		{
			"first members, odd spaces", "bank/payout", "application/json",
			"{\"username\":\"2000\",\"key\":" + string(quoted) + ", \"amount\" :\t\"1.50\",\n\"name\":\"A\\u0041\"}\n",
			"{\"username\":\"2000\",\"key\":\"[redacted]\", \"amount\" :\t\"1.50\",\n\"name\":\"A\\u0041\"}\n", true,
		},
		{"escaped", "bank/payout", "application/json", `{"key":"` + escaped + `","username":2000}`, `{"key":"[redacted]","username":2000}`, true},
		{"in unicode escapes", "bank/payout", "application/json", `{"key":"` + unicodeEscapes(key) + `","username":"2000"}`, `{"key":"[redacted]","username":"2000"}`, true},
		{"name escaped", "bank/payout", "application/json", `{"\u006bey":"` + escaped + `","username":"2000"}`, `{"\u006bey":"[redacted]","username":"2000"}`, true},
		{"other letter case", "bank/payout", "application/json", `{"KEY":"wrong","Key":["x"]}`, `{"KEY":"[redacted]","Key":"[redacted]"}`, false},
		{"wrong key", "bank/payout", "application/json", `{"username":"2000","key":"wrong","a":"wrong"}`, `{"username":"2000","key":"[redacted]","a":"wrong"}`, false},
		{"wrong long key", "bank/payout", "application/json", `{"key":"a wrong key","a":"a wrong key"}`, `{"key":"[redacted]","a":"[redacted]"}`, false},
		{"elsewhere", "bank/payout", "application/json", `{"name":"` + escaped + `","n":{"key":` + string(quoted) + `}}`, `{"name":"[redacted]","n":{"key":"[redacted]"}}`, false},
		{"cut short", "bank/payout", "application/json", `{"key":` + string(quoted) + `,"a`, `{"key":"[redacted]","a`, false},
		{"cut in the key", "bank/payout", "application/json", `{"a":1,"key":` + string(quoted[:len(quoted)-1]), `{"a":1,"key":"[redacted]`, false},
		{"no object", "bank/payout", "application/json", `[` + string(quoted) + `]`, `["[redacted]"]`, false},
		{
			"form", "aeps/ms", "application/x-www-form-urlencoded",
			"uid=1%32&key=" + url.QueryEscape(key) + "&username=2000&x", "uid=1%32&key=[redacted]&username=2000&x", true,
		},
		{"form, elsewhere", "aeps/ms", "application/x-www-form-urlencoded", "k%65y=wrong&a=" + url.QueryEscape(key), "k%65y=[redacted]&a=[redacted]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			if _, err := try(client(t, "127.0.0.10"), b.raw(tt.operation, tt.contentType, []byte(tt.body))); err != nil {
				t.Fatal(err)
			}
			r := b.Requests()[0]
			if r.Body != tt.want || r.KeyRight != tt.right {
				t.Errorf("kept\n%s (key right: %v)\nwant\n%s", r.Body, r.KeyRight, tt.want)
			}
		})
	}
}

// TestRequestsKeepTheRest: peer, header, target.
func TestRequestsKeepTheRest(t *testing.T) {
	b := start(t)
	r := b.request("bank/payout", payout("a").with("key", "the wrong one"))
	r.URL.RawQuery += "&key=" + url.QueryEscape(key) + "&x=" + url.QueryEscape(key)
	r.Header.Set("X-Leak", "old "+key)
	r.Header.Set("User-Agent", "test")
	r.Host = "nowpay.example"
	if _, err := try(client(t, "127.0.0.10"), r); err != nil {
		t.Fatal(err)
	}
	got := b.Requests()[0]
	if got.Remote.Addr().String() != "127.0.0.10" || got.Number != 1 || got.Proto != "HTTP/1.1" || got.Method != http.MethodPost ||
		got.Host != "nowpay.example" || got.Operation != "bank/payout" || got.RequestID != "a" || got.Username != username ||
		got.KeyHash != simulator.KeyHash("the wrong one") || !got.Time.Equal(b.clock.now) {
		t.Errorf("kept %+v", got)
	}
	if want := "/api/index.php?route=/api/bank/payout&key=[redacted]&x=[redacted]"; got.Target != want {
		t.Errorf("target %s, want %s", got.Target, want)
	}
	want := http.Header{
		"X-Leak": {"old [redacted]"}, "User-Agent": {"test"}, "Content-Type": {"application/json"},
		"Content-Length": {got.Header.Get("Content-Length")},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", got.Header, want)
	}
}

// TestRequestsAreBounded: the last 10,000, oldest first.
func TestRequestsAreBounded(t *testing.T) {
	sim, err := simulator.New(simulator.Config{Username: username, Key: "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	const over = 37
	for range 10_000 + over {
		post(sim.Handler(), "common/balance", "", "", "")
	}
	r := sim.Requests()
	if len(r) != 10_000 {
		t.Fatalf("%d requests are remembered", len(r))
	}
	for i := range r {
		if r[i].Number != i+over+1 {
			t.Fatalf("request %d has number %d, want %d", i, r[i].Number, i+over+1)
		}
	}
}

// keyForms are the ways in which a key could be found in a text.
func keyForms(key string) []string {
	quoted, _ := json.Marshal(key)
	raw := []byte(key)
	return []string{
		key,
		string(quoted[1 : len(quoted)-1]),
		strings.ReplaceAll(string(quoted[1:len(quoted)-1]), "/", `\/`),
		unicodeEscapes(key),
		url.QueryEscape(key),
		percent(key),
		hexOf(key),
		strings.ToUpper(hexOf(key)),
		base64.StdEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw),
	}
}

func findKey(t *testing.T, where, text string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		for _, form := range keyForms(key) {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the key as %q", where, form)
			}
		}
	}
}
