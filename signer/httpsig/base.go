package httpsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
)

// appendBase writes the signature base (RFC 9421 section 2.5). Its errors wrap
// ErrNoValue.
func appendBase(dst []byte, m *Message, components []Component, params string) ([]byte, error) {
	for i := range components {
		c := &components[i]
		dst = append(append(dst, c.text...), ": "...)
		start := len(dst)
		var err error
		if dst, err = c.appendValue(dst, m); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNoValue, c, err)
		}
		if !printable(dst[start:]) {
			return nil, fmt.Errorf("%w: %s: the value has a character that is not printable ASCII", ErrNoValue, c)
		}
		dst = append(dst, '\n')
	}
	return append(append(dst, `"@signature-params": `...), params...), nil
}

// printable reports whether a value can stand on its line.
func printable(value []byte) bool {
	for _, b := range value {
		if (b < ' ' || b >= 0x7f) && b != '\t' {
			return false
		}
	}
	return true
}

func (c *Component) appendValue(dst []byte, m *Message) ([]byte, error) {
	response := m.Status != 0
	if c.is(ofRequest) {
		if !response || m.Request == nil || m.Request.Status != 0 {
			return dst, errors.New("there is no request that is answered")
		}
		m, response = m.Request, false
	}
	switch {
	case c.field != "":
		return c.appendField(dst, m.Header[c.field])
	case c.id.name == "@status" && response:
		if m.Status < 100 || m.Status > 999 {
			return dst, errors.New("the status is not one")
		}
		return strconv.AppendInt(dst, int64(m.Status), 10), nil
	case response:
		return dst, errors.New("a response has none")
	default:
		return c.appendDerived(dst, m)
	}
}

func (c *Component) appendDerived(dst []byte, m *Message) ([]byte, error) {
	switch c.id.name {
	case "@method":
		return appendMethod(dst, m)
	case "@target-uri":
		return appendTargetURI(dst, m)
	case "@authority":
		return appendAuthority(dst, m)
	case "@scheme":
		return appendScheme(dst, m)
	case "@request-target":
		return appendRequestTarget(dst, m)
	case "@path":
		return appendPath(dst, m)
	case "@query":
		return appendQuery(dst, m)
	case "@query-param":
		return appendQueryParam(dst, m, c.id.value)
	default: // also of the zero Component, and of @status of a request
		return dst, errors.New("the message has none")
	}
}

// appendField writes the lines of a header field (RFC 9421 section 2.1).
func (c *Component) appendField(dst []byte, lines []string) ([]byte, error) {
	if len(lines) == 0 {
		return dst, errors.New("the message has no such field")
	}
	switch {
	case c.is(ofMember):
		return appendMember(dst, lines, c.id.value)
	case c.is(structured):
		d, err := parseDictionary(lines)
		if err != nil {
			return dst, err
		}
		return appendStructured(dst, d)
	}
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		line = strings.Trim(line, " \t")
		if c.is(asBytes) {
			if strings.ContainsFunc(line, isControl) {
				return dst, errors.New("the value has a control character")
			}
			dst = append(dst, ':')
			dst = base64.StdEncoding.AppendEncode(dst, []byte(line))
			dst = append(dst, ':')
		} else {
			dst = append(dst, line...)
		}
	}
	return dst, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func appendMember(dst []byte, lines []string, key string) ([]byte, error) {
	if value, ok := soleBytes(lines, key); ok {
		return append(dst, value...), nil
	}
	d, err := parseDictionary(lines)
	if err != nil {
		return dst, err
	}
	member, ok := d.Get(key)
	if !ok {
		return dst, errors.New("the field has no such member")
	}
	return appendStructured(dst, member)
}

// soleBytes is the one member of a dictionary that is written as it would be anew, as
// nearly all signatures are: key=:base64:
func soleBytes(lines []string, key string) (string, bool) {
	if len(lines) != 1 || len(lines[0]) > maxField {
		return "", false
	}
	value, ok := strings.CutPrefix(lines[0], key+"=:")
	encoded, closed := strings.CutSuffix(value, ":")
	if !ok || !closed || !isLabel(key) {
		return "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodeToString(decoded) != encoded {
		return "", false
	}
	return lines[0][len(key)+1:], true
}

func appendStructured(dst []byte, v httpsfv.StructuredFieldValue) ([]byte, error) {
	text, err := httpsfv.Marshal(v)
	if err != nil {
		return dst, errors.New("the field cannot be written anew")
	}
	return append(dst, text...), nil
}
