//go:build !unix

package egress

// canPeek is false here: connections are not reused, because a dead one could
// not be told from a living one before a request is written to it.
const canPeek = false

func (*conn) peek(uintptr) {}

// isAbsent takes every failure to bind for a missing address.
func isAbsent(error) bool { return true }
