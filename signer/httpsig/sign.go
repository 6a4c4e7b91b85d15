package httpsig

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// baseBytes is room for the signature base of most messages.
const baseBytes = 512

// maxUnix is the last second of the year 9999: what is later is no time but a mistake.
const maxUnix = 253402300799

// ErrNoValue means that a message does not have, or not in a form that can be
// signed, what a component names.
var ErrNoValue = errors.New("a component has no value in this message")

// Params are those of a signature to be made. Created and Expires are cut to whole
// seconds; Nonce, KeyID and Tag are printable ASCII of at most 512 bytes.
type Params struct {
	// Label of the signature in its fields: letters in lower case, digits, - _ . and *,
	// the first of them a letter or *.
	Label string
	// Components that are covered, one at least, and none twice.
	Components []Component
	Created    time.Time // zero: left out, as are the others
	Expires    time.Time // not before Created
	Nonce      string
	KeyID      string
	Tag        string
	NameAlg    bool // names the algorithm in the parameters
}

// Sign returns the values of Signature-Input and Signature. The message must have
// the covered fields already, Content-Digest among them; what it has not makes an
// error that wraps [ErrNoValue]. Errors of the key are wrapped.
func Sign(ctx context.Context, m *Message, p Params, key SigningKey) (input, signature string, err error) {
	if !isLabel(p.Label) {
		return "", "", errors.New("signing: the label is not one: want letters in lower case, digits, - _ . and *")
	}
	params, err := p.text(key.Algorithm())
	if err != nil {
		return "", "", fmt.Errorf("signing: %w", err)
	}
	base, err := appendBase(make([]byte, 0, baseBytes), m, p.Components, params)
	if err != nil {
		return "", "", fmt.Errorf("signing: %w", err)
	}
	made, err := key.Sign(ctx, base)
	if err != nil {
		return "", "", fmt.Errorf("signing: %w", err)
	}
	if len(made) == 0 {
		return "", "", errors.New("signing: the key made an empty signature")
	}
	input = p.Label + "=" + params
	signature = p.Label + "=:" + base64.StdEncoding.EncodeToString(made) + ":"
	if len(input) > maxField || len(signature) > maxField {
		return "", "", fmt.Errorf("signing: the fields would be longer than %d bytes", maxField)
	}
	return input, signature, nil
}

// isLabel reports whether s is a key of a dictionary, RFC 9651 section 3.2.
func isLabel(s string) bool {
	for i := range len(s) {
		b := s[i]
		first := 'a' <= b && b <= 'z' || b == '*'
		if !first && (i == 0 || (b < '0' || b > '9') && b != '-' && b != '_' && b != '.') {
			return false
		}
	}
	return s != "" && len(s) <= maxText
}

// text writes the components and the parameters as they are signed.
func (p *Params) text(a Algorithm) (string, error) {
	if n := len(p.Components); n == 0 || n > maxComponents {
		return "", fmt.Errorf("%d components are to be covered: want 1 to %d", n, maxComponents)
	}
	if c, ok := duplicate(p.Components); ok {
		return "", fmt.Errorf("component %s is there twice", c)
	}
	if !p.Created.IsZero() && !p.Expires.IsZero() && p.Expires.Before(p.Created) {
		return "", errors.New("it would expire before it is created")
	}
	tail := make([]byte, 0, 160)
	for _, t := range [...]struct {
		name string
		time time.Time
	}{{"created", p.Created}, {"expires", p.Expires}} {
		if t.time.IsZero() {
			continue
		}
		unix := t.time.Unix()
		if unix < 0 || unix > maxUnix {
			return "", fmt.Errorf("%s is out of range", t.name)
		}
		tail = append(append(append(tail, ';'), t.name...), '=')
		tail = strconv.AppendInt(tail, unix, 10)
	}
	alg := ""
	if p.NameAlg {
		alg = string(a)
	}
	for _, t := range [...][2]string{{"nonce", p.Nonce}, {"alg", alg}, {"keyid", p.KeyID}, {"tag", p.Tag}} {
		if t[1] == "" {
			continue
		}
		if len(t[1]) > maxText {
			return "", fmt.Errorf("%s is longer than %d bytes", t[0], maxText)
		}
		tail = append(append(append(tail, ';'), t[0]...), '=')
		var ok bool
		if tail, ok = appendString(tail, t[1]); !ok {
			return "", fmt.Errorf("%s is not printable ASCII", t[0])
		}
	}
	return writeParams(p.Components, string(tail)), nil
}

// appendString writes a string of RFC 9651, section 4.1.6.
func appendString(dst []byte, s string) ([]byte, bool) {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			return dst, false
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"'), true
}

// writeParams puts the list of components before the parameters of the signature.
func writeParams(components []Component, tail string) string {
	var b strings.Builder
	b.Grow(len(tail) + 24*len(components) + 2)
	b.WriteByte('(')
	for i := range components {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(components[i].text)
	}
	b.WriteByte(')')
	b.WriteString(tail)
	return b.String()
}
