package secret

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

const (
	// maxBytes is the longest username or key: the provider takes keys of up to
	// 265 characters.
	maxBytes = 265
	// maxPEM is the longest key in PEM, which may also have lines.
	maxPEM = 16 << 10
)

// pemBegins is how a key in PEM begins (RFC 7468), which is a private one: for
// signing, and never to be sent.
const pemBegins = "-----BEGIN "

// ErrInvalid is wrapped by the errors of NewCredential. They name the part and
// what is wrong with it, never its value.
var ErrInvalid = errors.New("invalid credential")

// Credential is one version of an account's username and key, or of the username
// alone where somebody else holds the key. It is counted by
// reference: whoever made or acquired it releases it exactly once, and the last
// release overwrites it in memory.
type Credential struct {
	username, key Value
	version       int64
	refs          atomic.Int64

	made struct {
		once  sync.Once
		value any
		err   error
	}
}

// NewCredential returns a credential with one reference, the caller's; Set
// takes that over. It owns username and key, and overwrites them if it returns
// an error, which wraps ErrInvalid: a part is empty, longer than 265 bytes, not
// UTF-8, or holds a control character (as it would with a line end from an
// editor). A key in PEM may have lines, and 16 KiB.
//
// The version is the source's own. A source without versions gives 0: the
// Store then numbers them from 1, with a new number whenever there was another
// credential before, or none.
func NewCredential(username, key []byte, version int64) (*Credential, error) {
	c := &Credential{username: New(username), key: New(key), version: version}
	c.refs.Store(1)
	if err := check(username, maxBytes, ""); err != nil {
		c.wipe()
		return nil, fmt.Errorf("%w: the username %w", ErrInvalid, err)
	}
	most, controls := maxBytes, ""
	if c.IsPEM() {
		most, controls = maxPEM, "\r\n"
	}
	if err := check(key, most, controls); err != nil {
		c.wipe()
		return nil, fmt.Errorf("%w: the key %w", ErrInvalid, err)
	}
	return c, nil
}

// NewKeyless is NewCredential for an account whose key is not here, since what
// signs holds it. The credential's key is empty.
func NewKeyless(username []byte, version int64) (*Credential, error) {
	c := &Credential{username: New(username), version: version}
	c.refs.Store(1)
	if err := check(username, maxBytes, ""); err != nil {
		c.wipe()
		return nil, fmt.Errorf("%w: the username %w", ErrInvalid, err)
	}
	return c, nil
}

// check says what is wrong with a username or key, in words that fit behind
// its name.
func check(text []byte, most int, controls string) error {
	switch {
	case len(text) == 0:
		return errors.New("is empty")
	case len(text) > most:
		return fmt.Errorf("is longer than %d bytes", most)
	case !utf8.Valid(text):
		return errors.New("is not UTF-8")
	}
	for _, b := range text {
		if (b < ' ' || b == 0x7f) && strings.IndexByte(controls, b) < 0 {
			return errors.New("holds a control character")
		}
	}
	return nil
}

// Username returns the username, valid until Release.
func (c *Credential) Username() Value { return c.username }

// Key returns the key, valid until Release. It is empty if there is none.
func (c *Credential) Key() Value { return c.key }

// IsPEM reports whether the key is in PEM: a private key, which must not be sent.
func (c *Credential) IsPEM() bool { return bytes.HasPrefix(c.key.Reveal(), []byte(pemBegins)) }

// Version returns the version under which the source holds the credential.
func (c *Credential) Version() int64 { return c.version }

// Once returns what make has made of the key when it was first called, such as a
// parsed private key: it is made once in the life of the credential, and is left to
// the garbage collector with it. Make must not keep the bytes.
func (c *Credential) Once(make func(key []byte) (any, error)) (any, error) {
	c.made.once.Do(func() { c.made.value, c.made.err = make(c.key.Reveal()) })
	return c.made.value, c.made.err
}

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
