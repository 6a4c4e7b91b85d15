package nowpay

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is a name and a text to be put into a body. Both must be valid UTF-8.
type Member struct {
	Name  string
	Value []byte // the text itself; Splice escapes it
}

// Splice appends to dst the body with members in front of its own, which stay as they are to the byte.
// Values are escaped straight into dst, and dst grows at most once and before anything is written, so that
// no copy of a value is left behind in memory. The caller makes sure that the body does not have the names
// already ([Body.Has]).
func (b *Body) Splice(dst []byte, members ...Member) []byte {
	size := len(b.raw)
	for _, m := range members {
		size += b.memberLen(m)
	}
	if cap(dst)-len(dst) < size {
		dst = append(make([]byte, 0, len(dst)+size), dst...)
	}

	dst = append(dst, b.raw[:b.head]...)
	for i, m := range members {
		dst = b.appendMember(dst, m)
		if i < len(members)-1 || len(b.members) > 0 {
			dst = append(dst, b.separator())
		}
	}
	return append(dst, b.raw[b.head:]...)
}

func (b *Body) separator() byte {
	if b.encoding == Form {
		return '&'
	}
	return ','
}

func (b *Body) appendMember(dst []byte, m Member) []byte {
	if b.encoding == Form {
		dst = append(dst, m.Name...)
		dst = append(dst, '=')
		return appendEscaped(dst, m.Value)
	}
	dst, _ = jsontext.AppendQuote(dst, m.Name) // fails on invalid UTF-8 only, having replaced it
	dst = append(dst, ':')
	dst, _ = jsontext.AppendQuote(dst, m.Value)
	return dst
}

// memberLen is at least what appendMember appends, with a separator.
func (b *Body) memberLen(m Member) int {
	if b.encoding == Form {
		return len(m.Name) + len("=&") + escapedLen(m.Value)
	}
	return quotedLen([]byte(m.Name)) + len(":,") + quotedLen(m.Value)
}

func quotedLen(text []byte) int {
	n := len(`""`) + len(text)
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			n += len(`\`)
		case c < ' ':
			n += len(`\u000`)
		case c >= utf8.RuneSelf:
			n += len("\ufffd") - 1 // if it is not UTF-8
		}
	}
	return n
}

// Without gives the body without the members that have one of the names in any letter case, at the top
// level. Other bytes stay as they are; if there is nothing to cut, it is the body itself.
func (b *Body) Without(names ...string) *Body {
	cut := func(m member) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, m.name) })
	}
	if !slices.ContainsFunc(b.members, cut) {
		return b
	}

	// Every member that stays brings the separator in front of it along, but for the first.
	first, last := b.members[0], b.members[len(b.members)-1]
	out := make([]byte, 0, len(b.raw))
	out = append(out, b.raw[:first.start]...)
	var kept []member
	for i, m := range b.members {
		if cut(m) {
			continue
		}
		if len(kept) > 0 {
			out = append(out, b.raw[b.members[i-1].end:m.start]...)
		}
		start := len(out)
		out = append(out, b.raw[m.start:m.end]...)
		m.start, m.middle, m.end = start, start+m.middle-m.start, len(out)
		// Texts may be parts of one of the whole body, and would keep it in memory.
		m.name, m.text = strings.Clone(m.name), strings.Clone(m.text)
		kept = append(kept, m)
	}
	out = append(out, b.raw[last.end:]...)
	return &Body{encoding: b.encoding, raw: out, head: b.head, members: kept}
}

// WithText gives the body with text as the value of the member of exactly this name at the top level: a JSON
// string, or the value of a form's field. All other bytes stay as they are; without such a member it is the body
// itself. The text must be valid UTF-8, and in a form have no NUL.
func (b *Body) WithText(name, text string) *Body {
	at := slices.IndexFunc(b.members, func(m member) bool { return m.name == name })
	if at < 0 {
		return b
	}
	var value []byte
	if b.encoding == Form {
		value = appendEscaped(nil, []byte(text))
	} else {
		value, _ = jsontext.AppendQuote(nil, text) // fails on invalid UTF-8 only, having replaced it
	}

	old := b.members[at]
	out := slices.Concat(b.raw[:old.middle], value, b.raw[old.end:])
	members := slices.Clone(b.members)
	longer := len(value) - (old.end - old.middle)
	members[at].kind, members[at].text = String, text
	members[at].end += longer
	for i := range members[at+1:] {
		m := &members[at+1+i]
		m.start, m.middle, m.end = m.start+longer, m.middle+longer, m.end+longer
	}
	return &Body{encoding: b.encoding, raw: out, head: b.head, members: members}
}

// ReplaceValues walks every string, number and boolean at any depth, in order, and gives the body with the
// texts that replace returned in their place. name is that of the nearest member around the value (for
// elements of an array, the array's). Names and all other bytes stay as they are. What replace returns goes
// in as it is, so it must be valid JSON. A form is returned as it is. The result is the caller's own.
func (b *Body) ReplaceValues(replace func(name string, v Value) (jsonText []byte, ok bool)) []byte {
	if b.encoding != JSON {
		return slices.Clone(b.raw)
	}
	dec := newDecoder(b.raw)
	defer dec.free()
	r := replacer{dec: dec, raw: b.raw, replace: replace}
	if err := r.value(""); err != nil {
		return nil // cannot happen: the body was parsed; and if it did, nothing is better than half
	}
	return append(r.out, b.raw[r.done:]...)
}

// AppendTexts appends the text of every string and number at any depth, in order.
func (b *Body) AppendTexts(texts []string) []string {
	for i := range b.members {
		switch m := &b.members[i]; m.kind {
		case String, Number:
			texts = append(texts, m.text)
		case Object, Array:
			texts = append(texts, textsIn(b.raw[m.middle:m.end])...)
		case Bool, Null:
		}
	}
	return texts
}

// textsIn are those in a container, which has been parsed.
func textsIn(container []byte) (texts []string) {
	whole := Body{encoding: JSON, raw: container}
	whole.ReplaceValues(func(_ string, v Value) ([]byte, bool) {
		texts = append(texts, v.Text)
		return nil, false
	})
	return texts
}

type replacer struct {
	dec     *decoder
	raw     []byte
	replace func(name string, v Value) ([]byte, bool)
	out     []byte
	done    int // raw up to here is in out
}

func (r *replacer) value(name string) error {
	switch kind := r.dec.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return r.container(name, kind == jsontext.KindBeginObject)
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	v := scalar(raw, string(raw))
	if v.Kind == Null {
		return nil
	}
	if text, ok := r.replace(name, v); ok {
		end := r.dec.offset()
		r.out = append(r.out, r.raw[r.done:end-len(raw)]...)
		r.out = append(r.out, text...)
		r.done = end
	}
	return nil
}

func (r *replacer) container(name string, object bool) error {
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	for kind := r.dec.PeekKind(); kind != jsontext.KindEndObject && kind != jsontext.KindEndArray; kind = r.dec.PeekKind() {
		if object {
			raw, err := r.dec.ReadValue()
			if err != nil {
				return err
			}
			name = unquote(raw, string(raw))
		}
		if err := r.value(name); err != nil {
			return err
		}
	}
	_, err := r.dec.ReadToken()
	return err
}
