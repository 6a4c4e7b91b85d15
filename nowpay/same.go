package nowpay

import (
	"bytes"

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

func canonical(b []byte) ([]byte, bool) {
	v := jsontext.Value(bytes.Clone(b))
	err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return v, err == nil
}
