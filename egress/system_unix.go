//go:build unix

package egress

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPeek tells whether a kept connection can be looked at without waiting.
const canPeek = true

// silent reports whether the socket is open and has nothing to read: no byte,
// no end, no error.
func silent(fd syscall.RawConn) bool {
	quiet := false
	err := fd.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
		return true // never wait
	})
	return err == nil && quiet
}

// isAbsent reports whether a bind failed for want of the address, rather than
// of ports or file descriptors.
func isAbsent(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}
