package nowpay_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func mustJSON(t testing.TB, s string) *nowpay.Body {
	t.Helper()
	b, err := nowpay.ParseJSON([]byte(s), nowpay.Limits{})
	if err != nil {
		t.Fatalf("ParseJSON(%q): %v", s, err)
	}
	return b
}

func nested(depth int) string {
	return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
}

func nestedObjects(depth int) string {
	return strings.Repeat(`{"a":`, depth) + `1` + strings.Repeat(`}`, depth)
}

var goodJSON = []string{
	`{}`, `{ }`, " \t\r\n{ \n} \t\r\n", `{"":""}`,
	`{"a":"1"}`, `{"a":1,"A":2}`, `{"a":[{"b":1},{"b":1}]}`, `{"a":{"b":1},"c":{"b":1}}`,
	`{"a" : "x" , "b":	null}`, `{"a":true,"b":false,"n":-0.5e+10}`,
	`{"emoji":"\ud83d\ude00 😀","esc":"\"\\\/\b\f\n\r\t\u0000"}`,
	`{"\u0061b":"c"}`, "{\"u2028\":\"\u2028\",\"bom\":\"\ufeff\",\"fffd\":\"\ufffd\"}",
	`{"yourrequestid":"2021102422342398768","amount":"1.50","transferMode":"IMPS"}`,
	nested(32), nestedObjects(32),
}

// badJSON says why each body is refused.
var badJSON = map[string]string{
	"":                                   "empty",
	" \n":                                "empty",
	`null`:                               "not an object",
	`1`:                                  "not an object",
	`"{}"`:                               "not an object",
	`[]`:                                 "not an object",
	`[{"a":1}]`:                          "not an object",
	"\ufeff{}":                           "byte order mark",
	"\ufeff":                             "byte order mark",
	`{}{}`:                               "trailing data",
	`{} {}`:                              "trailing data",
	`{},`:                                "trailing data",
	`{}x`:                                "trailing data",
	"{}\x00":                             "trailing data",
	"{}\u00a0":                           "trailing data",
	"{}\v":                               "trailing data",
	`{}//c`:                              "trailing data",
	"{}\ufeff":                           "trailing data",
	"\x00{}":                             "invalid syntax at byte 0",
	`{`:                                  "unexpected end",
	`{"`:                                 "unexpected end",
	`{"a`:                                "unexpected end",
	`{"a"`:                               "unexpected end",
	`{"a":`:                              "unexpected end",
	`{"a":1`:                             "unexpected end",
	`{"a":1,`:                            "unexpected end",
	`{"a":[`:                             "unexpected end",
	`{"a":"\ud83d`:                       "unexpected end",
	`{"a":tru`:                           "unexpected end",
	`{,}`:                                "invalid syntax at byte 1",
	`{"a":1,}`:                           "invalid syntax at byte 6",
	`{"a":1,,"b":1}`:                     "invalid syntax at byte 7",
	`{"a" 1}`:                            "invalid syntax at byte 5",
	`{"a":1 "b":2}`:                      "invalid syntax at byte 7",
	`{"a"::1}`:                           "invalid syntax at byte 5",
	`{"a":[1,]}`:                         "invalid syntax at byte 7",
	`{"a":[1}}`:                          "invalid syntax at byte 7",
	`{"a":}`:                             "invalid syntax at byte 5",
	`{a:1}`:                              "invalid syntax at byte 1",
	`{'a':1}`:                            "invalid syntax at byte 1",
	`{1:1}`:                              "invalid syntax at byte 1",
	`{null:1}`:                           "invalid syntax at byte 1",
	`{[1]:1}`:                            "invalid syntax at byte 1",
	`{{}:1}`:                             "invalid syntax at byte 1",
	`{"a":01}`:                           "invalid syntax at byte 6",
	`{"a":+1}`:                           "invalid syntax at byte 5",
	`{"a":.5}`:                           "invalid syntax at byte 5",
	`{"a":1.}`:                           "invalid syntax at byte 7",
	`{"a":NaN}`:                          "invalid syntax at byte 5",
	`{"a":True}`:                         "invalid syntax at byte 5",
	`{"a":/**/1}`:                        "invalid syntax at byte 5",
	"{\"a\":\"\n\"}":                     "invalid syntax at byte 6",
	"{\"a\":\"\x00\"}":                   "invalid syntax at byte 6",
	"{\"a\x1f\":1}":                      "invalid syntax at byte 3",
	"{\u00a0}":                           "invalid syntax at byte 1",
	`{"a":"\x41"}`:                       "invalid syntax at byte 6",
	`{"a":"\u12"}`:                       "invalid syntax at byte 6",
	`{"a":"\ud83d"}`:                     "invalid syntax at byte 6", // half of a pair
	`{"a":"\ude00\ud83d"}`:               "invalid syntax at byte 6", // the wrong way round
	`{"a":"\ud83dx"}`:                    "invalid syntax at byte 6",
	`{"\udead":1}`:                       "invalid syntax at byte 2",
	"{\"a\":\"\xff\"}":                   "invalid UTF-8",
	"{\"\xc3\":1}":                       "invalid UTF-8",
	"{\"a\":\"\xed\xa0\x80\"}":           "invalid UTF-8", // a surrogate
	"{\"a\":\"\xc0\xaf\"}":               "invalid UTF-8", // overlong
	"{\"a\":[\"\xf5\"]}":                 "invalid UTF-8",
	"{}\xff":                             "trailing data",
	`{"a":1,"a":1}`:                      "duplicate name",
	`{"a":1,"\u0061":2}`:                 "duplicate name",
	`{"/":1,"\/":2}`:                     "duplicate name",
	`{"":1,"":2}`:                        "duplicate name",
	`{"é":1,"\u00e9":2}`:                 "duplicate name",
	`{"x":{"a":1,"a":2}}`:                "duplicate name",
	`{"x":[[{"a":1,"\u0061":2}]]}`:       "duplicate name",
	`{"x":{"y":{"a":[],"b":0,"a":{}}}}`:  "duplicate name",
	nested(33):                           "nested too deeply",
	nestedObjects(33):                    "nested too deeply",
	strings.Repeat(`{"a":`, 5000):        "nested too deeply",
	`{"a":` + strings.Repeat(`[`, 30000): "nested too deeply",
	`Warning: x {"success":"1"}`:         "invalid syntax at byte 0",
	`{"debug":{}}{"success":"1"}`:        "trailing data", // what the provider is said to send
	`<br />`:                             "invalid syntax at byte 0",
}

