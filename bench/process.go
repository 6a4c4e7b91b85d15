package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyTime = 60 * time.Second
	stopTime  = 20 * time.Second
)

// process is one that the stand starts and ends.
type process struct {
	cmd    *exec.Cmd
	said   bytes.Buffer  // on its standard error, to be read once it has ended
	exited chan struct{} // closed when it has ended
}

// startProcess starts a program, which ends with the stand.
func (s *stand) startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &p.said
	// A group of its own: a terminal's Ctrl-C is for this command, which ends the others.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended is in its state, and in what it said
	}()
	s.closing = append(s.closing, p.stop)
	return p, nil
}

// stop ends it.
func (p *process) stop() error {
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

// await waits until a condition is met.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
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

// listening is a condition: something listens at the address.
func listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		return conn.Close()
	}
}

// pids are its own and those of its children, which nginx has.
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pids[0])) // none where the kernel does not tell
	for field := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpu is the time that it and its children have computed.
func (p *process) cpu() (sum time.Duration, err error) {
	for _, pid := range p.pids() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		t, err := parseStat(string(stat))
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// memory is what it and its children hold in RAM now, and held at most, in MiB.
func (p *process) memory() (now, peak float64, err error) {
	for _, pid := range p.pids() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, 0, fmt.Errorf("reading memory: %w", err)
		}
		n, p, err := parseStatus(string(status))
		if err != nil {
			return 0, 0, err
		}
		now, peak = now+n, peak+p
	}
	return now, peak, nil
}

// parseStat reads utime and stime of proc_pid_stat(5), in hundredths of a second.
func parseStat(stat string) (sum time.Duration, err error) {
	_, rest, _ := cutLast(stat, ") ") // the name in parentheses may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading CPU time: %q is too short", stat)
	}
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum, nil
}

// cutLast is strings.Cut around the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// parseStatus reads VmRSS and VmHWM of proc_pid_status(5).
func parseStatus(status string) (now, peak float64, err error) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			_, err = fmt.Sscanf(value, "%f kB", &now)
		case "VmHWM":
			_, err = fmt.Sscanf(value, "%f kB", &peak)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("reading memory: %q: %w", line, err)
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("reading memory: it is not in %q", status)
	}
	return now / 1024, peak / 1024, nil
}

// child is this command as another process. It answers each line of its standard
// input with a line of numbers, and ends with it.
type child struct {
	*process
	address string // where it listens
	in      io.Writer
	out     *bufio.Reader
}

// startChild starts this command with arguments.
func (s *stand) startChild(args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this command: %w", err)
	}
	cmd := exec.Command(self, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting this command: %w", err)
	}
	out, theirs, err := os.Pipe() // not cmd's, which Wait closes
	if err != nil {
		return nil, fmt.Errorf("starting this command: %w", err)
	}
	s.closing = append(s.closing, out.Close)
	defer theirs.Close() // the process has its own by then
	cmd.Stdout = theirs
	c := &child{in: in, out: bufio.NewReader(out)}
	if c.process, err = s.startProcess(cmd); err != nil {
		return nil, err
	}
	c.address, err = c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("reading the address of %q: %w", args[0], err)
	}
	c.address = strings.TrimSpace(c.address)
	return c, nil
}

// ask returns its numbers.
func (c *child) ask(numbers ...any) error {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return fmt.Errorf("asking %s: %w", c.address, err)
	}
	line, err := c.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, numbers...)
	}
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.address, err)
	}
	return nil
}

// answerLines is the child's part. It returns at the end of its input.
func answerLines(numbers func() string) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(numbers())
	}
}
