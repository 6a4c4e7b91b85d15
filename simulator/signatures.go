package simulator

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// SignatureConfig has requests, answers and callbacks signed by RFC 9421, over a
// digest of the body (RFC 9530).
type SignatureConfig struct {
	// Algorithm of all signatures. Empty: hmac-sha256, with the valid keys of the
	// partner; the name of a key is the username.
	Algorithm httpsig.Algorithm
	// PartnerKey verifies requests: a public key in PEM. Its name is the username. Not
	// for hmac-sha256.
	PartnerKey []byte
	// PrivateKey signs answers and callbacks, in PEM, under the name KeyID. Not for
	// hmac-sha256.
	PrivateKey []byte
	KeyID      string
	// ByURI binds answers by the method and the target URI of their requests, in place
	// of the request's signature.
	ByURI bool
}

const (
	// signatureAge is how old the signature of a request may be.
	signatureAge = 5 * time.Minute
	signatureTag = "sig1" // the label of all signatures
)

// signatures is the security that a SignatureConfig describes.
type signatures struct {
	config  SignatureConfig
	now     func() time.Time
	partner httpsig.VerifyingKey // nil: the partner's keys are shared
	own     httpsig.SigningKey   // nil: as well

	requests, answers, bound, callbacks []httpsig.Component

	nonces map[string]bool // that were used
	last   *response       // that was signed
}

func newSignatures(c SignatureConfig, now func() time.Time) (*signatures, error) {
	s := &signatures{config: c, now: now, nonces: make(map[string]bool)}
	binding := []string{`"signature";req;key="` + signatureTag + `"`}
	if c.ByURI {
		binding = []string{"@method;req", "@target-uri;req"}
	}
	s.requests = componentsOf("@method", "@target-uri", "content-type", "content-digest")
	s.answers = componentsOf("@status", "content-type", "content-digest")
	s.bound = componentsOf(binding...)
	s.callbacks = componentsOf("@method", "@target-uri")
	if c.Algorithm == "" || c.Algorithm == httpsig.HMACSHA256 {
		return s, nil
	}
	if c.KeyID == "" {
		return nil, errors.New("the provider's key has no name")
	}
	var err error
	if s.partner, err = httpsig.ParsePublicKey(c.PartnerKey, c.Algorithm); err != nil {
		return nil, fmt.Errorf("the partner's key: %w", err)
	}
	if s.own, err = httpsig.ParsePrivateKey(c.PrivateKey, c.Algorithm); err != nil {
		return nil, fmt.Errorf("the provider's key: %w", err)
	}
	return s, nil
}

// componentsOf are those of texts that are known to be right.
func componentsOf(texts ...string) []httpsig.Component {
	list := make([]httpsig.Component, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = httpsig.ParseComponent(text); err != nil {
			panic(err)
		}
	}
	return list
}

// messageOf is what of a request can be signed.
func messageOf(r *http.Request, target string) *httpsig.Message {
	scheme, port := "http", ":80"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme, port = "https", ":443"
	}
	return &httpsig.Message{
		Method: r.Method, Scheme: scheme, Authority: strings.TrimSuffix(strings.ToLower(r.Host), port), Target: target, Header: r.Header,
	}
}

// open believes a signature that covers all of a request, is fresh, and was not seen
// before.
func (s *signatures) open(r *http.Request, body []byte, valid []Credential) (plain []byte, media string, by Credential) {
	signed, err := httpsig.Verify(context.Background(), messageOf(r, r.RequestURI), httpsig.Policy{ //nolint:forbidigo // it reaches nothing
		Components: s.requests, NeedNonce: true, Now: s.now(), MaxAge: signatureAge, Skew: signatureAge,
		Keys: func(id string) []httpsig.VerifyingKey { return s.keysOf(id, valid) },
	})
	if err != nil || httpsig.CheckDigest(r.Header, body) != nil || s.nonces[signed.Nonce] {
		return nil, "", Credential{}
	}
	s.nonces[signed.Nonce] = true
	media, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	for _, c := range valid {
		if c.Username == signed.KeyID && (s.partner != nil || s.signedWith(c, r, signed)) {
			return body, media, c
		}
	}
	return nil, "", Credential{}
}

