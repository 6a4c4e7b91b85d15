package postgrestest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// process is one run of the server.
type process struct {
	pid    int
	exited chan struct{} // closed once its main process is gone
}

// startProcess returns once the program runs; it does not answer yet. Its output
// is appended to the file log.
func startProcess(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the server's log: %w", err)
	}
	defer out.Close() // the process has its own by then
	cmd.Stdout, cmd.Stderr = out, out
	dieWithParent(cmd.SysProcAttr)

	started := make(chan error)
	p := &process{exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		// The kernel watches the thread that started the process, not all of
		// us: this one is kept until the process is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// ended reports whether the main process is gone.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// signalAll signals the server's main process and all that it has forked, each
// of which is in a process group of its own.
func (p *process) signalAll(sig syscall.Signal) {
	for _, pid := range append([]int{p.pid}, children(p.pid)...) {
		_ = syscall.Kill(pid, sig) // fails only if it has ended
	}
}

// kill ends the server as a machine that fails would.
func (p *process) kill() {
	if p.ended() {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGSTOP) // so that it forks no more
	p.signalAll(syscall.SIGKILL)
	<-p.exited
}

// children are the processes that pid has forked.
func children(pid int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil // the pattern is right
	}
	var found []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold anything; behind it are state and parent.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}
