package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// fields names the members that a credential is made of.
type fields struct {
	username, key string
	// keyless means that there is to be a username only.
	keyless bool
	// only refuses members of other names.
	only bool
}

// credential takes username and key out of a JSON object, into memory of their
// own. It makes no other copies; the caller wipes the object. The error wraps
// errGone and shows no value.
func (f fields) credential(object []byte, version int64) (c *secret.Credential, err error) {
	secret.Do(func() { c, err = f.parse(object, version) })
	return c, err
}

func (f fields) parse(object []byte, version int64) (*secret.Credential, error) {
	var username, key []byte
	err := members(object, func(name string, v jsontext.Value) error {
		var err error
		switch {
		case name == f.username:
			username, err = text(v, true)
		case name == f.key && !f.keyless:
			key, err = text(v, false)
		default:
			if f.only {
				return fmt.Errorf("it must have no members but %q and %q", f.username, f.key)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("field %q %w", name, err)
		}
		return nil
	})
	if err == nil {
		switch {
		case username == nil:
			err = fmt.Errorf("field %q is missing", f.username)
		case key == nil && !f.keyless:
			err = fmt.Errorf("field %q is missing", f.key)
		}
	}
	if err != nil {
		clear(username)
		clear(key)
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	var c *secret.Credential
	if f.keyless {
		c, err = secret.NewKeyless(username, version)
	} else {
		c, err = secret.NewCredential(username, key, version)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return c, nil
}

// text returns a JSON string's content in memory of its own. Whole numbers are
// taken too where they are allowed: the provider's usernames look like them.
func text(v jsontext.Value, orNumber bool) ([]byte, error) {
	dst := make([]byte, 0, len(v)) // large enough: growing would leave a copy
	switch v.Kind() {
	case '"':
		return jsontext.AppendUnquote(dst, v)
	case '0':
		if orNumber && !bytes.ContainsFunc(v, func(r rune) bool { return r < '0' || r > '9' }) {
			return append(dst, v...), nil
		}
	}
	if orNumber {
		return nil, errors.New("is neither a text nor a whole number")
	}
	return nil, errors.New("is not a text")
}

// members calls visit for each member of a JSON object. Values point into the
// object. The library's own errors are not passed on: they quote the text.
func members(object []byte, visit func(name string, v jsontext.Value) error) error {
	// From a bytes.Buffer the decoder reads without copying.
	d := jsontext.NewDecoder(bytes.NewBuffer(object))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return errNotObject
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return errNotObject
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return errNotObject
		}
		if err := visit(name, v); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotObject
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errNotObject
	}
	return nil
}

var errNotObject = errors.New("it is not a well-formed JSON object (in UTF-8, without duplicate names)")
