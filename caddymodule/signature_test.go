package caddymodule_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

const sharedKey = "0123456789abcdef0123456789abcdef" // of merchant shop

// signingShop is a merchant that signs.
type signingShop struct {
	*gatewaytest.Gateway
	options gatewaytest.Options

	key   httpsig.SigningKey
	id    string
	token string // "": none
	nonce int
	host  string // that is signed; "": the gateway's
}

func startSigningShop(t *testing.T, algorithm httpsig.Algorithm, o gatewaytest.Options) *signingShop {
	t.Helper()
	s := &signingShop{id: "shop-1", key: httpsig.HMAC(sharedKey)}
	file := write(t, "shop.key", sharedKey+"\n")
	if algorithm != httpsig.HMACSHA256 {
		private, public := newKeyPair(t, algorithm)
		key, err := httpsig.ParsePrivateKey(private, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		s.key, file = key, write(t, "shop.pem", string(public))
	}
	o.Shop += fmt.Sprintf("\nsignature %s %s %s", algorithm, s.id, file)
	s.Gateway, s.options = gatewaytest.Start(t, o), o
	return s
}

// signed is a request with a signature over what has to be covered.
func (s *signingShop) signed(t *testing.T, method, target, body string, change ...func(p *httpsig.Params, r *http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	s.nonce++
	covered := []string{"@method", "@target-uri"}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Digest", httpsig.Digest([]byte(body)))
		covered = append(covered, "content-digest")
	}
	p := httpsig.Params{Label: "sig1", Created: time.Now(), Nonce: fmt.Sprint("n", s.nonce), KeyID: s.id}
	for _, text := range covered {
		p.Components = append(p.Components, component(t, text))
	}
	for _, c := range change {
		c(&p, r)
	}
	message := &httpsig.Message{Method: method, Scheme: "http", Authority: cmp.Or(s.host, r.URL.Host), Target: target, Header: r.Header}
	input, signature, err := httpsig.Sign(t.Context(), message, p, s.key)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Signature-Input", input)
	r.Header.Set("Signature", signature)
	return r
}

func component(t *testing.T, text string) httpsig.Component {
	t.Helper()
	c, err := httpsig.ParseComponent(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends it, and returns the status and the problem.
func (s *signingShop) send(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	response, err := s.Client("http/1.1").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Nowpay-Gateway-Error")
}

// TestMerchantSignature: a merchant that signs is known by its signature, by each
// algorithm and in every call that it may make.
func TestMerchantSignature(t *testing.T) {
	for _, algorithm := range []httpsig.Algorithm{httpsig.HMACSHA256, httpsig.Ed25519, httpsig.ECDSAP256SHA256, httpsig.RSAPSSSHA512} {
		t.Run(string(algorithm), func(t *testing.T) {
			s := startSigningShop(t, algorithm, gatewaytest.Options{})
			for i, r := range []*http.Request{
				s.signed(t, http.MethodPost, "/api/bank/payout", gatewaytest.Payout("1001", "1.50")),
				s.signed(t, http.MethodPost, "/api/index.php?route=/api/bank/payout", gatewaytest.Payout("1002", "1.50")),
				s.signed(t, http.MethodPost, "/api/common/balance", "{}"),
				s.signed(t, http.MethodGet, "/operations", ""),
				s.signed(t, http.MethodGet, "/transactions/1001", ""),
				s.signed(t, http.MethodPost, "/transactions/1001/revalidate", `{"amount":"1.50"}`),
			} {
				if status, problem := s.send(t, r); status != http.StatusOK {
					t.Errorf("call %d: %d %s\n%v", i, status, problem, s.LastRecord())
				}
			}
			if n := len(s.Simulator.Ledger().Entries); n != 2 {
				t.Errorf("%d payments, want 2", n)
			}
			for _, r := range s.Simulator.Requests() {
				if r.Header.Get("Signature") != "" || r.Header.Get("Content-Digest") != "" {
					t.Errorf("the merchant's headers were passed on: %v", r.Header)
				}
			}
		})
	}
}

// TestMerchantSignatureRefused: whoever has the token and not the key pays nothing, and
// so does whoever has recorded a request, or changes one.
func TestMerchantSignatureRefused(t *testing.T) {
	s := startSigningShop(t, httpsig.HMACSHA256, gatewaytest.Options{})
	s.token = gatewaytest.ShopToken
	const path = "/api/bank/payout"
	body := gatewaytest.Payout("1001", "1.50")
	without := func(names ...string) func(*http.Request) {
		return func(r *http.Request) {
			for _, name := range names {
				r.Header.Del(name)
			}
		}
	}
	for _, test := range []struct {
		name string
		sign func(p *httpsig.Params, r *http.Request) // before it is signed
		then func(r *http.Request)                    // after it
		rule string                                   // in the decision record
	}{
		{"not signed", nil, without("Signature", "Signature-Input", "Content-Digest"), "merchant shop: not signed"},
		{"no signature for the input", nil, without("Signature"), "its signature"},
		{"another body", nil, func(r *http.Request) { replaceBody(r, gatewaytest.Payout("1001", "4999.00")) }, "the body is not the one that is signed"},
		{"another body and digest", nil, func(r *http.Request) {
			other := gatewaytest.Payout("1001", "4999.00")
			replaceBody(r, other)
			r.Header.Set("Content-Digest", httpsig.Digest([]byte(other)))
		}, "its signature"},
		{"another target", nil, func(r *http.Request) { r.URL.Path = "/api/bank/upi_verify" }, "its signature"},
		{"key of nobody", func(p *httpsig.Params, _ *http.Request) { p.KeyID = "kiosk-1" }, nil, "its signature"},
		{"no nonce", func(p *httpsig.Params, _ *http.Request) { p.Nonce = "" }, nil, "its signature"},
		{"no time", func(p *httpsig.Params, _ *http.Request) { p.Created = time.Time{} }, nil, "its signature"},
		{"too old", func(p *httpsig.Params, _ *http.Request) { p.Created = time.Now().Add(-10 * time.Minute) }, nil, "its signature"},
		{"from the future", func(p *httpsig.Params, _ *http.Request) { p.Created = time.Now().Add(10 * time.Minute) }, nil, "its signature"},
		{"digest not covered", func(p *httpsig.Params, _ *http.Request) { p.Components = p.Components[:2] }, nil, "its signature"},
		{"target not covered", func(p *httpsig.Params, _ *http.Request) { p.Components = append(p.Components[:1:1], p.Components[2]) }, nil, "its signature"},
		{"method not covered", func(p *httpsig.Params, _ *http.Request) { p.Components = p.Components[1:] }, nil, "its signature"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var changes []func(*httpsig.Params, *http.Request)
			if test.sign != nil {
				changes = append(changes, test.sign)
			}
			r := s.signed(t, http.MethodPost, path, body, changes...)
			if test.then != nil {
				test.then(r)
			}
			if status, problem := s.send(t, r); status != http.StatusUnauthorized || problem != "unauthenticated" {
				t.Errorf("%d %s", status, problem)
			}
			record := s.LastRecord()
			if rule := fmt.Sprint(record["rule"]); !strings.Contains(rule, test.rule) || record["reason"] != "unauthenticated" {
				t.Errorf("the record is %v, want the rule %q in it", record, test.rule)
			}
		})
	}
	s.host = "another-gateway.internal"
	if status, problem := s.send(t, s.signed(t, http.MethodPost, path, body)); status != http.StatusUnauthorized {
		t.Errorf("signed for another host: %d %s", status, problem)
	}
	s.host = ""
	if n := len(s.Simulator.Requests()); n != 0 {
		t.Errorf("%d requests reached the provider", n)
	}
	if status, problem := s.send(t, s.signed(t, http.MethodPost, path, body)); status != http.StatusOK {
		t.Errorf("as it should be: %d %s", status, problem)
	}
}

func replaceBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// TestMerchantReplay: a recorded request is taken once, whatever it asks for, and over a
// reload too.
func TestMerchantReplay(t *testing.T) {
	s := startSigningShop(t, httpsig.Ed25519, gatewaytest.Options{})
	for i, target := range []string{"/api/common/balance", "/transactions/1001", "/operations"} {
		method, body := http.MethodGet, ""
		if i == 0 {
			method, body = http.MethodPost, "{}"
		}
		r := s.signed(t, method, target, body)
		again := func() *http.Request { c := r.Clone(t.Context()); replaceBody(c, body); return c }
		if status, problem := s.send(t, again()); status == http.StatusUnauthorized {
			t.Fatalf("%s: %d %s", target, status, problem)
		}
		for try := range 2 {
			if try == 1 {
				mustReload(t, s.Gateway, s.options)
			}
			if status, problem := s.send(t, again()); status != http.StatusUnauthorized || problem != "unauthenticated" {
				t.Errorf("%s again: %d %s", target, status, problem)
			}
		}
		record := s.LastRecord()
		if rule := fmt.Sprint(record["rule"]); !strings.Contains(rule, "the signature was used before") || record["reason"] != "unauthenticated" || record["allowed"] != false {
			t.Errorf("%s: record %v", target, record)
		}
	}
	if n := len(s.Simulator.Requests()); n != 1 {
		t.Errorf("%d requests reached the provider, want 1", n)
	}
}

// TestMerchantSharedKeyFile: a key that everybody may read, or none, stops the start.
func TestMerchantSharedKeyFile(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for name, test := range map[string]struct {
		mode    os.FileMode
		content string
		want    string
	}{
		"for everybody": {0o644, sharedKey, "lets everybody at it"},
		"too short":     {0o600, "short", "one line of 32"},
		"two lines":     {0o600, sharedKey + "\n" + sharedKey, "one line of 32"},
	} {
		file := write(t, "shop.key", test.content)
		if err := os.Chmod(file, test.mode); err != nil {
			t.Fatal(err)
		}
		err := g.Load(gatewaytest.Options{Shop: "signature hmac-sha256 shop-1 " + file})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), sharedKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.Load(gatewaytest.Options{Shop: "signature hmac-sha256 shop-1 /nowhere/shop.key"}); err == nil {
		t.Error("a file that does not exist: loaded")
	}
	if answer := g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`}); answer.StatusCode != http.StatusOK {
		t.Errorf("the configuration before: %d %s", answer.StatusCode, answer.Body)
	}
}

// TestMerchantReplayAndRate: what a stranger plays again, whole or changed, does not use
// up what the merchant may call.
func TestMerchantReplayAndRate(t *testing.T) {
	s := startSigningShop(t, httpsig.Ed25519, gatewaytest.Options{Shop: "rate 3/1h 3"})
	r := s.signed(t, http.MethodPost, "/api/common/balance", "{}")
	for i := range 8 {
		c := r.Clone(t.Context())
		replaceBody(c, []string{"{}", `{"a":"b"}`}[i%2])
		if status, _ := s.send(t, c); i > 0 && status != http.StatusUnauthorized {
			t.Errorf("try %d: %d", i, status)
		}
	}
	for range 2 {
		if status, problem := s.send(t, s.signed(t, http.MethodPost, "/api/common/balance", "{}")); status != http.StatusOK {
			t.Errorf("the merchant's own: %d %s", status, problem)
		}
	}
}

// TestMerchantReplayOverReload: a signature that is too old stays used, also if an older
// one may be by the next configuration.
func TestMerchantReplayOverReload(t *testing.T) {
	s := startSigningShop(t, httpsig.Ed25519, gatewaytest.Options{})
	r := s.signed(t, http.MethodPost, "/api/common/balance", "{}", func(p *httpsig.Params, _ *http.Request) { p.Created = time.Now().Add(-50 * time.Second) })
	again := func() *http.Request { c := r.Clone(t.Context()); replaceBody(c, "{}"); return c }
	if status, problem := s.send(t, again()); status != http.StatusOK {
		t.Fatalf("%d %s", status, problem)
	}
	o := s.options
	o.Nowpay = "signatures {\nmax_age 14m\n}"
	mustReload(t, s.Gateway, o)
	if status, _ := s.send(t, again()); status != http.StatusUnauthorized {
		t.Errorf("again: %d", status)
	}
}
