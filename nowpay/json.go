package nowpay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// ParseJSON reads one JSON object strictly and in one pass. Duplicate names (compared unescaped) at any depth,
// invalid UTF-8, lone surrogates, a byte order mark and anything but whitespace around the object are
// refused with [ErrMalformed], more than l allows with [ErrMalformed] (depth) and [ErrTooLarge] (bytes).
// The Body keeps b, which must not be modified any more.
func ParseJSON(b []byte, l Limits) (*Body, error) {
	if err := l.checkSize(b); err != nil {
		return nil, err
	}
	dec := newDecoder(b)
	defer dec.free()
	p := parser{
		dec:   dec,
		raw:   b,
		text:  string(b),
		depth: l.depth(),
	}
	body, err := p.object()
	if err != nil {
		return nil, malformed(reason(b, err))
	}
	return body, nil
}

var (
	errBOM       = errors.New("byte order mark")
	errNotObject = errors.New("not an object")
	errDepth     = errors.New("nested too deeply")
	errTrailing  = errors.New("trailing data")
)

// reason words err without the names and characters of the body that errors of jsontext quote.
func reason(b []byte, err error) string {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, errBOM), errors.Is(err, errNotObject), errors.Is(err, errDepth), errors.Is(err, errTrailing):
		return err.Error()
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "duplicate name"
	case !utf8.Valid(b):
		return "invalid UTF-8"
	case errors.Is(err, io.EOF):
		return "empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected end"
	case errors.As(err, &syntactic):
		return fmt.Sprintf("invalid syntax at byte %d", syntactic.ByteOffset)
	}
	return "invalid syntax"
}

type parser struct {
	dec   *decoder
	raw   []byte
	text  string // raw, so that texts without escapes need no memory of their own
	depth int
}

func (p *parser) object() (*Body, error) {
	if bytes.HasPrefix(p.raw, []byte("\ufeff")) {
		return nil, errBOM
	}
	switch p.dec.PeekKind() {
	case jsontext.KindBeginObject, jsontext.KindInvalid:
	default:
		return nil, errNotObject
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, err
	}

	body := &Body{encoding: JSON, raw: p.raw, head: p.dec.offset()}
	body.members = body.few[:0]
	for p.dec.PeekKind() != jsontext.KindEndObject {
		m, err := p.member()
		if err != nil {
			return nil, err
		}
		body.members = append(body.members, m)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(p.raw[p.dec.offset():], " \t\r\n"); len(rest) > 0 {
		return nil, errTrailing
	}
	return body, nil
}

func (p *parser) member() (m member, err error) {
	name, err := p.dec.ReadValue()
	if err != nil {
		return m, err
	}
	end := p.dec.offset()
	m.start = end - len(name)
	m.name = unquote(name, p.text[m.start:end])

	value, err := p.value()
	m.kind, m.text, m.end = value.Kind, value.Text, p.dec.offset()
	m.middle = m.end - len(value.Raw)
	return m, err
}

func (p *parser) value() (Value, error) {
	switch p.dec.PeekKind() {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return p.container()
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return Value{}, err
	}
	end := p.dec.offset()
	start := end - len(raw)
	return scalar(p.raw[start:end], p.text[start:end]), nil
}

// container reads an object or array token by token, so that too deep a nesting stops it early.
func (p *parser) container() (Value, error) {
	outer := p.dec.StackDepth()
	token, err := p.dec.ReadToken()
	if err != nil {
		return Value{}, err
	}
	kind := Array
	if token.Kind() == jsontext.KindBeginObject {
		kind = Object
	}
	start := p.dec.offset() - 1
	for p.dec.StackDepth() > outer {
		if p.dec.StackDepth() > p.depth {
			return Value{}, errDepth
		}
		if _, err := p.dec.ReadToken(); err != nil {
			return Value{}, err
		}
	}
	return Value{Kind: kind, Raw: p.raw[start:p.dec.offset()]}, nil
}

// scalar makes a Value of raw, a valid JSON string, number or literal; text is the same as a string.
func scalar(raw []byte, text string) Value {
	switch raw[0] {
	case '"':
		return Value{Kind: String, Text: unquote(raw, text), Raw: raw}
	case 't', 'f':
		return Value{Kind: Bool, Raw: raw}
	case 'n':
		return Value{Kind: Null, Raw: raw}
	}
	return Value{Kind: Number, Text: text, Raw: raw}
}

// unquote gives what a valid JSON string says; text is the same as raw.
func unquote(raw []byte, text string) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	plain, _ := jsontext.AppendUnquote(nil, raw) // cannot fail: the decoder has checked it
	return string(plain)
}