// keysOf are the keys of a partner by its username.
func (s *signatures) keysOf(username string, valid []Credential) (keys []httpsig.VerifyingKey) {
	for _, c := range valid {
		switch {
		case c.Username != username:
		case s.partner != nil:
			return []httpsig.VerifyingKey{s.partner}
		default:
			keys = append(keys, httpsig.HMAC(c.Key))
		}
	}
	return keys
}

// signedWith tells which of several shared keys has signed.
func (s *signatures) signedWith(c Credential, r *http.Request, signed httpsig.Verified) bool {
	_, err := httpsig.Verify(context.Background(), messageOf(r, r.RequestURI), httpsig.Policy{ //nolint:forbidigo // it reaches nothing
		Label: signed.Label, Now: signed.Created, MaxAge: signatureAge,
		Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{httpsig.HMAC(c.Key)} },
	})
	return err == nil
}

// seal signs an answer with the key that its request was signed with, or with the
// provider's own.
func (s *signatures) seal(x *exchange, resp *response) {
	fault := x.fault.Kind
	switch {
	case fault == SignatureMissing:
		return
	case fault == SignatureReplayed && s.last != nil:
		resp.body, resp.header = s.last.body, s.last.header.Clone()
		return
	}
	resp.header.Set("Content-Digest", httpsig.Digest(resp.body))
	key, id := s.signing(x.by)
	p := httpsig.Params{Label: signatureTag, Components: slices.Concat(s.answers, s.bound), Created: s.now(), KeyID: id}
	switch fault {
	case SignatureUnbound:
		p.Components = s.answers
	case SignatureStale:
		p.Created = p.Created.Add(-time.Hour)
	case SignatureUnknownKey:
		p.KeyID = "nobody"
	case SignatureWrongKey:
		key = httpsig.HMAC("not the key that was agreed on")
	default:
	}
	message := &httpsig.Message{Status: resp.status, Header: resp.header, Request: messageOf(x.request, x.target)}
	input, signature, err := httpsig.Sign(x.request.Context(), message, p, key)
	if err != nil {
		resp.page(http.StatusInternalServerError)
		return
	}
	switch fault {
	case SignatureEmpty:
		signature = signatureTag + "=::"
	case SignatureWrongAlgorithm:
		input += `;alg="rsa-v1_5-sha256"`
	case DigestWrong:
		resp.body = append(resp.body, ' ')
	default:
	}
	resp.header.Set("Signature-Input", input)
	resp.header.Set("Signature", signature)
	s.last = &response{body: resp.body, header: resp.header.Clone()}
}

// signing is the key that signs what goes to a partner, and its name.
func (s *signatures) signing(to Credential) (httpsig.SigningKey, string) {
	if s.own != nil {
		return s.own, s.config.KeyID
	}
	return httpsig.HMAC(to.Key), to.Username
}

// signCallback signs a callback to the partner.
func (s *signatures) signCallback(r *http.Request, body string, to Credential, now time.Time) error {
	components := s.callbacks
	if body != "" {
		r.Header.Set("Content-Digest", httpsig.Digest([]byte(body)))
		components = slices.Concat(components, s.answers[len(s.answers)-1:]) // content-digest
	}
	key, id := s.signing(to)
	p := httpsig.Params{Label: signatureTag, Components: components, Created: now, KeyID: id}
	input, signature, err := httpsig.Sign(r.Context(), messageOf(r, r.URL.RequestURI()), p, key)
	if err != nil {
		return fmt.Errorf("signing a callback: %w", err)
	}
	r.Header.Set("Signature-Input", input)
	r.Header.Set("Signature", signature)
	return nil
}

var _ security = (*signatures)(nil)
