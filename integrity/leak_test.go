package integrity_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
)

func each(key, format string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func quoted(text string) string {
	b, _ := json.Marshal(text) // strings always marshal
	return string(b[1 : len(b)-1])
}

func TestFindLeakForms(t *testing.T) {
	t.Parallel()
	keys := []string{
		canary,
		"aB3/xY9+kL2?mN5>pQ8~rS1=",
		`with space, "quotes", back\slash and 100%25 + more`,
		"schlüssel-ключ-🔑-key",
		strings.Repeat("k3Y/", 66) + "!",
		"4 by",
		"sevenby",
	}
	forms := map[string]func(string) string{
		"raw":                 func(k string) string { return k },
		"upper case":          func(k string) string { return strings.Map(upperASCII, k) },
		"hex":                 func(k string) string { return hex.EncodeToString([]byte(k)) },
		"upper-case hex":      func(k string) string { return each(k, "%02X") },
		"base64":              func(k string) string { return base64.StdEncoding.EncodeToString([]byte(k)) },
		"base64 raw":          func(k string) string { return base64.RawStdEncoding.EncodeToString([]byte(k)) },
		"base64 url":          func(k string) string { return base64.URLEncoding.EncodeToString([]byte(k)) },
		"base64 raw url":      func(k string) string { return base64.RawURLEncoding.EncodeToString([]byte(k)) },
		"base64 aligned 1":    func(k string) string { return base64.StdEncoding.EncodeToString([]byte("x" + k + "yz")) },
		"base64 aligned 2":    func(k string) string { return base64.StdEncoding.EncodeToString([]byte("\xff\xff" + k + "\xff")) },
		"base64 url 1":        func(k string) string { return base64.URLEncoding.EncodeToString([]byte("x" + k)) },
		"base64 url 2":        func(k string) string { return base64.RawURLEncoding.EncodeToString([]byte(`{"` + k + `"}`)) },
		"percent":             func(k string) string { return each(k, "%%%02X") },
		"percent lower case":  func(k string) string { return each(k, "%%%02x") },
		"query":               url.QueryEscape,
		"path":                url.PathEscape,
		"percent twice":       func(k string) string { return url.QueryEscape(each(k, "%%%02x")) },
		"query twice":         func(k string) string { return url.QueryEscape(url.QueryEscape(k)) },
		"percent four times":  func(k string) string { return url.PathEscape(url.PathEscape(url.PathEscape(each(k, "%%%02X")))) },
		"JSON":                quoted,
		"JSON slashes":        func(k string) string { return strings.ReplaceAll(quoted(k), "/", `\/`) },
		"JSON in JSON":        func(k string) string { return quoted(quoted(k)) },
		"JSON \\u":            utf16Escaped,
		"JSON \\u in JSON":    func(k string) string { return quoted(utf16Escaped(k)) },
		"JSON \\u in URL":     func(k string) string { return url.QueryEscape(utf16Escaped(k)) },
		"percent in JSON \\u": func(k string) string { return utf16Escaped(url.QueryEscape(k)) },
		"percent in JSON in JSON": func(k string) string {
			return quoted(quoted(`{"q":"` + url.QueryEscape(k) + `"}`))
		},
		"base64 percent": func(k string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(k))) },
		"base64 in JSON": func(k string) string {
			return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(k)), "/", `\/`)
		},
		"hex percent":        func(k string) string { return each(hex.EncodeToString([]byte(k)), "%%%02x") },
		"spaces as plus":     func(k string) string { return strings.ReplaceAll(k, " ", "+") },
		"plus read as space": func(k string) string { return strings.ReplaceAll(k, "+", " ") },
	}
	for _, key := range keys {
		for name, form := range forms {
			text := form(key)
			// What stands around may not hide it: a mark, half an escape.
			for _, format := range []string{"KEY", `{"key":"KEY"}`, "50% KEY", "100%&KEY%", `\KEY\`} {
				text := strings.Replace(format, "KEY", text, 1)
				if !integrity.FindLeak([]byte(key), []byte("clean"), []byte(text)) {
					t.Errorf("key %q as %s not found in %q", key, name, text)
				}
			}
			// Without its second half it is not there.
			if len(key) < 8 {
				continue
			}
			if half := text[:len(text)/2]; integrity.FindLeak([]byte(key), []byte(half)) {
				t.Errorf("key %q as %s found in half of it: %q", key, name, half)
			}
		}
	}
}

func upperASCII(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

// utf16Escaped writes every character as \uXXXX, in alternating letter case.
func utf16Escaped(text string) string {
	var b strings.Builder
	for i, unit := range utf16.Encode([]rune(text)) {
		if i%2 == 0 {
			fmt.Fprintf(&b, `\u%04x`, unit)
		} else {
			fmt.Fprintf(&b, `\u%04X`, unit)
		}
	}
	return b.String()
}

func TestFindLeakShortKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key   string
		texts []string
		want  bool
	}{
		{"", []string{"", "anything"}, false},
		{"k", []string{"a k b"}, true},
		{"abc", []string{"xABCx"}, true},
		{"abc", []string{"616263"}, true},
		{"abc", []string{"YWJj"}, false}, // three bytes: base64 not looked for
		{"abcd", []string{"YWJjZA"}, true},
		{"sevenby", []string{"seve", "nby"}, false}, // not looked for in pieces
		{"eightbyt", []string{"eigh", "tbyt"}, true},
	}
	for _, tt := range tests {
		if got := integrity.FindLeak([]byte(tt.key), texts(tt.texts...)...); got != tt.want {
			t.Errorf("FindLeak(%q, %q) = %v, want %v", tt.key, tt.texts, got, tt.want)
		}
	}
}

func texts(all ...string) [][]byte {
	b := make([][]byte, len(all))
	for i, text := range all {
		b[i] = []byte(text)
	}
	return b
}

func TestFindLeakInPieces(t *testing.T) {
	t.Parallel()
	k := canary // 26 characters
	k64 := base64.StdEncoding.EncodeToString([]byte("key=" + k))
	tests := []struct {
		name  string
		texts []string
		want  bool
	}{
		{"two", []string{k[:13], k[13:]}, true},
		{"other order", []string{k[13:], k[:13]}, true},
		{"with more around", []string{k[13:] + ";", "x", "key=" + k[:13]}, true},
		{"three", []string{"=" + k[:8], k[20:] + ".", k[8:20]}, true},
		{"seven", []string{k[:2], k[2:6], k[6:10], k[10:14], k[14:18], k[18:22], k[22:]}, true},
		{"short ends", []string{k[:1], k[1:25], k[25:]}, true},
		{"upper case", []string{strings.ToUpper(k[:10]), k[10:]}, true},
		{"hex", []string{each(k[:7], "%02X"), each(k[7:], "%02x")}, true},
		{"base64", []string{k64[:20], k64[20:]}, true},
		{"percent", []string{each(k[:7], "%%%02X"), each(k[7:], "%%%02x")}, true},
		{"percent twice", []string{url.QueryEscape(each(k[:7], "%%%02x")), k[7:]}, true},
		{"one percent", []string{each(k[:7], "%%%02X"), k[7:]}, true},
		{"JSON", []string{each(k[:7], `\u00%02x`), k[7:]}, true},

		{"a byte lacks", []string{k[:13], k[14:]}, false},
		{"a byte too many in the middle", []string{k[:8], k[8:20] + ";", k[20:]}, false},
		{"start not at the end", []string{k[:13] + ";", k[13:]}, false},
		{"end not at the start", []string{k[:13], ";" + k[13:]}, false},
		{"middle pieces too short", []string{k[:12], k[12:15], k[15:]}, false},
		{"one half only", []string{k[:13], k[:13]}, false},
		{"nothing", nil, false},
		{"empty texts", []string{"", ""}, false},
	}
	for _, tt := range tests {
		if got := integrity.FindLeak([]byte(k), texts(tt.texts...)...); got != tt.want {
			t.Errorf("%s: FindLeak(%q) = %v, want %v", tt.name, tt.texts, got, tt.want)
		}
	}
}

// TestFindLeakAnyEscaping escapes a key in layers, every character or only
// those that must be, and expects it to be found.
func TestFindLeakAnyEscaping(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := keys().Draw(t, "key")
		text := key
		switch rapid.SampledFrom([]string{"raw", "hex", "base64", "base64url"}).Draw(t, "form") {
		case "hex":
			text = hex.EncodeToString([]byte(key))
		case "base64":
			text = base64.StdEncoding.EncodeToString([]byte(around(t) + key + around(t)))
		case "base64url":
			text = base64.RawURLEncoding.EncodeToString([]byte(around(t) + key + around(t)))
		}
		for range rapid.IntRange(0, 4).Draw(t, "layers") {
			if rapid.Bool().Draw(t, "percent") {
				text = partlyPercent(t, text)
			} else {
				text = partlyJSON(t, text)
			}
		}
		text = around(t) + text + around(t)
		if !integrity.FindLeak([]byte(key), []byte(text)) {
			t.Fatalf("key %q not found in %q", key, text)
		}
	})
}

func keys() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune(`abcdefXYZ0123456789%\+ /"-_=ué€😀`)), 8, 60, -1)
}

func around(t *rapid.T) string {
	return rapid.StringMatching(`[a-z0-9 ":{}.-]{0,9}`).Draw(t, "around")
}

func partlyPercent(t *rapid.T, text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c == '%' || c >= 0x80 || rapid.Bool().Draw(t, "escape") {
			fmt.Fprintf(&b, rapid.SampledFrom([]string{"%%%02x", "%%%02X"}).Draw(t, "hex"), c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func partlyJSON(t *rapid.T, text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '/' && rapid.Bool().Draw(t, "slash"):
			b.WriteString(`\/`)
		case rapid.Bool().Draw(t, "escape"):
			b.WriteString(utf16Escaped(string(r)))
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// TestFindLeakAnyPieces cuts a key, mixes the pieces with other texts, and
// expects it to be found.
func TestFindLeakAnyPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := keys().Draw(t, "key")
		text := key
		if rapid.Bool().Draw(t, "hex") {
			text = hex.EncodeToString([]byte(key))
		}
		start := rapid.IntRange(1, len(text)-1).Draw(t, "start")
		pieces := []string{around(t) + text[:start]}
		for rest := text[start:]; rest != ""; {
			n := len(rest)
			if n > 8 {
				n = rapid.IntRange(4, n).Draw(t, "piece")
			}
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		pieces[len(pieces)-1] += around(t)
		for range rapid.IntRange(0, 5).Draw(t, "others") {
			pieces = append(pieces, around(t))
		}
		pieces = rapid.Permutation(pieces).Draw(t, "order")
		if !integrity.FindLeak([]byte(key), texts(pieces...)...) {
			t.Fatalf("key %q not found in %q", key, pieces)
		}
	})
}

// TestFindLeakNearMisses spoils one byte of every form, and expects nothing.
func TestFindLeakNearMisses(t *testing.T) {
	t.Parallel()
	bytesOf := rand.NewChaCha8([32]byte{})
	random := rand.New(bytesOf)
	for range 500 {
		raw := make([]byte, 13+random.IntN(50))
		_, _ = bytesOf.Read(raw) // never fails
		key := []byte(base64.RawURLEncoding.EncodeToString(raw))
		for _, form := range []string{
			string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), each(string(key), "%%%02x"), each(string(key), `\u00%02x`),
		} {
			text := []byte(form)
			// Not at the ends, where a base64 form holds bits of no importance.
			at := len(text)/4 + random.IntN(len(text)/2)
			text[at] ^= 1
			if integrity.FindLeak(key, text, []byte("application/json"), []byte("2021102422342398768")) && !bytes.EqualFold(text, []byte(form)) {
				t.Fatalf("key %q found in %q", key, text)
			}
			if cut := bytes.Clone(slices.Delete([]byte(form), at, at+1)); integrity.FindLeak(key, cut) {
				t.Fatalf("key %q found in %q", key, cut)
			}
		}
	}
}
