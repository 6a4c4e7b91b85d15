package vault

import (
	"strings"
	"testing"
)

// Waiting is how many calls are in the queues.
func (t *Transit) Waiting() int { return len(t.signing) + len(t.verifying) }

// FuzzTransitSignature has Vault answer anything: what is taken for a signature has
// Vault's form and the algorithm's length.
func FuzzTransitSignature(f *testing.F) {
	for _, seed := range []string{
		"", "vault", "vault:", "vault:v1", "vault:v1:", "vault:v1:AAAA", "vault:1:AAAA", "v1:vault:AAAA",
		"vault:v1:" + strings.Repeat("A", 86) + "==", "vault:v1:" + strings.Repeat("A", 86), "vault:v12:" + strings.Repeat("_", 86),
		"vault:v1:" + strings.Repeat("A", 43) + "=", "vault:v1:" + strings.Repeat("A", 342) + "==",
		" vault:v1:" + strings.Repeat("A", 43) + "=", "vault:v1:" + strings.Repeat("A", 43) + "=:", "vault:v1:\n" + strings.Repeat("A", 43) + "=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, algorithm := range []string{"hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512"} {
			scheme, ok := schemeOf(algorithm)
			if !ok {
				t.Fatalf("no scheme for %s", algorithm)
			}
			transit := &Transit{scheme: scheme}
			result := transitResult{Signature: text}
			if scheme.sign == "hmac" {
				result = transitResult{HMAC: text}
			}
			signature, err := transit.signature(result, new(call))
			if err != nil {
				continue
			}
			if !scheme.fits(signature) || !strings.HasPrefix(text, "vault:v") {
				t.Errorf("%s: %d bytes from %q", algorithm, len(signature), text)
			}
		}
	})
}
