//go:build unix

package egress

import (
	"errors"

	"golang.org/x/sys/unix"
)

// canPeek tells whether a kept connection can be looked at without waiting.
const canPeek = true

// peek looks whether the socket is open and has nothing to read: no byte, no end,
// no error. It is called by the system's own way to use a socket, which heeds no
// deadline.
func (c *conn) peek(fd uintptr) {
	_, _, err := unix.Recvfrom(int(fd), c.scratch[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	c.silent = errors.Is(err, unix.EAGAIN)
}

// isAbsent reports whether a bind failed for want of the address, rather than
// of ports or file descriptors.
func isAbsent(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}
