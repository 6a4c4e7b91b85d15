//go:build unix

package egress

import (
	"errors"

	"golang.org/x/sys/unix"
)

// canPeek tells whether a kept connection can be looked at without waiting.
const canPeek = true

// peek looks whether the socket is open and has nothing to read: no byte, no end,
// no error. It never waits.
func (c *conn) peek(fd uintptr) {
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // file descriptors are that small
	n, err := unix.Poll(ready, 0)
	c.silent = n == 0 && err == nil
}

// isAbsent reports whether a bind failed for want of the address, rather than
// of ports or file descriptors.
func isAbsent(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}
