package simulator_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// keyPair is a key in PEM.
type keyPair struct{ private, public []byte }

// keyPairs are two for each algorithm: the partner's and the provider's.
var keyPairs = sync.OnceValue(func() map[httpsig.Algorithm][2]keyPair {
	pairs := make(map[httpsig.Algorithm][2]keyPair)
	for algorithm, make := range map[httpsig.Algorithm]func() (crypto.Signer, error){
		httpsig.Ed25519:         func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(nil); return key, err },
		httpsig.ECDSAP256SHA256: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		httpsig.RSAPSSSHA512:    func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	} {
		var two [2]keyPair
		for i := range two {
			key, err := make()
			if err != nil {
				panic(err)
			}
			private, _ := x509.MarshalPKCS8PrivateKey(key)
			public, _ := x509.MarshalPKIXPublicKey(key.Public())
			two[i] = keyPair{
				pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
				pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
			}
		}
		pairs[algorithm] = two
	}
	return pairs
})

// signing is a provider with signatures, and what the gateway has for it.
type signing struct {
	*bench
	scheme   *signer.HTTPSig
	verifier *signer.HTTPSigVerifier
	key      string
}

func startSigning(t *testing.T, algorithm httpsig.Algorithm, byURI bool) *signing {
	t.Helper()
	s := &signing{scheme: &signer.HTTPSig{Algorithm: algorithm}, verifier: new(signer.HTTPSigVerifier), key: key}
	c := simulator.SignatureConfig{Algorithm: algorithm, ByURI: byURI}
	if algorithm != httpsig.HMACSHA256 {
		pairs := keyPairs()[algorithm]
		s.key = string(pairs[0].private)
		c.PartnerKey, c.PrivateKey, c.KeyID = pairs[0].public, pairs[1].private, "nowpay-1"
		public, err := httpsig.ParsePublicKey(pairs[1].public, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		s.verifier.Keys = map[string][]httpsig.VerifyingKey{"nowpay-1": {public}}
	}
	s.bench = start(t, func(config *simulator.Config) { config.Signatures = &c })
	s.scheme.Now, s.verifier.Now = s.clock.Now, s.clock.Now
	return s
}

// exchange is what the gateway does: it signs, sends, and verifies the answer.
func (s *signing) exchange(t *testing.T, text string, c *secret.Credential, change func(*http.Request)) (answer, string, error) {
	t.Helper()
	body, err := nowpay.ParseJSON([]byte(text), nowpay.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	request := s.raw("bank/payout", "application/json", nil)
	signed, err := s.scheme.Sign(t.Context(), signer.Request{
		Operation: &nowpay.Operation{Name: "bank/payout", Encoding: nowpay.JSON}, Body: body, URL: request.URL.String(),
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	request = s.raw("bank/payout", signed.ContentType, signed.Body)
	maps.Copy(request.Header, signed.Header)
	if change != nil {
		change(request)
	}
	a := s.do(request)
	got, err := s.verifier.Verify(t.Context(), signed, signer.Answer{Status: a.status, Header: a.header, Body: []byte(a.body)}, []*secret.Credential{c})
	return a, string(got.Body), err
}

// TestSignatures: what the gateway's signer signs is executed, and its verifier
// accepts the answer, by each algorithm and each way to bind the answer.
func TestSignatures(t *testing.T) {
	for _, algorithm := range []httpsig.Algorithm{httpsig.HMACSHA256, httpsig.Ed25519, httpsig.ECDSAP256SHA256, httpsig.RSAPSSSHA512} {
		for _, byURI := range []bool{false, true} {
			t.Run(fmt.Sprint(algorithm, " by URI ", byURI), func(t *testing.T) {
				s := startSigning(t, algorithm, byURI)
				c := jweCredential(t, username, s.key)
				for i := range 2 {
					a, body, err := s.exchange(t, payoutText(fmt.Sprint("a", i)), c, nil)
					if err != nil || !strings.HasPrefix(body, `{"success":"1"`) {
						t.Fatalf("%s, %v\n%v", a.body, err, a.header)
					}
				}
				for _, r := range s.Requests() {
					if !r.KeyRight || r.Username != username || strings.Contains(r.Body, `"key"`) {
						t.Errorf("remembered %+v", r)
					}
				}
				if n := len(s.Ledger().Entries); n != 2 {
					t.Errorf("%d entries in the books, want 2", n)
				}
			})
		}
	}
}

// TestSignaturesRefused: what is not signed as it must be is refused like a wrong key,
// and pays nothing.
func TestSignaturesRefused(t *testing.T) {
	s := startSigning(t, httpsig.HMACSHA256, false)
	c := jweCredential(t, username, key)
	for name, change := range map[string]func(*http.Request){
		"no signature":   func(r *http.Request) { r.Header.Del("Signature") },
		"another digest": func(r *http.Request) { r.Header.Set("Content-Digest", httpsig.Digest([]byte("{}"))) },
		"another body":   func(r *http.Request) { *r = *s.withBody(r, `{"username":"2000"}`) },
		"another type":   func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"another path":   func(r *http.Request) { r.URL.RawQuery = "route=/api/common/balance" },
		"another host":   func(r *http.Request) { r.Host = "nowpay.in" },
		"another username": func(r *http.Request) {
			r.Header.Set("Signature-Input", strings.Replace(r.Header.Get("Signature-Input"), username, "2001", 1))
		},
	} {
		a, _, err := s.exchange(t, payoutText("a1"), c, change)
		if a.text("success") != "0" || a.text("message") != "Invalid Username Or Key" || !errors.Is(err, signer.ErrUnverified) {
			t.Errorf("%s: %s, %v", name, a.body, err)
		}
	}
	if a, _, err := s.exchange(t, payoutText("a1"), jweCredential(t, username, "another key"), nil); a.text("success") != "0" || err == nil {
		t.Errorf("another key: %s, %v", a.body, err)
	}
	if a := s.call("bank/payout", payout("a1")); a.text("success") != "0" {
		t.Errorf("the documented scheme: %s", a.body)
	}
	s.scheme.NewNonce = func() string { return "always the same" }
	for i, want := range []string{"1", "0"} {
		if a, _, _ := s.exchange(t, payoutText(fmt.Sprint("n", i)), c, nil); a.text("success") != want {
			t.Errorf("request %d with the nonce: %s", i+1, a.body)
		}
	}
	if n := len(s.Ledger().Entries); n != 1 {
		t.Errorf("%d entries in the books, want 1", n)
	}
}

// withBody is the request with another body.
func (s *signing) withBody(r *http.Request, text string) *http.Request {
	other := s.raw("bank/payout", r.Header.Get("Content-Type"), []byte(text))
	other.Header = r.Header
	return other
}

// TestSignatureRotation: either key is good, and an answer comes under the one of its
// request.
func TestSignatureRotation(t *testing.T) {
	s := startSigning(t, httpsig.HMACSHA256, false)
	s.SetKeys("the next key, as long as any", key)
	for i, k := range []string{key, "the next key, as long as any"} {
		c := jweCredential(t, username, k)
		if a, _, err := s.exchange(t, payoutText(fmt.Sprint("a", i)), c, nil); a.text("success") != "1" || err != nil {
			t.Errorf("key %d: %s, %v", i, a.body, err)
		}
	}
}

// TestSignatureFaults: a verifier believes none of the faults, and each of them pays.
func TestSignatureFaults(t *testing.T) {
	for kind, want := range map[simulator.Kind]error{
		simulator.SignatureMissing:        httpsig.ErrMissing,
		simulator.SignatureEmpty:          httpsig.ErrWrong,
		simulator.SignatureWrongKey:       httpsig.ErrWrong,
		simulator.SignatureUnknownKey:     httpsig.ErrUnknownKey,
		simulator.SignatureWrongAlgorithm: httpsig.ErrAlgorithm,
		simulator.SignatureStale:          httpsig.ErrNotFresh,
		simulator.SignatureUnbound:        signer.ErrUnverified,
		simulator.SignatureReplayed:       httpsig.ErrWrong,
		simulator.DigestWrong:             httpsig.ErrWrongDigest,
		simulator.HTTP500:                 httpsig.ErrMissing,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := startSigning(t, httpsig.HMACSHA256, false)
			c := jweCredential(t, username, key)
			if _, _, err := s.exchange(t, payoutText("a0"), c, nil); err != nil {
				t.Fatal(err)
			}
			s.fault(simulator.Fault{Kind: kind, RequestID: "a1"})
			a, _, err := s.exchange(t, payoutText("a1"), c, nil)
			if !errors.Is(err, want) || !errors.Is(err, signer.ErrUnverified) {
				t.Errorf("%v, want %v\n%v %s", err, want, a.header, a.body)
			}
			if n := len(s.Ledger().Entries); n != 2 {
				t.Errorf("%d entries in the books, want 2", n)
			}
		})
	}
}

func TestSignatureConfig(t *testing.T) {
	pairs := keyPairs()[httpsig.Ed25519]
	for name, c := range map[string]simulator.SignatureConfig{
		"algorithm":        {Algorithm: "rsa-v1_5-sha256", PartnerKey: pairs[0].public, PrivateKey: pairs[1].private, KeyID: "k"},
		"no partner's key": {Algorithm: httpsig.Ed25519, PrivateKey: pairs[1].private, KeyID: "k"},
		"no own key":       {Algorithm: httpsig.Ed25519, PartnerKey: pairs[0].public, KeyID: "k"},
		"no name":          {Algorithm: httpsig.Ed25519, PartnerKey: pairs[0].public, PrivateKey: pairs[1].private},
	} {
		if _, err := simulator.New(simulator.Config{Username: username, Key: key, Signatures: &c}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	both := simulator.Config{Username: username, Key: jweKey, JWE: &simulator.JWEConfig{}, Signatures: &simulator.SignatureConfig{}}
	if _, err := simulator.New(both); err == nil {
		t.Error("two schemes: accepted")
	}
}
