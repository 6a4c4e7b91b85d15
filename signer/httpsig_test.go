package signer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// now is the time of all signatures.
var now = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

const payoutURL = "https://Nowpay.in:443/api/index.php?route=/api/bank/payout"

// pair is a private key in PEM and what verifies its signatures.
type pair struct {
	private string
	public  httpsig.VerifyingKey
}

// pairs are one for each algorithm; hmac-sha256 has a shared key.
var pairs = sync.OnceValue(func() map[httpsig.Algorithm]pair {
	_, ed, _ := ed25519.GenerateKey(nil)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	made := map[httpsig.Algorithm]pair{httpsig.HMACSHA256: {private: "a shared key", public: httpsig.HMAC("a shared key")}}
	for algorithm, key := range map[httpsig.Algorithm]crypto.Signer{
		httpsig.Ed25519: ed, httpsig.ECDSAP256SHA256: ec, httpsig.RSAPSSSHA512: rs,
	} {
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		shown, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			panic(err)
		}
		verifies, err := httpsig.ParsePublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: shown}), algorithm)
		if err != nil {
			panic(err)
		}
		made[algorithm] = pair{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), verifies}
	}
	return made
})

// asReceived is a signed request as the provider sees it.
func asReceived(s signer.Signed) *httpsig.Message {
	header := maps.Clone(s.Header)
	header.Set("Content-Type", s.ContentType)
	return &httpsig.Message{
		Method: http.MethodPost, Scheme: "https", Authority: "nowpay.in",
		Target: "/api/index.php?route=/api/bank/payout", Header: header,
	}
}

func payout(t testing.TB) signer.Request {
	r := request(t, nowpay.JSON, `{"yourrequestid":"1001","amount":"1.50"}`)
	r.URL = payoutURL
	return r
}

func TestHTTPSigSign(t *testing.T) {
	for algorithm, keys := range pairs() {
		t.Run(string(algorithm), func(t *testing.T) {
			scheme := &signer.HTTPSig{Algorithm: algorithm, Now: clock}
			c := credential(t, "2000", keys.private)
			seen := map[string]bool{}
			for range 2 {
				signed, err := scheme.Sign(t.Context(), payout(t), c)
				if err != nil {
					t.Fatal(err)
				}
				if want := `{"username":"2000","yourrequestid":"1001","amount":"1.50"}`; string(signed.Body) != want {
					t.Errorf("sent %s, want %s", signed.Body, want)
				}
				verified, err := httpsig.Verify(t.Context(), asReceived(signed), httpsig.Policy{
					Label: "sig1", Components: signer.DefaultComponents, NeedNonce: true, Now: now, MaxAge: time.Second,
					Keys: func(id string) []httpsig.VerifyingKey {
						if id != "2000" {
							t.Errorf("key id %q", id)
						}
						return []httpsig.VerifyingKey{keys.public}
					},
				})
				if err != nil {
					t.Fatalf("%v\n%v", err, signed.Header)
				}
				if err := httpsig.CheckDigest(signed.Header, signed.Body); err != nil {
					t.Error(err)
				}
				if seen[verified.Nonce] || !verified.Created.Equal(now) || !verified.Expires.Equal(now.Add(5*time.Minute)) {
					t.Errorf("nonce %q, created %v, expires %v", verified.Nonce, verified.Created, verified.Expires)
				}
				seen[verified.Nonce] = true
			}
		})
	}
}

