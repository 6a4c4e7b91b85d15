package signer_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// TestKeyless: whatever needs a key refuses a credential that has none, and signs
// nothing with an empty one.
func TestKeyless(t *testing.T) {
	c, err := secret.NewKeyless([]byte("2000"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	schemes := map[string]signer.Scheme{
		"credentials": signer.Credentials{},
		"jwe":         signer.JWE{},
		"jwe, wrap":   signer.JWE{Algorithm: signer.JWEKeyWrap},
	}
	for algorithm := range pairs() {
		schemes[string(algorithm)] = &signer.HTTPSig{Algorithm: algorithm, Now: clock}
	}
	for name, scheme := range schemes {
		signed, err := scheme.Sign(t.Context(), payout(t), c)
		if !errors.Is(err, signer.ErrKey) || signed.Body != nil || signed.Header != nil {
			t.Errorf("%s: Sign = %q, %v, want %v", name, signed.Body, err, signer.ErrKey)
		}
	}

	sent, err := (&signer.HTTPSig{Key: hmacOf("what Vault has"), Now: clock}).Sign(t.Context(), payout(t), c)
	if err != nil {
		t.Fatalf("by another's key: %v", err)
	}
	answer := signer.Answer{Status: http.StatusOK, Header: http.Header{}, Body: []byte(`{"success":"1"}`)}
	for name, verifier := range map[string]signer.Verifier{
		"jwe": signer.JWE{}, "hmac-sha256": &signer.HTTPSigVerifier{Now: clock},
	} {
		if _, err := verifier.Verify(t.Context(), sent, answer, []*secret.Credential{c}); !errors.Is(err, signer.ErrUnverified) {
			t.Errorf("%s: Verify: %v, want %v", name, err, signer.ErrUnverified)
		}
	}
	verifier := &signer.HTTPSigVerifier{Key: hmacOf("a shared key"), Now: clock}
	good := newAnswering().answer(t, asReceived(sent))
	if _, err := verifier.Verify(t.Context(), sent, good, []*secret.Credential{c}); err != nil {
		t.Errorf("by another's key: Verify: %v", err)
	}
}
