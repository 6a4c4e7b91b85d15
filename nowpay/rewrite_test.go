package nowpay_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// roomy is for bodies that were within the limits before something was put into them.
var roomy = nowpay.Limits{Bytes: 1 << 20, Depth: 1000}

func credential(username, key string) []nowpay.Member {
	return []nowpay.Member{{Name: "username", Value: []byte(username)}, {Name: "key", Value: []byte(key)}}
}

func TestSpliceJSON(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:           `{"username":"2000","key":"k\"\\<>&é"}`,
		`{ }`:          `{"username":"2000","key":"k\"\\<>&é" }`,
		" \n{\t}\r\n ": " \n{\"username\":\"2000\",\"key\":\"k\\\"\\\\<>&é\"\t}\r\n ",
		`{"a":1}`:      `{"username":"2000","key":"k\"\\<>&é","a":1}`,
		"{\n  \"a\" : 1.50 ,\"b\":\"\\u0031\"\n}\n": "{\"username\":\"2000\",\"key\":\"k\\\"\\\\<>&é\",\n  \"a\" : 1.50 ,\"b\":\"\\u0031\"\n}\n",
	} {
		got := mustJSON(t, body).Splice(nil, credential("2000", `k"\<>&é`)...)
		if string(got) != want {
			t.Errorf("Splice into %q = %q, want %q", body, got, want)
		}
	}
	if got := mustJSON(t, ` {"a":1}`).Splice([]byte("x")); string(got) != `x {"a":1}` {
		t.Errorf("Splice of nothing = %q", got)
	}
	got := mustJSON(t, `{}`).Splice(nil, credential("\x00\x1f\n\x7f", "\u2028\ufeff/")...)
	if want := "{\"username\":\"\\u0000\\u001f\\n\x7f\",\"key\":\"\u2028\ufeff/\"}"; string(got) != want {
		t.Errorf("Splice = %q, want %q", got, want)
	}
}

func TestSpliceForm(t *testing.T) {
	for body, want := range map[string]string{
		"":          "username=2000&key=k%22%5C%20%2B%26%3D%25%C3%A9-_.~",
		"a=1":       "username=2000&key=k%22%5C%20%2B%26%3D%25%C3%A9-_.~&a=1",
		"a=+%2b&b=": "username=2000&key=k%22%5C%20%2B%26%3D%25%C3%A9-_.~&a=+%2b&b=",
	} {
		got := mustForm(t, body).Splice(nil, credential("2000", `k"\ +&=%é-_.~`)...)
		if string(got) != want {
			t.Errorf("Splice into %q = %q, want %q", body, got, want)
		}
	}
	if got := mustForm(t, "a=1").Splice(nil); string(got) != "a=1" {
		t.Errorf("Splice of nothing = %q", got)
	}
}

