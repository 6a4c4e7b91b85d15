package postgrestest

import (
	"fmt"
	"syscall"
)

// dieWithParent makes a process end with the thread that starts it.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// mountSmall mounts a file system of that size on a folder, for that user.
func mountSmall(dir string, mebibytes int, as *syscall.Credential) (unmount func() error, err error) {
	options := fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", mebibytes, as.Uid, as.Gid)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return nil, fmt.Errorf("mounting a small file system: %w", err)
	}
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, nil
}
