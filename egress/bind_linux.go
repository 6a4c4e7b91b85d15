package egress

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lateBind has the system choose the port of a connection when it knows where that
// goes to. Chosen by the local address alone, ports run short among all connections
// of that address, of which those that are closed keep theirs for a minute, and the
// search for one that is free takes milliseconds. A system that does not know this
// does without.
func lateBind(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { //nolint:wrapcheck // the dialer says what it was doing
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
