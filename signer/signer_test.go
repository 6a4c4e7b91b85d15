package signer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

func request(t testing.TB, e nowpay.Encoding, text string) signer.Request {
	return signer.Request{
		Operation: &nowpay.Operation{Name: "bank/payout", Encoding: e},
		Body:      parse(t, e, text),
	}
}

func TestSignedWipe(t *testing.T) {
	s, err := signer.Credentials{}.Sign(t.Context(), request(t, nowpay.JSON, `{"a":1}`), credential(t, "2000", "the key"))
	if err != nil {
		t.Fatal(err)
	}
	buffer := s.Body[:cap(s.Body)]
	if !bytes.Contains(buffer, []byte("the key")) {
		t.Fatalf("%q does not hold the key", buffer)
	}
	s.Wipe()
	if s.Body != nil || len(bytes.Trim(buffer, "\x00")) != 0 {
		t.Errorf("after Wipe the buffer holds %q", buffer)
	}
	s.Wipe() // once more, and of nothing
}

// One allocation is the body in its final size: a buffer that had to grow
// would leave the key behind in the smaller one.
func TestSignMakesOneBuffer(t *testing.T) {
	for _, e := range []nowpay.Encoding{nowpay.JSON, nowpay.Form} {
		text := map[nowpay.Encoding]string{nowpay.JSON: `{"a":1}`, nowpay.Form: "a=1"}[e]
		r, c := request(t, e, text), credential(t, `"`+strings.Repeat("ü", 132), strings.Repeat(`"`, 265))
		if n := testing.AllocsPerRun(100, func() { _, _ = signer.Credentials{}.Sign(t.Context(), r, c) }); n != 1 {
			t.Errorf("%s: Sign makes %v allocations, want 1", e, n)
		}
	}
}

func TestSignWithReleasedCredential(t *testing.T) {
	c := credential(t, "2000", "the key")
	c.Release()
	s, err := signer.Credentials{}.Sign(t.Context(), request(t, nowpay.JSON, `{"a":1}`), c)
	if !errors.Is(err, secret.ErrUnavailable) || s.Body != nil {
		t.Errorf("Sign = %q, %v, want %v", s.Body, err, secret.ErrUnavailable)
	}
}

// FuzzSign reads what was signed as the provider would: username and key come
// first, what follows is the merchant's to the byte, and nothing reads
// differently than before.
func FuzzSign(f *testing.F) {
	f.Add(`{"yourrequestid":"1001","amount":"1.50"}`, false, "2000", "01234567890123456789abcdef")
	f.Add(` { "a" : [ 1.0 , {"key":null} ] } `, false, `"`, `\`)
	f.Add("\r\n{\r\n\t}\r\n", false, "2000", "x")
	f.Add(`{}`, false, "ü", "<&>\u2028")
	f.Add("a=1&b=%c3%a4", true, "a b", "k&e=y+%")
	f.Add("", true, "2000", "x")
	f.Add(`{"Key":1}`, false, "2000", "x")
	f.Add("\u212aey=1", true, "2000", "x")
	f.Fuzz(func(t *testing.T, text string, form bool, username, key string) {
		e, read := nowpay.JSON, nowpay.ParseJSON
		if form {
			e, read = nowpay.Form, nowpay.ParseForm
		}
		body, err := read([]byte(text), nowpay.Limits{})
		if err != nil {
			t.Skip()
		}
		c, err := secret.NewCredential([]byte(username), []byte(key), 1)
		if err != nil {
			t.Skip()
		}
		operation := &nowpay.Operation{Name: "bank/payout", Encoding: e}
		signed, err := signer.Credentials{}.Sign(t.Context(), signer.Request{Operation: operation, Body: body}, c)
		if own := ownCredential(body); own || err != nil {
			if !own || !errors.Is(err, signer.ErrCredentialInBody) || signed.Body != nil {
				t.Fatalf("Sign of %q = %q, %v", text, signed.Body, err)
			}
			return
		}
		again, err := read(signed.Body, nowpay.Limits{Bytes: 1 << 20})
		if err != nil {
			t.Fatalf("Sign of %q = %q, which does not parse: %v", text, signed.Body, err)
		}
		want := []string{"username", username, "key", key}
		for name, v := range body.Members() {
			want = append(want, name, string(v.Raw))
		}
		var got []string
		for name, v := range again.Members() {
			if len(got) < 4 {
				got = append(got, name, v.Text)
			} else {
				got = append(got, name, string(v.Raw))
			}
		}
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("Sign of %q has members %q, want %q", text, got, want)
		}
		checkWithStandardLibrary(t, form, signed.Body, username, key)
		checkOtherBytes(t, form, text, string(signed.Body))
	})
}

func ownCredential(b *nowpay.Body) bool {
	for name := range b.Members() {
		if strings.EqualFold(name, "username") || strings.EqualFold(name, "key") {
			return true
		}
	}
	return false
}

func checkWithStandardLibrary(t *testing.T, form bool, body []byte, username, key string) {
	t.Helper()
	var u, k string
	if form {
		values, err := url.ParseQuery(string(body))
		if err != nil {
			t.Fatalf("net/url does not read %q: %v", body, err)
		}
		u, k = values.Get("username"), values.Get("key")
	} else {
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("encoding/json does not read %q: %v", body, err)
		}
		u, _ = members["username"].(string)
		k, _ = members["key"].(string)
	}
	if u != username || k != key {
		t.Fatalf("the standard library reads username %q and key %q of %q", u, k, body)
	}
}

// checkOtherBytes takes out what was put in; the merchant's text must remain.
func checkOtherBytes(t *testing.T, form bool, text, signed string) {
	t.Helper()
	head, rest := "", text
	if !form {
		i := strings.Index(text, "{") + 1
		head, rest = text[:i], text[i:]
	}
	if !strings.HasPrefix(signed, head) || !strings.HasSuffix(signed, rest) || len(signed) <= len(text) {
		t.Fatalf("%q is not %q with something put in front of the first member", signed, text)
	}
}
