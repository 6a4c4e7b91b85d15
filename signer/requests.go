package signer

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// Requests verifies the signatures of requests that come in, RFC 9421. A request
// must cover its method, its target, and unless it is a GET or HEAD the digest of its
// body, which is held against the body by [httpsig.CheckDigest] once that is there. It
// is safe for concurrent use.
type Requests struct {
	// Keys are those of a key ID that may sign.
	Keys func(keyID string) []httpsig.VerifyingKey
	// Label and Tag that a signature must have. Empty: there must be exactly one, and
	// any or none.
	Label, Tag string
	// NeedNonce refuses signatures without a nonce.
	NeedNonce bool
	// MaxAge is how old a signature may be, and Skew how far the clocks may be apart.
	// 0: one minute, and 30 seconds. Together they must not be more than MaxFresh.
	MaxAge, Skew time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// MaxFresh is for how long a signature of a request can be fresh. Its nonce is
// remembered for that long, whatever the age that is allowed: another configuration may
// allow more.
const MaxFresh = 15 * time.Minute

var (
	method = components("@method")        //nolint:gochecknoglobals // never changed
	digest = components("content-digest") //nolint:gochecknoglobals // never changed
	// targets are the ways to cover all of a target.
	targets = [][]httpsig.Component{ //nolint:gochecknoglobals // never changed
		components("@target-uri"), components("@authority", "@request-target"), components("@authority", "@path", "@query"),
	}
)

var errTarget = errors.New("the signature does not cover the host and the target: @target-uri, or @authority with @request-target or with @path and @query")

// IsSigned reports whether a message has anything of a signature.
func IsSigned(header http.Header) bool {
	return len(header["Signature-Input"]) > 0 || len(header["Signature"]) > 0
}

// Verify checks the signature of a request, but not its body.
func (v *Requests) Verify(ctx context.Context, m *httpsig.Message) (httpsig.Verified, error) {
	covered := method
	if m.Method != http.MethodGet && m.Method != http.MethodHead {
		covered = slices.Concat(method, digest)
	}
	verified, err := httpsig.Verify(ctx, m, httpsig.Policy{
		Components: covered, NeedNonce: v.NeedNonce, Keys: v.Keys, Label: v.Label, Tag: v.Tag,
		Now: timeOf(v.Now), MaxAge: cmp.Or(v.MaxAge, defaultMaxAge), Skew: cmp.Or(v.Skew, defaultSkew),
	})
	if err != nil {
		return httpsig.Verified{}, err
	}
	for _, target := range targets {
		if verified.Covers(target...) {
			return verified, nil
		}
	}
	return httpsig.Verified{}, errTarget
}

// CoversBody reports whether a signature covers the digest of the body.
func CoversBody(v httpsig.Verified) bool { return v.Covers(digest...) }

// Fresh is until when a signature can be fresh: until then its nonce must be
// remembered.
func (*Requests) Fresh(s httpsig.Verified) time.Time {
	return s.Created.Add(MaxFresh + time.Second) // of which signatures have whole ones
}

// IncomingRequest is what of a request that was received can be signed. Host is as
// in its Host header.
func IncomingRequest(method, scheme, host, target string, header http.Header) *httpsig.Message {
	return &httpsig.Message{
		Method: method, Scheme: scheme, Authority: withoutDefaultPort(scheme, host), Target: target, Header: header,
	}
}
