package httpsig

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// baseBytes is room for the signature base of most messages.
const baseBytes = 1 << 10

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

// text writes the parameters as they are signed.
func (p *Params) text(a Algorithm) (string, error) {
	if n := len(p.Components); n == 0 || n > maxComponents {
		return "", fmt.Errorf("%d components are to be covered: want 1 to %d", n, maxComponents)
	}
	if c, ok := duplicate(p.Components); ok {
		return "", fmt.Errorf("component %s is there twice", c)
	}
	params, err := p.parameters(a)
	if err != nil {
		return "", err
	}
	tail, err := httpsfv.Marshal(params)
	if err != nil {
		return "", errors.New("a parameter is not printable ASCII")
	}
	return writeParams(p.Components, tail), nil
}

func (p *Params) parameters(a Algorithm) (*httpsfv.Params, error) {
	params := httpsfv.NewParams()
	for _, t := range []struct {
		name string
		time time.Time
	}{{"created", p.Created}, {"expires", p.Expires}} {
		if t.time.IsZero() {
			continue
		}
		if unix := t.time.Unix(); unix < 0 || unix > maxUnix {
			return nil, fmt.Errorf("%s is out of range", t.name)
		}
		params.Add(t.name, t.time.Unix())
	}
	if !p.Created.IsZero() && !p.Expires.IsZero() && p.Expires.Before(p.Created) {
		return nil, errors.New("it would expire before it is created")
	}
	alg := ""
	if p.NameAlg {
		alg = string(a)
	}
	for _, t := range [...][2]string{{"nonce", p.Nonce}, {"alg", alg}, {"keyid", p.KeyID}, {"tag", p.Tag}} {
		if len(t[1]) > maxText {
			return nil, fmt.Errorf("%s is longer than %d bytes", t[0], maxText)
		}
		if t[1] != "" {
			params.Add(t[0], t[1])
		}
	}
	return params, nil
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
