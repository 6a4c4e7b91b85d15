package httpsig_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// What is a component is one again as it is written, and signs no more than a line.
func FuzzParseComponent(f *testing.F) {
	for _, seed := range []string{
		"@method", `"@method";req`, `@query-param;name="fa%C3%A7ade"`, "content-digest;sf", `"a";key="b;\"c"`, "x;bs;req", "x;tr", `"x`, "@status",
	} {
		f.Add(seed)
	}
	m := request("GET", "https", "a", "/?x=1", http.Header{"Content-Digest": {"a=1"}, "X": {"y"}})
	m = &httpsig.Message{Status: 200, Header: m.Header, Request: m}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := httpsig.ParseComponent(text)
		if err != nil {
			if c != (httpsig.Component{}) {
				t.Fatalf("ParseComponent(%q) = %s, %v", text, c, err)
			}
			return
		}
		again, err := httpsig.ParseComponent(c.String())
		if err != nil || again != c {
			t.Fatalf("ParseComponent(%q) = %s, which is parsed as %s, %v", text, c, again, err)
		}
		var b baseOf
		if _, _, err = httpsig.Sign(t.Context(), m, httpsig.Params{Label: "s", Components: []httpsig.Component{c}}, &b); err != nil {
			return
		}
		if lines := strings.Count(b.base, "\n"); lines != 1 || !strings.HasPrefix(b.base, c.String()+": ") {
			t.Fatalf("the base of %q is %q", text, b.base)
		}
	})
}

// No message verifies whose signature the key has not made, whatever its fields are.
func FuzzVerify(f *testing.F) {
	vectors := os.DirFS("testdata/vectors")
	files, err := fs.Glob(vectors, "*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(vectors, file)
		if err != nil {
			f.Fatal(err)
		}
		_, message, _ := strings.Cut(string(text), "\n-- message --\n")
		m, _ := readMessage(f, message)
		f.Add(strings.Join(m.Header["Signature-Input"], "\n"), strings.Join(m.Header["Signature"], "\n"), m.Header.Get("Content-Digest"), "", 200)
	}
	secret := httpsig.HMAC("a key that nothing in the corpus is signed with")
	_, ed := keys(f, httpsig.Ed25519)
	_, ec := keys(f, httpsig.ECDSAP256SHA256)
	known := []httpsig.VerifyingKey{secret, ed, ec}
	f.Fuzz(func(t *testing.T, input, signature, digest, label string, status int) {
		header := http.Header{
			"Signature-Input": strings.Split(input, "\n"), "Signature": strings.Split(signature, "\n"),
			"Content-Digest": strings.Split(digest, "\n"), "Content-Type": {"application/json"},
		}
		before := header.Clone()
		m := request("POST", "https", "nowpay.example", "/api/index.php?route=/api/bank/payout", header)
		if status != 0 {
			m = &httpsig.Message{Status: status, Header: header, Request: m}
		}
		v, err := httpsig.Verify(t.Context(), m, httpsig.Policy{
			Label: label, Now: time.Unix(1618884480, 0), Keys: func(string) []httpsig.VerifyingKey { return known },
		})
		if err == nil || v.Signature != nil || v.Components != nil {
			t.Fatalf("Verify = %+v, %v", v, err)
		}
		known := false
		for _, refusal := range refusals {
			known = known || errors.Is(err, refusal)
		}
		if !known {
			t.Fatalf("Verify: %v is none of the refusals", err)
		}
		if err := httpsig.CheckDigest(header, []byte("a body of which nobody knows the digest")); !errors.Is(err, httpsig.ErrNoDigest) && !errors.Is(err, httpsig.ErrWrongDigest) {
			t.Fatalf("CheckDigest: %v", err)
		}
		if !maps.EqualFunc(header, before, func(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }) {
			t.Fatal("the header was changed")
		}
	})
}

