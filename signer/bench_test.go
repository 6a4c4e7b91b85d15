package signer_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// BenchmarkHTTPSig is what signing a request, and verifying the signature of its
// answer, cost.
func BenchmarkHTTPSig(b *testing.B) {
	c := credential(b, "2000", "0123456789abcdef0123456789")
	scheme, verifier := &signer.HTTPSig{Now: clock}, &signer.HTTPSigVerifier{Now: clock}
	r := payout(b)
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := scheme.Sign(b.Context(), r, c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		signed, err := scheme.Sign(b.Context(), r, c)
		if err != nil {
			b.Fatal(err)
		}
		w := newAnswering()
		w.key = hmacOf("0123456789abcdef0123456789")
		a := w.answer(b, asReceived(signed))
		known := []*secret.Credential{c}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := verifier.Verify(b.Context(), signed, a, known); err != nil {
				b.Fatal(err)
			}
		}
	})
}
