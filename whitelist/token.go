package whitelist

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
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
	sum   tokenSum
	owner int // index of the merchant
}

// tokenSum is a hash in words: comparing those takes an eighth of what comparing bytes
// does, which shows when there are thousands of merchants.
type tokenSum [sha256.Size / 8]uint64

func newTokenSum(hash [sha256.Size]byte) (s tokenSum) {
	for i := range s {
		s[i] = binary.NativeEndian.Uint64(hash[8*i:])
	}
	return s
}

// equal is 1 if both are the same and 0 if not, in a time that does not depend on them.
func (s *tokenSum) equal(t *tokenSum) int {
	different := (s[0] ^ t[0]) | (s[1] ^ t[1]) | (s[2] ^ t[2]) | (s[3] ^ t[3])
	return int(1 ^ (different|-different)>>63) //nolint:gosec // 0 or 1
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
	presented := newTokenSum(HashToken(token))
	for i := range t {
		owner = subtle.ConstantTimeSelect(t[i].sum.equal(&presented), t[i].owner, owner)
	}
	return owner
}
