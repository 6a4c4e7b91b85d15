package secret

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unicode/utf8"
)

// maxBytes is the longest username or key: the provider takes keys of up to
// 265 characters.
const maxBytes = 265

// ErrInvalid is wrapped by the errors of NewCredential. They name the part and
// what is wrong with it, never its value.
var ErrInvalid = errors.New("invalid credential")

// Credential is one version of an account's username and key. It is counted by
// reference: whoever made or acquired it releases it exactly once, and the last
// release overwrites it in memory.
type Credential struct {
	username, key Value
	version       int64
	refs          atomic.Int64
}

// NewCredential returns a credential with one reference, the caller's; Set
// takes that over. It owns username and key, and overwrites them if it returns
// an error, which wraps ErrInvalid: a part is empty, longer than 265 bytes, not
// UTF-8, or holds a control character (as it would with a line end from an
// editor).
//
// The version is the source's own. A source without versions gives 0: the
// Store then numbers them from 1, with a new number whenever there was another
// credential before, or none.
func NewCredential(username, key []byte, version int64) (*Credential, error) {
	c := &Credential{username: New(username), key: New(key), version: version}
	c.refs.Store(1)
	for _, part := range []struct {
		name string
		text []byte
	}{{"username", username}, {"key", key}} {
		if err := check(part.text); err != nil {
			c.wipe()
			return nil, fmt.Errorf("%w: the %s %w", ErrInvalid, part.name, err)
		}
	}
	return c, nil
}

// check says what is wrong with a username or key, in words that fit behind
// its name.
func check(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("is empty")
	case len(text) > maxBytes:
		return fmt.Errorf("is longer than %d bytes", maxBytes)
	case !utf8.Valid(text):
		return errors.New("is not UTF-8")
	}
	for _, b := range text {
		if b < ' ' || b == 0x7f {
			return errors.New("holds a control character")
		}
	}
	return nil
}

// Username returns the username, valid until Release.
func (c *Credential) Username() Value { return c.username }

// Key returns the key, valid until Release.
func (c *Credential) Key() Value { return c.key }

// Version returns the version under which the source holds the credential.
func (c *Credential) Version() int64 { return c.version }

// gone is about the number of references of a credential that was wiped: so far
// below zero that nobody who comes too late gets it above.
const gone = math.MinInt64 / 2

// acquire adds a reference, unless the credential was wiped after the last one.
func (c *Credential) acquire() bool { return c.refs.Add(1) > 0 }

// Release ends the use of the credential. It panics if there is nothing left
// to release: another exchange could be sending zeros by then.
func (c *Credential) Release() {
	switch refs := c.refs.Add(-1); {
	case refs < 0:
		panic("secret: credential released more often than acquired")
	case refs == 0 && c.refs.CompareAndSwap(0, gone): // else somebody was quicker to acquire it
		c.wipe()
	}
}

func (c *Credential) wipe() {
	c.username.Wipe()
	c.key.Wipe()
}

// equal reports whether both hold the same username and key.
func (c *Credential) equal(o *Credential) bool {
	return bytes.Equal(c.username.Reveal(), o.username.Reveal()) &&
		bytes.Equal(c.key.Reveal(), o.key.Reveal())
}
