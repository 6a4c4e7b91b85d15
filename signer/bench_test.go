package signer_test

import (
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// BenchmarkSign is also for GOEXPERIMENT=runtimesecret: what erasing costs.
func BenchmarkSign(b *testing.B) {
	c, err := secret.NewCredential([]byte("2000"), []byte(strings.Repeat("k", 26)), 1)
	if err != nil {
		b.Fatal(err)
	}
	body := `{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.00","yourrequestid":"1001","name":"Asha Rao","transferMode":"IMPS"}`
	r := request(b, nowpay.JSON, body)
	b.ReportAllocs()
	for b.Loop() {
		s, err := signer.Credentials{}.Sign(b.Context(), r, c)
		if err != nil {
			b.Fatal(err)
		}
		s.Wipe()
	}
}

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
