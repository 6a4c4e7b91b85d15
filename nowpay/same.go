package nowpay

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Same reports whether a and b are the same JSON value: the order of members, whitespace and escapes do not
// matter, the text of numbers does (1.5 is not 1.50). What is not strict JSON is the same as nothing.
func Same(a, b []byte) bool {
	x, ok := canonical(a)
	if !ok {
		return false
	}
	y, ok := canonical(b)
	return ok && bytes.Equal(x, y)
}

// Canonical gives a text that two bodies have in common if, and only if, they say the same. JSON bodies do where
// [Same] says so; forms do if they have the same fields with the same values, whatever their order and their
// escapes. A JSON body and a form never do. The result is the caller's own.
func (b *Body) Canonical() []byte {
	if b.encoding == JSON {
		text, _ := canonical(b.raw) // cannot fail: the body was parsed
		return text
	}
	fields := slices.SortedFunc(slices.Values(b.members), func(x, y member) int { return cmp.Compare(x.name, y.name) })
	var text []byte // never begins with a brace: names are letters, digits and underscores
	for i, m := range fields {
		if i > 0 {
			text = append(text, '&')
		}
		text = append(append(text, m.name...), '=')
		text = appendEscaped(text, []byte(m.text))
	}
	return text
}

func canonical(b []byte) ([]byte, bool) {
	v := jsontext.Value(bytes.Clone(b))
	err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return v, err == nil
}
