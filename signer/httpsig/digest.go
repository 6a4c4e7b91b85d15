package httpsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// Digest returns the value of Content-Digest for a body (RFC 9530), by SHA-256.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// CheckDigest holds a body against Content-Digest (RFC 9530). Every digest of an
// algorithm that is understood (sha-256, sha-512) must fit, and there must be one;
// others are ignored. Its errors wrap [ErrWrongDigest] if one does not fit, and
// [ErrNoDigest] if there is none, or if the field is not what it must be.
func CheckDigest(header http.Header, body []byte) error {
	lines := header["Content-Digest"]
	if len(lines) == 0 {
		return ErrNoDigest
	}
	if len(lines) == 1 && lines[0] == Digest(body) {
		return nil // as nearly all are: there is nothing to be parsed
	}
	d, err := parseDictionary(lines)
	if err != nil {
		return fmt.Errorf("%w: Content-Digest: %w", ErrNoDigest, err)
	}
	understood := false
	for _, name := range d.Names() {
		var sum []byte
		switch name {
		case "sha-256":
			s := sha256.Sum256(body)
			sum = s[:]
		case "sha-512":
			s := sha512.Sum512(body)
			sum = s[:]
		default:
			continue
		}
		member, _ := d.Get(name)
		item, ok := member.(httpsfv.Item)
		digest, isBytes := item.Value.([]byte)
		if !ok || !isBytes || len(item.Params.Names()) != 0 {
			return fmt.Errorf("%w: %s is not a byte sequence", ErrNoDigest, name)
		}
		if !bytes.Equal(digest, sum) {
			return fmt.Errorf("%w: by its %s", ErrWrongDigest, name)
		}
		understood = true
	}
	if !understood {
		return ErrNoDigest
	}
	return nil
}
