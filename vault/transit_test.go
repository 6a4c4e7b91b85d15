package vault_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// transitPolicy is what docs/transit.md tells to write.
const transitPolicy = `
path "secret/data/nowpay/*"     { capabilities = ["read"] }
path "transit/keys/nowpay*"     { capabilities = ["read"] }
path "transit/sign/nowpay*"     { capabilities = ["update"] }
path "transit/hmac/nowpay*"     { capabilities = ["update"] }
path "transit/verify/nowpay*"   { capabilities = ["update"] }
`

// algorithms are those there are, with a type of key for each.
var algorithms = []struct{ name, keyType string }{
	{"hmac-sha256", "hmac"},
	{"ed25519", "ed25519"},
	{"ecdsa-p256-sha256", "ecdsa-p256"},
	{"rsa-pss-sha512", "rsa-2048"},
	{"rsa-pss-sha512", "rsa-3072"},
}

// newTransitVault is a server with keys nowpay-<type>, at least one of Ed25519, and
// a secret that is a username alone.
func newTransitVault(tb testing.TB, keyTypes ...string) *vaulttest.Server {
	tb.Helper()
	server := vaulttest.Start(tb)
	fillTransit(tb, server, keyTypes...)
	return server
}

func fillTransit(tb testing.TB, server *vaulttest.Server, keyTypes ...string) {
	tb.Helper()
	server.EnableKV2("secret")
	server.PutKV2("secret", "nowpay/main", map[string]any{"username": "1001"})
	server.Policy("nowpay", transitPolicy)
	server.EnableTransit("transit")
	for _, keyType := range append(keyTypes, "ed25519") {
		server.TransitKey("transit", "nowpay-"+keyType, keyType)
	}
}

// keyless is config for a secret without a key.
func keyless(tb testing.TB, server *vaulttest.Server) vault.Config {
	tb.Helper()
	return vault.Config{
		Address: server.Address, CAFile: server.CAFile, Path: path, NoKey: true,
		Auth:    vault.TokenAuth(writeFile(tb, "token", server.Token([]string{"nowpay"}, 0, true))),
		Refresh: fast, StaleFor: time.Minute,
	}
}

// newTransit is a Transit on a started source, closed at the end of the test.
func newTransit(tb testing.TB, source *vault.Source, cfg vault.TransitConfig, opts vault.TransitOptions) *vault.Transit {
	tb.Helper()
	transit, err := vault.NewTransit(source, cfg, opts)
	if err != nil {
		tb.Fatalf("NewTransit(): %v", err)
	}
	tb.Cleanup(transit.Close)
	return transit
}

func sign(tb testing.TB, transit *vault.Transit, base string) []byte {
	tb.Helper()
	signature, err := transit.Sign(tb.Context(), []byte(base))
	if err != nil {
		tb.Fatalf("Sign(): %v", err)
	}
	return signature
}

func mustVerify(tb testing.TB, transit *vault.Transit, base string, signature []byte, want bool) {
	tb.Helper()
	if ok, err := transit.Verify(tb.Context(), []byte(base), signature); err != nil || ok != want {
		tb.Errorf("Verify(%.20s, %x) = %v, %v, want %v", base, signature, ok, err, want)
	}
}

// mustBeUnavailable checks an error of a Transit, and that it shows none of the
// secrets.
func mustBeUnavailable(tb testing.TB, err error, want string, secrets ...string) {
	tb.Helper()
	if !errors.Is(err, secret.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		tb.Errorf("error is %v, want secret.ErrUnavailable and %q", err, want)
		return
	}
	mustNotHold(tb, fmt.Sprintf("%v %+v %#v", err, err, err), secrets...)
}

// publicKey is the latest one of a transit key.
func publicKey(tb testing.TB, server *vaulttest.Server, key string) crypto.PublicKey {
	tb.Helper()
	data := server.Read("transit/keys/" + key)
	latest, _ := data["keys"].(map[string]any)[fmt.Sprint(data["latest_version"])].(map[string]any)
	text, _ := latest["public_key"].(string)
	if data["type"] == "ed25519" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			tb.Fatal(err)
		}
		return ed25519.PublicKey(raw)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		tb.Fatalf("public key: %v", data)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return public
}

// exportedHMAC is the latest version of an HMAC key.
func exportedHMAC(tb testing.TB, server *vaulttest.Server, key string) []byte {
	tb.Helper()
	versions, _ := server.Read("transit/export/hmac-key/" + key + "/latest")["keys"].(map[string]any)
	for _, text := range versions {
		raw, err := base64.StdEncoding.DecodeString(text.(string))
		if err != nil {
			tb.Fatal(err)
		}
		return raw
	}
	tb.Fatal("no key was exported")
	return nil
}

