package secret

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every printer gets.
const redacted = "[redacted]"

// Value is a secret that can be printed, logged or marshalled only as
// "[redacted]". The zero Value is empty. Copies share the same bytes.
//
// Reveal may be called concurrently; Wipe not together with anything else. For
// the values of a Credential its reference count sees to that.
type Value struct {
	// access returns the bytes, or overwrites and forgets them. A closure, so
	// that there is nothing for reflection to find.
	access func(wipe bool) []byte
}

// New returns a Value that owns b: the caller must not use b any more.
func New(b []byte) Value {
	return Value{access: func(wipe bool) []byte {
		if wipe {
			clear(b)
			b = nil
		}
		return b
	}}
}

// Reveal returns the bytes themselves, nil after Wipe. They must not be
// modified, and not be used after Wipe: do not keep them.
func (v Value) Reveal() []byte {
	if v.access == nil {
		return nil
	}
	return v.access(false)
}

// Wipe overwrites the bytes with zeros and makes all copies of the Value empty.
func (v Value) Wipe() {
	if v.access != nil {
		v.access(true)
	}
}

// Format implements fmt.Formatter for every verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Value) GoString() string { return redacted }

// MarshalJSON implements json.Marshaler.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

var (
	_ fmt.Formatter          = Value{}
	_ fmt.Stringer           = Value{}
	_ fmt.GoStringer         = Value{}
	_ json.Marshaler         = Value{}
	_ encoding.TextMarshaler = Value{}
	_ slog.LogValuer         = Value{}
)
