package caddymodule_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// newKeyPair makes a key for an algorithm, in PEM.
func newKeyPair(t *testing.T, algorithm httpsig.Algorithm) (private, public []byte) {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case httpsig.Ed25519:
		_, key, err = ed25519.GenerateKey(nil)
	case httpsig.ECDSAP256SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case httpsig.RSAPSSSHA512:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no pairs for %s", algorithm)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: shown})
}

// httpsigOptions are those of a gateway whose account, and whose provider, sign.
func httpsigOptions(t *testing.T, algorithm httpsig.Algorithm, byURI bool) gatewaytest.Options {
	t.Helper()
	key := gatewaytest.Key
	c := simulator.SignatureConfig{Algorithm: algorithm, ByURI: byURI}
	sign, verify := "algorithm "+string(algorithm), "algorithm "+string(algorithm)
	if algorithm != httpsig.HMACSHA256 {
		var private, public []byte
		private, c.PartnerKey = newKeyPair(t, algorithm)
		c.PrivateKey, public = newKeyPair(t, algorithm)
		c.KeyID, key = "nowpay-1", string(private)
		verify += "\nkey nowpay-1 " + write(t, "nowpay.pem", string(public))
	}
	secret, err := json.Marshal(map[string]string{"username": gatewaytest.Username, "key": key})
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.Options{
		Secret:    fmt.Sprintf("secret file %s\nsign httpsig {\n%s\n}\nverify httpsig {\n%s\n}", write(t, "secret.json", string(secret)), sign, verify),
		Simulator: func(config *simulator.Config) { config.Signatures = &c },
		Reconcile: "daily_check off",
	}
}

// TestHTTPSig: payments and status queries are signed both ways, by each algorithm and
// each way to bind an answer, and the key is in nothing that travels or is logged.
func TestHTTPSig(t *testing.T) {
	for _, algorithm := range []httpsig.Algorithm{httpsig.HMACSHA256, httpsig.Ed25519, httpsig.ECDSAP256SHA256, httpsig.RSAPSSSHA512} {
		for _, byURI := range []bool{false, true} {
			t.Run(fmt.Sprint(algorithm, " by URI ", byURI), func(t *testing.T) {
				o := httpsigOptions(t, algorithm, byURI)
				o.Nowpay = asks(byRequestID, "always")
				g := gatewaytest.Start(t, o)
				for i := range 3 {
					answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprint("sig", i), "1.50")})
					if answer.Outcome() != "success" || answer.Header.Get("Nowpay-Gateway-Integrity") != "revalidated" {
						t.Errorf("payout: %d %v %s\n%v", answer.StatusCode, answer.Header, answer.Body, g.LastRecord())
					}
				}
				answer := g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
				if answer.StatusCode != http.StatusOK || answer.Header.Get("Nowpay-Gateway-Integrity") != "verified" {
					t.Errorf("balance: %d %s", answer.StatusCode, answer.Body)
				}
				for name := range answer.Header {
					if strings.HasPrefix(name, "Signature") || name == "Content-Digest" {
						t.Errorf("the merchant gets %s", name)
					}
				}
				checkSignedRequests(t, g, 7)
			})
		}
	}
}

// checkSignedRequests looks at what the provider got: so many requests, each signed, with
// the username and without the key.
func checkSignedRequests(t *testing.T, g *gatewaytest.Gateway, want int) {
	t.Helper()
	requests := g.Simulator.Requests()
	if len(requests) != want {
		t.Errorf("the provider got %d requests, want %d", len(requests), want)
	}
	for _, r := range requests {
		signed := len(r.Header.Values("Signature")) == 1 && len(r.Header.Values("Signature-Input")) == 1
		if !r.KeyRight || !signed || strings.Contains(r.Body, `"key"`) || !strings.HasPrefix(r.Body, `{"username":"2000"`) {
			t.Errorf("the provider got %+v", r)
		}
	}
	for _, part := range []string{gatewaytest.Key, "PRIVATE KEY"} {
		if bytes.Contains(g.Log(), []byte(part)) {
			t.Errorf("the log has %q", part)
		}
	}
}

