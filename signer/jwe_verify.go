package signer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const (
	// maxJWEHeader bounds the protected header, in bytes. The longest one that is
	// accepted has a username of 265 bytes in \u escapes.
	maxJWEHeader = 4 << 10
	gcmNonceSize = 12
	gcmTagSize   = 16
)

// Verify implements [Verifier]: it decrypts and authenticates the answer with
// the first of the known credentials that fits. The answer that it gives has the
// plaintext for its body and application/json for its Content-Type. The plaintext
// is shorter than the body, since compression is refused.
//
// Who has the key has made the answer, and nobody has changed it since. That it
// is the one to this request the encryption does not prove: the ids and the
// amount in it do, which are checked afterwards; in a refusal there are none. An
// answer that is one of our own requests, sent back, is refused here.
func (j JWE) Verify(_ context.Context, _ Signed, a Answer, known []*secret.Credential) (Answer, error) {
	types := a.Header.Values("Content-Type")
	if len(types) != 1 || !strings.EqualFold(types[0], joseMediaType) {
		return Answer{}, notProven("it is not encrypted: its Content-Type is not " + joseMediaType)
	}
	sealed, kid, err := j.parse(string(a.Body))
	if err != nil {
		return Answer{}, err
	}
	plain, err := j.decrypt(sealed, kid, known)
	if err != nil {
		return Answer{}, err
	}
	if isRequest(plain) {
		return Answer{}, notProven("it is a request of ours")
	}
	header := a.Header.Clone()
	header.Set("Content-Type", nowpay.JSON.MediaType())
	header.Del("Content-Length") // is that of the ciphertext
	return Answer{Status: a.Status, Header: header, Body: plain}, nil
}

func notProven(reason string) error { return fmt.Errorf("%w: %s", ErrUnverified, reason) }

// parse reads a compact JWE by the letter of RFC 7516, section 7.1. The library
// is more lenient: it overlooks line ends, bits that mean nothing at the end of
// base64, a tag that is too long, and with `dir` an encrypted key. It gets to see
// only what has one form.
func (j JWE) parse(text string) (sealed *jose.JSONWebEncryption, kid *string, err error) {
	parts := strings.SplitN(text, ".", 6)
	if len(parts) != 5 {
		return nil, nil, notProven("it is not a compact JWE")
	}
	var decoded [5][]byte
	for i, part := range parts {
		if decoded[i], err = strictBase64(part); err != nil {
			return nil, nil, err
		}
	}
	header, err := readJWEHeader(decoded[0])
	if err != nil {
		return nil, nil, err
	}
	keySize := 0
	switch {
	case !slices.Contains(j.accepted(), header.algorithm):
		return nil, nil, notProven("its alg is not accepted")
	case header.algorithm == JWEKeyWrap:
		keySize = jweKeySize
	}
	if len(decoded[1]) != keySize || len(decoded[2]) != gcmNonceSize || len(decoded[4]) != gcmTagSize {
		return nil, nil, notProven("a part of it has a wrong length")
	}
	sealed, err = jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.KeyAlgorithm(header.algorithm)}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, nil, notProven("it is not a compact JWE")
	}
	return sealed, header.kid, nil
}

func strictBase64(text string) ([]byte, error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, notProven("a part of it is not base64")
	}
	return decoded, nil
}

type jweHeader struct {
	algorithm JWEAlgorithm
	kid       *string // nil: none
}

// readJWEHeader reads the protected header, in which nothing may be that is not
// known: not zip, by which a small answer becomes a large one, no crit, and no key.
func readJWEHeader(text []byte) (jweHeader, error) {
	body, err := nowpay.ParseJSON(text, nowpay.Limits{Bytes: maxJWEHeader})
	if err != nil {
		return jweHeader{}, notProven("its header cannot be read")
	}
	var h jweHeader
	sizes := map[string]int{} // of the key's own nonce and tag
	for name, value := range body.Members() {
		if value.Kind != nowpay.String {
			return h, notProven("its header has a member that is not known")
		}
		ok := true
		switch name {
		case "alg":
			h.algorithm = JWEAlgorithm(value.Text)
		case "enc":
			ok = value.Text == string(jose.A256GCM)
		case "kid":
			h.kid = &value.Text
		case "typ":
			ok = strings.EqualFold(value.Text, "JOSE")
		case "cty": // "application/" may be left out (RFC 7516, section 4.1.12)
			ok = strings.EqualFold(value.Text, "json") || strings.EqualFold(value.Text, nowpay.JSON.MediaType())
		case "iv", "tag":
			part, err := strictBase64(value.Text)
			sizes[name], ok = len(part), err == nil
		case "zip":
			return h, notProven("it is compressed")
		default:
			return h, notProven("its header has a member that is not known")
		}
		if !ok {
			return h, notProven("the " + name + " of its header is not accepted")
		}
	}
	_, hasEnc := body.Get("enc")
	wrapped := len(sizes) == 2 && sizes["iv"] == gcmNonceSize && sizes["tag"] == gcmTagSize
	if !hasEnc || wrapped != (h.algorithm == JWEKeyWrap) || !wrapped && len(sizes) > 0 {
		return h, notProven("the members of its header do not fit its alg")
	}
	return h, nil
}

// decrypt tries the known credentials in their order. If none fits, it says what
// is wrong with the first.
func (j JWE) decrypt(sealed *jose.JSONWebEncryption, kid *string, known []*secret.Credential) ([]byte, error) {
	var first error
	for _, c := range known {
		plain, err := j.decryptWith(sealed, kid, c)
		if err == nil {
			return plain, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, cmp.Or(first, notProven("there is no credential to decrypt it with"))
}

func (j JWE) decryptWith(sealed *jose.JSONWebEncryption, kid *string, c *secret.Credential) ([]byte, error) {
	if kid != nil && *kid != string(c.Username().Reveal()) {
		return nil, notProven("its kid is not the username of the account")
	}
	key, err := j.key(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	defer clear(key)
	plain, err := sealed.Decrypt(key)
	if err != nil {
		return nil, notProven("it was not encrypted with the key of the account, or was changed")
	}
	return plain, nil
}

// isRequest reports whether a plaintext begins as those that Sign makes of JSON:
// who reflects a request, in which a merchant may have put anything, must not get
// it taken for an answer. That of a form has another cty.
func isRequest(plain []byte) bool {
	rest, isObject := bytes.CutPrefix(bytes.TrimLeft(plain, " \t\r\n"), []byte("{"))
	return isObject && bytes.HasPrefix(rest, []byte(`"username":`))
}
