package whitelist

import (
	"errors"
	"strings"
)

// ErrTarget is returned by [ParseTarget] for everything but the two spellings
// of an operation's request target. It is safe to show.
var ErrTarget = errors.New("the request target must read, byte for byte, " +
	"/api/<group>/<action> or /api/index.php?route=/api/<group>/<action>")

const (
	shortTarget  = "/api/"
	dropInTarget = "/api/index.php?route=/api/" // as the provider spells it
)

// ParseTarget returns the name of the operation that a request target asks
// for: "bank/payout" for "/api/bank/payout" and for
// "/api/index.php?route=/api/bank/payout".
//
// It must be given the target exactly as received ([net/http.Request.RequestURI]
// before any rewrite). Group and action consist of a-z, 0-9 and _; operation
// names are lower-case, so upper-case letters are refused like every other
// byte. Escapes, dot segments, doubled slashes, further parameters, absolute
// URLs and whatever else a server might read as the same path are not cleaned
// but refused with [ErrTarget].
//
// That the name is well-formed does not mean that the operation exists.
func ParseTarget(requestURI string) (operation string, err error) {
	name, ok := strings.CutPrefix(requestURI, dropInTarget)
	if !ok {
		name, ok = strings.CutPrefix(requestURI, shortTarget)
	}
	if !ok || !isName(name) {
		return "", ErrTarget
	}
	return name, nil
}

// isName reports whether s is a well-formed name of an operation.
func isName(s string) bool {
	group, action, ok := strings.Cut(s, "/")
	return ok && isWord(group) && isWord(action)
}

// isWord reports whether s matches [a-z0-9_]+.
func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}
