package signer_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// TestJWEPublishedVectors: no JWE of RFC 7516 (appendix A), RFC 7518 (appendix B is
// of the parts of AES-CBC, C of ECDH-ES) or RFC 7520 (section 5) has a combination
// that is accepted here, so those that come near are vectors of refusals. These two
// have a symmetric key, and the key management that is ours: that they are refused
// is because of what they are, and not because a letter of them is wrong.
func TestJWEPublishedVectors(t *testing.T) {
	for section, c := range map[string]struct {
		alg jose.KeyAlgorithm
		enc jose.ContentEncryption
	}{"5.6": {jose.DIRECT, jose.A128GCM}, "5.7": {jose.A256GCMKW, jose.A128CBC_HS256}} {
		v := readJWEVector(t, os.DirFS("testdata/vectors-jwe"), "verify-rfc7520-"+section+".txt")
		sealed, err := jose.ParseEncryptedCompact(v.input, []jose.KeyAlgorithm{c.alg}, []jose.ContentEncryption{c.enc})
		if err != nil {
			t.Fatal(err)
		}
		plain, err := sealed.Decrypt(decode64(t, v.key))
		if err != nil || !strings.HasPrefix(string(plain), "You can trust us to stick with you") {
			t.Errorf("section %s: %q, %v", section, plain, err)
		}
	}
}

// joseAnswer is an answer with the content type of a JWE.
func joseAnswer(body string) signer.Answer {
	return signer.Answer{Status: 200, Header: http.Header{"Content-Type": {"application/jose"}}, Body: []byte(body)}
}

// TestJWEEveryCharacter: whichever character of an answer is changed, left out or
// doubled, nothing comes of it.
func TestJWEEveryCharacter(t *testing.T) {
	j := signer.JWE{Accepted: []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap}}
	for _, file := range []string{"verify-dir.txt", "verify-wrapped.txt"} {
		v := readJWEVector(t, os.DirFS("testdata/vectors-jwe"), file)
		if _, err := j.Verify(t.Context(), signer.Signed{}, joseAnswer(v.input), v.known); err != nil {
			t.Fatal(err)
		}
		for i := range v.input {
			before, at, after := v.input[:i], v.input[i:i+1], v.input[i+1:]
			changed := []string{before + after, before + "\n" + at + after, before + "." + at + after, before + "=" + at + after}
			for _, c := range "AQgw-_.0" {
				if string(c) != at {
					changed = append(changed, before+string(c)+after)
				}
			}
			for _, text := range changed {
				if got, err := j.Verify(t.Context(), signer.Signed{}, joseAnswer(text), v.known); !errors.Is(err, signer.ErrUnverified) {
					t.Fatalf("%s, character %d: %q is %q, %v", file, i, text, got.Body, err)
				}
			}
		}
	}
}

// TestJWENeverTheSame: a nonce that came twice would give both bodies away.
func TestJWENeverTheSame(t *testing.T) {
	c := credential(t, "2000", jweKey)
	for _, algorithm := range []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap} {
		seen := map[string]bool{}
		for range 1000 {
			signed, err := signer.JWE{Algorithm: algorithm}.Sign(t.Context(), request(t, nowpay.JSON, `{"a":1}`), c)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(string(signed.Body), ".")
			for _, random := range []string{parts[2], parts[1] + parts[0]}[:1+strings.Count(string(algorithm), "KW")] {
				if seen[random] {
					t.Fatalf("%s: %s came twice", algorithm, random)
				}
				seen[random] = true
			}
		}
	}
}

// TestJWEReflected: what Sign makes is no answer, whatever a merchant wrote.
func TestJWEReflected(t *testing.T) {
	c := credential(t, "2000", jweKey)
	for encoding, texts := range map[nowpay.Encoding][]string{
		nowpay.JSON: {`{}`, "\r\n\t {\"success\":\"1\",\"ourrequestid\":\"1\",\"rrn\":\"1\"}", ` { "success" : "1" } `},
		nowpay.Form: {"success=1"},
	} {
		for _, text := range texts {
			for _, algorithm := range []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap} {
				j := signer.JWE{Algorithm: algorithm}
				signed, err := j.Sign(t.Context(), request(t, encoding, text), c)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := j.Verify(t.Context(), signed, joseAnswer(string(signed.Body)), []*secret.Credential{c}); !errors.Is(err, signer.ErrUnverified) {
					t.Errorf("%s %s: %q is taken for an answer: %q", algorithm, encoding, text, got.Body)
				}
			}
		}
	}
}

func TestJWEReleased(t *testing.T) {
	c := credential(t, "2000", jweKey)
	answer := joseAnswer(sealByHand(t, `{"success":"1"}`))
	c.Release()
	if s, err := (signer.JWE{}).Sign(t.Context(), request(t, nowpay.JSON, `{"a":1}`), c); !errors.Is(err, secret.ErrUnavailable) || s.Body != nil {
		t.Errorf("Sign = %q, %v", s.Body, err)
	}
	_, err := signer.JWE{}.Verify(t.Context(), signer.Signed{}, answer, []*secret.Credential{c})
	if !errors.Is(err, signer.ErrUnverified) || !errors.Is(err, signer.ErrKey) {
		t.Errorf("Verify: %v", err)
	}
}

