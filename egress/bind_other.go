//go:build !linux

package egress

import "syscall"

// lateBind is for Linux.
func lateBind(_, _ string, _ syscall.RawConn) error { return nil }
