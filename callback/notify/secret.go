package notify

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const (
	secretPrefix = "whsec_"
	minKey       = 24 // bytes, by the specification
	maxKey       = 64
	newKey       = 32
)

// Secret is the key of a signature, known to a merchant and to us. It cannot be
// printed. Reveal gives the bytes that sign. The zero Secret signs nothing.
type Secret struct{ secret.Value }

// ParseSecret reads a secret as it is handed out: "whsec_" and the standard
// base64 of 24 to 64 bytes. Its error says what is wrong and quotes nothing.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New("a secret begins with " + secretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodedLen(len(key)) != len(encoded) { // line ends are skipped in decoding
		clear(key)
		return Secret{}, errors.New("what follows " + secretPrefix + " is not standard base64")
	}
	if len(key) < minKey || len(key) > maxKey {
		clear(key)
		return Secret{}, fmt.Errorf("a secret has %d to %d bytes, this one %d", minKey, maxKey, len(key))
	}
	return Secret{secret.New(key)}, nil
}

// GenerateSecret returns a new secret of 32 bytes from random, as text for a
// secret file and for the merchant. The text is the secret: print it once, where
// it was asked for.
func GenerateSecret(random io.Reader) (string, error) {
	key := make([]byte, newKey)
	defer clear(key)
	if _, err := io.ReadFull(random, key); err != nil {
		return "", fmt.Errorf("generating secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(key), nil
}
