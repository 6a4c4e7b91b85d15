package nowpay

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// maxFormFields stays far below the thousand variables behind which PHP silently drops the rest.
const maxFormFields = 256

// ParseForm reads application/x-www-form-urlencoded strictly. Names are ASCII letters, digits and underscores,
// unescaped: PHP would rewrite others. Duplicate names, pairs without a name or an equals sign, broken
// escapes, bytes that a form must escape, values that are not UTF-8 or hold NUL and more than 256 fields are
// refused with [ErrMalformed]. A form without fields is a form. The Body keeps b, which must not be
// modified any more.
func ParseForm(b []byte, l Limits) (*Body, error) {
	if err := l.checkSize(b); err != nil {
		return nil, err
	}
	body := &Body{encoding: Form, raw: b}
	for start := 0; start < len(b); {
		if len(body.members) == maxFormFields {
			return nil, malformed("too many fields")
		}
		end := len(b)
		if i := bytes.IndexByte(b[start:], '&'); i >= 0 {
			end = start + i
		}
		m, err := parsePair(b[start:end])
		if err != nil {
			return nil, malformed(err.Error())
		}
		if _, twice := body.Get(m.name); twice {
			return nil, malformed("duplicate name")
		}
		m.start, m.middle, m.end = start, end-m.middle, end
		body.members = append(body.members, m)

		start = end + 1
		if start == len(b) {
			return nil, malformed("empty field")
		}
	}
	return body, nil
}

// parsePair reads a field; middle is how long its value is.
func parsePair(pair []byte) (m member, err error) {
	name, value, ok := bytes.Cut(pair, []byte("="))
	switch {
	case len(pair) == 0:
		return m, errors.New("empty field")
	case !ok:
		return m, errors.New("field without a value")
	case !isName(string(name)):
		return m, errors.New("invalid name")
	}
	text, err := unescape(value)
	if err != nil {
		return m, err
	}
	return member{name: string(name), text: text, kind: String, middle: len(value)}, nil
}

func unescape(value []byte) (string, error) {
	plain := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '+':
			plain = append(plain, ' ')
		case c == '%':
			if i+2 >= len(value) || !isHex(value[i+1]) || !isHex(value[i+2]) {
				return "", errors.New("broken escape")
			}
			plain = append(plain, unhex(value[i+1])<<4|unhex(value[i+2]))
			i += 2
		case c <= ' ' || c >= 0x7f || c == ';': // a semicolon separates fields for some readers
			return "", errors.New("byte that must be escaped")
		default:
			plain = append(plain, c)
		}
	}
	if !utf8.Valid(plain) {
		return "", errors.New("invalid UTF-8")
	}
	if bytes.IndexByte(plain, 0) >= 0 {
		return "", errors.New("NUL in a value")
	}
	return string(plain), nil
}

// appendEscaped appends text so that every reader of forms reads it the same: no '+' for a space.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range text {
		if isUnreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// escapedLen is how many bytes appendEscaped appends.
func escapedLen(text []byte) int {
	n := len(text)
	for _, c := range text {
		if !isUnreserved(c) {
			n += 2
		}
	}
	return n
}

func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~'
}

func isAlphanumeric[T byte | rune](c T) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex gives the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// isName reports whether s is a name that a form can carry and PHP leaves as it is.
func isName(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != ""
}
