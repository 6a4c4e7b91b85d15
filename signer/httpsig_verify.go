package signer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

const (
	defaultMaxAge = time.Minute
	defaultSkew   = 30 * time.Second
)

// HTTPSigVerifier verifies the signatures of answers, RFC 9421. An answer must
// cover its status and the digest of its body, and be bound to its request: by the
// request's signature, or by its method and target URI. Those that are bound by the
// latter, without the digest of the request's body, are [Answer.Unbound]; all that are
// not bound by the signature are remembered for as long as they are fresh, so that none
// is accepted twice. The zero value accepts hmac-sha256 with the text of the account's key,
// under its username.
type HTTPSigVerifier struct {
	// Keys are those of the provider, by key ID. Nil: the account's own key, for
	// hmac-sha256.
	Keys map[string][]httpsig.VerifyingKey
	// Key verifies instead of the account's own, such as one in Vault's transit engine.
	// Nil: the account's does.
	Key httpsig.VerifyingKey
	// KeyEncoding is that of the account's own key, and KeyID its name. Empty: text,
	// and the username.
	KeyEncoding KeyEncoding
	KeyID       string
	// Label of the signature. Empty: there must be exactly one.
	Label string
	// Tag that the signature must have. Empty: any.
	Tag string
	// Components that must be covered besides the status, the digest and the request.
	Components []httpsig.Component
	// RequestLabel is the label of the signatures of requests. Empty: sig1.
	RequestLabel string
	// MaxAge is how old a signature may be, and Skew how far the clocks may be apart.
	// 0: one minute, and 30 seconds.
	MaxAge, Skew time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Seen remembers answers, over several verifiers. Nil: a memory of its own.
	Seen *Replays

	lists    httpsig.Lists
	once     sync.Once
	required []httpsig.Component // once it is made
	binding  httpsig.Component   // by the request's signature
}

var (
	proven     = components("@status", "content-digest")      //nolint:gochecknoglobals // never changed
	boundByURI = components("@method;req", "@target-uri;req") //nolint:gochecknoglobals // never changed
	toItsBody  = components("content-digest;req")             //nolint:gochecknoglobals // never changed
)

var (
	errNotBound = errors.New("the signature does not cover the request")
	errReplayed = errors.New("the signature was seen before")
	errOwn      = errors.New("it is a request of our own")
)

// Verify implements [Verifier]. The headers of the signature are not in what it gives:
// they have served.
func (v *HTTPSigVerifier) Verify(ctx context.Context, sent Signed, a Answer, known []*secret.Credential) (Answer, error) {
	unbound, err := v.verify(ctx, sent, a, known)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	rest := make(http.Header, len(a.Header))
	for name, values := range a.Header {
		if name != "Signature" && name != "Signature-Input" && name != "Content-Digest" {
			rest[name] = values
		}
	}
	a.Header, a.Unbound = rest, unbound
	return a, nil
}

// VerifyRequest implements [RequestVerifier], with the same keys.
func (v *HTTPSigVerifier) VerifyRequest(ctx context.Context, m *httpsig.Message, body []byte, known []*secret.Credential) error {
	keys, done, err := v.keys(known)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	defer done()
	requests := Requests{Keys: keys, Label: v.Label, Tag: v.Tag, MaxAge: v.MaxAge, Skew: v.Skew, Now: v.Now}
	verified, err := requests.Verify(ctx, m)
	switch {
	case err != nil:
	case v.Keys == nil && hasUsername(body):
		err = errOwn // which has the same key, and is sent back
	case len(body) > 0 || verified.Covers(digest...):
		err = httpsig.CheckDigest(m.Header, body)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	return nil
}

// hasUsername reports whether a body has the member that all of our requests have.
func hasUsername(body []byte) bool {
	for _, parse := range []func([]byte, nowpay.Limits) (*nowpay.Body, error){nowpay.ParseJSON, nowpay.ParseForm} {
		if b, err := parse(body, nowpay.Limits{Bytes: max(len(body), 1)}); err == nil && b.Has("username") {
			return true
		}
	}
	return false
}

func (v *HTTPSigVerifier) verify(ctx context.Context, sent Signed, a Answer, known []*secret.Credential) (unbound bool, err error) {
	v.once.Do(v.prepare)
	request, err := sent.message()
	if err != nil {
		return false, err
	}
	keys, done, err := v.keys(known)
	if err != nil {
		return false, err
	}
	defer done()
	policy := httpsig.Policy{
		Label: v.Label, Tag: v.Tag, Components: v.required, Keys: keys,
		Now: timeOf(v.Now), MaxAge: cmp.Or(v.MaxAge, defaultMaxAge), Skew: cmp.Or(v.Skew, defaultSkew),
		Lists: &v.lists,
	}
	response := &httpsig.Message{Status: a.Status, Header: a.Header, Request: request}
	verified, err := httpsig.Verify(ctx, response, policy)
	if err != nil {
		return false, err
	}
	if err := httpsig.CheckDigest(a.Header, a.Body); err != nil {
		return false, err
	}
	return v.bound(verified, policy)
}

// bound checks that a signature is for the answer to this request, as far as it tells.
func (v *HTTPSigVerifier) bound(verified httpsig.Verified, p httpsig.Policy) (unbound bool, err error) {
	switch {
	case verified.Covers(v.binding):
		return false, nil // whose nonce is in no other
	case !verified.Covers(boundByURI...):
		return false, errNotBound
	case v.Seen.again(verified.Identity(), p.Now, p.Now.Add(p.MaxAge+p.Skew)):
		return false, errReplayed
	}
	return !verified.Covers(toItsBody...), nil
}

// prepare makes what is the same for all answers.
func (v *HTTPSigVerifier) prepare() {
	if v.Seen == nil {
		v.Seen = new(Replays)
	}
	v.required = slices.Concat(proven, v.Components)
	v.binding = components(`"signature";req;key="` + cmp.Or(v.RequestLabel, defaultLabel) + `"`)[0]
}

// keys gives the keys of a key ID. Done is called when they are not needed any more.
func (v *HTTPSigVerifier) keys(known []*secret.Credential) (keys func(id string) []httpsig.VerifyingKey, done func(), err error) {
	if v.Keys != nil {
		return func(id string) []httpsig.VerifyingKey { return v.Keys[id] }, func() {}, nil
	}
	own := make([]ownKey, 0, len(known))
	done = func() {
		for _, o := range own {
			clear(o.shared)
		}
	}
	for _, c := range known {
		o := ownKey{id: v.KeyID, username: c.Username(), key: v.Key}
		if v.Key == nil {
			shared, unfit := sharedKey(c, v.KeyEncoding)
			if unfit != nil { // the others may do
				err = unfit
				continue
			}
			o.key, o.shared = shared, shared
		}
		own = append(own, o)
	}
	if len(own) == 0 {
		return nil, nil, err
	}
	return func(id string) []httpsig.VerifyingKey { return keysOf(own, id) }, done, nil
}

// ownKey is a key of the account's own, and the name that signatures give it.
type ownKey struct {
	id       string // "": the username
	username secret.Value
	key      httpsig.VerifyingKey
	shared   httpsig.HMAC // to be wiped; nil: none
}

func keysOf(own []ownKey, id string) (keys []httpsig.VerifyingKey) {
	for _, o := range own {
		if o.id == id || o.id == "" && string(o.username.Reveal()) == id {
			keys = append(keys, o.key)
		}
	}
	return keys
}