// TestJWEKeepsCredential: what is wiped is a copy, also of a key that is text.
func TestJWEKeepsCredential(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	c, j := credential(t, "2000", key), signer.JWE{Encoding: signer.KeyText}
	for range 2 {
		if _, err := j.Sign(t.Context(), request(t, nowpay.JSON, `{"a":1}`), c); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = j.Verify(t.Context(), signer.Signed{}, joseAnswer(sealByHand(t, `{}`)), []*secret.Credential{c})
	if got := string(c.Key().Reveal()); got != key {
		t.Errorf("the key became %q", got)
	}
}

func TestParseJWEAlgorithm(t *testing.T) {
	for _, name := range []string{"dir", "A256GCMKW"} {
		if a, err := signer.ParseJWEAlgorithm(name); err != nil || string(a) != name {
			t.Errorf("ParseJWEAlgorithm(%q) = %q, %v", name, a, err)
		}
	}
	for _, name := range []string{"", "none", "DIR", "A128GCMKW", "A256KW", "RSA-OAEP", "PBES2-HS256+A128KW"} {
		if a, err := signer.ParseJWEAlgorithm(name); err == nil || a != "" {
			t.Errorf("ParseJWEAlgorithm(%q) = %q", name, a)
		}
	}
}

// FuzzJWEVerify: nothing but the answer that was encrypted with the key is
// believed, in no other form than its own, and the error never tells what is in
// the answer.
func FuzzJWEVerify(f *testing.F) {
	genuine := sealByHand(f, `{"success":"1","ourrequestid":"20211028pm231537111806"}`)
	f.Add("application/jose", genuine)
	f.Add("application/jose", genuine+"\n")
	f.Add("application/json", `{"success":"1"}`)
	for _, header := range []string{
		`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`, `{"alg":"A256GCMKW","enc":"A256GCM","iv":"AAAAAAAAAAAAAAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"alg":"PBES2-HS256+A128KW","p2c":1000000000,"p2s":"AAAA","enc":"A256GCM"}`, `{"alg":"none"}`, `[]`, `{"alg":null,"enc":{}}`,
	} {
		f.Add("application/jose", base64.RawURLEncoding.EncodeToString([]byte(header))+genuine[strings.IndexByte(genuine, '.'):])
	}
	c := []*secret.Credential{credential(f, "2000", jweKey)}
	j := signer.JWE{Accepted: []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap}}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		answer := joseAnswer(body)
		answer.Header.Set("Content-Type", contentType)
		got, err := j.Verify(t.Context(), signer.Signed{}, answer, c)
		switch {
		case err == nil && (body != genuine || !strings.EqualFold(contentType, "application/jose")):
			t.Errorf("%q is %q", body, got.Body)
		case err != nil && (!errors.Is(err, signer.ErrUnverified) || got.Body != nil):
			t.Errorf("%q: %q, %v", body, got.Body, err)
		case err != nil && len(err.Error()) > 150:
			t.Errorf("a long error: %v", err)
		}
	})
}

// BenchmarkJWE is a request and an answer, each of about 400 bytes.
func BenchmarkJWE(b *testing.B) {
	text := fmt.Sprintf(`{"yourrequestid":"1001","amount":"1.50","name":%q}`, strings.Repeat("x", 300))
	answer := fmt.Sprintf(`{"success":"1","ourrequestid":"20211028pm231537111806","yourrequestid":"1001","message":%q}`, strings.Repeat("x", 300))
	for _, algorithm := range []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap} {
		b.Run(string(algorithm), func(b *testing.B) {
			j, c := signer.JWE{Algorithm: algorithm}, credential(b, "2000", jweKey)
			r, known := request(b, nowpay.JSON, text), []*secret.Credential{c}
			encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.KeyAlgorithm(algorithm), Key: decode64Std(b, jweKey)}, nil)
			if err != nil {
				b.Fatal(err)
			}
			sealed, err := encrypter.Encrypt([]byte(answer))
			if err != nil {
				b.Fatal(err)
			}
			compact, err := sealed.CompactSerialize()
			if err != nil {
				b.Fatal(err)
			}
			a := joseAnswer(compact)
			b.ReportAllocs()
			for b.Loop() {
				signed, err := j.Sign(b.Context(), r, c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := j.Verify(b.Context(), signed, a, known); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCredentials is what the documented scheme costs, to compare.
func BenchmarkCredentials(b *testing.B) {
	r := request(b, nowpay.JSON, fmt.Sprintf(`{"yourrequestid":"1001","amount":"1.50","name":%q}`, strings.Repeat("x", 300)))
	c := credential(b, "2000", jweKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (signer.Credentials{}).Sign(b.Context(), r, c); err != nil {
			b.Fatal(err)
		}
	}
}

func decode64Std(tb testing.TB, text string) []byte {
	tb.Helper()
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
