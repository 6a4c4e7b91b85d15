package nowpay

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Encoding is how a body travels.
type Encoding string

const (
	// JSON is one object.
	JSON Encoding = "json"
	// Form is a form post; AEPS balance enquiry and mini statement take it.
	Form Encoding = "form"
)

// MediaType is the content type without parameters, or "" for an unknown encoding.
func (e Encoding) MediaType() string {
	switch e {
	case JSON:
		return "application/json"
	case Form:
		return "application/x-www-form-urlencoded"
	}
	return ""
}

// Limits bound what a body may be.
type Limits struct {
	Bytes int // at most; 0 means 64 KiB
	Depth int // nesting of containers, the outer object counts 1; 0 means 32
}

const (
	defaultBytes = 64 << 10
	defaultDepth = 32
)

func (l Limits) checkSize(b []byte) error {
	limit := l.Bytes
	if limit <= 0 {
		limit = defaultBytes
	}
	if len(b) > limit {
		return fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
	}
	return nil
}

func (l Limits) depth() int {
	if l.Depth <= 0 {
		return defaultDepth
	}
	return l.Depth
}

var (
	// ErrTooLarge means that a body has more bytes than its limits allow.
	ErrTooLarge = errors.New("body too large")
	// ErrMalformed is wrapped with a reason that holds nothing of the body and may be shown to anybody.
	ErrMalformed = errors.New("malformed body")
)

func malformed(reason string) error {
	return fmt.Errorf("%w: %s", ErrMalformed, reason)
}

// Kind is the type of a [Value]. The zero Kind is that of no value.
type Kind uint8

// The kinds of JSON. Values of a form are strings.
const (
	String Kind = iota + 1
	Number
	Bool
	Null
	Object
	Array
)

// String gives the name that JSON has for the kind, "invalid" for none.
func (k Kind) String() string {
	names := [...]string{String: "string", Number: "number", Bool: "boolean", Null: "null", Object: "object", Array: "array"}
	if k == 0 || int(k) >= len(names) {
		return "invalid"
	}
	return names[k]
}

// Value is the value of a member.
type Value struct {
	Kind Kind
	Text string // of a string unescaped, of a number as it came; else ""
	Raw  []byte // as it came, with quotes and escapes; must not be modified
}

// Body is a strictly parsed JSON object or form. It is immutable and safe for concurrent use.
type Body struct {
	encoding Encoding
	raw      []byte
	head     int // where the first member may begin: behind the opening brace, in a form at 0
	members  []member
	few      [12]member // memory for as many as there mostly are
}

// member is where a member stands in Body.raw: from the first byte of its name up to the end of its value.
type member struct {
	name, text         string
	start, middle, end int // the value begins at middle
	kind               Kind
}

// valueOf is the value of one of the members.
func (b *Body) valueOf(m *member) Value {
	return Value{Kind: m.kind, Text: m.text, Raw: b.raw[m.middle:m.end]}
}

// Encoding says how the body travels.
func (b *Body) Encoding() Encoding { return b.encoding }

// Bytes is the body as it came. It must not be modified.
func (b *Body) Bytes() []byte { return b.raw }

// Wipe overwrites the body's bytes with zeros, for one that holds a secret. Nobody may use it any more, nor what
// shares its bytes; what [Body.Without] has made of it does not. Texts of values are strings: they stay until
// their memory is used again.
func (b *Body) Wipe() { clear(b.raw) }

// Get finds the member of exactly this name at the top level.
func (b *Body) Get(name string) (Value, bool) {
	for i := range b.members {
		if b.members[i].name == name {
			return b.valueOf(&b.members[i]), true
		}
	}
	return Value{}, false
}

// hasOther reports whether a member at the top level has this name in another letter case.
func (b *Body) hasOther(name string) bool {
	for i := range b.members {
		if other := b.members[i].name; other != name && strings.EqualFold(other, name) {
			return true
		}
	}
	return false
}

// Members yields the members at the top level in the order in which they came.
func (b *Body) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i := range b.members {
			if !yield(b.members[i].name, b.valueOf(&b.members[i])) {
				return
			}
		}
	}
}

// Has reports whether a member at the top level has this name in any letter case.
func (b *Body) Has(fold string) bool {
	for i := range b.members {
		if strings.EqualFold(b.members[i].name, fold) {
			return true
		}
	}
	return false
}