// What is signed verifies, and with any bit changed of what is covered, or of the
// signature, it does not.
func FuzzSignVerify(f *testing.F) {
	f.Add("POST", "nowpay.example", "/api/index.php?route=/api/bank/payout", "application/json", []byte(`{"a":1}`), "n-1", "key", uint(7))
	f.Add("GET", "[::1]:8443", "", " a ,\tb ", []byte{}, "", "k\"\\", uint(1234))
	f.Add("M-SEARCH", "A.b:443", "?", "", []byte("x"), "~", "", uint(99999))
	parts := components(f, "@method", "@target-uri", "x-field", "content-digest")
	key := httpsig.HMAC("key")
	f.Fuzz(func(t *testing.T, method, authority, target, field string, body []byte, nonce, keyID string, bit uint) {
		m := request(method, "https", authority, target, http.Header{"X-Field": {field}, "Content-Digest": {httpsig.Digest(body)}})
		p := httpsig.Params{Label: "s", Components: parts, Created: time.Unix(1618884473, 0), Nonce: nonce, KeyID: keyID}
		input, signature, err := httpsig.Sign(t.Context(), m, p, key)
		if err != nil {
			return
		}
		m.Header.Set("Signature-Input", input)
		m.Header.Set("Signature", signature)
		policy := httpsig.Policy{
			Label: "s", Components: parts, Now: p.Created, MaxAge: time.Minute,
			Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{key} },
		}
		v, err := httpsig.Verify(t.Context(), m, policy)
		if err != nil || v.Nonce != nonce || v.KeyID != keyID || !v.Created.Equal(p.Created) {
			t.Fatalf("Verify of what was signed: %+v, %v", v, err)
		}
		if err := httpsig.CheckDigest(m.Header, body); err != nil {
			t.Fatalf("CheckDigest of what was signed: %v", err)
		}
		changed, what := flip(m, bit)
		if v, err := httpsig.Verify(t.Context(), changed, policy); err == nil {
			t.Fatalf("bit %d of %s changed: %+v verifies: %+v", bit, what, changed, v)
		}
		if len(body) > 0 {
			other := bytes.Clone(body)
			other[int(bit/8%uint(len(body)))] ^= 1 << (bit % 8)
			if err := httpsig.CheckDigest(m.Header, other); !errors.Is(err, httpsig.ErrWrongDigest) {
				t.Fatalf("CheckDigest of another body: %v", err)
			}
		}
	})
}

// flip changes one bit of a message, but for those that mean nothing: the case of an
// authority and white space around a field or between members.
func flip(m *httpsig.Message, bit uint) (changed *httpsig.Message, what string) {
	c := *m
	c.Header = m.Header.Clone()
	field := func(name string) *string { return &c.Header[name][0] }
	parts := []struct {
		name string
		text *string
	}{
		{"method", &c.Method},
		{"target", &c.Target},
		{"authority", &c.Authority},
		{"a field", field("X-Field")},
		{"the digest", field("Content-Digest")},
		{"Signature-Input", field("Signature-Input")},
		{"Signature", field("Signature")},
	}
	for i := range parts {
		p := parts[(int(bit/8%16)+i)%len(parts)]
		before := *p.text
		if before == "" {
			continue
		}
		b := []byte(before)
		b[int(bit/128%uint(len(b)))] ^= 1 << (bit % 8)
		*p.text = string(b)
		if meaning(p.name, before) != meaning(p.name, string(b)) {
			return &c, p.name
		}
		*p.text = before
	}
	c.Method += "X"
	return &c, "method"
}

// meaning is what counts of a part.
func meaning(name, text string) string {
	switch name {
	case "authority":
		return strings.ToLower(text)
	case "a field":
		return strings.Trim(text, " \t")
	case "target":
		if text == "" || text[0] == '?' {
			return "/" + text
		}
	}
	return text
}

// Whatever is read as a key is one of its algorithm.
func FuzzParseKeys(f *testing.F) {
	for _, name := range []string{"rsa", "rsa-pss", "ecc-p256", "ed25519"} {
		f.Add(rfcKey(f, "test-key-"+name+".private.pem"))
		f.Add(rfcKey(f, "test-key-"+name+".public.pem"))
	}
	f.Add([]byte(pssOnly))
	f.Add([]byte(restricted))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := 0
		for _, a := range algorithms {
			private, err := httpsig.ParsePrivateKey(text, a)
			if (err == nil) != (private != nil) || private != nil && (private.Algorithm() != a || a == httpsig.HMACSHA256) {
				t.Fatalf("ParsePrivateKey as %s: %v", a, err)
			}
			public, err := httpsig.ParsePublicKey(text, a)
			if (err == nil) != (public != nil) || public != nil && (public.Algorithm() != a || a == httpsig.HMACSHA256) {
				t.Fatalf("ParsePublicKey as %s: %v", a, err)
			}
			if private != nil {
				read++
				if _, err := private.Sign(t.Context(), []byte("base")); err != nil {
					t.Fatalf("Sign with a key that was read: %v", err)
				}
			}
			if public != nil {
				read++
				if err := public.Verify(t.Context(), []byte("base"), make([]byte, 64)); !errors.Is(err, httpsig.ErrWrong) {
					t.Fatalf("Verify of zeros: %v", err)
				}
			}
		}
		if read > 1 {
			t.Fatalf("it is read as %d keys", read)
		}
	})
}
