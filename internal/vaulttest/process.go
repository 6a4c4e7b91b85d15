package vaulttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// startTimeout bounds the time to the server's first line.
	startTimeout = 30 * time.Second
	// logLimit bounds how much of the server's log is kept.
	logLimit = 64 << 10
)

// process is one run of the server.
type process struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer     // its end is the server's end, should we crash
	exited  chan struct{} // closed once the process and the readers of its output are gone
}

// startProcess returns once the server listens. Its log goes to log.
func startProcess(path string, args []string, log io.Writer) (*process, error) {
	first := &firstLine{seen: make(chan struct{})}
	p := &process{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = first, log
	p.cmd.Env = withoutVaultSettings(os.Environ())
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting the Vault server: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		p.stdin.Close()
		return nil, fmt.Errorf("starting the Vault server: %w", err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // a killed process has no better news
	}()

	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-first.seen:
	case <-p.exited:
		return nil, errors.New("starting the Vault server: it ended at once")
	case <-timer.C:
		p.kill()
		return nil, fmt.Errorf("starting the Vault server: it was not listening after %v", startTimeout)
	}
	var ready struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(first.line(), &ready); err != nil {
		p.kill()
		return nil, fmt.Errorf("reading the Vault server's address: %w", err)
	}
	p.address = ready.Address
	return p, nil
}

// kill ends the process the hard way, as a machine that fails would, and waits
// for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended
	<-p.exited
}

// withoutVaultSettings keeps a developer's own Vault out of the test.
func withoutVaultSettings(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "VAULT_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// firstLine keeps the first line written to it.
type firstLine struct {
	mu   sync.Mutex
	buf  []byte
	done bool
	seen chan struct{} // closed with the line's end
}

// Write implements io.Writer.
func (f *firstLine) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.buf = append(f.buf, b...)
		if i := bytes.IndexByte(f.buf, '\n'); i >= 0 {
			f.buf, f.done = f.buf[:i], true
			close(f.seen)
		}
	}
	return len(b), nil
}

func (f *firstLine) line() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf
}

// logTail keeps the last logLimit bytes written to it.
type logTail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (l *logTail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if over := len(l.buf) - logLimit; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(b), nil
}

// String returns what is kept.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
