package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func init() {
	caddy.RegisterModule(new(HTTPSigSigner))
}

// HTTPSigSigner signs requests as RFC 9421 describes (HTTP Message Signatures),
// over a digest of the body (RFC 9530). The body carries the username; the key
// stays here. Each signature has the time it was made, when it ends, a nonce, and
// the name of the key.
type HTTPSigSigner struct {
	// The algorithm: `hmac-sha256`, `ed25519`, `ecdsa-p256-sha256` or
	// `rsa-pss-sha512`. The key of the account's secret is the shared key for the
	// first, and a private key in PEM for the others. Default: `hmac-sha256`.
	Algorithm string `json:"algorithm,omitempty"`

	// How the shared key of `hmac-sha256` is written: `text`, whose bytes are the
	// key, `base64` or `hex`. Default: `text`.
	KeyEncoding string `json:"key_encoding,omitempty"`

	// The name by which Nowpay knows the key. Default: the username.
	KeyID string `json:"keyid,omitempty"`

	// What is signed, such as `@method`, `@target-uri` or `content-type`. The
	// method, the target and `content-digest` must be among it. Default: `@method`,
	// `@target-uri`, `content-type` and `content-digest`.
	Components []string `json:"components,omitempty"`

	// The label of the signature. Default: `sig1`.
	Label string `json:"label,omitempty"`

	// What the signature is for, where Nowpay asks for a tag. Default: none.
	Tag string `json:"tag,omitempty"`

	// How long a signature is good for. Default: `5m`.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// A key in Vault's transit engine that signs instead: `<key>`, or
	// `<mount>/<key>` where the engine is not mounted at `transit`. The account's
	// secret must come from Vault, and needs to hold the username only. Each
	// signature is then a request to Vault. Default: none.
	Transit string `json:"transit,omitempty"`

	scheme  signer.HTTPSig
	transit string // resolved
}

// CaddyModule returns the Caddy module information.
func (*HTTPSigSigner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.signers.httpsig",
		New: func() caddy.Module { return new(HTTPSigSigner) },
	}
}

// UnmarshalCaddyfile reads
//
//	sign httpsig {
//		algorithm    <name>
//		key_encoding text|base64|hex
//		keyid        <name>
//		components   <component>...
//		label        <label>
//		tag          <tag>
//		lifetime     <duration>
//		transit      [<mount>/]<key>
//	}
func (s *HTTPSigSigner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the scheme's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"algorithm":    oneText(&s.Algorithm),
		"key_encoding": oneText(&s.KeyEncoding),
		"keyid":        oneText(&s.KeyID),
		"components":   manyTexts(&s.Components),
		"label":        oneText(&s.Label),
		"tag":          oneText(&s.Tag),
		"lifetime":     oneDuration(&s.Lifetime),
		"transit":      oneText(&s.Transit),
	}.parse(d, "sign httpsig")
}

// Provision resolves and checks the options.
func (s *HTTPSigSigner) Provision(caddy.Context) error {
	r := newResolver()
	s.scheme = signer.HTTPSig{
		Algorithm:   parseOne(r, "algorithm", s.Algorithm, parseAlgorithm),
		KeyEncoding: parseOne(r, "key_encoding", s.KeyEncoding, signer.ParseKeyEncoding),
		KeyID:       parseOne(r, "keyid", s.KeyID, parseSignatureText),
		Components:  parseEach(r, "components", s.Components, httpsig.ParseComponent),
		Label:       parseOne(r, "label", s.Label, parseLabel),
		Tag:         parseOne(r, "tag", s.Tag, parseSignatureText),
		Lifetime:    time.Duration(s.Lifetime),
	}
	s.transit = r.text("transit", s.Transit)
	switch {
	case r.err != nil:
		return r.err
	case s.scheme.Lifetime < 0:
		return errors.New("lifetime: must not be negative")
	case s.KeyEncoding != "" && !isShared(s.scheme.Algorithm):
		return errKeyEncoding
	case s.KeyEncoding != "" && s.Transit != "":
		return errors.New("key_encoding: with transit the key is Vault's, and is not read here")
	}
	if err := checkComponents(s.scheme.Components); err != nil {
		return err
	}
	return s.tryComponents()
}

// tryComponents signs a request of nobody's, to find out now what cannot be signed.
func (s *HTTPSigSigner) tryComponents() error {
	list := s.scheme.Components
	if list == nil {
		return nil
	}
	_, _, err := httpsig.Sign(context.Background(), tryMessage(), httpsig.Params{Label: "try", Components: list}, httpsig.HMAC("try")) //nolint:forbidigo // it reaches nothing
	if err != nil {
		return fmt.Errorf("components: %w", err)
	}
	return nil
}

// Sign implements [signer.Scheme].
func (s *HTTPSigSigner) Sign(ctx context.Context, r signer.Request, c *secret.Credential) (signer.Signed, error) {
	return s.scheme.Sign(ctx, r, c)
}

// tryMessage is a request of nobody's.
func tryMessage() *httpsig.Message {
	return &httpsig.Message{
		Method: http.MethodPost, Scheme: "https", Authority: "nowpay.in", Target: "/api/index.php?route=/api/common/balance",
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Digest": {httpsig.Digest(nil)}},
	}
}

// checkComponents refuses a list without what keeps a request from being changed.
func checkComponents(list []httpsig.Component) error {
	if list == nil {
		return nil
	}
	covers := func(name string) bool {
		return slices.ContainsFunc(list, func(c httpsig.Component) bool { return c.String() == `"`+name+`"` })
	}
	switch {
	case !covers("@method"):
		return errors.New("components: `@method` must be among them")
	case !covers("content-digest"):
		return errors.New("components: `content-digest` must be among them: without it the body is not signed")
	case !covers("@target-uri") && !(covers("@authority") && (covers("@request-target") || covers("@path") && covers("@query"))):
		return errors.New("components: the host and the target must be among them: `@target-uri`, or `@authority` and either `@request-target` or `@path` and `@query`")
	}
	return nil
}

var errKeyEncoding = errors.New("key_encoding: is for hmac-sha256; the other algorithms take keys in PEM")

// isShared reports whether an algorithm has one key for both sides.
func isShared(a httpsig.Algorithm) bool { return a == "" || a == httpsig.HMACSHA256 }

func parseAlgorithm(s string) (httpsig.Algorithm, error) {
	switch a := httpsig.Algorithm(s); a {
	case httpsig.HMACSHA256, httpsig.Ed25519, httpsig.ECDSAP256SHA256, httpsig.RSAPSSSHA512:
		return a, nil
	}
	return "", fmt.Errorf("unknown algorithm %q; there is: ecdsa-p256-sha256, ed25519, hmac-sha256, rsa-pss-sha512", s)
}

// parseSignatureText checks a text that is a parameter of a signature (RFC 8941,
// section 3.3.3).
func parseSignatureText(s string) (string, error) {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return "", errors.New("must be printable ASCII")
		}
	}
	return s, nil
}

// parseLabel checks the label of a signature (RFC 8941, section 3.1.2).
func parseLabel(s string) (string, error) {
	for i, r := range s {
		lower := 'a' <= r && r <= 'z'
		if !lower && r != '*' && (i == 0 || (r < '0' || r > '9') && r != '_' && r != '-' && r != '.') {
			return "", errors.New("must be lower-case letters, digits, `_`, `-`, `.` and `*`, and begin with a letter")
		}
	}
	return s, nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*HTTPSigSigner)(nil)
	_ caddyfile.Unmarshaler = (*HTTPSigSigner)(nil)
	_ signer.Scheme         = (*HTTPSigSigner)(nil)
)
