//go:build !linux

package postgrestest

import (
	"errors"
	"syscall"
)

// dieWithParent has no counterpart elsewhere, where no server is started.
func dieWithParent(*syscall.SysProcAttr) {}

// mountSmall has none either.
func mountSmall(string, int, *syscall.Credential) (unmount func() error, err error) {
	return nil, errors.ErrUnsupported
}
