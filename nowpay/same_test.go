package nowpay_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

var samePairs = []struct {
	a, b string
	want bool
}{
	{`{"a":1,"b":"x"}`, ` { "b" : "\u0078", "a":1 }`, true},
	{`{"a":{"b":1,"c":[1,2]}}`, `{"a":{"c":[1,2],"b":1}}`, true},
	{`{"a":"/"}`, `{"a":"\/"}`, true},
	{`{"é":1}`, `{"\u00e9":1}`, true},
	{`{"a":"\ud83d\ude00"}`, `{"a":"😀"}`, true},
	{`{}`, "\n{ }\t", true},
	{`{"a":1}`, `{"a":2}`, false},
	{`{"a":1}`, `{"A":1}`, false},
	{`{"a":"1"}`, `{"a":1}`, false},
	{`{"a":1.5}`, `{"a":1.50}`, false},
	{`{"a":100}`, `{"a":1e2}`, false},
	{`{"a":1e2}`, `{"a":1E2}`, false},
	{`{"a":0}`, `{"a":-0}`, false},
	{`{"a":0.0}`, `{"a":-0.0}`, false},
	{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, false},
	{`{"a":1e400}`, `{"a":2e400}`, false},
	{`{"a":[1,2]}`, `{"a":[2,1]}`, false},
	{`{"a":null}`, `{}`, false},
	{`{"a":""}`, `{"a":null}`, false},
	{`{"a":"é"}`, "{\"a\":\"e\u0301\"}", false}, // composed and decomposed
	// What is not strict JSON is the same as nothing, itself included.
	{`{"a":1,"a":1}`, `{"a":1,"a":1}`, false},
	{"{\"a\":\"\xff\"}", "{\"a\":\"\xff\"}", false},
	{`{}x`, `{}x`, false},
	{``, ``, false},
	{`{}`, ``, false},
}

func TestSame(t *testing.T) {
	for _, test := range samePairs {
		a, b := []byte(test.a), []byte(test.b)
		if got := nowpay.Same(a, b); got != test.want {
			t.Errorf("Same(%q, %q) = %v, want %v", a, b, got, test.want)
		}
		if got := nowpay.Same(b, a); got != test.want {
			t.Errorf("Same(%q, %q) = %v, want %v", b, a, got, test.want)
		}
		if string(a) != test.a || string(b) != test.b {
			t.Errorf("Same changed its input to %q, %q", a, b)
		}
	}
}

func FuzzSame(f *testing.F) {
	for _, pair := range samePairs {
		f.Add([]byte(pair.a), []byte(pair.b))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, errA := nowpay.ParseJSON(a, roomy)
		_, errB := nowpay.ParseJSON(b, roomy)
		if errA == nil && !nowpay.Same(a, a) {
			t.Fatalf("%q is not the same as itself", a)
		}
		got := nowpay.Same(a, b)
		if got != nowpay.Same(b, a) {
			t.Fatalf("Same(%q, %q) depends on the order", a, b)
		}
		if errA != nil || errB != nil {
			return
		}
		if want := reflect.DeepEqual(decode(t, a), decode(t, b)); got != want {
			t.Fatalf("Same(%q, %q) = %v, encoding/json says %v", a, b, got, want)
		}
		before := string(a)
		canonicalA, canonicalB := bodyOf(t, a).Canonical(), bodyOf(t, b).Canonical()
		if bytes.Equal(canonicalA, canonicalB) != got {
			t.Fatalf("Same(%q, %q) = %v, but canonical they are %q and %q", a, b, got, canonicalA, canonicalB)
		}
		if !nowpay.Same(canonicalA, a) || string(a) != before {
			t.Fatalf("Canonical of %q is %q", before, canonicalA)
		}
	})
}

func bodyOf(t *testing.T, b []byte) *nowpay.Body {
	t.Helper()
	body, err := nowpay.ParseJSON(b, roomy)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestCanonical(t *testing.T) {
	for _, test := range []struct {
		a, b *nowpay.Body
		want bool
	}{
		{mustForm(t, "a=1&b=2"), mustForm(t, "b=%32&a=1"), true},
		{mustForm(t, "a=+"), mustForm(t, "a=%20"), true},
		{mustForm(t, "a=%c3%a9"), mustForm(t, "a=%C3%A9"), true},
		{mustForm(t, "a=1%26b=2"), mustForm(t, "a=1&b=2"), false},
		{mustForm(t, "a=%2520"), mustForm(t, "a=%20"), false},
		{mustForm(t, "a=1"), mustForm(t, "A=1"), false},
		{mustForm(t, "a="), mustForm(t, ""), false},
		{mustForm(t, "a=1.5"), mustForm(t, "a=1.50"), false},
		{mustForm(t, "a=1"), mustJSON(t, `{"a":"1"}`), false},
		{mustForm(t, ""), mustJSON(t, `{}`), false},
		{mustJSON(t, `{"b":1,"a":"\u0031"}`), mustJSON(t, ` { "a" : "1", "b":1}`), true},
		{mustJSON(t, `{"a":1}`), mustJSON(t, `{"a":"1"}`), false},
	} {
		if got := bytes.Equal(test.a.Canonical(), test.b.Canonical()); got != test.want {
			t.Errorf("canonical %q and %q are the same: %v, want %v", test.a.Bytes(), test.b.Bytes(), got, test.want)
		}
	}
	b := mustForm(t, "b=2&a=1")
	b.Canonical()[0] = 'x'
	if string(b.Bytes()) != "b=2&a=1" || string(b.Canonical()) != "a=1&b=2" {
		t.Errorf("Canonical changed the body: %q", b.Bytes())
	}
}

func decode(t *testing.T, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", b, err)
	}
	return v
}

func TestSameIsNotFooledByDepth(t *testing.T) {
	deep := []byte(strings.Repeat("[", 20000))
	if nowpay.Same(deep, deep) {
		t.Error("Same accepts what is too deep to read")
	}
}
