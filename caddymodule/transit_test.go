package caddymodule_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// transitVault is a Vault that holds the account's key, and lets nobody see it.
type transitVault struct {
	*vaulted
	public ed25519.PublicKey
}

const transitPolicy = `
	path "secret/data/nowpay/*"  { capabilities = ["read"] }
	path "transit/keys/nowpay"   { capabilities = ["read"] }
	path "transit/sign/nowpay"   { capabilities = ["update"] }
`

func startTransit(t *testing.T) *transitVault {
	t.Helper()
	v := &transitVault{vaulted: startVault(t)}
	v.Policy("nowpay", transitPolicy)
	v.PutKV2("secret", "nowpay/main", map[string]any{"username": account(1).Username})
	v.EnableTransit("transit")
	v.TransitKey("transit", "nowpay", "ed25519")
	versions, _ := v.Read("transit/keys/nowpay")["keys"].(map[string]any)
	first, _ := versions["1"].(map[string]any)
	raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(first["public_key"]))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		t.Fatalf("public key %v: %v", first, err)
	}
	v.public = raw
	return v
}

// account are the lines of an account that has Vault sign.
func (v *transitVault) account(auth string) string {
	return v.secret(auth, "fields username", quick) + "\nsign httpsig {\nalgorithm ed25519\ntransit nowpay\n}"
}

// Algorithm and Verify make it what the provider verifies with.
func (v *transitVault) Algorithm() httpsig.Algorithm { return httpsig.Ed25519 }

func (v *transitVault) Verify(_ context.Context, base, signature []byte) error {
	if !ed25519.Verify(v.public, base, signature) {
		return httpsig.ErrWrong
	}
	return nil
}

// provider is one that knows the public key only. What is signed well gets the key
// that the simulator asks for.
func (v *transitVault) provider(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			v.t.Errorf("reading the request: %v", err)
		}
		message := &httpsig.Message{Method: r.Method, Scheme: "http", Authority: r.Host, Target: r.RequestURI, Header: r.Header}
		_, err = httpsig.Verify(r.Context(), message, httpsig.Policy{
			Keys: func(id string) []httpsig.VerifyingKey {
				if id != account(1).Username {
					return nil
				}
				return []httpsig.VerifyingKey{v}
			},
			Now: time.Now(), MaxAge: time.Minute, Skew: time.Minute,
		})
		if err == nil {
			err = httpsig.CheckDigest(r.Header, body)
		}
		if err != nil || bytes.Contains(body, []byte(`"key"`)) {
			v.t.Errorf("the provider refuses %s: %v", body, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body = bytes.Replace(body, []byte("{"), []byte(`{"key":"`+account(1).Key+`",`), 1)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}

func (v *transitVault) options(auth string) gatewaytest.Options {
	return gatewaytest.Options{
		Secret: v.account(auth), Provider: v.provider,
		Simulator: func(c *simulator.Config) { c.Username, c.Key = account(1).Username, account(1).Key },
	}
}

// pays makes n payments at a time, which must succeed.
func (v *transitVault) pays(g *gatewaytest.Gateway, n int) {
	v.t.Helper()
	var paying sync.WaitGroup
	for range n {
		v.paid++
		id := fmt.Sprintf("p%d", v.paid)
		paying.Go(func() {
			answer, err := g.Do(g.Client("http/1.1"), g.URL, gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
			if err != nil || answer.Outcome() != "success" {
				v.t.Errorf("payment %s: %d %s %v", id, answer.StatusCode, answer.Body, err)
			}
		})
	}
	paying.Wait()
}

// TestTransit pays with a key that the gateway never sees.
func TestTransit(t *testing.T) {
	v := startTransit(t)
	auth := v.appRoleAuth()
	options := v.options(auth)
	g := gatewaytest.Start(t, options)
	v.pays(g, 1)
	v.pays(g, 20)
	if n := g.Metric(`nowpay_transit_duration_seconds_count{account="main",result="ok"}`); n < 21 {
		t.Errorf("%v signatures were counted", n)
	}
	if requests, calls := g.Metric(`nowpay_transit_batch_size_count{account="main"}`), g.Metric(`nowpay_transit_batch_size_sum{account="main"}`); calls < 21 || requests > calls {
		t.Errorf("%v signatures were counted in %v requests", calls, requests)
	}

	v.Write("transit/keys/nowpay/rotate", nil)
	first := v.public
	versions, _ := v.Read("transit/keys/nowpay")["keys"].(map[string]any)
	second, _ := versions["2"].(map[string]any)
	raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(second["public_key"]))
	if err != nil || bytes.Equal(raw, first) {
		t.Fatalf("public key %v: %v", second, err)
	}
	v.public = raw // the provider has the new key from here on, and so has Vault
	v.pays(g, 1)

	for _, o := range outages {
		o.away(v.vaulted)
		reached := len(g.Simulator.Requests())
		begun := time.Now()
		answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("out"+fmt.Sprint(reached), "1.00")})
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Outcome() != "unsent" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", o.name, answer.StatusCode, answer.Header, answer.Body)
		}
		v.mustNotTell("problem", answer)
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: refusing took %v", o.name, took)
		}
		if len(g.Simulator.Requests()) != reached {
			t.Errorf("%s: a request reached the provider", o.name)
		}
		// A reload keeps the login, and does not wait for Vault.
		if err := g.Load(options); err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		o.back(v.vaulted)
		v.Policy("nowpay", transitPolicy)
		gatewaytest.Eventually(t, "the same payment: "+o.name, func() bool {
			return g.Must(gatewaytest.Call{Body: gatewaytest.Payout("out"+fmt.Sprint(reached), "1.00")}).Outcome() == "success"
		})
		v.pays(g, 1)
	}
	if n := g.Metric(`nowpay_transit_duration_seconds_count{account="main",result="failed"}`); n < 3 {
		t.Errorf("%v failures were counted", n)
	}
	for _, r := range g.Simulator.Requests() {
		if strings.HasPrefix(r.RequestID, "p") && !r.KeyRight {
			t.Errorf("the provider got %+v", r)
		}
	}
}

// TestTransitReloads: payments go on while configurations, each with a Transit of
// its own, come and go.
func TestTransitReloads(t *testing.T) {
	v := startTransit(t)
	options := v.options(v.tokenAuth())
	g := gatewaytest.Start(t, options)
	var paying sync.WaitGroup
	stop := make(chan struct{})
	for payer := range 4 {
		paying.Go(func() {
			client := g.Client("http/1.1")
			client.Transport.(*http.Transport).DisableKeepAlives = true
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				answer, err := g.Do(client, g.URL, gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprintf("r%dx%d", payer, i), "1.00")})
				if err == nil && answer.Outcome() != "success" { // see TestReloadUnderLoad for what may become of connections
					t.Errorf("payment: %d %s", answer.StatusCode, answer.Body)
					return
				}
			}
		})
	}
	for range 5 {
		mustReload(t, g, options)
		v.pays(g, 2)
	}
	close(stop)
	paying.Wait()
	// Those of the serving configuration are left.
	workers := func() int {
		stacks := make([]byte, 4<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "vault.(*Transit).work(")
	}
	gatewaytest.Eventually(t, "the old ones to be closed", func() bool { return workers() == 4 })
}
