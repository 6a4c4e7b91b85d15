package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// The provider's programs are written in PHP. This file reads and writes as
// they do, which is more lenient than the gateway is: what is told apart on one
// side only is where money gets lost, so the two must not share a parser.

// fields are the members of a request's body, by name.
type fields map[string]any

// readJSON reads an object as json_decode does: the last of two equal names
// wins, and what is not JSON is no fields at all.
func readJSON(body []byte) fields {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var f fields
	if err := d.Decode(&f); err != nil {
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	return f
}

// readForm reads a form as $_POST does: the last of two equal names wins, dots
// and spaces in names become underscores.
func readForm(body []byte) fields {
	f := fields{}
	for pair := range strings.SplitSeq(string(body), "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescape(name), unescape(value)
		if name = strings.NewReplacer(".", "_", " ", "_").Replace(name); name != "" {
			f[name] = value
		}
	}
	return f
}

// unescape undoes percent-encoding and leaves what is not well-formed alone.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// text is a field as PHP turns it into a string; objects and arrays are "".
func (f fields) text(name string) string {
	switch v := f[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "1"
		}
	}
	return ""
}

// amount reads a field as a PHP program that only asks is_numeric() and > 0:
// " 1.5", "1e2" and "1.005" all are amounts to it.
func (f fields) amount(name string) (nowpay.Paise, bool) {
	rupees, err := strconv.ParseFloat(strings.TrimSpace(f.text(name)), 64)
	if err != nil || math.IsNaN(rupees) || rupees <= 0 || rupees > 1e12 {
		return 0, false
	}
	p := nowpay.Paise(math.Round(rupees * 100))
	return p, p > 0
}

// echo is a field as it comes back in an answer: in the type that was sent,
// numbers as PHP prints them (1.50 comes back as 1.5).
func (f fields) echo(name string) any {
	n, ok := f[name].(json.Number)
	if !ok {
		return f.text(name)
	}
	if !strings.ContainsAny(n.String(), ".eE") {
		return n
	}
	v, err := n.Float64()
	if err != nil {
		return n
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.Number(s)
}

// member is a name and a value of an object: string, json.Number, int,
// json.RawMessage, object or []object.
type member struct {
	name  string
	value any
}

// object is a JSON object that keeps the order of its members.
type object []member

// get returns the value of a member as text, "" if there is none.
func (o object) get(name string) string {
	for _, m := range o {
		if m.name == name {
			switch v := m.value.(type) {
			case string:
				return v
			case json.Number:
				return v.String()
			}
		}
	}
	return ""
}

// set changes a member that is there; it adds none.
func (o object) set(name string, value any) {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
		}
	}
}

// without returns the object without the named members.
func (o object) without(names ...string) object {
	kept := make(object, 0, len(o))
members:
	for _, m := range o {
		for _, name := range names {
			if m.name == name {
				continue members
			}
		}
		kept = append(kept, m)
	}
	return kept
}

// append writes the object as json_encode does.
func (o object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, m.name)
		dst = append(dst, ':')
		dst = appendValue(dst, m.value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case json.Number:
		return append(dst, v...)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case json.RawMessage:
		return append(dst, v...)
	case object:
		return v.append(dst)
	case []object:
		dst = append(dst, '[')
		for i, o := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = o.append(dst)
		}
		return append(dst, ']')
	default:
		return append(dst, "null"...)
	}
}

// appendString writes a string as json_encode does without flags: slashes
// become \/, and what is not ASCII becomes \u escapes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r == '/':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r >= 0x20 && r < utf8.RuneSelf:
			dst = append(dst, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = appendUnit(appendUnit(dst, high), low)
		default:
			dst = appendUnit(dst, r)
		}
	}
	return append(dst, '"')
}

// appendUnit writes one UTF-16 unit as \uXXXX.
func appendUnit(dst []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[unit>>12&15], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}
