//go:build linux

package powercut

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startProcess runs a command that ends with the test, also with one that
// crashed.
func startProcess(command *exec.Cmd) (*process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{command: command, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel watches the thread that started it, not all of us.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // the exit code tells more
		}
	}()
	return p, <-started
}