// TestHTTPSigOptions: what is configured is what is signed.
func TestHTTPSigOptions(t *testing.T) {
	component := func(s string) httpsig.Component {
		c, err := httpsig.ParseComponent(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	scheme := &signer.HTTPSig{
		KeyEncoding: signer.KeyHex, KeyID: "main-2026", Label: "nowpay", Tag: "payments", Lifetime: time.Minute, Now: clock,
		NewNonce:   func() string { return "n1" },
		Components: []httpsig.Component{component("@method"), component("@path"), component("@query"), component("content-digest")},
	}
	signed, err := scheme.Sign(t.Context(), payout(t), credential(t, "2000", "00ff10"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `nowpay=("@method" "@path" "@query" "content-digest");created=1795687200;expires=1795687260;nonce="n1";keyid="main-2026";tag="payments"`
	if got := signed.Header.Get("Signature-Input"); got != want {
		t.Errorf("Signature-Input: %s\nwant             %s", got, want)
	}
	verified, err := httpsig.Verify(t.Context(), asReceived(signed), httpsig.Policy{
		Now: now, MaxAge: time.Second, Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{httpsig.HMAC{0, 0xff, 0x10}} },
	})
	if err != nil || verified.Tag != "payments" || verified.Label != "nowpay" {
		t.Errorf("%+v, %v", verified, err)
	}
}

func TestHTTPSigRefuses(t *testing.T) {
	ed := pairs()[httpsig.Ed25519].private
	for _, test := range []struct {
		name   string
		scheme *signer.HTTPSig
		body   string
		key    string
		want   error
	}{
		{"username in body", &signer.HTTPSig{}, `{"UserName":"1"}`, "k", signer.ErrCredentialInBody},
		{"key in body", &signer.HTTPSig{}, `{"key":"1"}`, "k", signer.ErrCredentialInBody},
		{"private key for hmac", &signer.HTTPSig{}, `{}`, ed, signer.ErrKey},
		{"shared key for ed25519", &signer.HTTPSig{Algorithm: httpsig.Ed25519}, `{}`, "k", signer.ErrKey},
		{"ed25519 key for ecdsa", &signer.HTTPSig{Algorithm: httpsig.ECDSAP256SHA256}, `{}`, ed, signer.ErrKey},
		{"not hex", &signer.HTTPSig{KeyEncoding: signer.KeyHex}, `{}`, "secret-k", signer.ErrKey},
		{"key that cannot be had", &signer.HTTPSig{Key: failing{}}, `{}`, "k", secret.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, nowpay.JSON, test.body)
			r.URL = payoutURL
			signed, err := test.scheme.Sign(t.Context(), r, credential(t, "2000", test.key))
			if !errors.Is(err, test.want) || signed.Body != nil || signed.Header != nil {
				t.Fatalf("Sign = %v, %v, want %v", signed.Header, err, test.want)
			}
			if strings.Contains(err.Error(), test.key) && len(test.key) > 1 {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
	r := request(t, nowpay.Form, "a=1")
	r.Operation.Encoding = nowpay.JSON
	if _, err := new(signer.HTTPSig).Sign(t.Context(), r, credential(t, "u", "k")); !errors.Is(err, signer.ErrEncoding) {
		t.Errorf("a form for JSON: %v", err)
	}
}

// failing is a key that is out of reach.
type failing struct{}

func (failing) Algorithm() httpsig.Algorithm { return httpsig.HMACSHA256 }

func (failing) Sign(context.Context, []byte) ([]byte, error) { return nil, secret.ErrUnavailable }

// answering is how the provider signs an answer.
type answering struct {
	components []string
	key        httpsig.SigningKey
	keyID      string
	created    time.Time
	change     func(a *signer.Answer, sent *httpsig.Message) // before it is signed
	after      func(a *signer.Answer)
}

func newAnswering() answering {
	return answering{
		components: []string{"@status", "content-digest", `"signature";req;key="sig1"`},
		key:        httpsig.HMAC("a shared key"), keyID: "2000", created: now,
	}
}

func (w answering) answer(t testing.TB, sent *httpsig.Message) signer.Answer {
	t.Helper()
	a := signer.Answer{Status: 200, Body: []byte(`{"success":"1"}`), Header: http.Header{"Content-Type": {"application/json"}}}
	a.Header.Set("Content-Digest", httpsig.Digest(a.Body))
	if w.change != nil {
		w.change(&a, sent)
	}
	p := httpsig.Params{Label: "sig1", Created: w.created, KeyID: w.keyID}
	for _, text := range w.components {
		c, err := httpsig.ParseComponent(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Components = append(p.Components, c)
	}
	message := &httpsig.Message{Status: a.Status, Header: a.Header, Request: sent}
	input, signature, err := httpsig.Sign(t.Context(), message, p, w.key)
	if err != nil {
		t.Fatal(err)
	}
	a.Header.Set("Signature-Input", input)
	a.Header.Set("Signature", signature)
	if w.after != nil {
		w.after(&a)
	}
	return a
}

func TestHTTPSigVerify(t *testing.T) {
	byURI := []string{"@status", "content-digest", "@method;req", "@target-uri;req"}
	for _, test := range []struct {
		name string
		want error // nil: accepted
		set  func(w *answering)
	}{
		{"bound by the request's signature", nil, func(*answering) {}},
		{"bound by method and URI", nil, func(w *answering) { w.components = byURI }},
		{"more covered", nil, func(w *answering) { w.components = append(w.components, "content-type", `"content-digest";req`) }},
		{"with the key before", nil, func(w *answering) { w.key = httpsig.HMAC("the key before") }},
		{"just fresh", nil, func(w *answering) { w.created = now.Add(-time.Minute) }},
		{"clock ahead", nil, func(w *answering) { w.created = now.Add(30 * time.Second) }},
		{"not signed", httpsig.ErrMissing, func(w *answering) {
			w.after = func(a *signer.Answer) { a.Header.Del("Signature-Input"); a.Header.Del("Signature") }
		}},
		{"empty signature", httpsig.ErrWrong, func(w *answering) {
			w.after = func(a *signer.Answer) { a.Header.Set("Signature", "sig1=::") }
		}},
		{"key not known", httpsig.ErrUnknownKey, func(w *answering) { w.keyID = "2001" }},
		{"wrong key", httpsig.ErrWrong, func(w *answering) { w.key = httpsig.HMAC("another key") }},
		{"another algorithm", httpsig.ErrAlgorithm, func(w *answering) {
			w.after = func(a *signer.Answer) {
				a.Header.Set("Signature-Input", a.Header.Get("Signature-Input")+`;alg="ed25519"`)
			}
		}},
		{"status not covered", httpsig.ErrNotCovered, func(w *answering) { w.components = w.components[1:] }},
		{"digest not covered", httpsig.ErrNotCovered, func(w *answering) { w.components = []string{"@status", `"signature";req;key="sig1"`} }},
		{"status changed", httpsig.ErrWrong, func(w *answering) { w.after = func(a *signer.Answer) { a.Status = 201 } }},
		{"body changed", httpsig.ErrWrongDigest, func(w *answering) { w.after = func(a *signer.Answer) { a.Body = []byte(`{"success":"0"}`) } }},
		{"body and digest changed", httpsig.ErrWrong, func(w *answering) {
			w.after = func(a *signer.Answer) {
				a.Body = []byte(`{"success":"0"}`)
				a.Header.Set("Content-Digest", httpsig.Digest(a.Body))
			}
		}},
		{"not bound", signer.ErrUnverified, func(w *answering) { w.components = []string{"@status", "content-digest"} }},
		{"bound by method only", signer.ErrUnverified, func(w *answering) { w.components = []string{"@status", "content-digest", "@method;req"} }},
		{"to another request", httpsig.ErrWrong, func(w *answering) {
			w.change = func(_ *signer.Answer, sent *httpsig.Message) { sent.Header.Set("Signature", "sig1=:AAAA:") }
		}},
		{"to another URI", httpsig.ErrWrong, func(w *answering) {
			w.components = byURI
			w.change = func(_ *signer.Answer, sent *httpsig.Message) {
				sent.Target = "/api/index.php?route=/api/common/balance"
			}
		}},
		{"too old", httpsig.ErrNotFresh, func(w *answering) { w.created = now.Add(-time.Minute - 31*time.Second) }},
		{"from the future", httpsig.ErrNotFresh, func(w *answering) { w.created = now.Add(31 * time.Second) }},
		{"without a time", httpsig.ErrNotFresh, func(w *answering) { w.created = time.Time{} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			current := credential(t, "2000", "a shared key")
			signed, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), current)
			if err != nil {
				t.Fatal(err)
			}
			w := newAnswering()
			test.set(&w)
			a := w.answer(t, asReceived(signed))
			signed.Wipe()
			verifier := &signer.HTTPSigVerifier{Now: clock}
			known := []*secret.Credential{current, credential(t, "2000", "the key before")}
			got, err := verifier.Verify(t.Context(), signed, a, known)
			switch {
			case test.want == nil && (err != nil || string(got.Body) != `{"success":"1"}` || got.Status != 200):
				t.Errorf("Verify = %d %s, %v", got.Status, got.Body, err)
			case test.want != nil && (!errors.Is(err, test.want) || !errors.Is(err, signer.ErrUnverified) || got.Body != nil):
				t.Errorf("Verify = %s, %v, want %v", got.Body, err, test.want)
			}
		})
	}
}

// TestHTTPSigReplay: an answer that is bound by method and URI only is accepted once.
func TestHTTPSigReplay(t *testing.T) {
	c := credential(t, "2000", "a shared key")
	at := now
	verifier := &signer.HTTPSigVerifier{Now: func() time.Time { return at }}
	first, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), c)
	if err != nil {
		t.Fatal(err)
	}
	w := newAnswering()
	w.components = []string{"@status", "content-digest", "@method;req", "@target-uri;req"}
	w.change = func(a *signer.Answer, _ *httpsig.Message) {
		a.Header.Set("Content-Digest", a.Header.Get("Content-Digest")+", md5=:AAAA:")
	}
	a := w.answer(t, asReceived(first))
	got, err := verifier.Verify(t.Context(), first, a, []*secret.Credential{c})
	if err != nil || !got.Unbound || len(got.Header) != 1 || got.Header.Get("Content-Type") == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	second, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), c)
	if err != nil {
		t.Fatal(err)
	}
	lines := a.Header.Clone() // the same to a signature, and to nobody else
	lines["Content-Digest"] = strings.Split(a.Header.Get("Content-Digest"), ", ")
	for _, header := range []http.Header{a.Header, lines} {
		for _, later := range []time.Duration{0, time.Minute} {
			at = now.Add(later)
			again := signer.Answer{Status: a.Status, Header: header, Body: a.Body}
			if _, err := verifier.Verify(t.Context(), second, again, []*secret.Credential{c}); !errors.Is(err, signer.ErrUnverified) || !strings.Contains(err.Error(), "seen before") {
				t.Errorf("%v later: %v", later, err)
			}
		}
	}
	at = now
	other := &signer.HTTPSigVerifier{Now: clock, Seen: verifier.Seen} // of another account, or the next configuration
	if _, err := other.Verify(t.Context(), second, a, []*secret.Credential{c}); err == nil {
		t.Error("accepted by a verifier with the same memory")
	}
}