func hmacOf(key []byte, base string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(base))
	return h.Sum(nil)
}

// verified is the standard library's word on a signature.
func verified(public crypto.PublicKey, base string, signature []byte) bool {
	switch public := public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(public, []byte(base), signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256([]byte(base))
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return len(signature) == 64 && ecdsa.Verify(public, digest[:], r, s)
	case *rsa.PublicKey:
		digest := sha512.Sum512([]byte(base))
		return rsa.VerifyPSS(public, crypto.SHA512, digest[:], signature, &rsa.PSSOptions{SaltLength: 64}) == nil
	}
	return false
}

// TestTransitAlgorithms holds Vault's signatures against the standard library.
func TestTransitAlgorithms(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t, "hmac", "ecdsa-p256", "rsa-2048", "rsa-3072")
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	for _, a := range algorithms {
		t.Run(a.keyType, func(t *testing.T) {
			name := "nowpay-" + a.keyType
			transit := newTransit(t, source, vault.TransitConfig{Key: name, Algorithm: a.name}, vault.TransitOptions{})
			for i := range 40 { // ECDSA's numbers have zeros in front now and then
				base := fmt.Sprintf("\"@method\": POST\n%d", i)
				signature := sign(t, transit, base)
				if a.keyType == "hmac" {
					if want := hmacOf(exportedHMAC(t, server, name), base); !hmac.Equal(signature, want) {
						t.Fatalf("HMAC %x, want %x", signature, want)
					}
				} else if !verified(publicKey(t, server, name), base, signature) {
					t.Fatalf("signature %x is wrong", signature)
				}
				if i > 2 {
					continue
				}
				mustVerify(t, transit, base, signature, true)
				mustVerify(t, transit, base+" ", signature, false)
				for _, at := range []int{0, len(signature) / 2, len(signature) - 1} {
					wrong := slices.Clone(signature)
					wrong[at] ^= 1
					mustVerify(t, transit, base, wrong, false)
				}
			}
			signature := sign(t, transit, "x")
			mustVerify(t, transit, "x", make([]byte, len(signature)), false)
			asked := server.Requests("transit/verify/")
			for _, wrong := range [][]byte{nil, {}, []byte("vault:v1:AAAA"), make([]byte, 4096)} {
				mustVerify(t, transit, "x", wrong, false)
			}
			if n := server.Requests("transit/verify/") - asked; n != 0 {
				t.Errorf("%d requests about what is no signature", n)
			}
			mustVerify(t, transit, "x", signature[1:], false)
			mustVerify(t, transit, "x", append(signature, 0), false)
		})
	}
}