func TestParseJSONAccepts(t *testing.T) {
	for _, s := range goodJSON {
		b := mustJSON(t, s)
		if string(b.Bytes()) != s {
			t.Errorf("ParseJSON(%q) holds %q", s, b.Bytes())
		}
		if b.Encoding() != nowpay.JSON {
			t.Errorf("ParseJSON(%q) has encoding %q", s, b.Encoding())
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for s, reason := range badJSON {
		b, err := nowpay.ParseJSON([]byte(s), nowpay.Limits{})
		if b != nil || !errors.Is(err, nowpay.ErrMalformed) {
			t.Errorf("ParseJSON(%.60q) = %v, %v, want ErrMalformed", s, b, err)
			continue
		}
		if want := "malformed body: " + reason; err.Error() != want {
			t.Errorf("ParseJSON(%.60q): error %q, want %q", s, err, want)
		}
	}
}

func TestParseJSONErrorsHoldNothingOfTheBody(t *testing.T) {
	const secret = "hunter2"
	for _, s := range []string{
		`{"hunter2":1,"hunter2":2}`, `{"a":hunter2}`, `{"hunter2" x`, `{"a":{"hunter2":1,"hunter2":2}}`,
		`{"a":"hunter2\q"}`, `hunter2`, `{} hunter2`, "{\"hunter2\xff\":1}", `{"hunter2":truhunter2}`,
	} {
		_, err := nowpay.ParseJSON([]byte(s), nowpay.Limits{})
		if err == nil || strings.Contains(err.Error(), secret) || strings.ContainsAny(err.Error(), "'\"/") {
			t.Errorf("ParseJSON(%q): error %v", s, err)
		}
	}
}

func TestLimits(t *testing.T) {
	big := func(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }
	for _, test := range []struct {
		name   string
		body   string
		limits nowpay.Limits
		want   error
	}{
		{"default size", big(64 << 10), nowpay.Limits{}, nil},
		{"over default size", big(64<<10 + 1), nowpay.Limits{}, nowpay.ErrTooLarge},
		{"size counts whitespace", big(64<<10) + " ", nowpay.Limits{}, nowpay.ErrTooLarge},
		{"smaller size", big(100), nowpay.Limits{Bytes: 100}, nil},
		{"over smaller size", big(101), nowpay.Limits{Bytes: 100}, nowpay.ErrTooLarge},
		{"larger size", big(1 << 20), nowpay.Limits{Bytes: 1 << 20}, nil},
		{"default depth", nested(32), nowpay.Limits{}, nil},
		{"over default depth", nested(33), nowpay.Limits{}, nowpay.ErrMalformed},
		{"depth of one", `{"a":1}`, nowpay.Limits{Depth: 1}, nil},
		{"over depth of one", `{"a":[]}`, nowpay.Limits{Depth: 1}, nowpay.ErrMalformed},
		{"over depth of one behind a scalar", `{"a":1,"b":{}}`, nowpay.Limits{Depth: 1}, nowpay.ErrMalformed},
		{"larger depth", nestedObjects(100), nowpay.Limits{Depth: 100}, nil},
		{"depth is not the number of containers", `{"a":[[],[],{}],"b":[{},[]]}`, nowpay.Limits{Depth: 3}, nil},
	} {
		if _, err := nowpay.ParseJSON([]byte(test.body), test.limits); !errors.Is(err, test.want) {
			t.Errorf("%s: ParseJSON gives %v, want %v", test.name, err, test.want)
		}
	}
	if _, err := nowpay.ParseForm([]byte("a="+strings.Repeat("x", 64<<10)), nowpay.Limits{}); !errors.Is(err, nowpay.ErrTooLarge) {
		t.Errorf("ParseForm of too much gives %v, want ErrTooLarge", err)
	}
}

func TestBodyMembers(t *testing.T) {
	b := mustJSON(t, ` { "z" : "1\u0032" , "\u0061":-1.50,"t":true, "n":null,"o":{"x": [1] } ,"l":[ ],"":"e"}`)
	want := []struct {
		name, text, raw string
		kind            nowpay.Kind
	}{
		{"z", "12", `"1\u0032"`, nowpay.String},
		{"a", "-1.50", `-1.50`, nowpay.Number},
		{"t", "", `true`, nowpay.Bool},
		{"n", "", `null`, nowpay.Null},
		{"o", "", `{"x": [1] }`, nowpay.Object},
		{"l", "", `[ ]`, nowpay.Array},
		{"", "e", `"e"`, nowpay.String},
	}
	i := 0
	for name, v := range b.Members() {
		if i == len(want) {
			t.Fatalf("more than %d members", i)
		}
		w := want[i]
		if name != w.name || v.Text != w.text || string(v.Raw) != w.raw || v.Kind != w.kind {
			t.Errorf("member %d is %q %v %q %q, want %q %v %q %q", i, name, v.Kind, v.Text, v.Raw, w.name, w.kind, w.text, w.raw)
		}
		if got, ok := b.Get(name); !ok || got.Text != v.Text {
			t.Errorf("Get(%q) = %q, %v", name, got.Text, ok)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d members, want %d", i, len(want))
	}
	for range b.Members() {
		break // must not go on after it was told to stop
	}
	if _, ok := b.Get("Z"); ok {
		t.Error("Get found a name in another letter case")
	}
	if _, ok := b.Get("x"); ok {
		t.Error("Get found a name below the top level")
	}
}

// Decoders are used again; a body must not feel the ones that come after it.
func TestBodiesAreIndependent(t *testing.T) {
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			want := strings.Repeat(strconv.Itoa(i), 10)
			first := mustJSON(t, `{"a":"`+want+`","\u0062":"\u0062`+want+`"}`)
			for range 100 {
				_, _ = nowpay.ParseJSON([]byte(`{"c":{"d":["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"`), nowpay.Limits{})
				mustJSON(t, `{"a":"yyyyyyyyyyyyyyyyyyyyyyyy"}`).ReplaceValues(func(string, nowpay.Value) ([]byte, bool) {
					return []byte("0"), true
				})
			}
			a, _ := first.Get("a")
			b, _ := first.Get("b")
			if a.Text != want || string(a.Raw) != `"`+want+`"` || b.Text != "b"+want {
				t.Errorf("body %d now says %q, %q, %q", i, a.Text, a.Raw, b.Text)
			}
		})
	}
}

