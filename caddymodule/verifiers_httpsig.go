package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func init() {
	caddy.RegisterModule(new(HTTPSigVerifier))
}

// HTTPSigVerifier accepts only answers that are signed as RFC 9421 describes (HTTP
// Message Signatures): with a key that is listed, made a short while ago, over the
// status, the digest of the body (RFC 9530), and what they answer: the request's
// signature, or its method and target URI. Other answers are `unknown` for what
// moves money, and `bad-gateway` for all else.
type HTTPSigVerifier struct {
	// The algorithm that is accepted: `hmac-sha256`, `ed25519`, `ecdsa-p256-sha256`
	// or `rsa-pss-sha512`. Default: `hmac-sha256`.
	Algorithm string `json:"algorithm,omitempty"`

	// The public keys of Nowpay, in PEM: each with the name that signatures give it.
	// Required, but for `hmac-sha256`, whose key is that of the account's secret.
	Keys []*PublicKey `json:"keys,omitempty"`

	// How the shared key of `hmac-sha256` is written: `text`, `base64` or `hex`.
	// Default: `text`.
	KeyEncoding string `json:"key_encoding,omitempty"`

	// The name of the shared key in signatures. Default: the username.
	KeyID string `json:"keyid,omitempty"`

	// What must be signed besides the status, `content-digest` and the request. With
	// `"signature";req;key="sig1"` among it, only answers that are bound by the
	// request's own signature are accepted. Default: nothing more.
	Components []string `json:"components,omitempty"`

	// The label of the signature that counts. Default: there must be exactly one.
	Label string `json:"label,omitempty"`

	// The label of the signatures of requests. Default: `sig1`.
	RequestLabel string `json:"request_label,omitempty"`

	// The tag that a signature must have. Default: any, or none.
	Tag string `json:"tag,omitempty"`

	// How old a signature may be. Default: `1m`.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// How far Nowpay's clock may be ahead of ours. Default: `30s`.
	Skew caddy.Duration `json:"skew,omitempty"`

	// A shared key in Vault's transit engine that verifies, as in `sign httpsig`.
	// Only for `hmac-sha256`: the others need public keys only. Default: none.
	Transit string `json:"transit,omitempty"`

	scheme  signer.HTTPSigVerifier
	transit string // resolved
}

// seenAnswers remembers what was accepted once, whatever the account and the
// configuration.
var seenAnswers = new(signer.Replays) //nolint:gochecknoglobals // like the pools, it outlives configurations