// TestTransitImported: a key of one's own gives the MACs that it gives elsewhere.
func TestTransitImported(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	key := []byte("the key that Nowpay knows as well, 265 at most")
	server.ImportTransitKey("transit", "nowpay-own", "hmac", key)
	transit := newTransit(t, source, vault.TransitConfig{Key: "nowpay-own", Algorithm: "hmac-sha256"}, vault.TransitOptions{})
	if got, want := sign(t, transit, "base"), hmacOf(key, "base"); !hmac.Equal(got, want) {
		t.Errorf("HMAC %x, want %x", got, want)
	}
	mustVerify(t, transit, "other", hmacOf(key, "other"), true)

	// And one of which Vault knows the public half only, which is the provider's.
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	server.Write("transit/keys/nowpay-theirs/import", map[string]any{
		"type": "ed25519", "public_key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	theirs := newTransit(t, source, vault.TransitConfig{Key: "nowpay-theirs", Algorithm: "ed25519"}, vault.TransitOptions{})
	mustVerify(t, theirs, "base", ed25519.Sign(private, []byte("base")), true)
	_, err = theirs.Sign(t.Context(), []byte("base"))
	mustBeUnavailable(t, err, "private part")
}

// TestTransitRotation: what older versions signed is good for a while.
func TestTransitRotation(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t, "hmac", "ecdsa-p256")
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	for _, a := range algorithms[:3] {
		t.Run(a.keyType, func(t *testing.T) {
			key := "transit/keys/nowpay-" + a.keyType
			clock := newClock()
			opts := vault.TransitOptions{Now: clock.now}
			cfg := vault.TransitConfig{Key: "nowpay-" + a.keyType, Algorithm: a.name}
			transit := newTransit(t, source, cfg, opts)
			// Another gateway, which has not heard of the rotation.
			other := newTransit(t, source, cfg, opts)
			var signatures [][]byte
			for i := range 4 {
				if i > 0 {
					server.Write(key+"/rotate", nil)
					clock.advance(2 * time.Second)
				}
				signatures = append(signatures, sign(t, transit, "base"))
				for old, signature := range slices.Backward(signatures) { // the newest tells of the rotation
					mustVerify(t, other, "base", signature, old > i-3)
				}
			}
			cfg.Version = 2
			pinned := newTransit(t, source, cfg, opts)
			mustVerify(t, pinned, "base", signatures[1], true)
			mustVerify(t, pinned, "base", signatures[2], false)
			mustVerify(t, transit, "base", sign(t, pinned, "base"), true)

			server.Write(key+"/config", map[string]any{"min_decryption_version": 4})
			clock.advance(2 * time.Minute)
			mustVerify(t, other, "base", signatures[2], false)
			mustVerify(t, other, "base", signatures[3], true)
		})
	}
}

func TestTransitConfig(t *testing.T) {
	t.Parallel()
	source, _ := newSource(t, newFake(t, nil).config(t), vault.Options{})
	good := vault.TransitConfig{Mount: "team/transit", Key: "nowpay-1_a.b", Algorithm: "ed25519", Version: 3, Timeout: time.Second}
	for _, tt := range []struct {
		name   string
		change func(*vault.TransitConfig)
		want   string // "" no error
	}{
		{"as it is", func(*vault.TransitConfig) {}, ""},
		{"defaults", func(c *vault.TransitConfig) { *c = vault.TransitConfig{Key: "k", Algorithm: "hmac-sha256"} }, ""},
		{"no key", func(c *vault.TransitConfig) { c.Key = "" }, "no slash at either end"},
		{"path for a key", func(c *vault.TransitConfig) { c.Key = "a/b" }, "letters, digits"},
		{"dots for a key", func(c *vault.TransitConfig) { c.Key = ".." }, ". or .. only"},
		{"query in the key", func(c *vault.TransitConfig) { c.Key = "a?b" }, "holds one of"},
		{"space in the key", func(c *vault.TransitConfig) { c.Key = "a b" }, "letters, digits"},
		{"slash", func(c *vault.TransitConfig) { c.Mount = "/transit" }, "no slash at either end"},
		{"dots in the mount", func(c *vault.TransitConfig) { c.Mount = "transit/../sys" }, ". or .. only"},
		{"no algorithm", func(c *vault.TransitConfig) { c.Algorithm = "" }, "algorithm: unknown"},
		{"other algorithm", func(c *vault.TransitConfig) { c.Algorithm = "rsa-v1_5-sha256" }, "algorithm: unknown"},
		{"version", func(c *vault.TransitConfig) { c.Version = -1 }, "is negative"},
		{"timeout", func(c *vault.TransitConfig) { c.Timeout = -1 }, "is negative"},
	} {
		cfg := good
		tt.change(&cfg)
		transit, err := vault.NewTransit(source, cfg, vault.TransitOptions{})
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewTransit(): %v, want %q", tt.name, err, tt.want)
		}
		if err == nil {
			transit.Close()
		}
	}
}

// TestTransitRefusals are keys that are not there, or not for the algorithm.
func TestTransitRefusals(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t, "hmac", "ecdsa-p256", "rsa-2048")
	source, _ := startSource(t, keyless(t, server), vault.Options{})
	server.Write("transit/keys/nowpay-derived", map[string]any{"type": "ed25519", "derived": true})
	for _, tt := range []struct {
		name string
		cfg  vault.TransitConfig
		want string
	}{
		{"no such key", vault.TransitConfig{Key: "nowpay-none", Algorithm: "ed25519"}, "status 404"},
		{"no such mount", vault.TransitConfig{Mount: "other", Key: "nowpay", Algorithm: "ed25519"}, "permission denied"},
		{"not allowed", vault.TransitConfig{Key: "else", Algorithm: "ed25519"}, "permission denied"},
		{"ed25519 by RSA", vault.TransitConfig{Key: "nowpay-rsa-2048", Algorithm: "ed25519"}, "of type rsa-2048: ed25519 needs ed25519"},
		{"ed25519 by ECDSA", vault.TransitConfig{Key: "nowpay-ecdsa-p256", Algorithm: "ed25519"}, "of type ecdsa-p256"},
		{"HMAC by Ed25519", vault.TransitConfig{Key: "nowpay-ed25519", Algorithm: "hmac-sha256"}, "of type ed25519"},
		{"no such version", vault.TransitConfig{Key: "nowpay-ed25519", Algorithm: "ed25519", Version: 7}, "refused by Vault"},
		{"no such version, HMAC", vault.TransitConfig{Key: "nowpay-hmac", Algorithm: "hmac-sha256", Version: 7}, "version"},
		{"derived", vault.TransitConfig{Key: "nowpay-derived", Algorithm: "ed25519"}, "refused by Vault"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transit := newTransit(t, source, tt.cfg, vault.TransitOptions{})
			const base = "what is s1gned"
			_, err := transit.Sign(t.Context(), []byte(base))
			mustBeUnavailable(t, err, tt.want, base)
			size := 64
			if tt.cfg.Algorithm == "hmac-sha256" {
				size = 32
			}
			ok, err := transit.Verify(t.Context(), []byte(base), make([]byte, size))
			if ok {
				t.Error("Verify() accepts a signature")
			}
			mustBeUnavailable(t, err, "", base)
		})
	}
	transit := newTransit(t, source, vault.TransitConfig{Key: "nowpay-hmac", Algorithm: "hmac-sha256"}, vault.TransitOptions{})
	for _, size := range []int{0, 1<<16 + 1} {
		_, err := transit.Sign(t.Context(), make([]byte, size))
		mustBeUnavailable(t, err, "must have 1 to 65536 bytes")
	}
	if _, err := transit.Sign(t.Context(), make([]byte, 1<<16)); err != nil {
		t.Errorf("Sign() of the longest base: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transit.Sign(canceled, []byte("base")); !errors.Is(err, context.Canceled) || !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("Sign() of a caller that has left: %v", err)
	}
}