func TestBodyHas(t *testing.T) {
	for _, s := range []string{
		`{"key":1}`, `{"KEY":null}`, `{"Key":""}`, `{"k\u0065y":1}`, "{\"\u212aey\":1}", `{"a":1,"kEy":[]}`,
	} {
		if !mustJSON(t, s).Has("key") {
			t.Errorf("Has(key) is false for %s", s)
		}
	}
	if !mustJSON(t, "{\"u\u017fername\":1}").Has("username") {
		t.Error("Has(username) is false for a long s")
	}
	for _, s := range []string{`{}`, `{"keys":1}`, `{"a":{"key":1}}`, `{"a":"key"}`, `{" key":1}`} {
		if mustJSON(t, s).Has("key") {
			t.Errorf("Has(key) is true for %s", s)
		}
	}
}

func TestKindString(t *testing.T) {
	for kind, want := range map[nowpay.Kind]string{
		0: "invalid", nowpay.String: "string", nowpay.Bool: "boolean", nowpay.Array: "array", nowpay.Array + 1: "invalid",
	} {
		if got := kind.String(); got != want {
			t.Errorf("Kind(%d).String() = %q, want %q", uint8(kind), got, want)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range goodJSON {
		f.Add([]byte(s), "s3cret\"\\<&>", "key")
	}
	for s := range badJSON {
		if len(s) < 1000 {
			f.Add([]byte(s), "x", "a")
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, value, name string) {
		before := string(raw)
		b, err := nowpay.ParseJSON(raw, nowpay.Limits{})
		if string(raw) != before {
			t.Fatalf("ParseJSON changed its input to %q", raw)
		}
		if err != nil {
			if !errors.Is(err, nowpay.ErrMalformed) && !errors.Is(err, nowpay.ErrTooLarge) {
				t.Fatalf("ParseJSON gives %v", err)
			}
			return
		}
		checkAgainstEncodingJSON(t, b)
		checkSplice(t, b, value, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseJSON(raw, roomy) })
		checkWithout(t, b, name, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseJSON(raw, roomy) })
		checkWithText(t, b, value, func(raw []byte) (*nowpay.Body, error) { return nowpay.ParseJSON(raw, roomy) })
		checkReplace(t, b)
		checkObjects(t, b)
	})
}

