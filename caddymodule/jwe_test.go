package caddymodule_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	jweKey  = "s3cr3tKeyOf+JWE/AAAAAAAAAAAAAAAAAAAAAAAAAAA="
	nextJWE = "s3cr3tKeyOf-JWE_BBBBBBBBBBBBBBBBBBBBBBBBBBA" // as URLs have it
)

// jweOptions are those of a gateway whose account, and whose provider, encrypt.
func jweOptions(t *testing.T, algorithm string) gatewaytest.Options {
	t.Helper()
	file := write(t, "secret.json", fmt.Sprintf(`{"username":%q,"key":%q}`, gatewaytest.Username, jweKey))
	return gatewaytest.Options{
		Secret: fmt.Sprintf("secret file %s\nsign jwe {\nalgorithm %[2]s\n}\nverify jwe {\nalgorithm %[2]s\n}", file, algorithm),
		Simulator: func(c *simulator.Config) {
			c.Key, c.JWE = jweKey, &simulator.JWEConfig{Algorithm: algorithm}
		},
		Reconcile: "daily_check off",
	}
}

// TestJWE: payments and status queries travel encrypted both ways, and neither
// what travels nor the log has the key in it.
func TestJWE(t *testing.T) {
	for _, algorithm := range []string{"dir", "A256GCMKW"} {
		t.Run(algorithm, func(t *testing.T) {
			o := jweOptions(t, algorithm)
			o.Nowpay = asks(byRequestID, "always")
			g := gatewaytest.Start(t, o)
			answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("jwe1", "1.50")})
			if answer.Outcome() != "success" || answer.Header.Get("Nowpay-Gateway-Integrity") != "revalidated" || !strings.Contains(answer.Body, `"yourrequestid":"jwe1"`) {
				t.Errorf("payout: %d %v %s", answer.StatusCode, answer.Header, answer.Body)
			}
			if types := answer.Header.Values("Content-Type"); len(types) != 1 || types[0] != "application/json" {
				t.Errorf("content type %q", types)
			}
			answer = g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
			if answer.StatusCode != http.StatusOK || !strings.Contains(answer.Body, "tradebal") {
				t.Errorf("balance: %d %s", answer.StatusCode, answer.Body)
			}
			for i, kind := range []simulator.Kind{simulator.CloseAfterDebit, simulator.JWEPlain} {
				answer = g.Must(paid(fmt.Sprintf("jwe2%d", i), "2.50", kind)) // the status tells what became of it
				if answer.Outcome() != "success" || answer.Header.Get("Nowpay-Gateway-Integrity") != "revalidated" {
					t.Errorf("%s: %d %v %s", kind, answer.StatusCode, answer.Header, answer.Body)
				}
			}
			misbehave(t, g, simulator.Fault{Kind: simulator.JWEWrongKey, Operation: "bank/payout_status", Times: 1})
			if answer = g.Must(gatewaytest.Call{Body: gatewaytest.Payout("jwe3", "1.50")}); answer.Outcome() != "pending" {
				t.Errorf("a status that is not proven: %s %s", answer.Outcome(), answer.Body)
			}
			for _, r := range g.Simulator.Requests() {
				if !r.KeyRight || r.Header.Get("Content-Type") != "application/jose" || strings.Count(r.Body, ".") != 4 {
					t.Errorf("the provider got %+v", r)
				}
			}
			bytesOfKey, err := signer.KeyBase64.Decode([]byte(jweKey))
			if err != nil {
				t.Fatal(err)
			}
			for _, form := range [][]byte{[]byte(jweKey), bytesOfKey, []byte(hex.EncodeToString(bytesOfKey))} {
				if bytes.Contains(g.Log(), form) {
					t.Errorf("the log has the key as %q", form)
				}
			}
		})
	}
}

// TestJWEUnproven: an answer that is not encrypted as it must be is nobody's. What
// moved money is unknown; what moves none is an error.
func TestJWEUnproven(t *testing.T) {
	g := gatewaytest.Start(t, jweOptions(t, "dir"))
	kinds := []simulator.Kind{simulator.JWEPlain, simulator.JWEWrongKey, simulator.JWEWrongAlgorithm, simulator.JWETampered}
	for i, kind := range kinds {
		id := fmt.Sprintf("unproven%d", i)
		misbehave(t, g, simulator.Fault{Kind: kind, Operation: "bank/payout", Times: 1})
		answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")})
		if answer.StatusCode != http.StatusOK || answer.Outcome() != "unknown" || !strings.Contains(answer.Body, `"success":"2"`) || strings.Contains(answer.Body, "rrn") {
			t.Errorf("%s: %d %s %s", kind, answer.StatusCode, answer.Outcome(), answer.Body)
		}
		misbehave(t, g, simulator.Fault{Kind: kind, Operation: "common/balance", Times: 1})
		answer = g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
		if answer.StatusCode != http.StatusBadGateway || answer.Header.Get("Nowpay-Gateway-Error") != "bad-gateway" || strings.Contains(answer.Body, "tradebal") {
			t.Errorf("%s: balance: %d %s", kind, answer.StatusCode, answer.Body)
		}
	}
	if n := len(g.Simulator.Ledger().Entries); n != len(kinds) {
		t.Errorf("%d payments, want %d", n, len(kinds))
	}
}

// TestJWEWithoutVerify: requests are encrypted, answers are plain, where `sign jwe`
// stands alone. A provider that encrypts its answers all the same is not understood.
func TestJWEWithoutVerify(t *testing.T) {
	o := jweOptions(t, "dir")
	o.Secret, _, _ = strings.Cut(o.Secret, "verify jwe")
	g := gatewaytest.Start(t, o)
	misbehave(t, g, simulator.Fault{Kind: simulator.JWEPlain, Operation: "bank/payout", Times: 1})
	if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("alone1", "1.50")}); answer.Outcome() != "success" {
		t.Errorf("a plain answer: %s %s", answer.Outcome(), answer.Body)
	}
	if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("alone2", "1.50")}); answer.Outcome() != "unknown" {
		t.Errorf("an encrypted answer: %s %s", answer.Outcome(), answer.Body)
	}
}

// TestJWERotation: the key is changed while answers under the old one may be on
// their way, and no request is refused.
func TestJWERotation(t *testing.T) {
	o := jweOptions(t, "dir")
	file := strings.Fields(o.Secret)[2]
	g := gatewaytest.Start(t, o)
	g.Simulator.SetKeys(jweKey, nextJWE)
	misbehave(t, g, simulator.Fault{Kind: simulator.Slow, Operation: "bank/payout", Times: 1, Delay: 3 * time.Second})
	slow, client := make(chan gatewaytest.Answer), g.Client("http/1.1")
	go func() {
		answer, err := g.Do(client, g.URL, gatewaytest.Call{Body: gatewaytest.Payout("rotated1", "1.50")})
		if err != nil {
			t.Error(err)
		}
		slow <- answer
	}()
	gatewaytest.Eventually(t, "the request to arrive", func() bool { return len(g.Simulator.Requests()) == 1 })
	next := write(t, "next.json", fmt.Sprintf(`{"username":%q,"key":%q}`, gatewaytest.Username, nextJWE))
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the new key to be used", func() bool {
		g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: `{}`})
		requests := g.Simulator.Requests()
		return requests[len(requests)-1].KeyHash == simulator.KeyHash(nextJWE)
	})
	if answer := <-slow; answer.Response == nil || answer.Outcome() != "success" {
		t.Errorf("the answer under the old key: %+v", answer)
	}
	for _, r := range g.Simulator.Requests() {
		if !r.KeyRight {
			t.Errorf("refused: %+v", r)
		}
	}
}