// TestHTTPSigBound: what ties an answer to one request, and what does not.
func TestHTTPSigBound(t *testing.T) {
	for binding, unbound := range map[string]bool{
		`"signature";req;key="sig1"`:                             false,
		"@method;req @target-uri;req content-digest;req":         false,
		"@method;req @target-uri;req":                            true,
		"@method;req @target-uri;req content-type;req @path;req": true,
	} {
		c := credential(t, "2000", "a shared key")
		signed, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), c)
		if err != nil {
			t.Fatal(err)
		}
		w := newAnswering()
		w.components = append([]string{"@status", "content-digest"}, strings.Fields(binding)...)
		got, err := (&signer.HTTPSigVerifier{Now: clock}).Verify(t.Context(), signed, w.answer(t, asReceived(signed)), []*secret.Credential{c})
		if err != nil || got.Unbound != unbound {
			t.Errorf("%s: unbound %t, %v", binding, got.Unbound, err)
		}
	}
}

// TestHTTPSigSameSecond: equal answers of one second to other endpoints are no replays.
func TestHTTPSigSameSecond(t *testing.T) {
	c := credential(t, "2000", "a shared key")
	verifier := &signer.HTTPSigVerifier{Now: clock}
	for _, target := range []string{"/api/index.php?route=/api/bank/payout", "/api/index.php?route=/api/common/balance"} {
		r := payout(t)
		r.URL = "https://nowpay.in" + target
		signed, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), r, c)
		if err != nil {
			t.Fatal(err)
		}
		sent := asReceived(signed)
		sent.Target = target
		w := newAnswering()
		w.components = []string{"@status", "content-digest", "@method;req", "@target-uri;req"}
		if _, err := verifier.Verify(t.Context(), signed, w.answer(t, sent), []*secret.Credential{c}); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// TestHTTPSigUnfitKey: a credential that cannot verify keeps the other from it no more
