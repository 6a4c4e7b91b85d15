package simulator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// JWEConfig has requests and answers travel as JWE (RFC 7516, compact) under the
// partner's key, which is 32 bytes written in base64.
type JWEConfig struct {
	// Algorithm is the one that requests must have, and that answers have: "dir" or
	// "A256GCMKW". Empty: "dir".
	Algorithm string
}

const joseMediaType = "application/jose"

// encryption is the security that a JWEConfig describes.
type encryption struct{ algorithm jose.KeyAlgorithm }

func newEncryption(c JWEConfig, key string) (*encryption, error) {
	e := &encryption{algorithm: jose.KeyAlgorithm(c.Algorithm)}
	if c.Algorithm == "" {
		e.algorithm = jose.DIRECT
	}
	if e.algorithm != jose.DIRECT && e.algorithm != jose.A256GCMKW {
		return nil, fmt.Errorf("unknown JWE algorithm %q: it is %s or %s", c.Algorithm, jose.DIRECT, jose.A256GCMKW)
	}
	if encryptionKey(key) == nil {
		return nil, errors.New("the key must be 32 bytes in base64 for JWE")
	}
	return e, nil
}

// encryptionKey reads a key, in whatever form of base64. It is nil if it is none.
func encryptionKey(text string) []byte {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		return nil
	}
	return key
}

// open finds the key by the kid, and the media type in the cty.
func (e *encryption) open(r *http.Request, body []byte, valid []Credential) (plain []byte, media string, by Credential) {
	if r.Header.Get("Content-Type") != joseMediaType {
		return nil, "", Credential{}
	}
	sealed, err := jose.ParseEncryptedCompact(string(body), []jose.KeyAlgorithm{e.algorithm}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, "", Credential{}
	}
	for _, c := range valid {
		key := encryptionKey(c.Key)
		if c.Username != sealed.Header.KeyID || key == nil {
			continue
		}
		if plain, err := sealed.Decrypt(key); err == nil {
			media, _ := sealed.Header.ExtraHeaders[jose.HeaderContentType].(string)
			return plain, media, c
		}
	}
	return nil, "", Credential{}
}

// seal encrypts an answer as its request was. All keys were looked at before.
func (e *encryption) seal(x *exchange, resp *response) {
	if x.fault.Kind == JWEPlain {
		return
	}
	key, content := encryptionKey(x.by.Key), jose.A256GCM
	switch x.fault.Kind {
	case JWEWrongKey:
		key[0] ^= 1
	case JWEWrongAlgorithm:
		content = jose.A128CBC_HS256 // whose keys are of the same size
	default:
	}
	text, err := e.encrypt(resp.body, key, content, x.by.Username)
	if err != nil {
		resp.page(http.StatusInternalServerError)
		return
	}
	if x.fault.Kind == JWETampered {
		text = tamper(text)
	}
	resp.body = []byte(text)
	resp.header.Set("Content-Type", joseMediaType)
}

func (e *encryption) encrypt(plain, key []byte, content jose.ContentEncryption, username string) (string, error) {
	options := new(jose.EncrypterOptions).WithContentType("application/json")
	encrypter, err := jose.NewEncrypter(content, jose.Recipient{Algorithm: e.algorithm, Key: key, KeyID: username}, options)
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	sealed, err := encrypter.Encrypt(plain)
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	text, err := sealed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	return text, nil
}

// tamper changes the first character of the ciphertext.
func tamper(compact string) string {
	parts := strings.Split(compact, ".")
	first := "A"
	if strings.HasPrefix(parts[3], first) {
		first = "B"
	}
	parts[3] = first + parts[3][1:]
	return strings.Join(parts, ".")
}

var _ security = (*encryption)(nil)