// TestKeyless: a secret with a username alone is a credential where that is asked
// for, and only there.
func TestKeyless(t *testing.T) {
	t.Parallel()
	server := newTransitVault(t)
	cfg := keyless(t, server)
	source, _ := startSource(t, cfg, vault.Options{})
	if u, k, v, err := held(source); u != "1001" || k != "" || v != 1 || err != nil {
		t.Errorf("Acquire() = %q, %q, version %d, %v", u, k, v, err)
	}
	// A key that is there nevertheless is not even looked at.
	server.PutKV2("secret", "nowpay/main", map[string]any{"username": "1002", "key": 5320137, "": 5320137})
	eventually(t, "the new version", func() bool { return source.Status().Version == 2 })
	if u, k, _, err := held(source); u != "1002" || k != "" || err != nil {
		t.Errorf("Acquire() = %q, %q, %v", u, k, err)
	}
	server.PutKV2("secret", "nowpay/main", map[string]any{"key": keyOf(3)})
	eventually(t, "the credential to be gone", gone(source))
	mustFailAt(t, source.Status().Err, vault.StepFields)

	cfg.KeyField = "key"
	if _, err := vault.New(cfg, vault.Options{}); err == nil || !strings.Contains(err.Error(), "there is to be no key") {
		t.Errorf("New(): %v", err)
	}
}

// TestDocumentedPolicy: the policy in the documentation is enough, and no line of it
// is too much.
func TestDocumentedPolicy(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/transit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```hcl\n")
	policy, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/transit.md has no policy")
	}
	server := vaulttest.Start(t)
	server.EnableKV2("secret")
	server.PutKV2("secret", "nowpay", map[string]any{"username": "1001"})
	server.EnableTransit("transit")
	cfg := keyless(t, server)
	cfg.Path = "secret/nowpay"
	lines := slices.Collect(strings.Lines(policy))
	for _, a := range algorithms[:2] {
		server.Policy("nowpay", policy)
		server.TransitKey("transit", "nowpay", a.keyType)
		source, _ := startSource(t, cfg, vault.Options{})
		uses := func() error {
			transit := newTransit(t, source, vault.TransitConfig{Key: "nowpay", Algorithm: a.name}, vault.TransitOptions{})
			defer transit.Close()
			signature, err := transit.Sign(t.Context(), []byte("base"))
			if err != nil {
				return err
			}
			_, err = transit.Verify(t.Context(), []byte("base"), signature)
			return err
		}
		if err := uses(); err != nil {
			t.Errorf("%s: with the documented policy: %v", a.name, err)
		}
		for i, line := range lines[1:] {
			server.Policy("nowpay", strings.Join(slices.Delete(slices.Clone(lines), i+1, i+2), ""))
			needed := strings.Contains(line, a.name) || !strings.Contains(line, "-sha")
			if err := uses(); (err != nil) != needed {
				t.Errorf("%s: without %s: %v", a.name, line, err)
			}
		}
		server.Write("transit/keys/nowpay/config", map[string]any{"deletion_allowed": true})
		if _, err := server.Client().Logical().Delete("transit/keys/nowpay"); err != nil {
			t.Fatal(err)
		}
	}
}