// than it does alone.
func TestHTTPSigUnfitKey(t *testing.T) {
	c := credential(t, "2000", "a shared key")
	signed, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), c)
	if err != nil {
		t.Fatal(err)
	}
	unfit := credential(t, "2000", pairs()[httpsig.Ed25519].private)
	for _, known := range [][]*secret.Credential{{c, unfit}, {unfit, c}} {
		if _, err := (&signer.HTTPSigVerifier{Now: clock}).Verify(t.Context(), signed, newAnswering().answer(t, asReceived(signed)), known); err != nil {
			t.Error(err)
		}
	}
	if _, err := (&signer.HTTPSigVerifier{Now: clock}).Verify(t.Context(), signed, newAnswering().answer(t, asReceived(signed)), []*secret.Credential{unfit}); !errors.Is(err, signer.ErrKey) {
		t.Errorf("with that one alone: %v", err)
	}
}

// TestVerifyRequest: a callback is the provider's, whole, for this host, and not one of
// our own requests that somebody has sent back.
func TestVerifyRequest(t *testing.T) {
	c := credential(t, "2000", "a shared key")
	for _, test := range []struct {
		name       string
		components string
		body       string
		change     func(m *httpsig.Message)
		want       error // nil: accepted
	}{
		{"target URI", "@method @target-uri content-digest", `{"status":"1"}`, nil, nil},
		{"authority and path", "@method @authority @path @query content-digest", `{"status":"1"}`, nil, nil},
		{"authority and target", "@method @authority @request-target content-digest", `{"status":"1"}`, nil, nil},
		{"no host", "@method @request-target content-digest", `{"status":"1"}`, nil, signer.ErrUnverified},
		{"no host, by parts", "@method @path @query content-digest", `{"status":"1"}`, nil, signer.ErrUnverified},
		{"no method", "@target-uri content-digest", `{"status":"1"}`, nil, httpsig.ErrNotCovered},
		{"no digest", "@method @target-uri", `{"status":"1"}`, nil, httpsig.ErrNotCovered},
		{"for another host", "@method @target-uri content-digest", `{"status":"1"}`, func(m *httpsig.Message) { m.Authority = "elsewhere" }, httpsig.ErrWrong},
		{"our own", "@method @target-uri content-digest", `{"username":"2000","status":"1"}`, nil, signer.ErrUnverified},
		{"our own, with space", "@method @target-uri content-digest", ` { "username":"2000","status":"1"}`, nil, signer.ErrUnverified},
		{"our own form", "@method @target-uri content-digest", "username=2000&status=1", nil, signer.ErrUnverified},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := signer.IncomingRequest(http.MethodPost, "https", "Callbacks.example.com:443", "/nowpay?a=1", http.Header{"Content-Digest": {httpsig.Digest([]byte(test.body))}})
			p := httpsig.Params{Label: "sig1", Created: now, KeyID: "2000"}
			for text := range strings.FieldsSeq(test.components) {
				component, err := httpsig.ParseComponent(text)
				if err != nil {
					t.Fatal(err)
				}
				p.Components = append(p.Components, component)
			}
			input, signature, err := httpsig.Sign(t.Context(), m, p, httpsig.HMAC("a shared key"))
			if err != nil {
				t.Fatal(err)
			}
			m.Header.Set("Signature-Input", input)
			m.Header.Set("Signature", signature)
			if test.change != nil {
				test.change(m)
			}
			verifier := &signer.HTTPSigVerifier{Now: clock}
			err = verifier.VerifyRequest(t.Context(), m, []byte(test.body), []*secret.Credential{c})
			if test.want == nil && err != nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err == nil && verifier.VerifyRequest(t.Context(), m, []byte(`{"status":"0"}`), []*secret.Credential{c}) == nil {
				t.Error("another body is accepted")
			}
		})
	}
}

