package whitelist

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// HashToken returns the SHA-256 of a token: what is stored of it.
//
// Tokens must be random and long (`caddy nowpay token` makes them with 256
// bits); for such a token a plain hash cannot be turned back.
func HashToken(token string) [sha256.Size]byte {
	return sha256.Sum256([]byte(token))
}

// ParseTokenHash parses "sha256:" and 64 hexadecimal digits in either letter
// case. The error does not repeat s, which may be a token by mistake.
func ParseTokenHash(s string) ([sha256.Size]byte, error) {
	sum, ok := parseSHA256(s)
	if !ok {
		return sum, errors.New("parsing token hash: write `sha256:` and the 64 hexadecimal digits of the token's SHA-256, " +
			"as `caddy nowpay token` prints them, never the token itself")
	}
	return sum, nil
}

// tokenTable holds the token hashes of all merchants.
type tokenTable []tokenEntry

type tokenEntry struct {
	sum   [sha256.Size]byte
	owner int // index of the merchant
}

// find returns the owner of the token, -1 if there is none. It compares the
// token's hash with every stored hash: no exit, no branch depends on whether
// or where one matched, so neither does the time taken. Nobody owns the empty
// token.
func (t tokenTable) find(token string) (owner int) {
	owner = -1
	if token == "" {
		return owner
	}
	presented := HashToken(token)
	for i := range t {
		same := subtle.ConstantTimeCompare(t[i].sum[:], presented[:])
		owner = subtle.ConstantTimeSelect(same, t[i].owner, owner)
	}
	return owner
}