// checkObjects lets the standard library find the objects of arrays.
func checkObjects(t *testing.T, b *nowpay.Body) {
	t.Helper()
	for name, v := range b.Members() {
		var want []map[string]json.RawMessage
		isArray := v.Kind == nowpay.Array && json.Unmarshal(v.Raw, &want) == nil && !slices.ContainsFunc(want,
			func(o map[string]json.RawMessage) bool { return o == nil })
		got, err := v.Objects()
		if (err == nil) != isArray || len(got) != len(want) && isArray {
			t.Fatalf("member %q of %q has %d objects, %v; encoding/json finds %d", name, b.Bytes(), len(got), err, len(want))
		}
		for _, o := range got {
			checkAgainstEncodingJSON(t, o)
		}
	}
}

// checkAgainstEncodingJSON lets the standard library read the same members.
func checkAgainstEncodingJSON(t *testing.T, b *nowpay.Body) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &want); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", b.Bytes(), err)
	}
	n := 0
	for name, v := range b.Members() {
		n++
		if string(want[name]) != string(v.Raw) {
			t.Fatalf("member %q is %q, encoding/json reads %q", name, v.Raw, want[name])
		}
		if v.Kind == nowpay.String {
			var text string
			if err := json.Unmarshal(v.Raw, &text); err != nil || text != v.Text {
				t.Fatalf("member %q says %q, encoding/json reads %q, %v", name, v.Text, text, err)
			}
		}
	}
	if n != len(want) {
		t.Fatalf("%d members, encoding/json reads %d", n, len(want))
	}
}