// TestHTTPSigPublicKeys: answers that are signed with a key of the provider's own.
func TestHTTPSigPublicKeys(t *testing.T) {
	for algorithm, keys := range pairs() {
		if algorithm == httpsig.HMACSHA256 {
			continue
		}
		t.Run(string(algorithm), func(t *testing.T) {
			private, err := httpsig.ParsePrivateKey([]byte(keys.private), algorithm)
			if err != nil {
				t.Fatal(err)
			}
			c := credential(t, "2000", "the account's own key")
			signed, err := (&signer.HTTPSig{Now: clock}).Sign(t.Context(), payout(t), c)
			if err != nil {
				t.Fatal(err)
			}
			w := newAnswering()
			w.key, w.keyID = private, "nowpay-1"
			a := w.answer(t, asReceived(signed))
			verifier := &signer.HTTPSigVerifier{Now: clock, Keys: map[string][]httpsig.VerifyingKey{"nowpay-1": {keys.public}}}
			if _, err := verifier.Verify(t.Context(), signed, a, []*secret.Credential{c}); err != nil {
				t.Error(err)
			}
			w.key, w.keyID = httpsig.HMAC("the account's own key"), "2000"
			if _, err := verifier.Verify(t.Context(), signed, w.answer(t, asReceived(signed)), []*secret.Credential{c}); !errors.Is(err, httpsig.ErrUnknownKey) {
				t.Errorf("signed with the account's own key: %v", err)
			}
		})
	}
}

func hmacOf(key string) httpsig.HMAC { return httpsig.HMAC(key) }
