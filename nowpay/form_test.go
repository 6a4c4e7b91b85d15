package nowpay_test

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func mustForm(t testing.TB, s string) *nowpay.Body {
	t.Helper()
	b, err := nowpay.ParseForm([]byte(s), nowpay.Limits{})
	if err != nil {
		t.Fatalf("ParseForm(%q): %v", s, err)
	}
	return b
}

var (
	goodForms = []string{
		"", "a=", "a=1", "a=1&b=2", "a=1&A=2", "a_1=%20+%2b%4a%4B%c3%aF", "PidData=%3CPid%20a=%22b%22%3E", "a=%C3%A9", "a=b=c==", "_=~*'()!",
	}
	badForms = map[string]string{
		"a":                   "field without a value",
		"a=1&b":               "field without a value",
		"&":                   "empty field",
		"a=1&":                "empty field",
		"&a=1":                "empty field",
		"a=1&&b=2":            "empty field",
		"=1":                  "invalid name",
		"a.b=1":               "invalid name",
		"a b=1":               "invalid name",
		"a+b=1":               "invalid name",
		"a[]=1":               "invalid name",
		"a[b]=1":              "invalid name",
		"%6bey=1":             "invalid name",
		"é=1":                 "invalid name",
		"a-b=1":               "invalid name",
		"a;b=1":               "invalid name",
		"a\x00=1":             "invalid name",
		`{"a":"b=c"}`:         "invalid name",
		"a=1&a=2":             "duplicate name",
		"a=1&b=2&a=1":         "duplicate name",
		"a=%":                 "broken escape",
		"a=%4":                "broken escape",
		"a=%4&b=1":            "broken escape",
		"a=%zz":               "broken escape",
		"a=%u0041":            "broken escape",
		"a=1;b=2":             "byte that must be escaped",
		"a= ":                 "byte that must be escaped",
		"a=1\r\n":             "byte that must be escaped",
		"a=\x00":              "byte that must be escaped",
		"a=é":                 "byte that must be escaped",
		"a=\x7f":              "byte that must be escaped",
		"a=%00":               "NUL in a value",
		"a=x%00y":             "NUL in a value",
		"a=%ff":               "invalid UTF-8",
		"a=%C3":               "invalid UTF-8",
		"a=%ED%A0%80":         "invalid UTF-8",
		"a=%C0%AF":            "invalid UTF-8",
		manyFields(257):       "too many fields",
		manyFields(257) + "=": "too many fields",
	}
)

func manyFields(n int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = "f" + strconv.Itoa(i) + "=1"
	}
	return strings.Join(fields, "&")
}

func TestParseFormAccepts(t *testing.T) {
	for _, s := range append(goodForms, manyFields(256)) {
		b := mustForm(t, s)
		want, err := url.ParseQuery(s)
		if err != nil {
			t.Fatalf("url.ParseQuery(%q): %v", s, err)
		}
		n := 0
		for name, v := range b.Members() {
			n++
			if v.Kind != nowpay.String || v.Text != want.Get(name) {
				t.Errorf("ParseForm(%q): %q is %v %q, want %q", s, name, v.Kind, v.Text, want.Get(name))
			}
		}
		if n != len(want) || string(b.Bytes()) != s || b.Encoding() != nowpay.Form {
			t.Errorf("ParseForm(%q) has %d members, want %d; bytes %q, encoding %q", s, n, len(want), b.Bytes(), b.Encoding())
		}
	}
}

func TestParseFormRefuses(t *testing.T) {
	for s, reason := range badForms {
		b, err := nowpay.ParseForm([]byte(s), nowpay.Limits{})
		if b != nil || !errors.Is(err, nowpay.ErrMalformed) || err.Error() != "malformed body: "+reason {
			t.Errorf("ParseForm(%.40q) = %v, %v, want %q", s, b, err, reason)
		}
	}
}

func TestMediaType(t *testing.T) {
	for e, want := range map[nowpay.Encoding]string{
		nowpay.JSON: "application/json", nowpay.Form: "application/x-www-form-urlencoded", "": "", "xml": "",
	} {
		if got := e.MediaType(); got != want {
			t.Errorf("Encoding(%q).MediaType() = %q, want %q", e, got, want)
		}
	}
}

func FuzzParseForm(f *testing.F) {
	for _, s := range goodForms {
		f.Add([]byte(s), "s3cret &=+%\"", "a")
	}
	for s := range badForms {
		if len(s) < 1000 {
			f.Add([]byte(s), "x", "b")
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, value, name string) {
		b, err := nowpay.ParseForm(raw, nowpay.Limits{})
		if err != nil {
			if !errors.Is(err, nowpay.ErrMalformed) && !errors.Is(err, nowpay.ErrTooLarge) {
				t.Fatalf("ParseForm gives %v", err)
			}
			return
		}
		want, err := url.ParseQuery(string(raw))
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", raw, err)
		}
		n := 0
		for name, v := range b.Members() {
			n++
			if texts := want[name]; len(texts) != 1 || texts[0] != v.Text {
				t.Fatalf("field %q says %q, net/url reads %q", name, v.Text, texts)
			}
		}
		if got := string(b.Canonical()); got != strings.ReplaceAll(want.Encode(), "+", "%20") {
			t.Fatalf("Canonical of %q = %q, net/url writes %q", raw, got, want.Encode())
		}
		if n != len(want) {
			t.Fatalf("%d fields, net/url reads %d", n, len(want))
		}
		checkSplice(t, b, value, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseForm(raw, roomy) })
		checkWithout(t, b, name, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseForm(raw, roomy) })
		checkWithText(t, b, value, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseForm(raw, roomy) })
	})
}