// TestHTTPSigUnproven: an answer that is not signed as it must be is nobody's. What moved
// money is unknown, and once; what moves none is an error.
func TestHTTPSigUnproven(t *testing.T) {
	for _, byURI := range []bool{false, true} {
		g := gatewaytest.Start(t, httpsigOptions(t, httpsig.HMACSHA256, byURI))
		const unproven = `nowpay_integrity_failures_total{kind="unproven",operation="bank/payout"}`
		before := g.Metric(unproven)
		g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`}) // to be replayed
		kinds := []simulator.Kind{
			simulator.SignatureMissing, simulator.SignatureEmpty, simulator.SignatureWrongKey, simulator.SignatureUnknownKey,
			simulator.SignatureWrongAlgorithm, simulator.SignatureStale, simulator.SignatureUnbound, simulator.SignatureReplayed, simulator.DigestWrong,
		}
		for i, kind := range kinds {
			misbehave(t, g, simulator.Fault{Kind: kind, Operation: "bank/payout", Times: 1})
			answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprint("unproven", i), "1.50")})
			if answer.StatusCode != http.StatusOK || answer.Outcome() != "unknown" || !strings.Contains(answer.Body, `"success":"2"`) || strings.Contains(answer.Body, "rrn") {
				t.Errorf("%s: %d %s %s", kind, answer.StatusCode, answer.Outcome(), answer.Body)
			}
			if record := g.LastRecord(); fmt.Sprint(record["findings"]) != "[unproven]" || record["integrity"] != "unverified" {
				t.Errorf("%s: record %v", kind, record)
			}
			misbehave(t, g, simulator.Fault{Kind: kind, Operation: "common/balance", Times: 1})
			answer = g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
			if answer.StatusCode != http.StatusBadGateway || answer.Problem() != "bad-gateway" || strings.Contains(answer.Body, "tradebal") {
				t.Errorf("%s: balance: %d %s", kind, answer.StatusCode, answer.Body)
			}
		}
		entries := g.Simulator.Ledger().Entries
		if len(entries) != len(kinds) {
			t.Errorf("%d payments, want %d", len(entries), len(kinds))
		}
		if n := g.Metric(unproven) - before; n != float64(len(kinds)) {
			t.Errorf("counted %v unproven answers, want %d", n, len(kinds))
		}
	}
}

// TestHTTPSigRotation: answers under the key before are accepted for the overlap.
func TestHTTPSigRotation(t *testing.T) {
	const next = "the next key, long enough for all"
	o := httpsigOptions(t, httpsig.HMACSHA256, false)
	file := strings.Fields(o.Secret)[2]
	o.Secret += "\noverlap 1h"
	g := gatewaytest.Start(t, o)
	g.Simulator.SetKeys(gatewaytest.Key, next)
	replaceFile(t, file, fmt.Sprintf(`{"username":%q,"key":%q}`, gatewaytest.Username, next))
	gatewaytest.Eventually(t, "the new key to be used", func() bool {
		answer := g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("balance: %d %s", answer.StatusCode, answer.Body)
		}
		requests := g.Simulator.Requests()
		return requests[len(requests)-1].KeyHash == simulator.KeyHash(next)
	})
	for _, r := range g.Simulator.Requests() {
		if !r.KeyRight {
			t.Errorf("a request with a wrong key: %+v", r)
		}
	}
}

// TestHTTPSigForgottenKey: a query under a key that the provider has forgotten is sent
// once more under the next one. A payment is not: nobody knows what became of it.
func TestHTTPSigForgottenKey(t *testing.T) {
	const next = "the next key, long enough for all"
	for _, operation := range []string{"common/balance", "bank/payout"} {
		o := httpsigOptions(t, httpsig.HMACSHA256, false)
		file := strings.Fields(o.Secret)[2]
		g := gatewaytest.Start(t, o)
		gatewaytest.Eventually(t, "the credential not to be quite new", func() bool {
			return g.Metric(`nowpay_credential_age_seconds{account="main"}`) > 0.15
		})
		g.Simulator.SetKeys(next)
		replaceFile(t, file, fmt.Sprintf(`{"username":%q,"key":%q}`, gatewaytest.Username, next))
		call := gatewaytest.Call{Path: "/api/" + operation, Body: `{}`}
		if operation == "bank/payout" {
			call.Body = gatewaytest.Payout("forgotten", "1.50")
		}
		answer := g.Must(call)
		sent := len(g.Simulator.Requests())
		switch {
		case sent == 1 && g.Simulator.Requests()[0].KeyRight:
			t.Log("the new key was seen before the request; nothing to look at")
		case operation == "bank/payout" && (answer.Outcome() != "unknown" || sent != 1 || len(g.Simulator.Ledger().Entries) != 0):
			t.Errorf("payout: %s %s, sent %d times", answer.Outcome(), answer.Body, sent)
		case operation == "common/balance" && (answer.StatusCode != http.StatusOK || sent != 2):
			t.Errorf("balance: %d %s, sent %d times", answer.StatusCode, answer.Body, sent)
		}
	}
}

// replaceFile replaces a file as a careful administrator would.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.Rename(write(t, "next", content), file); err != nil {
		t.Fatal(err)
	}
}

// TestSignedCallbacks: where callbacks must be signed, others are refused, from whatever
// address; signed ones are worked off.
func TestSignedCallbacks(t *testing.T) {
	for _, algorithm := range []httpsig.Algorithm{httpsig.HMACSHA256, httpsig.Ed25519} {
		t.Run(string(algorithm), func(t *testing.T) {
			o := httpsigOptions(t, algorithm, false)
			o.Callbacks = "from " + gatewaytest.ProviderIP + "\nsigned"
			g := startCallbacks(t, o)
			response, err := g.ClientFrom("http/1.1", gatewaytest.ProviderIP).Post(g.CallbackURL, "application/json", strings.NewReader(envelope("SUCCESS", "1001", "N1")))
			if err != nil {
				t.Fatal(err)
			}
			if _ = response.Body.Close(); response.StatusCode != http.StatusForbidden {
				t.Errorf("not signed, from the right address: %d", response.StatusCode)
			}
			unsigned := pend(t, g, "1001")
			misbehave(t, g, simulator.Fault{Kind: simulator.CallbackUnsigned, Times: 1})
			for _, e := range []simulator.Entry{unsigned, pend(t, g, "1002")} {
				if err := g.Simulator.SettlePending(e.ProviderID, simulator.StateSuccess); err != nil {
					t.Fatal(err)
				}
				gatewaytest.Eventually(t, "the callback", func() bool { return len(statusesOf(g, e.RequestID)) == 1 })
			}
			settled(t, g, "1002", "success")
			worked(t, g)
			if state := look(t, g, "1001").State; state != "pending" {
				t.Errorf("settled by a callback that is not signed: %s", state)
			}
			for id, want := range map[string]int{"1001": http.StatusForbidden, "1002": http.StatusOK} {
				if got := statusesOf(g, id); got[0] != want {
					t.Errorf("the callback of %s was answered with %v, want %d", id, got, want)
				}
			}
		})
	}
}

// statusesOf are the gateway's answers to the callbacks of a request ID.
func statusesOf(g *gatewaytest.Gateway, requestID string) (statuses []int) {
	for _, c := range g.Simulator.Callbacks() {
		if c.RequestID == requestID {
			statuses = append(statuses, c.Status)
		}
	}
	return statuses
}
