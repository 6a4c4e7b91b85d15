package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyTime = 2 * time.Minute // with a million transactions, or thousands of merchants
	stopTime  = 20 * time.Second
)

// ErrMissing marks what cannot be measured, for lack of a program.
var ErrMissing = errors.New("is not installed")

// Process is a program that runs.
type Process struct {
	cmd    *exec.Cmd
	said   bytes.Buffer  // on its standard error, to be read once it has ended
	exited chan struct{} // closed when it has ended
}

// Start starts a program, which runs until Stop.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &p.said
	// A group of its own: a terminal's Ctrl-C is for this command, which ends the others.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for children of its that outlive it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended is in its state, and in what it said
	}()
	return p, nil
}

// Stop ends it, if it has not ended, and waits for that.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt) // fails only if it has ended
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTime):
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return fmt.Errorf("ending %s: it had to be killed", p.cmd.Path)
}

// Await waits until a condition is met.
func (p *Process) Await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("waiting for %s: it has ended, %v:\n%s", p.cmd.Path, p.cmd.ProcessState, p.said.String())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", p.cmd.Path, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Listening is a condition: something listens at the address.
func Listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		return conn.Close()
	}
}

// FreeAddress is one that was free a moment ago. Its port lies below those that the
// system gives to outgoing connections, of which there are many here.
func FreeAddress() (address string, err error) {
	const lowest, highest, tries = 10_000, 30_000, 100
	for range tries {
		var listener net.Listener
		address = fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))
		if listener, err = net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("finding a free port: %w", err)
}