// PublicKey is a key that verifies signatures.
type PublicKey struct {
	// The name that signatures give the key. Required.
	ID string `json:"id,omitempty"`

	// A file with the public key, or a certificate, in PEM. It is read when the
	// configuration is loaded. Required.
	File string `json:"file,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*HTTPSigVerifier) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.verifiers.httpsig",
		New: func() caddy.Module { return new(HTTPSigVerifier) },
	}
}

// UnmarshalCaddyfile reads
//
//	verify httpsig {
//		algorithm     <name>
//		key           <keyid> <file>
//		key_encoding  text|base64|hex
//		keyid         <name>
//		components    <component>...
//		label         <label>
//		request_label <label>
//		tag           <tag>
//		max_age       <duration>
//		skew          <duration>
//		transit       [<mount>/]<key>
//	}
//
// with a `key` line for each key.
func (v *HTTPSigVerifier) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"algorithm":     oneText(&v.Algorithm),
		"key":           v.parseKey,
		"key_encoding":  oneText(&v.KeyEncoding),
		"keyid":         oneText(&v.KeyID),
		"components":    manyTexts(&v.Components),
		"label":         oneText(&v.Label),
		"request_label": oneText(&v.RequestLabel),
		"tag":           oneText(&v.Tag),
		"max_age":       oneDuration(&v.MaxAge),
		"skew":          oneDuration(&v.Skew),
		"transit":       oneText(&v.Transit),
	}.parse(d, "verify httpsig")
}

func (v *HTTPSigVerifier) parseKey(d *caddyfile.Dispenser) error {
	args, err := values(d, 2, 2)
	if err != nil {
		return err
	}
	v.Keys = append(v.Keys, &PublicKey{ID: args[0], File: args[1]})
	return nil
}

// Provision resolves and checks the options, and reads the public keys.
func (v *HTTPSigVerifier) Provision(caddy.Context) error {
	r := newResolver()
	algorithm := parseOne(r, "algorithm", v.Algorithm, parseAlgorithm)
	v.scheme.KeyEncoding = parseOne(r, "key_encoding", v.KeyEncoding, signer.ParseKeyEncoding)
	v.scheme.KeyID = parseOne(r, "keyid", v.KeyID, parseSignatureText)
	v.scheme.Components = parseEach(r, "components", v.Components, httpsig.ParseComponent)
	v.scheme.Label = parseOne(r, "label", v.Label, parseLabel)
	v.scheme.RequestLabel = parseOne(r, "request_label", v.RequestLabel, parseLabel)
	v.scheme.Tag = parseOne(r, "tag", v.Tag, parseSignatureText)
	v.scheme.Seen = seenAnswers
	v.scheme.MaxAge, v.scheme.Skew = time.Duration(v.MaxAge), time.Duration(v.Skew)
	v.transit = r.text("transit", v.Transit)
	switch {
	case r.err != nil:
		return r.err
	case v.MaxAge < 0 || v.Skew < 0:
		return errors.New("max_age and skew must not be negative")
	case isShared(algorithm):
		return v.checkShared()
	case v.KeyEncoding != "" || v.KeyID != "":
		return errors.New("key_encoding and keyid are for hmac-sha256; the keys of other algorithms are listed as `key <keyid> <file>`")
	case v.Transit != "":
		return errors.New("transit: is for hmac-sha256; to verify with other algorithms, list the public keys as `key <keyid> <file>`")
	case len(v.Keys) == 0:
		return fmt.Errorf("no key: list Nowpay's public keys as `key <keyid> <file>`, in PEM and for %s", algorithm)
	}
	var err error
	v.scheme.Keys, err = readPublicKeys(v.Keys, algorithm)
	return err
}

// Verify implements [signer.Verifier].
func (v *HTTPSigVerifier) Verify(ctx context.Context, sent signer.Signed, a signer.Answer, known []*secret.Credential) (signer.Answer, error) {
	return v.scheme.Verify(ctx, sent, a, known)
}

// VerifyRequest implements [signer.RequestVerifier].
func (v *HTTPSigVerifier) VerifyRequest(ctx context.Context, m *httpsig.Message, body []byte, known []*secret.Credential) error {
	return v.scheme.VerifyRequest(ctx, m, body, known)
}

func (v *HTTPSigVerifier) checkShared() error {
	switch {
	case len(v.Keys) > 0:
		return errors.New("key: hmac-sha256 has no public keys; its key is that of the account's secret")
	case v.KeyEncoding != "" && v.Transit != "":
		return errors.New("key_encoding: with transit the key is Vault's, and is not read here")
	}
	return nil
}

// match makes a verifier expect what the signer of the same account sends, where it is
// not said otherwise, and refuses what no answer could fulfil.
func match(sign signer.Scheme, verify signer.Verifier) error {
	switch v := verify.(type) {
	case *HTTPSigVerifier:
		s, signs := sign.(*HTTPSigSigner)
		if signs {
			v.scheme.RequestLabel = cmp.Or(v.scheme.RequestLabel, s.scheme.Label)
		}
		return v.tryComponents(signs)
	case *JWEVerifier:
		if s, ok := sign.(*JWESigner); ok && v.jwe.Accepted == nil {
			v.jwe.Algorithm = s.jwe.Algorithm
		}
	}
	return nil
}

// tryComponents signs an answer of nobody's, to find out now what cannot be covered.
func (v *HTTPSigVerifier) tryComponents(requestsAreSigned bool) error {
	request := tryMessage()
	if requestsAreSigned {
		label := cmp.Or(v.scheme.RequestLabel, "sig1")
		request.Header["Signature-Input"], request.Header["Signature"] = []string{label + "=()"}, []string{label + "=:AA==:"}
	} else {
		delete(request.Header, "Content-Digest")
	}
	answer := &httpsig.Message{
		Status: http.StatusOK, Request: request,
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Digest": {httpsig.Digest(nil)}},
	}
	for _, c := range v.scheme.Components {
		if text := c.String(); !strings.HasPrefix(text, `"@`) && !strings.Contains(text, ";req") {
			continue // any field may be in an answer
		}
		_, _, err := httpsig.Sign(context.Background(), answer, httpsig.Params{Label: "try", Components: []httpsig.Component{c}}, httpsig.HMAC("try")) //nolint:forbidigo // it reaches nothing
		if err != nil {
			return fmt.Errorf("verify: components: no answer could have it signed: %w", err)
		}
	}
	return nil
}

// readPublicKeys reads keys of one algorithm, by their names.
func readPublicKeys(keys []*PublicKey, a httpsig.Algorithm) (map[string][]httpsig.VerifyingKey, error) {
	read := make(map[string][]httpsig.VerifyingKey)
	for i, k := range keys {
		if k == nil {
			k = new(PublicKey)
		}
		r := newResolver()
		id, file := parseOne(r, "id", k.ID, parseSignatureText), r.text("file", k.File)
		switch {
		case r.err != nil:
			return nil, fmt.Errorf("key %d: %w", i+1, r.err)
		case id == "" || file == "":
			return nil, fmt.Errorf("key %d: needs a name and a file: `key <keyid> <file>`", i+1)
		case slices.ContainsFunc(keys[:i], func(o *PublicKey) bool { return o != nil && o.ID == k.ID }):
			return nil, fmt.Errorf("key %q is listed twice", id)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", id, err)
		}
		key, err := httpsig.ParsePublicKey(text, a)
		if err != nil {
			return nil, fmt.Errorf("key %q: %s: %w", id, file, err)
		}
		read[id] = append(read[id], key)
	}
	return read, nil
}

// Interface guards
var (
	_ caddy.Provisioner      = (*HTTPSigVerifier)(nil)
	_ caddyfile.Unmarshaler  = (*HTTPSigVerifier)(nil)
	_ signer.RequestVerifier = (*HTTPSigVerifier)(nil)
	_ signer.Verifier        = (*HTTPSigVerifier)(nil)
)