// A value must be written once: growing on the way would leave a copy of the key in memory that nobody wipes.
func TestSpliceGrowsOnce(t *testing.T) {
	worst := []string{"plain", "\x00\x01\x1f", `"\"\`, "\xff\xfe\x80", "é😀\u2028", strings.Repeat("\x01", 265), "%%% +"}
	for _, b := range []*nowpay.Body{mustJSON(t, `{"a":1}`), mustJSON(t, `{}`), mustForm(t, "a=1"), mustForm(t, "")} {
		for _, key := range worst {
			members := credential(key, key)
			// What is not UTF-8 costs an error too, but that holds nothing of it.
			n := testing.AllocsPerRun(10, func() { b.Splice(nil, members...) })
			if n > 1 && utf8.ValidString(key) {
				t.Errorf("Splice of %.10q into %q allocates %v times, want once", key, b.Bytes(), n)
			}
			room := make([]byte, 0, 8192)
			if got := b.Splice(room, members...); &got[0] != &room[:1][0] {
				t.Errorf("Splice of %.10q into %q left the room it was given", key, b.Bytes())
			}
		}
	}
}

func TestWithout(t *testing.T) {
	names := []string{"username", "key"}
	for body, want := range map[string]string{
		`{}`:                                           `{}`,
		`{"a":1}`:                                      `{"a":1}`,
		`{"key":1}`:                                    `{}`,
		` { "key" : 1 } `:                              ` {  } `,
		`{"KEY":1,"a":2}`:                              `{"a":2}`,
		`{"a":2,"Key":{"x":[1,"}"]}}`:                  `{"a":2}`,
		`{ "a":1 , "key":2 , "b":3 }`:                  `{ "a":1 , "b":3 }`,
		`{"username":"u","key":"k","a":1}`:             `{"a":1}`,
		`{"a":1,"username":"u","key":"k"}`:             `{"a":1}`,
		`{"username":"u","a":1,"key":"k"}`:             `{"a":1}`,
		`{"username":"u","a":1 ,"key":"k", "b":2}`:     `{"a":1, "b":2}`,
		`{"username":"u","key":"k"}`:                   `{}`,
		`{"key":1,"KEY":2,"k\u0065Y":3,"a":{"key":1}}`: `{"a":{"key":1}}`,
		"{\n\t\"username\": \"u\",\n\t\"a\": 1\n}\n":   "{\n\t\"a\": 1\n}\n",
	} {
		got := mustJSON(t, body).Without(names...)
		if string(got.Bytes()) != want {
			t.Errorf("Without on %q = %q, want %q", body, got.Bytes(), want)
		}
	}
	for body, want := range map[string]string{
		"": "", "a=1": "a=1", "key=1": "", "key=1&a=2": "a=2", "a=2&KEY=1": "a=2", "a=1&key=2&b=3&username=": "a=1&b=3",
	} {
		got := mustForm(t, body).Without(names...)
		if string(got.Bytes()) != want || got.Encoding() != nowpay.Form {
			t.Errorf("Without on %q = %q, want %q", body, got.Bytes(), want)
		}
	}

	b := mustJSON(t, `{"a":1,"key":2,"b":[ 3 ]}`)
	if b.Without() != b || b.Without("x") != b {
		t.Error("Without nothing to cut is not the body itself")
	}
	whole := mustJSON(t, `{"a":"\u0061b","key":"k","c":"d"}`)
	rest := whole.Without("key")
	if whole.Wipe(); strings.Trim(string(whole.Bytes()), "\x00") != "" {
		t.Errorf("Wipe leaves %q", whole.Bytes())
	}
	if v, ok := rest.Get("a"); string(rest.Bytes()) != `{"a":"\u0061b","c":"d"}` || v.Text != "ab" || string(v.Raw) != `"\u0061b"` || !ok {
		t.Errorf("once the whole is wiped, what is left is %q, with a = %+v", rest.Bytes(), v)
	}

	cut := b.Without("key")
	if string(b.Bytes()) != `{"a":1,"key":2,"b":[ 3 ]}` || !b.Has("key") {
		t.Errorf("Without changed the body it was called on: %q", b.Bytes())
	}
	if v, ok := cut.Get("b"); !ok || string(v.Raw) != "[ 3 ]" || cut.Has("key") {
		t.Errorf("what is left has b = %q, %v and key: %v", v.Raw, ok, cut.Has("key"))
	}
	if got := cut.Splice(nil, credential("u", "k")...); string(got) != `{"username":"u","key":"k","a":1,"b":[ 3 ]}` {
		t.Errorf("Splice into what is left = %q", got)
	}
	if got := cut.Without("a", "b").Without("key"); string(got.Bytes()) != `{}` {
		t.Errorf("Without all = %q", got.Bytes())
	}
}

func TestReplaceValues(t *testing.T) {
	const body = "{ \"a\" : \"x\\u0041\" , \"key\":1.50,\"o\":{\"key\":[true,\"y\",[null,{\"z\":false}],-2]}, \"n\":null,\"e\":{},\"key2\":[]}\n"
	b := mustJSON(t, body)

	var seen []string
	same := b.ReplaceValues(func(name string, v nowpay.Value) ([]byte, bool) {
		seen = append(seen, name+"="+v.Kind.String()+":"+v.Text)
		return nil, false
	})
	if string(same) != body {
		t.Errorf("replacing nothing gives %q", same)
	}
	want := []string{
		"a=string:xA", "key=number:1.50", "key=boolean:", "key=string:y", "z=boolean:", "key=number:-2",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("values seen: %q, want %q", seen, want)
	}

	got := b.ReplaceValues(func(name string, v nowpay.Value) ([]byte, bool) {
		return []byte(`"[redacted]"`), name == "key" && v.Kind != nowpay.Bool
	})
	redacted := "{ \"a\" : \"x\\u0041\" , \"key\":\"[redacted]\",\"o\":{\"key\":[true,\"[redacted]\",[null,{\"z\":false}],\"[redacted]\"]}, \"n\":null,\"e\":{},\"key2\":[]}\n"
	if string(got) != redacted {
		t.Errorf("ReplaceValues = %q, want %q", got, redacted)
	}
	same[0], got[0] = 'x', 'x' // both are ours
	if string(b.Bytes()) != body {
		t.Errorf("ReplaceValues changed the body to %q", b.Bytes())
	}

	form := mustForm(t, "a=1")
	if got := form.ReplaceValues(func(string, nowpay.Value) ([]byte, bool) { return nil, true }); string(got) != "a=1" {
		t.Errorf("ReplaceValues on a form = %q", got)
	}
}

// checkSplice puts a credential into b and reads it back.
func checkSplice(t *testing.T, b *nowpay.Body, value string, parse func([]byte) (*nowpay.Body, error)) {
	t.Helper()
	value = strings.ToValidUTF8(value, "")
	if b.Encoding() == nowpay.Form {
		value = strings.ReplaceAll(value, "\x00", "")
	}
	if b.Has("spliced_a") || b.Has("spliced_b") || len(value) > 10000 {
		return
	}
	signed := b.Splice([]byte("in front"), nowpay.Member{Name: "spliced_a", Value: []byte(value)}, nowpay.Member{Name: "spliced_b"})
	signed, ok := bytes.CutPrefix(signed, []byte("in front"))
	if !ok {
		t.Fatalf("Splice does not append: %q", signed)
	}
	after, err := parse(signed)
	if err != nil {
		t.Fatalf("parsing %q, spliced from %q: %v", signed, b.Bytes(), err)
	}
	wantNames, wantTexts := []string{"spliced_a", "spliced_b"}, []string{value, ""}
	for name, v := range b.Members() {
		wantNames, wantTexts = append(wantNames, name), append(wantTexts, string(v.Raw))
	}
	var names, texts []string
	for name, v := range after.Members() {
		text := string(v.Raw)
		if len(texts) < 2 {
			text = v.Text
		}
		names, texts = append(names, name), append(texts, text)
	}
	if !slices.Equal(names, wantNames) || !slices.Equal(texts, wantTexts) {
		t.Fatalf("spliced into %q: %q %q, want %q %q", b.Bytes(), names, texts, wantNames, wantTexts)
	}

	// The original bytes are there in two pieces at most, and nothing else but what was put between.
	head, tail := 0, b.Bytes()
	if b.Encoding() == nowpay.JSON {
		head = bytes.IndexByte(b.Bytes(), '{') + 1
		tail = tail[head:]
	}
	if !bytes.HasPrefix(signed, b.Bytes()[:head]) || !bytes.HasSuffix(signed, tail) {
		t.Fatalf("spliced %q does not hold the bytes of %q", signed, b.Bytes())
	}
	if back := after.Without("spliced_a", "spliced_b"); !equalIgnoringSpace(back.Bytes(), b.Bytes()) {
		t.Fatalf("spliced and cut out again: %q, was %q", back.Bytes(), b.Bytes())
	}
}

// equalIgnoringSpace is for the one place where the space between a brace and a comma has no owner.
func equalIgnoringSpace(a, b []byte) bool {
	return bytes.Equal(bytes.Join(bytes.Fields(a), nil), bytes.Join(bytes.Fields(b), nil))
}

// checkWithout cuts each member out of b, and name, and reads what is left.
func checkWithout(t *testing.T, b *nowpay.Body, name string, parse func([]byte) (*nowpay.Body, error)) {
	t.Helper()
	cuts := [][]string{{name}, {}}
	for name := range b.Members() {
		if cuts = append(cuts, []string{name}); len(cuts) > 10 {
			break
		}
	}
	for _, cut := range append(cuts, slices.Concat(cuts...)) {
		isCut := func(name string) bool {
			return slices.ContainsFunc(cut, func(c string) bool { return strings.EqualFold(c, name) })
		}
		var want []string
		for name, v := range b.Members() {
			if !isCut(name) {
				want = append(want, name, string(v.Raw), v.Text)
			}
		}
		left := b.Without(cut...)
		again, err := parse(left.Bytes())
		if err != nil {
			t.Fatalf("%q without %q is %q: %v", b.Bytes(), cut, left.Bytes(), err)
		}
		for _, body := range []*nowpay.Body{left, again} {
			var got []string
			for name, v := range body.Members() {
				got = append(got, name, string(v.Raw), v.Text)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q without %q is %q with %q, want %q", b.Bytes(), cut, left.Bytes(), got, want)
			}
		}
	}
}

func TestWithText(t *testing.T) {
	for _, test := range []struct{ body, name, text, want string }{
		{`{"a":1}`, "a", "x", `{"a":"x"}`},
		{`{ "b" : [ 1 ] , "a" :	"1001" }`, "a", "shop1001", `{ "b" : [ 1 ] , "a" :	"shop1001" }`},
		{`{"\u0061":"\u0031","b":2} `, "a", `"\`, `{"\u0061":"\"\\","b":2} `},
		{`{"a":{"a":1},"A":2}`, "a", "", `{"a":"","A":2}`},
		{`{"a":null}`, "a", "é\n", `{"a":"é\n"}`},
		{`{"b":{"a":1}}`, "a", "x", `{"b":{"a":1}}`},
		{`{}`, "a", "x", `{}`},
	} {
		b := mustJSON(t, test.body)
		got := b.WithText(test.name, test.text)
		if string(got.Bytes()) != test.want || string(b.Bytes()) != test.body {
			t.Errorf("%s with %s %q is %s, want %s", b.Bytes(), test.name, test.text, got.Bytes(), test.want)
		}
	}
	for body, want := range map[string]string{
		"a=1": "a=x%20%26", "a=&b=+": "a=x%20%26&b=+", "b=%41&a=%31&c=3": "b=%41&a=x%20%26&c=3", "A=1": "A=1", "": "",
	} {
		if got := mustForm(t, body).WithText("a", "x &"); string(got.Bytes()) != want || got.Encoding() != nowpay.Form {
			t.Errorf("%s with another text is %s, want %s", body, got.Bytes(), want)
		}
	}

	b := mustJSON(t, `{"x":0,"a":"1","key":"k","b":[ 3 ]}`)
	if b.WithText("nothing", "x") != b {
		t.Error("WithText with nothing to replace is not the body itself")
	}
	changed := b.WithText("a", "twenty").Without("key").WithText("b", "4")
	if got := changed.Splice(nil, credential("u", "k")...); string(got) != `{"username":"u","key":"k","x":0,"a":"twenty","b":"4"}` {
		t.Errorf("changed again and again: %s", got)
	}
	if v, ok := b.Get("a"); !ok || v.Text != "1" || string(v.Raw) != `"1"` {
		t.Errorf("the body that WithText was called on has a = %s", v.Raw)
	}
}

// checkWithText replaces each value by a text, and reads what it has become.
func checkWithText(t *testing.T, b *nowpay.Body, text string, parse func([]byte) (*nowpay.Body, error)) {
	t.Helper()
	text = strings.ToValidUTF8(text, "")
	if b.Encoding() == nowpay.Form {
		text = strings.ReplaceAll(text, "\x00", "")
	}
	if len(text) > 10000 {
		return
	}
	n := 0
	for name, old := range b.Members() {
		if n++; n > 10 {
			return
		}
		var want []string
		for other, v := range b.Members() {
			if other == name {
				want = append(want, other, "string", text)
			} else {
				want = append(want, other, v.Kind.String(), v.Text, string(v.Raw))
			}
		}
		changed := b.WithText(name, text)
		again, err := parse(changed.Bytes())
		if err != nil {
			t.Fatalf("%q with %q as %q is %q: %v", b.Bytes(), text, name, changed.Bytes(), err)
		}
		for _, body := range []*nowpay.Body{changed, again} {
			var got []string
			for other, v := range body.Members() {
				if got = append(got, other, v.Kind.String(), v.Text); other != name {
					got = append(got, string(v.Raw))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q with %q as %q is %q with %q, want %q", b.Bytes(), text, name, changed.Bytes(), got, want)
			}
		}
		if same := commonBytes(b.Bytes(), changed.Bytes()); same < len(b.Bytes())-len(old.Raw) {
			t.Fatalf("%q with %q as %q is %q: other bytes have changed", b.Bytes(), text, name, changed.Bytes())
		}
	}
}

// commonBytes is how long a and b are the same at the beginning and at the end.
func commonBytes(a, b []byte) int {
	head, tail := 0, 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	for tail < min(len(a), len(b)) && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head + tail
}

// checkReplace replaces all values by themselves, then by a string.
func checkReplace(t *testing.T, b *nowpay.Body) {
	t.Helper()
	same := b.ReplaceValues(func(_ string, v nowpay.Value) ([]byte, bool) { return v.Raw, true })
	if !bytes.Equal(same, b.Bytes()) {
		t.Fatalf("values of %q replaced by themselves: %q", b.Bytes(), same)
	}
	n := 0
	masked := b.ReplaceValues(func(name string, _ nowpay.Value) ([]byte, bool) {
		if !utf8.ValidString(name) {
			t.Fatalf("name %q is not UTF-8", name)
		}
		n++
		return []byte(`"*"`), true
	})
	after, err := nowpay.ParseJSON(masked, roomy)
	if err != nil || !json.Valid(masked) {
		t.Fatalf("values of %q replaced: %q, %v", b.Bytes(), masked, err)
	}
	after.ReplaceValues(func(_ string, v nowpay.Value) ([]byte, bool) {
		n--
		if v.Text != "*" {
			t.Fatalf("values of %q replaced: %q is left", b.Bytes(), v.Text)
		}
		return nil, false
	})
	if n != 0 {
		t.Fatalf("values of %q replaced: %d are missing in %q", b.Bytes(), n, masked)
	}
}
