package httpsig_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// exchange is a request as the gateway signs it by default.
func exchange(t testing.TB) (*httpsig.Message, httpsig.Params) {
	t.Helper()
	m, _ := readMessage(t, `POST /api/index.php?route=/api/bank/payout HTTP/1.1
Host: nowpay.example
Content-Type: application/json
Content-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:

`)
	return m, httpsig.Params{
		Label:      "sig1",
		Components: components(t, "@method", "@target-uri", "content-type", "content-digest"),
		Created:    time.Unix(1618884473, 0),
		Expires:    time.Unix(1618884773, 0),
		Nonce:      "01KAZ3V5M8Q2T7W9X4Y6Z8A1B3",
		KeyID:      "test",
	}
}

func components(t testing.TB, names ...string) []httpsig.Component {
	t.Helper()
	var all []httpsig.Component
	for _, name := range names {
		c, err := httpsig.ParseComponent(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// sign signs a message in place.
func sign(t testing.TB, m *httpsig.Message, p httpsig.Params, key httpsig.SigningKey) {
	t.Helper()
	input, signature, err := httpsig.Sign(t.Context(), m, p, key)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	m.Header.Set("Signature-Input", input)
	m.Header.Set("Signature", signature)
}

func BenchmarkSign(b *testing.B) {
	for _, a := range algorithms {
		m, p := exchange(b)
		private, _ := keys(b, a)
		b.Run(string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := httpsig.Sign(b.Context(), m, p, private); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, a := range algorithms {
		m, p := exchange(b)
		private, public := keys(b, a)
		sign(b, m, p, private)
		known := []httpsig.VerifyingKey{public}
		policy := httpsig.Policy{
			Label: "sig1", Components: p.Components, Now: p.Created, MaxAge: time.Minute, NeedNonce: true,
			Keys: func(string) []httpsig.VerifyingKey { return known },
		}
		b.Run(string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := httpsig.Verify(b.Context(), m, policy); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDigest: the body of a payout has about 400 bytes.
func BenchmarkDigest(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 400)
	header := map[string][]string{"Content-Digest": {httpsig.Digest(body)}}
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			httpsig.Digest(body)
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := httpsig.CheckDigest(header, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
