package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// KeyEncoding says how the bytes of a key are written in the text that a secret
// source holds. There is no encoding in the zero value: each scheme has its own
// default.
type KeyEncoding string

const (
	// KeyText means the bytes of the text themselves.
	KeyText KeyEncoding = "text"
	// KeyBase64 is RFC 4648, in the standard or in the URL alphabet, padded or not.
	KeyBase64 KeyEncoding = "base64"
	// KeyHex is two digits for each byte, in capitals or not.
	KeyHex KeyEncoding = "hex"
)

// ParseKeyEncoding reads the name of an encoding.
func ParseKeyEncoding(s string) (KeyEncoding, error) {
	switch e := KeyEncoding(s); e {
	case KeyText, KeyBase64, KeyHex:
		return e, nil
	}
	return "", fmt.Errorf("unknown key encoding %q: it is %s, %s or %s", s, KeyBase64, KeyHex, KeyText)
}

// Decode gives the bytes that a key's text stands for, in memory of the caller's
// own, who wipes it. Any length will do, also none. The error wraps [ErrKey] and
// holds nothing of the key.
func (e KeyEncoding) Decode(key []byte) ([]byte, error) {
	switch e {
	case KeyText:
		return bytes.Clone(key), nil
	case KeyBase64:
		return decodeKey(e, key, base64Of(key).DecodedLen(len(key)), base64Of(key).Decode)
	case KeyHex:
		return decodeKey(e, key, hex.DecodedLen(len(key)), hex.Decode)
	}
	return nil, fmt.Errorf("%w: no key encoding is given", ErrKey)
}

// decodeKey leaves nothing of a key behind that breaks off.
func decodeKey(e KeyEncoding, key []byte, size int, decode func(dst, src []byte) (int, error)) ([]byte, error) {
	decoded := make([]byte, size)
	n, err := decode(decoded, key)
	if err != nil || bytes.ContainsAny(key, "\r\n") { // which encoding/base64 overlooks
		clear(decoded)
		return nil, fmt.Errorf("%w: it is not written in %s", ErrKey, e)
	}
	return decoded[:n], nil
}

// base64Of is the kind of base64 that the text can be, if it is any.
func base64Of(text []byte) *base64.Encoding {
	url, padded := bytes.ContainsAny(text, "-_"), bytes.HasSuffix(text, []byte("="))
	switch {
	case url && padded:
		return base64.URLEncoding.Strict()
	case url:
		return base64.RawURLEncoding.Strict()
	case padded:
		return base64.StdEncoding.Strict()
	default:
		return base64.RawStdEncoding.Strict()
	}
}
