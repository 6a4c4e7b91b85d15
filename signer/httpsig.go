package signer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

const (
	defaultLabel    = "sig1"
	defaultLifetime = 5 * time.Minute
)

// HTTPSig signs requests by RFC 9421 over a digest of the body (RFC 9530). The
// body has the username in front, which tells who calls; the key is not sent. The
// zero value signs with hmac-sha256 and the text of the credential's key.
type HTTPSig struct {
	// Algorithm of the signature. Empty: hmac-sha256.
	Algorithm httpsig.Algorithm
	// KeyEncoding is that of the credential's key for hmac-sha256. For the others it
	// is a private key in PEM.
	KeyEncoding KeyEncoding
	// Key signs instead of the credential's. Nil: the credential's does.
	Key httpsig.SigningKey
	// KeyID names the key to the provider. Empty: the username.
	KeyID string
	// Label of the signature. Empty: sig1.
	Label string
	// Tag says what the signature is for. Empty: none.
	Tag string
	// Components that are signed. Nil: DefaultComponents.
	Components []httpsig.Component
	// Lifetime of a signature. 0: five minutes.
	Lifetime time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// NewNonce makes what no two signatures have in common. Nil: 128 random bits.
	NewNonce func() string
}

// DefaultComponents are what a request's signature covers unless it is said
// otherwise.
//
//nolint:gochecknoglobals // never changed
var DefaultComponents = components("@method", "@target-uri", "content-type", "content-digest")

// components are those of texts that are known to be right.
func components(texts ...string) []httpsig.Component {
	list := make([]httpsig.Component, len(texts))
	for i, text := range texts {
		c, err := httpsig.ParseComponent(text)
		if err != nil {
			panic(err)
		}
		list[i] = c
	}
	return list
}

// Sign implements [Scheme]. Its errors wrap those that [Credentials.Sign] gives, and
// [ErrKey] if the key is not one for the algorithm.
func (s *HTTPSig) Sign(ctx context.Context, r Request, c *secret.Credential) (Signed, error) {
	if err := check(r, c); err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	username := nowpay.Member{Name: "username", Value: c.Username().Reveal()}
	signed := Signed{
		URL:         r.URL,
		ContentType: r.Operation.Encoding.MediaType(),
		Body:        r.Body.Splice(nil, username),
	}
	signed.Header = make(http.Header, 3)
	signed.Header["Content-Digest"] = []string{httpsig.Digest(signed.Body)}
	message, err := signed.message()
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	key, done, err := s.key(c)
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	defer done()
	input, signature, err := httpsig.Sign(ctx, message, s.params(c), key)
	if err != nil {
		return Signed{}, fmt.Errorf("signing %s: %w", r.Operation.Name, err)
	}
	signed.Header["Signature-Input"], signed.Header["Signature"] = []string{input}, []string{signature}
	maps.Copy(message.Header, signed.Header)
	signed.signed = message
	return signed, nil
}

func (s *HTTPSig) params(c *secret.Credential) httpsig.Params {
	nonce := s.NewNonce
	if nonce == nil {
		nonce = rand.Text //nolint:forbidigo // the default
	}
	created := timeOf(s.Now)
	p := httpsig.Params{
		Label: cmp.Or(s.Label, defaultLabel), Components: s.Components,
		Created: created, Expires: created.Add(cmp.Or(s.Lifetime, defaultLifetime)),
		Nonce: nonce(), KeyID: s.KeyID, Tag: s.Tag,
	}
	if p.Components == nil {
		p.Components = DefaultComponents
	}
	if p.KeyID == "" {
		p.KeyID = string(c.Username().Reveal())
	}
	return p
}

// timeOf is the time by a clock, or by the system's where none is given.
func timeOf(clock func() time.Time) time.Time {
	if clock == nil {
		return time.Now() //nolint:forbidigo // the default
	}
	return clock()
}

// key is what signs. Done is called when it has.
func (s *HTTPSig) key(c *secret.Credential) (key httpsig.SigningKey, done func(), err error) {
	algorithm := cmp.Or(s.Algorithm, httpsig.HMACSHA256)
	switch {
	case s.Key != nil:
		return s.Key, func() {}, nil
	case algorithm == httpsig.HMACSHA256:
		shared, err := sharedKey(c, s.KeyEncoding)
		return shared, func() { clear(shared) }, err
	}
	private, err := c.Once(func(key []byte) (any, error) { return httpsig.ParsePrivateKey(key, algorithm) })
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, ok := private.(httpsig.SigningKey)
	if !ok || key.Algorithm() != algorithm { // one account, one algorithm
		return nil, nil, fmt.Errorf("%w: it is used as another kind of key already", ErrKey)
	}
	return key, func() {}, nil
}

// sharedKey is the credential's key for hmac-sha256, in memory that the caller
// wipes.
func sharedKey(c *secret.Credential, e KeyEncoding) (httpsig.HMAC, error) {
	text := c.Key().Reveal()
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%w: there is none", ErrKey)
	case c.IsPEM():
		return nil, fmt.Errorf("%w: it is in PEM, and hmac-sha256 needs a shared one", ErrKey)
	}
	key, err := cmp.Or(e, KeyText).Decode(text)
	if err == nil && len(key) == 0 {
		err = fmt.Errorf("%w: it is empty", ErrKey)
	}
	return key, err
}

// message is what of a request can be signed.
func (s *Signed) message() (*httpsig.Message, error) {
	if s.signed != nil {
		return s.signed, nil
	}
	scheme, rest, ok := strings.Cut(s.URL, "://")
	slash := strings.IndexByte(rest, '/')
	if !ok || slash <= 0 {
		return nil, errors.New("the URL is not absolute")
	}
	header := make(http.Header, 4)
	maps.Copy(header, s.Header)
	header["Content-Type"] = []string{s.ContentType}
	return &httpsig.Message{
		Method: http.MethodPost, Scheme: scheme, Authority: withoutDefaultPort(scheme, rest[:slash]), Target: rest[slash:],
		Header: header,
	}, nil
}

// withoutDefaultPort is an authority as it is signed, RFC 9421 section 2.2.3.
func withoutDefaultPort(scheme, authority string) string {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return strings.TrimSuffix(strings.ToLower(authority), port)
}
